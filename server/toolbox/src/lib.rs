//! The agent inside a sandbox: files and processes over HTTP.
