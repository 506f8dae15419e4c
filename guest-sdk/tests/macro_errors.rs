//! Every misuse of `#[entity]` is an error at the author's line that says what to write instead.

#[test]
fn misuse_is_explained_where_it_happens() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/compile_pass/*.rs");
    cases.compile_fail("tests/compile_fail/*.rs");
}
