//! Uploads of build contexts to the object storage that the API names.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};
use http::{HeaderMap, Method};
use reqwest::Url;
use rusty_s3::actions::{CreateMultipartUpload, ListObjectsV2, S3Action};
use rusty_s3::{Bucket, Credentials, UrlStyle};
use serde::Deserialize;
use tokio::sync::mpsc;

use crate::background;
use crate::client::{Client, Link};
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Image, Tree};
use crate::operation::Operation;
use crate::transfer::Progress;
use crate::transport::{Call, Transport};

/// The smallest part that object storages take, and how many they take at most.
const PART: u64 = 5 << 20;
const MOST_PARTS: u64 = 9_000;
/// Parts on their way at once: with one that is filled and one that waits, what an upload holds in memory.
const AT_ONCE: usize = 4;
/// For a part; 5 MiB in that time is 17 KiB a second.
const PART_LIMIT: Duration = Duration::from_secs(300);
const REQUEST_LIMIT: Duration = Duration::from_secs(60);
/// How long a signed URL is good for, retries included.
const SIGNED_FOR: Duration = Duration::from_secs(1800);
const OPERATION: Operation = Operation::UPLOAD_CONTEXT;

/// What `GET /object-storage/push-access` answers. Without `Debug`: it holds secrets.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Access {
    #[serde(rename = "accessKey")]
    key: String,
    secret: String,
    session_token: String,
    storage_url: String,
    organization_id: String,
    bucket: String,
    region: String,
}

/// Uploads what an image copies, unless it is there already, and returns the hash of each context.
pub(crate) async fn upload(client: &Client, image: &Image, progress: Option<&Progress>) -> Result<Vec<String>> {
    if image.context_list.is_empty() {
        return Ok(Vec::new());
    }
    let contexts = image.context_list.clone();
    let stop = StopOnDrop::default();
    let stopped = Arc::clone(&stop.0);
    // Before anything is asked for: what is wrong with local files is found here.
    let trees = blocking(move || {
        let hashed = |context| Tree::read(context).and_then(|tree| Ok((tree.hash(&stopped)?, tree)));
        contexts.iter().map(hashed).collect::<Result<Vec<_>>>()
    })
    .await?;
    let link = client.link().await?;
    let access: Access =
        link.transport.json(Call::get(OPERATION, link.url(&["object-storage", "push-access"])?)).await?;
    let storage = Storage::new(link, &access)?;
    let sent = Sent { total: trees.iter().map(|(_, tree)| tree.size()).sum(), bytes: AtomicU64::new(0), progress };
    let mut hashes = Vec::with_capacity(trees.len());
    for (hash, tree) in trees {
        let prefix = format!("{}/{hash}/", access.organization_id);
        let size = tree.size();
        // The same context may be copied twice.
        if hashes.contains(&hash) || storage.has(&prefix).await? {
            sent.add(size);
        } else {
            storage.put(&format!("{prefix}context.tar"), tree, &sent).await?;
        }
        hashes.push(hash);
    }
    Ok(hashes)
}

/// What the caller is told.
struct Sent<'a> {
    bytes: AtomicU64,
    total: u64,
    progress: Option<&'a Progress>,
}

impl Sent<'_> {
    fn add(&self, bytes: u64) {
        let sent = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if let Some(progress) = self.progress {
            progress(sent.min(self.total), Some(self.total));
        }
    }
}

/// Ends blocking work that nobody waits for any more.
#[derive(Default)]
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(background::stopped())).map_err(|error| error.with_operation(OPERATION))
}

/// One bucket.
struct Storage<'a> {
    link: &'a Link,
    bucket: Bucket,
    credentials: Credentials,
}

impl<'a> Storage<'a> {
    fn new(link: &'a Link, access: &Access) -> Result<Self> {
        let strange = |what: &str| {
            Error::new(ErrorKind::Other, format!("the server names an object storage that cannot be used: {what}"))
        };
        let url = Url::parse(&access.storage_url).map_err(|error| strange(&error.to_string()))?;
        let bucket = Bucket::new(url, UrlStyle::Path, access.bucket.clone(), access.region.clone())
            .map_err(|error| strange(&error.to_string()))?;
        let credentials = Credentials::new_with_token(&*access.key, &*access.secret, &*access.session_token);
        Ok(Self { link, bucket, credentials })
    }

