//! Terminals and the interpreter against a scripted server: old ones, odd ones, and networks that fail.

mod fake;
mod interpreter;
mod pty;
