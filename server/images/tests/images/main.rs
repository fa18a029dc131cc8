//! The store of images from outside: one program, as each costs a link of everything.

mod build;
mod common;
mod faults;
mod instructions;
mod layers;
mod pull;
mod store;
