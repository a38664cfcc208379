#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nsforensics_tests::readers::tunnels(bytes));
