//! Images: uploads of contexts, snapshots made from them, and the logs of their builds, against a scripted server.

mod fake;
mod logs;
mod upload;