    /// Whether anything is stored beneath a prefix.
    async fn has(&self, prefix: &str) -> Result<bool> {
        let key = format!("{prefix}context.tar");
        let head = self.bucket.head_object(Some(&self.credentials), &key).sign(SIGNED_FOR);
        match self.send(Method::HEAD, head, None).await {
            Ok(_) => return Ok(true),
            Err(error) if error.kind().is(ErrorKind::NotFound) => return Ok(false),
            // So a storage answers that does not say what is there.
            Err(error) if error.kind().is(ErrorKind::Forbidden) => {}
            Err(error) => return Err(error),
        }
        let mut list = self.bucket.list_objects_v2(Some(&self.credentials));
        list.with_prefix(prefix);
        list.with_max_keys(1);
        match self.send(Method::GET, list.sign(SIGNED_FOR), None).await {
            Ok((_, body)) => {
                Ok(ListObjectsV2::parse_response(&text(&body)).is_ok_and(|found| !found.contents.is_empty()))
            }
            Err(error) if error.kind().is(ErrorKind::Forbidden) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Stores the archive of a context, while it is made.
    async fn put(&self, key: &str, tree: Tree, sent: &Sent<'_>) -> Result<()> {
        let part = PART.max(tree.size() / MOST_PARTS + 1);
        let (sender, mut parts) = mpsc::channel(1);
        let packing = blocking(move || {
            let mut out = Parts { size: usize::try_from(part).unwrap_or(usize::MAX), buffer: BytesMut::new(), sender };
            tree.write(&mut out)?;
            out.send().map_err(|error| Error::caller(error.to_string()))
        });
        // Dropped at its end, however that comes, the receiver ends the packing.
        let storing = async move {
            let Some(first) = parts.recv().await else { return Ok(()) };
            match parts.recv().await {
                None => self.put_whole(key, first, sent).await,
                Some(second) => self.put_parts(key, [first, second], &mut parts, sent).await,
            }
        };
        let (packed, stored) = tokio::join!(packing, storing);
        // Of a packing that was ended so the error says less.
        stored.and(packed)
    }

    async fn put_whole(&self, key: &str, body: Bytes, sent: &Sent<'_>) -> Result<()> {
        let size = body.len() as u64;
        let url = self.bucket.put_object(Some(&self.credentials), key).sign(SIGNED_FOR);
        self.send(Method::PUT, url, Some(body)).await?;
        sent.add(size);
        Ok(())
    }

    async fn put_parts(
        &self,
        key: &str,
        begin: [Bytes; 2],
        rest: &mut mpsc::Receiver<Bytes>,
        sent: &Sent<'_>,
    ) -> Result<()> {
        let credentials = Some(&self.credentials);
        let url = self.bucket.create_multipart_upload(credentials, key).sign(SIGNED_FOR);
        let (_, body) = self.send(Method::POST, url, None).await?;
        let upload = CreateMultipartUpload::parse_response(&text(&body)).map_err(|error| {
            Error::new(ErrorKind::Other, format!("the object storage's answer is strange: {error}"))
        })?;
        let id = upload.upload_id();
        let abort = self.bucket.abort_multipart_upload(credentials, key, id).sign(SIGNED_FOR);
        let abort = AbortOnDrop(Some((Arc::clone(&self.link.background), abort)));
        let parts = stream::iter(begin).chain(stream::poll_fn(|context| rest.poll_recv(context)));
        let etags: Vec<String> = parts
            .enumerate()
            .map(|(index, body)| async move {
                let number = u16::try_from(index + 1).map_err(|_| Error::invalid("the context is too large"))?;
                let size = body.len() as u64;
                let url = self.bucket.upload_part(credentials, key, number, id).sign(SIGNED_FOR);
                let (headers, _) = self.send(Method::PUT, url, Some(body)).await?;
                sent.add(size);
                let etag = headers.get(http::header::ETAG).and_then(|etag| etag.to_str().ok());
                etag.map(str::to_owned)
                    .ok_or_else(|| Error::new(ErrorKind::Other, "the object storage does not name the part it stored"))
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let complete = self.bucket.complete_multipart_upload(credentials, key, id, etags.iter().map(String::as_str));
        let url = complete.sign(SIGNED_FOR);
        let (_, body) = self.send(Method::POST, url, Some(complete.body().into())).await?;
        // An answer that was begun before the storage knew how it ends.
        if text(&body).contains("<Error>") {
            return Err(Error::from_response(http::StatusCode::INTERNAL_SERVER_ERROR, &HeaderMap::new(), &body));
        }
        abort.not_needed();
        Ok(())
    }

    async fn send(&self, method: Method, url: Url, body: Option<Bytes>) -> Result<(HeaderMap, Bytes)> {
        let limit = if body.is_some() { PART_LIMIT } else { REQUEST_LIMIT };
        let mut call = Call::new(OPERATION, method, url).foreign().limit(Some(limit));
        if let Some(body) = body {
            call = call.body(body);
        }
        self.link.transport.bytes(&call).await.map_err(|error| match error.kind() {
            kind if kind.is(ErrorKind::Forbidden) => {
                error.with_hint("The object storage refused the credentials that the API gave for the upload")
            }
            kind if kind.is(ErrorKind::Connection) => error.with_hint(
                "That is the object storage which the API names for build contexts. It must be in reach of this machine",
            ),
            _ => error,
        })
    }
}

fn text(body: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(body)
}

/// What an upload that ends early leaves is taken back, whoever dropped it.
struct AbortOnDrop(Option<(Arc<Transport>, Url)>);

impl AbortOnDrop {
    fn not_needed(mut self) {
        self.0 = None;
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        if let Some((transport, url)) = self.0.take() {
            background::spawn_if_any(async move {
                let call = Call::new(OPERATION, Method::DELETE, url).foreign().limit(Some(REQUEST_LIMIT));
                if let Err(error) = transport.bytes(&call).await {
                    tracing::debug!(%error, "the upload of a context could not be taken back");
                }
            });
        }
    }
}

/// Cuts what is written into parts of one size.
struct Parts {
    size: usize,
    buffer: BytesMut,
    sender: mpsc::Sender<Bytes>,
}

impl Parts {
    fn send(&mut self) -> std::io::Result<()> {
        let part = self.buffer.split().freeze();
        if part.is_empty() {
            return Ok(());
        }
        self.sender.blocking_send(part).map_err(|_| std::io::Error::other("the upload has ended"))
    }
}

impl std::io::Write for Parts {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.buffer.len() == self.size {
            self.send()?;
        }
        let taken = bytes.len().min(self.size - self.buffer.len());
        if self.buffer.capacity() == 0 {
            self.buffer.reserve(self.size.min(usize::try_from(PART).unwrap_or(usize::MAX)));
        }
        self.buffer.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
