use super::super::routes;
use super::*;

/// Whether a path of the document is one that a pattern of the router takes.
fn fits(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix("{*rest}") {
        Some(beginning) => path.len() > beginning.len() && path.starts_with(beginning),
        None => path == pattern,
    }
}

#[test]
fn every_route_is_described_by_paths_that_it_takes() {
    for route in routes() {
        assert!(!route.operations.is_empty(), "{}", route.pattern);
        for operation in &route.operations {
            let path = &operation.path;
            assert!(fits(route.pattern, path), "{} {path}", route.pattern);
            let answers = !operation.answers.is_empty();
            assert!(answers && !operation.summary.is_empty(), "{path}");
        }
    }
}

#[test]
fn nothing_is_described_twice_and_every_reference_has_its_end() {
    let operations: Vec<_> = routes().into_iter().flat_map(|r| r.operations).collect();
    let document = document(&operations, &[]);
    let described: usize = document["paths"]
        .as_object()
        .unwrap()
        .values()
        .map(|path| path.as_object().unwrap().len())
        .sum();
    assert_eq!(described, operations.len());
    let text = document.to_string();
    let references = text.split("\"$ref\":\"#").skip(1);
    let mut found = 0;
    for reference in references.map(|rest| rest.split('"').next().unwrap()) {
        assert!(document.pointer(reference).is_some(), "{reference}");
        found += 1;
    }
    assert!(found > 10);
}
