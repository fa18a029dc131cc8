//! A bare client and the core, to measure the others by.

fn main() {}
