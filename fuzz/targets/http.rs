//! The target `http`, driven by libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lucid_fuzz::meet("http", bytes));
