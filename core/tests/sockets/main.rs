//! Logs, streamed commands, terminals and the interpreter against a scripted server: old ones, odd ones, and networks that fail.

mod exec_stream;
mod fake;
mod fallback;
mod interpreter;
mod pty;
mod session;
