//! The Node bridge: converts arguments, calls one function of the core, converts the result.
//!
//! Private to the JavaScript layer, which gives each call a number. A finished call is put into a
//! queue that JavaScript drains as a whole ([`completion`]).

mod completion;
mod daytona;
mod error;
mod files;
mod process;
mod sandbox;
