//! Packets of the event stream.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| daytona_core::fuzzing::events(data));
