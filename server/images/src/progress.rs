/// What happens during a pull.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The manifest is known.
    Resolved {
        /// Digest of the manifest for this machine.
        digest: String,
        /// How many layers.
        layers: usize,
        /// Bytes of all layers as they are transferred.
        bytes: u64,
    },
    /// A layer that the store has already.
    Exists {
        /// Digest of its blob.
        layer: String,
    },
    /// More of a layer has arrived.
    Downloading {
        /// Digest of its blob.
        layer: String,
        /// Bytes so far, those of an earlier attempt included.
        current: u64,
        /// Bytes in all.
        total: u64,
    },
    /// A layer has arrived and is being unpacked.
    Unpacking {
        /// Digest of its blob.
        layer: String,
    },
    /// A layer is in the store.
    Done {
        /// Digest of its blob.
        layer: String,
    },
    /// A registry or mirror failed, and the next is tried; or the connection broke, and is made again.
    Retrying {
        /// What happened.
        why: String,
    },
}

/// Told of the course of a pull. Called often: it must not block.
pub trait Progress: Send + Sync {
    /// Something happened.
    fn event(&self, event: Event);
}

impl<F: Fn(Event) + Send + Sync> Progress for F {
    fn event(&self, event: Event) {
        self(event);
    }
}

/// A [`Progress`] that is told in vain.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl Progress for Quiet {
    fn event(&self, _: Event) {}
}
