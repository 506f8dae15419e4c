#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| entia_fuzz::conversion(input));
