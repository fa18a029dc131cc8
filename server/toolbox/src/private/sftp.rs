//! The files over SFTP, as OpenSSH's clients speak it.

use std::collections::HashMap;
use std::fs::{File, Metadata, OpenOptions, Permissions, ReadDir};
use std::io::{self, Cursor};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown, fchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode as Http;
use axum::response::Response;
use russh_sftp::protocol::{
    Attrs, Data, File as Entry, FileAttributes, Handle, Name, OpenFlags, Packet, Status, StatusCode, Version,
};
use russh_sftp::server::{Handler, StatusReply};
use rustix::fs::{AtFlags, CWD, OFlags, Timespec, Timestamps, futimens, utimensat};
use tokio::io::AsyncReadExt;

use super::sftp_names::{decode, encode, strings, translated};
use super::{switch, upgrade};
use crate::App;
use crate::error::{Error, Result};
use crate::files::path::{Last, resolve_os, resolve_real_os};

/// The most bytes of a file in one answer.
const READ_LIMIT: u32 = 255 << 10;
/// Entries of a directory in one answer.
const ENTRIES: usize = 100;
/// Files and directories a client may have open at once.
const HANDLES: usize = 1000;

const POSIX_RENAME: &str = "posix-rename@openssh.com";
const FSYNC: &str = "fsync@openssh.com";

/// `GET /private/sftp`
pub(super) async fn sftp(State(app): State<App>, mut request: Request) -> Result<Response> {
    let connection = upgrade(&mut request)?;
    Ok(switch(connection, async move |early, stream| {
        let (read, write) = stream.into_split();
        let stream = translated(Cursor::new(early).chain(read), write);
        russh_sftp::server::run(stream, Session { app, open: HashMap::new(), count: 0 }).await;
        Ok(())
    }))
}

type Reply<T> = std::result::Result<T, StatusReply>;

struct Session {
    app: App,
    open: HashMap<String, Open>,
    count: u64,
}

enum Open {
    File {
        file: Arc<File>,
        append: bool,
    },
    /// `None` while it is being read.
    Dir(Option<ReadDir>),
}

impl Session {
    fn path(&self, asked: &str, last: Last) -> Reply<PathBuf> {
        let asked = decode(if asked.is_empty() { "." } else { asked });
        resolve_os(&self.app, &asked, last).map_err(|error| refused(&error))
    }

    fn add(&mut self, id: u32, open: Open) -> Reply<Handle> {
        if self.open.len() >= HANDLES {
            return Err(StatusCode::Failure.with_message(format!("{HANDLES} files are open; close some")));
        }
        self.count += 1;
        let handle = self.count.to_string();
        self.open.insert(handle.clone(), open);
        Ok(Handle { id, handle })
    }

    fn file(&self, handle: &str) -> Reply<(Arc<File>, bool)> {
        match self.open.get(handle) {
            Some(Open::File { file, append }) => Ok((Arc::clone(file), *append)),
            _ => Err(StatusCode::Failure.with_message("no such handle")),
        }
    }
}

/// Runs disk work off the event loop.
async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Reply<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(|error| failed(&error)),
        Err(_) => Err(StatusCode::Failure.into()),
    }
}

fn failed(error: &io::Error) -> StatusReply {
    let code = match error.kind() {
        io::ErrorKind::NotFound => StatusCode::NoSuchFile,
        io::ErrorKind::PermissionDenied => StatusCode::PermissionDenied,
        _ => StatusCode::Failure,
    };
    code.with_message(error.to_string())
}

fn refused(error: &Error) -> StatusReply {
    let code = match error.status {
        Http::NOT_FOUND => StatusCode::NoSuchFile,
        Http::FORBIDDEN => StatusCode::PermissionDenied,
        _ => StatusCode::Failure,
    };
    code.with_message(error.message.to_string())
}

fn done(id: u32) -> Status {
    Status {
        id,
        status_code: StatusCode::Ok,
        error_message: StatusCode::Ok.to_string(),
        language_tag: "en-US".to_owned(),
    }
}

fn attributes(meta: &Metadata) -> FileAttributes {
    let time = |seconds: i64| Some(u32::try_from(seconds).unwrap_or(0));
    FileAttributes {
        size: Some(meta.len()),
        uid: Some(meta.uid()),
        gid: Some(meta.gid()),
        permissions: Some(meta.mode()),
        atime: time(meta.atime()),
        mtime: time(meta.mtime()),
        ..FileAttributes::default()
    }
}

