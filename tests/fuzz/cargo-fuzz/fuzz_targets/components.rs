#![no_main]

// The compiler is this program again.
libfuzzer_sys::fuzz_target!(
    init: entia_fuzz::compile_if_asked(),
    |input: &[u8]| entia_fuzz::components(input)
);
