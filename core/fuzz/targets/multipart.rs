//! A download's multipart answer, cut anywhere.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| daytona_core::fuzzing::multipart(data));
