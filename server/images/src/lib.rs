//! OCI images and Dockerfiles for the local server: pulling, layers, builds.
//!
//! A [`Store`] is a folder of unpacked layers, each fit to be the lower folder of an overlay. [`Store::pull`] fills it
//! from registries; [`build`] runs a Dockerfile's [`Plan`] upon it, with a [`Runner`] that knows how to run a command on
//! a stack of layers. What is in use is held by [`Image`] values; [`Store::gc`] removes the rest.

mod build;
mod digest;
mod dockerfile;
mod download;
mod error;
mod files;
mod gc;
mod image;
mod progress;
mod pull;
mod reference;
mod registry;
mod steps;
mod store;
mod unpack;
mod view;

pub use build::{BuildOptions, LogSink, Mount, MountSource, Network, RunStep, Runner, build};
pub use dockerfile::Plan;
pub use error::{Error, Result};
pub use gc::{Freed, GcOptions};
pub use image::{Config, Image, ImageInfo, Layer};
pub use progress::{Event, Progress, Quiet};
pub use pull::{Credentials, PullOptions};
pub use reference::ImageRef;
pub use store::{Limits, Store, StoreOptions};
