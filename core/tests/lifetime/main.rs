//! From the beginning of a call to its end: what it leaves behind, what ends it early, and who gets to see it.

mod fake;
#[path = "../cases/host.rs"]
mod host;
mod real;
#[path = "../cases/server.rs"]
mod server;
mod telemetry;
mod waiting;
mod watch;
