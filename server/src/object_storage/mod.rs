//! Object storage for build contexts: the part of S3 that clients use to upload them, on the server's own port.
//!
//! Credentials are handed out by `GET /object-storage/push-access`: they say when they end, and everything else follows
//! from them and a key that only this server has, so that none are stored.

mod access;
mod objects;
mod service;

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use s3s::service::{S3Service, S3ServiceBuilder};

use self::access::Keys;
pub(crate) use self::access::Push;
use self::objects::Objects;
use self::service::Storage;
use crate::record::ORGANIZATION;

/// The one bucket.
pub(crate) const BUCKET: &str = "daytona-contexts";
/// What clients sign for; any other would do.
pub(crate) const STORAGE_REGION: &str = "us-east-1";
/// A context that no build has used for this long is deleted.
const UNUSED: Duration = Duration::from_secs(7 * 24 * 3600);
/// An upload that was begun and not finished for this long is deleted.
const STALE: Duration = Duration::from_secs(24 * 3600);

/// The contexts of all builds.
pub(crate) struct ObjectStorage {
    keys: Keys,
    objects: Objects,
    service: S3Service,
}

impl ObjectStorage {
    pub(crate) fn open(data_dir: &Path) -> io::Result<Self> {
        let keys = Keys::open(&data_dir.join("storage-key"))?;
        let objects = Objects::open(&data_dir.join("contexts"))?;
        let mut builder = S3ServiceBuilder::new(Storage(objects.clone()));
        builder.set_auth(keys.clone());
        builder.set_access(keys.clone());
        Ok(Self { keys, objects, service: builder.build() })
    }

    /// Credentials for uploads.
    pub(crate) fn push(&self) -> Result<Push, getrandom::Error> {
        self.keys.new_push()
    }

    /// Answers a request to the bucket.
    pub(crate) async fn answer(&self, request: axum::extract::Request) -> axum::response::Response {
        match self.service.call(request.map(s3s::Body::http_body_unsync)).await {
            Ok(response) => response.map(axum::body::Body::new),
            Err(error) => {
                tracing::warn!(error = ?error, "the object storage failed");
                let mut response = axum::response::Response::default();
                *response.status_mut() = axum::http::StatusCode::INTERNAL_SERVER_ERROR;
                response
            }
        }
    }

    /// Where the contexts with these hashes are; says which one was not uploaded.
    pub(crate) fn contexts(&self, hashes: &[String]) -> Result<Vec<PathBuf>, String> {
        let one = |hash: &String| {
            let path = self.objects.file(&format!("{ORGANIZATION}/{hash}/context.tar"));
            path.filter(|path| objects::touch(path)).ok_or_else(|| {
                format!("the context {hash} is not there: it was not uploaded, or was deleted because no build had used it for a week. Create again, which uploads it")
            })
        };
        hashes.iter().map(one).collect()
    }

    /// Deletes what nobody has used for long; blocks.
    pub(crate) fn clean(&self) {
        self.objects.clean(SystemTime::now(), UNUSED, STALE);
    }
}