/// Sets what is given.
fn set(path: &Path, attrs: &FileAttributes) -> io::Result<()> {
    if let Some(size) = attrs.size {
        OpenOptions::new().write(true).open(path)?.set_len(size)?;
    }
    if let Some(mode) = attrs.permissions {
        std::fs::set_permissions(path, Permissions::from_mode(mode & 0o7777))?;
    }
    if attrs.uid.is_some() || attrs.gid.is_some() {
        chown(path, attrs.uid, attrs.gid)?;
    }
    if let Some(times) = times(attrs) {
        utimensat(CWD, path, &times, AtFlags::empty())?;
    }
    Ok(())
}

/// The same for an open file.
fn set_open(file: &File, attrs: &FileAttributes) -> io::Result<()> {
    if let Some(size) = attrs.size {
        file.set_len(size)?;
    }
    if let Some(mode) = attrs.permissions {
        file.set_permissions(Permissions::from_mode(mode & 0o7777))?;
    }
    if attrs.uid.is_some() || attrs.gid.is_some() {
        fchown(file, attrs.uid, attrs.gid)?;
    }
    if let Some(times) = times(attrs) {
        futimens(file, &times)?;
    }
    Ok(())
}

fn times(attrs: &FileAttributes) -> Option<Timestamps> {
    let time = |seconds: u32| Timespec { tv_sec: seconds.into(), tv_nsec: 0 };
    Some(Timestamps { last_access: time(attrs.atime?), last_modification: time(attrs.mtime?) })
}

impl Handler for Session {
    type Error = StatusReply;

    fn unimplemented(&self) -> StatusReply {
        StatusCode::OpUnsupported.into()
    }

    async fn init(&mut self, _: u32, _: HashMap<String, String>) -> Reply<Version> {
        let extensions = [(POSIX_RENAME, "1"), (FSYNC, "1")];
        let extensions = extensions.into_iter().map(|(name, version)| (name.to_owned(), version.to_owned()));
        Ok(Version { extensions: extensions.collect(), ..Version::new() })
    }

