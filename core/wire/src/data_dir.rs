//! The local server's data directory, as far as a client that starts the server has to know it.

/// The file that makes a folder a data directory.
pub const MARKER: &str = "daytona-native.json";
/// The file that a server holds locked; it names the holder.
pub const LOCK: &str = "server.lock";
/// The log of a server that a client has started.
pub const LOG: &str = "server.log";
/// The file that a client holds locked while it starts a server.
pub const START_LOCK: &str = "start.lock";
/// At the top of a file system of its own: not the server's.
pub const FILE_SYSTEMS_OWN: &str = "lost+found";

/// Folders that may be there before a server makes them, empty: file systems of their own are mounted there.
pub const FOLDERS: [&str; 5] = ["archives", "images", "sandboxes", "snapshots", "volumes"];

/// Whom a lock file names.
#[derive(Clone, Debug, Default, serde::Deserialize, serde::Serialize)]
pub struct Holder {
    /// Its process.
    pub pid: u32,
    /// Where its API is; empty until it listens.
    pub url: String,
    /// The server is on its way out: wait for it.
    pub stopping: bool,
}

/// Whether something with this name may lie in a folder that is to become a data directory: what clients make before
/// they start the server, and what belongs to the file system.
pub fn may_precede(name: &str) -> bool {
    [LOG, START_LOCK, FILE_SYSTEMS_OWN].contains(&name)
}
