//! The file that makes a folder a data directory.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::UNIX_EPOCH;

use daytona_runtime::RuntimeKind;
use daytona_wire::data_dir::MARKER;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::config::write_private;

/// The format that this version writes, and the newest that it reads.
pub(super) const FORMAT: u32 = 1;

/// What the marker says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Marker {
    pub(super) format: u32,
    /// Random, once for each data directory.
    pub(crate) id: String,
    /// The identifiers of what this was copied from.
    #[serde(default)]
    pub(super) former: Vec<String>,
    /// The version of the server that served it last; empty for one that wrote no marker.
    pub(crate) version: String,
    /// The runtimes that have run on it, in the order of their first use.
    #[serde(default)]
    pub(crate) runtimes: Vec<RuntimeKind>,
    /// A store was made: if it is missing, it was lost.
    #[serde(default)]
    pub(crate) store: bool,
    pub(super) place: Place,
}

impl Marker {
    pub(super) fn new(place: Place) -> io::Result<Self> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        Ok(Self {
            format: FORMAT,
            id: hex(&bytes),
            former: Vec::new(),
            version: crate::VERSION.to_owned(),
            runtimes: Vec::new(),
            store: false,
            place,
        })
    }

    /// The isolating runtime that was used here last for the first time, if one ever was.
    pub(crate) fn isolated(&self) -> Option<RuntimeKind> {
        self.runtimes.iter().copied().rfind(|kind| *kind != RuntimeKind::Process)
    }

    /// Whether this directory has, or had, this identifier.
    pub(crate) fn was(&self, id: &str) -> bool {
        self.id == id || self.former.iter().any(|former| former == id)
    }

    pub(super) fn write(&self, dir: &Path) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        write_private(&dir.join(MARKER), &text)
    }
}

/// Which folder on which machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// A digest of the machine's identifier, where it has one.
    machine: Option<String>,
    /// Where it was when it was last served.
    path: String,
    device: u64,
    inode: u64,
    /// When the folder was made, in nanoseconds since 1970, where the file system knows that. No copy can have it.
    born: Option<u64>,
}

impl Place {
    pub(super) fn of(dir: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(dir)?;
        let born = metadata.created().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Ok(Self {
            machine: machine(),
            path: dir.to_string_lossy().into_owned(),
            device: metadata.dev(),
            inode: metadata.ino(),
            born: born.and_then(|time| u64::try_from(time.as_nanos()).ok()).filter(|nanos| *nanos > 0),
        })
    }

    /// Whether the folder that is `now` served is the one that was marked, and no copy of it.
    ///
    /// Numbers of devices change from boot to boot. Where one has changed, the folder is a copy only if the original is
    /// still where it was: a file system that was copied block by block.
    pub(super) fn is(&self, now: &Self, id: &str) -> bool {
        let differ =
            |one: &Option<String>, other: &Option<String>| matches!((one, other), (Some(a), Some(b)) if a != b);
        let same_folder = match (self.born, now.born) {
            (Some(before), Some(now)) => before == now,
            _ => self.inode == now.inode,
        };
        if differ(&self.machine, &now.machine) || !same_folder {
            return false;
        }
        self.device == now.device || self.path == now.path || !self.original_is_there(now, id)
    }

    fn original_is_there(&self, now: &Self, id: &str) -> bool {
        let path = Path::new(&self.path);
        let there = fs::read(path.join(MARKER)).ok().and_then(|text| serde_json::from_slice::<Marker>(&text).ok());
        there.is_some_and(|marker| marker.id == id)
            && Self::of(path).is_ok_and(|place| (place.device, place.inode) != (now.device, now.inode))
    }

    /// Where that is, for a message.
    pub(super) fn shown(&self) -> String {
        if self.machine.is_some() && self.machine != machine() {
            return format!("{} of another machine", self.path);
        }
        self.path.clone()
    }
}

/// The system asks programs not to show the identifier itself.
fn machine() -> Option<String> {
    ["/etc/machine-id", "/var/lib/dbus/machine-id"].into_iter().find_map(|path| {
        let text = fs::read_to_string(path).ok()?;
        let text = text.trim();
        let fits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        fits.then(|| hex(&Sha256::digest(format!("daytona-native {text}"))[..16]))
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}
