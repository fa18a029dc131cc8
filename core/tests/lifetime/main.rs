//! From the beginning of a call to its end: what it leaves behind, what ends it early, and who gets to see it.

mod fake;
mod telemetry;
mod watch;
