//! Messages and close reasons of streams, terminals and the interpreter.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| daytona_core::fuzzing::messages(data));
