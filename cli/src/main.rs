//! The `daytona-native` binary.

fn main() {}
