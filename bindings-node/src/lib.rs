//! The Node bridge.
