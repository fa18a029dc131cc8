//! The local Daytona server: control plane, store and proxy.
