//! Sandboxes made by a Docker engine.
