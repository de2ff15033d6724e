//! The target `remote`, driven by libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lucid_fuzz::meet("remote", bytes));
