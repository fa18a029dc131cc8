//! Into a sandbox.

use std::collections::BTreeSet;
use std::fs::Metadata;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use daytona_core::{Error, ErrorKind, Permissions, Sandbox, Upload, UploadSource};
use tokio::task::JoinSet;
use walkdir::DirEntry;

use super::{BATCH, Copied, bar, join, transfer};
use crate::context::{Context, Failure, Outcome};

/// What a file has that nobody gave another mode.
const USUAL: u32 = 0o644;
/// Modes set at once.
const PARALLEL: usize = 16;

struct File {
    local: PathBuf,
    remote: String,
    size: u64,
    mode: u32,
}

/// What is to be there in the end.
#[derive(Default)]
struct Plan {
    files: Vec<File>,
    folders: BTreeSet<String>,
    /// What cannot be copied, and why.
    skipped: Vec<String>,
}

pub(super) async fn copy(
    context: &Context,
    sandbox: &Sandbox,
    sources: &[PathBuf],
    destination: &str,
) -> Outcome<Copied> {
    let is_folder = match sandbox.fs().get_file_info(destination, None).await {
        Ok(info) => info.is_dir,
        Err(error) if error.kind().is(ErrorKind::NotFound) => false,
        Err(error) => return Err(error.into()),
    };
    if !is_folder && sources.len() > 1 && !destination.ends_with('/') {
        return Err(Failure::usage(format!(
            "{destination} is not a folder: more than one thing cannot be copied to it"
        )));
    }
    let mut plan = Plan::default();
    for source in sources {
        let metadata = std::fs::metadata(source).map_err(|error| cannot_read(source, &error))?;
        let named = is_folder || destination.ends_with('/');
        let target = if named { join(destination, &name(source)?) } else { destination.to_owned() };
        plan.add(source, &metadata, target)?;
    }
    let bar = bar(context, plan.files.iter().map(|file| file.size).sum());
    let mut copied = Copied::default();
    for folder in plan.bare_folders() {
        sandbox.fs().create_folder(folder, "755", None).await?;
    }
    for batch in plan.files.chunks(BATCH) {
        if let Some(file) = batch.first() {
            bar.set_message(file.remote.clone());
        }
        let upload =
            |file: &File| Upload { source: UploadSource::Path(file.local.clone()), destination: file.remote.clone() };
        sandbox.fs().upload_files(batch.iter().map(upload).collect(), transfer(&bar, copied.bytes)).await?;
        copied.files += batch.len() as u64;
        copied.bytes += batch.iter().map(|file| file.size).sum::<u64>();
        bar.set_position(copied.bytes);
        set_modes(sandbox, batch).await?;
    }
    bar.finish_and_clear();
    copied.failed = plan.skipped;
    Ok(copied)
}

/// Its own name, also that of `.` and `..`.
fn name(source: &Path) -> Outcome<String> {
    let whole = source.canonicalize().map_err(|error| cannot_read(source, &error))?;
    let own = source.file_name().or_else(|| whole.file_name());
    let own = own.ok_or_else(|| Failure::usage(format!("{} has no name: say where it is to go", source.display())))?;
    utf8(Path::new(own))
}

fn utf8(path: &Path) -> Outcome<String> {
    let text = path.to_str().ok_or_else(|| Failure::new(format!("{} is not UTF-8: rename it", path.display())))?;
    Ok(text.to_owned())
}

fn cannot_walk(error: &walkdir::Error) -> String {
    let path = error.path().unwrap_or(Path::new("")).display();
    match (error.loop_ancestor(), error.io_error()) {
        (Some(ancestor), _) => format!("{path} leads back to {}", ancestor.display()),
        (None, Some(error)) => format!("{path}: {error}"),
        (None, None) => error.to_string(),
    }
}

fn cannot_read(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("{}: {error}", path.display()))
}

impl Plan {
    fn add(&mut self, source: &Path, metadata: &Metadata, target: String) -> Outcome {
        if !metadata.is_dir() {
            if !metadata.is_file() {
                return Err(Failure::new(format!("{} is neither a file nor a folder", source.display())));
            }
            self.files.push(file(source, metadata, target));
            return Ok(());
        }
        // What a link leads to is copied, as `scp -r` does it; one that leads nowhere or in a circle is not.
        for entry in walkdir::WalkDir::new(source).follow_links(true).sort_by_file_name() {
            if let Err(reason) =
                entry.map_err(|error| cannot_walk(&error)).and_then(|entry| self.add_entry(source, &entry, &target))
            {
                self.skipped.push(reason);
            }
        }
        Ok(())
    }

    fn add_entry(&mut self, source: &Path, entry: &DirEntry, target: &str) -> Result<(), String> {
        let below = entry.path().strip_prefix(source).unwrap_or(entry.path());
        let relative = below.to_str().ok_or_else(|| format!("{} is not UTF-8: rename it", entry.path().display()))?;
        let remote = if relative.is_empty() { target.to_owned() } else { join(target, relative) };
        let metadata = entry.metadata().map_err(|error| cannot_walk(&error))?;
        if metadata.is_dir() {
            self.folders.insert(remote);
        } else if metadata.is_file() {
            self.files.push(file(entry.path(), &metadata, remote));
        } else {
            return Err(format!("{} is neither a file nor a folder", entry.path().display()));
        }
        Ok(())
    }

    /// Folders that no file brings along.
    fn bare_folders(&self) -> impl Iterator<Item = &str> {
        let mut made: BTreeSet<&str> = BTreeSet::new();
        let below = self.files.iter().map(|file| file.remote.as_str()).chain(self.folders.iter().map(String::as_str));
        for path in below {
            let mut path = path;
            while let Some((folder, _)) = path.rsplit_once('/') {
                if !made.insert(folder) {
                    break;
                }
                path = folder;
            }
        }
        self.folders.iter().map(String::as_str).filter(move |folder| !made.contains(folder))
    }
}

fn file(source: &Path, metadata: &Metadata, remote: String) -> File {
    File { local: source.to_owned(), remote, size: metadata.len(), mode: metadata.permissions().mode() }
}

/// Programs stay programs, and what is private stays so.
async fn set_modes(sandbox: &Sandbox, files: &[File]) -> Outcome {
    let others: Vec<&File> = files.iter().filter(|file| file.mode & 0o777 != USUAL).collect();
    for some in others.chunks(PARALLEL) {
        let mut work: JoinSet<Result<(), Error>> = JoinSet::new();
        for file in some {
            let (fs, path) = (sandbox.fs(), file.remote.clone());
            let permissions =
                Permissions { mode: Some(format!("{:03o}", file.mode & 0o777)), ..Permissions::default() };
            work.spawn(async move { fs.set_file_permissions(&path, &permissions, None).await });
        }
        for result in work.join_all().await {
            result?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_without_files_are_made() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["full", "empty/deeper"] {
            std::fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        std::fs::write(dir.path().join("full/file"), "x").unwrap();
        let mut plan = Plan::default();
        plan.add(dir.path(), &std::fs::metadata(dir.path()).unwrap(), "/there".to_owned()).unwrap();
        assert_eq!(plan.files.iter().map(|file| file.remote.as_str()).collect::<Vec<_>>(), ["/there/full/file"]);
        assert_eq!(plan.bare_folders().collect::<Vec<_>>(), ["/there/empty/deeper"]);
    }

    #[test]
    fn a_folder_is_called_by_its_real_name() {
        assert!(!name(Path::new(".")).unwrap().is_empty());
        assert_eq!(name(Path::new("/usr/")).unwrap(), "usr");
        assert!(name(Path::new("/nowhere/x")).is_err());
    }
}
