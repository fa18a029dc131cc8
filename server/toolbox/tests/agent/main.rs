//! The agent on a socket of its own. One program, because each links all that the agent is made of.

mod chart;
mod code;
mod common;
mod confine;
mod download;
mod exec_stream;
mod files;
mod git;
mod interpreter;
mod lsp;
mod process;
mod pty;
mod session;
mod upload;
