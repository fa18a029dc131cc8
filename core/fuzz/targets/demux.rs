//! The markers of a log, at any place, in frames cut anywhere.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| daytona_core::fuzzing::demux(data));