    async fn open(&mut self, id: u32, filename: String, flags: OpenFlags, attrs: FileAttributes) -> Reply<Handle> {
        let path = self.path(&filename, Last::Follow)?;
        let file = on_disk(move || {
            let system = (OFlags::NONBLOCK | OFlags::NOCTTY).bits();
            let file = OpenOptions::from(flags)
                .mode(attrs.permissions.unwrap_or(0o666) & 0o7777)
                .custom_flags(system.cast_signed())
                .open(path)?;
            if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("not a regular file")) }
        })
        .await?;
        self.add(id, Open::File { file: Arc::new(file), append: flags.contains(OpenFlags::APPEND) })
    }

    async fn close(&mut self, id: u32, handle: String) -> Reply<Status> {
        match self.open.remove(&handle) {
            Some(_) => Ok(done(id)),
            None => Err(StatusCode::Failure.with_message("no such handle")),
        }
    }

    async fn read(&mut self, id: u32, handle: String, offset: u64, len: u32) -> Reply<Data> {
        let (file, _) = self.file(&handle)?;
        let data = on_disk(move || {
            let mut data = vec![0; usize::try_from(len.min(READ_LIMIT)).unwrap_or_default()];
            let length = file.read_at(&mut data, offset)?;
            data.truncate(length);
            Ok(data)
        })
        .await?;
        if data.is_empty() && len > 0 { Err(StatusCode::Eof.into()) } else { Ok(Data { id, data }) }
    }

    async fn write(&mut self, id: u32, handle: String, offset: u64, data: Vec<u8>) -> Reply<Status> {
        let (file, append) = self.file(&handle)?;
        on_disk(
            move || {
                if append { io::Write::write_all(&mut &*file, &data) } else { file.write_all_at(&data, offset) }
            },
        )
        .await?;
        Ok(done(id))
    }

    async fn lstat(&mut self, id: u32, path: String) -> Reply<Attrs> {
        let path = self.path(&path, Last::Keep)?;
        let meta = on_disk(move || path.symlink_metadata()).await?;
        Ok(Attrs { id, attrs: attributes(&meta) })
    }

    async fn stat(&mut self, id: u32, path: String) -> Reply<Attrs> {
        let path = self.path(&path, Last::Follow)?;
        let meta = on_disk(move || path.metadata()).await?;
        Ok(Attrs { id, attrs: attributes(&meta) })
    }

    async fn fstat(&mut self, id: u32, handle: String) -> Reply<Attrs> {
        let (file, _) = self.file(&handle)?;
        let meta = on_disk(move || file.metadata()).await?;
        Ok(Attrs { id, attrs: attributes(&meta) })
    }

    async fn setstat(&mut self, id: u32, path: String, attrs: FileAttributes) -> Reply<Status> {
        let path = self.path(&path, Last::Follow)?;
        on_disk(move || set(&path, &attrs)).await?;
        Ok(done(id))
    }

    async fn fsetstat(&mut self, id: u32, handle: String, attrs: FileAttributes) -> Reply<Status> {
        let (file, _) = self.file(&handle)?;
        on_disk(move || set_open(&file, &attrs)).await?;
        Ok(done(id))
    }

    async fn opendir(&mut self, id: u32, path: String) -> Reply<Handle> {
        let path = self.path(&path, Last::Follow)?;
        let dir = on_disk(move || path.read_dir()).await?;
        self.add(id, Open::Dir(Some(dir)))
    }

    async fn readdir(&mut self, id: u32, handle: String) -> Reply<Name> {
        let Some(mut dir) = self.open.get_mut(&handle).and_then(|open| match open {
            Open::Dir(dir) => dir.take(),
            Open::File { .. } => None,
        }) else {
            return Err(StatusCode::Failure.with_message("no such handle"));
        };
        let (files, dir) = on_disk(move || {
            let mut files = Vec::new();
            for entry in dir.by_ref().take(ENTRIES) {
                let entry = entry?;
                // One that is gone by now has no attributes.
                let attrs = entry.metadata().map_or_else(|_| FileAttributes::empty(), |meta| attributes(&meta));
                files.push(Entry::new(encode(&entry.file_name()), attrs));
            }
            Ok((files, dir))
        })
        .await?;
        if let Some(open) = self.open.get_mut(&handle) {
            *open = Open::Dir(Some(dir));
        }
        if files.is_empty() { Err(StatusCode::Eof.into()) } else { Ok(Name { id, files }) }
    }

    async fn remove(&mut self, id: u32, filename: String) -> Reply<Status> {
        let path = self.path(&filename, Last::Keep)?;
        on_disk(move || std::fs::remove_file(path)).await?;
        Ok(done(id))
    }

    async fn mkdir(&mut self, id: u32, path: String, attrs: FileAttributes) -> Reply<Status> {
        let path = self.path(&path, Last::Keep)?;
        let mode = attrs.permissions.unwrap_or(0o777) & 0o7777;
        on_disk(move || std::fs::DirBuilder::new().mode(mode).create(path)).await?;
        Ok(done(id))
    }

    async fn rmdir(&mut self, id: u32, path: String) -> Reply<Status> {
        let path = self.path(&path, Last::Keep)?;
        on_disk(move || std::fs::remove_dir(path)).await?;
        Ok(done(id))
    }

    async fn realpath(&mut self, id: u32, path: String) -> Reply<Name> {
        let asked = decode(if path.is_empty() { "." } else { &path });
        let path = resolve_real_os(&self.app, &asked).map_err(|error| refused(&error))?;
        // Without the dots of a path that is no link.
        let path: PathBuf = path.components().collect();
        Ok(Name { id, files: vec![Entry::dummy(encode(path.as_os_str()))] })
    }

    async fn rename(&mut self, id: u32, oldpath: String, newpath: String) -> Reply<Status> {
        let (from, to) = (self.path(&oldpath, Last::Keep)?, self.path(&newpath, Last::Keep)?);
        on_disk(move || {
            if to.symlink_metadata().is_ok() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            std::fs::rename(from, to)
        })
        .await?;
        Ok(done(id))
    }

    async fn readlink(&mut self, id: u32, path: String) -> Reply<Name> {
        let path = self.path(&path, Last::Keep)?;
        let target = on_disk(move || std::fs::read_link(path)).await?;
        Ok(Name { id, files: vec![Entry::dummy(encode(target.as_os_str()))] })
    }

    /// OpenSSH's clients, and those that follow them, name the target first.
    async fn symlink(&mut self, id: u32, target: String, link: String) -> Reply<Status> {
        let link = self.path(&link, Last::Keep)?;
        on_disk(move || std::os::unix::fs::symlink(decode(&target), link)).await?;
        Ok(done(id))
    }

    async fn extended(&mut self, id: u32, request: String, data: Vec<u8>) -> Reply<Packet> {
        match (request.as_str(), strings(&data).as_deref()) {
            (POSIX_RENAME, Some([from, to])) => {
                let (from, to) = (self.path(from, Last::Keep)?, self.path(to, Last::Keep)?);
                on_disk(move || std::fs::rename(from, to)).await?;
            }
            (FSYNC, Some([handle])) => {
                let (file, _) = self.file(handle)?;
                on_disk(move || file.sync_all()).await?;
            }
            (POSIX_RENAME | FSYNC, _) => return Err(StatusCode::BadMessage.into()),
            _ => return Err(StatusCode::OpUnsupported.into()),
        }
        Ok(Packet::Status(done(id)))
    }
}
