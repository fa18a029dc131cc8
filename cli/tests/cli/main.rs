//! The commands of the real binary, against a real server.

mod copy;
mod git;
mod images;
mod local;
mod output;
mod readers;
mod run;
#[expect(dead_code, reason = "the tests of the server use more of it")]
#[path = "../server/support.rs"]
mod support;
