//! Build logs: a file for each build, followed while it grows.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

/// Where they are.
pub(crate) const FOLDER: &str = "build-logs";
/// Bytes that are read of a log at once.
const PIECE: usize = 64 << 10;
/// What a log may become; more is left out, and it says so.
const LIMIT: u64 = 16 << 20;

/// How far a log is.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    length: u64,
    ended: bool,
}

/// The log of a build under way.
pub(crate) struct BuildLog {
    file: Mutex<File>,
    progress: watch::Sender<Progress>,
}

impl BuildLog {
    /// Adds text as it is.
    pub(crate) fn add(&self, text: &[u8]) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let length = self.progress.borrow().length;
        // The note that the rest is left out lies beyond the limit.
        if length > LIMIT {
            return;
        }
        let fits = usize::try_from(LIMIT - length).map_or(text.len(), |room| room.min(text.len()));
        let (text, cut) = (&text[..fits], fits < text.len());
        // On a full disk the build itself says what is wrong.
        let note: &[u8] = if cut { b"\n[the log is too long: the rest of it is left out]\n" } else { b"" };
        if file.write_all(text).and_then(|()| file.write_all(note)).is_ok() {
            let written = (text.len() + note.len()) as u64;
            self.progress.send_modify(|progress| progress.length += written);
        }
    }

    /// Adds a line.
    pub(crate) fn line(&self, text: &str) {
        self.add(format!("{text}\n").as_bytes());
    }

    fn end(&self) {
        self.progress.send_modify(|progress| progress.ended = true);
    }
}

impl daytona_images::LogSink for BuildLog {
    fn write(&self, text: &[u8]) {
        self.add(text);
    }
}

/// The logs of all builds.
pub(crate) struct BuildLogs {
    dir: PathBuf,
    open: Mutex<HashMap<String, Arc<BuildLog>>>,
}

impl BuildLogs {
    pub(crate) fn new(data_dir: &Path) -> Self {
        Self { dir: data_dir.join(FOLDER), open: Mutex::default() }
    }

    fn path(&self, id: &str) -> PathBuf {
        self.dir.join(format!("{id}.log"))
    }

    fn open(&self, id: &str) -> Option<Arc<BuildLog>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// A new log for what has this id.
    pub(crate) fn begin(&self, id: &str) -> io::Result<Arc<BuildLog>> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(self.path(id))?;
        let log = Arc::new(BuildLog { file: Mutex::new(file), progress: watch::Sender::default() });
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned(), Arc::clone(&log));
        Ok(log)
    }

    /// The log that was begun, or a new one.
    pub(crate) fn begun(&self, id: &str) -> io::Result<Arc<BuildLog>> {
        self.open(id).map_or_else(|| self.begin(id), Ok)
    }

    /// Nothing is added any more.
    pub(crate) fn end(&self, id: &str) {
        let log = self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        if let Some(log) = log {
            log.end();
        }
    }

    /// Forgets a log.
    pub(crate) fn remove(&self, id: &str) {
        self.end(id);
        let _ = fs::remove_file(self.path(id));
    }

    /// Reads a log; with `follow` until its build has ended. Empty where there is none.
    pub(crate) fn read(&self, id: &str, follow: bool) -> Reader {
        let log = self.open(id).filter(|_| follow);
        Reader { file: File::open(self.path(id)).ok(), progress: log.map(|log| log.progress.subscribe()), at: 0 }
    }
}

/// Reads a log in pieces.
pub(crate) struct Reader {
    file: Option<File>,
    progress: Option<watch::Receiver<Progress>>,
    at: u64,
}

impl Reader {
    /// What comes next; waits for it while the build goes on.
    pub(crate) async fn next(&mut self) -> Option<io::Result<Bytes>> {
        let file = self.file.as_mut()?;
        loop {
            let progress = self.progress.as_mut().map(|progress| *progress.borrow_and_update());
            let mut piece = vec![0; PIECE];
            let read = file.seek(SeekFrom::Start(self.at)).and_then(|_| file.read(&mut piece));
            match read {
                Ok(0) => {}
                Ok(read) => {
                    self.at += read as u64;
                    piece.truncate(read);
                    return Some(Ok(piece.into()));
                }
                Err(error) => return Some(Err(error)),
            }
            if progress.is_none_or(|progress| progress.ended) {
                return None;
            }
            // Its sender goes with the end of the build: whatever is there then is read once more.
            if self.progress.as_mut()?.changed().await.is_err() {
                self.progress = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(mut reader: Reader) -> String {
        let mut text = Vec::new();
        while let Some(piece) = reader.next().await {
            text.extend(piece.unwrap());
        }
        String::from_utf8(text).unwrap()
    }

    #[tokio::test]
    async fn a_log_is_followed_to_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let logs = Arc::new(BuildLogs::new(dir.path()));
        let log = logs.begin("a").unwrap();
        log.line("one");
        assert_eq!(all(logs.read("a", false)).await, "one\n");
        let follower = tokio::spawn(all(logs.read("a", true)));
        tokio::task::yield_now().await;
        log.line("two");
        drop(log);
        logs.end("a");
        assert_eq!(follower.await.unwrap(), "one\ntwo\n");
        assert_eq!(all(logs.read("a", true)).await, "one\ntwo\n");
        logs.remove("a");
        assert_eq!(all(logs.read("a", true)).await, "");
    }

    #[tokio::test]
    async fn a_log_has_a_limit() {
        let dir = tempfile::tempdir().unwrap();
        let logs = BuildLogs::new(dir.path());
        let log = logs.begin("a").unwrap();
        for _ in 0..18 {
            log.add(&vec![b'x'; 1 << 20]);
        }
        let text = all(logs.read("a", false)).await;
        assert!(text.len() < 17 << 20 && text.ends_with("left out]\n"));
    }
}
