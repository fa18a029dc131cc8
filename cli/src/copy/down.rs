//! Out of a sandbox.

use std::collections::VecDeque;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use daytona_core::wire::files::FileInfo;
use daytona_core::{Download, DownloadTarget, ErrorKind, Sandbox};

use super::{BATCH, Copied, bar, join, transfer};
use crate::context::{Context, Failure, Outcome};

/// Levels listed at once.
const DEPTH: i64 = 100;

struct File {
    remote: String,
    local: PathBuf,
    size: u64,
    /// As it is there, if the server says.
    mode: Option<u32>,
}

#[derive(Default)]
struct Plan {
    files: Vec<File>,
    folders: Vec<PathBuf>,
    /// Neither files nor folders.
    skipped: Vec<String>,
}

pub(super) async fn copy(context: &Context, sources: &[(Sandbox, String)], destination: &Path) -> Outcome<Copied> {
    let is_folder = destination.is_dir();
    let named = is_folder || destination.as_os_str().to_string_lossy().ends_with('/');
    if !named && sources.len() > 1 {
        let shown = destination.display();
        return Err(Failure::usage(format!("{shown} is not a folder: more than one thing cannot be copied to it")));
    }
    let mut copied = Copied::default();
    for (sandbox, source) in sources {
        let mut plan = Plan::default();
        let info = sandbox.fs().get_file_info(source, None).await?;
        let target = if named { destination.join(name(sandbox, source).await?) } else { destination.to_owned() };
        if info.is_dir {
            plan.add_folder(sandbox, source, &target).await?;
        } else {
            plan.add(source.clone(), &info, target);
        }
        plan.fetch(context, sandbox, &mut copied).await?;
    }
    Ok(copied)
}

/// What the last part of a path is called.
async fn name(sandbox: &Sandbox, path: &str) -> Outcome<String> {
    let last = |path: &str| path.trim_end_matches('/').rsplit('/').next().map(str::to_owned);
    let own = last(path).filter(|name| !matches!(name.as_str(), "" | "." | ".."));
    let own = match own {
        Some(own) => Some(own),
        None if path.trim_end_matches('/') == "." => last(&sandbox.work_dir().await?),
        None => None,
    };
    own.filter(|name| !name.is_empty()).ok_or_else(|| {
        Failure::usage(format!("{path} has no name: say where it is to go, as a path that is not there yet"))
    })
}

/// Names come from the sandbox: none of them may lead elsewhere.
fn is_plain(relative: &str) -> bool {
    !relative.is_empty() && relative.split('/').all(|part| !matches!(part, "" | "." | "..") && !part.contains('\0'))
}

impl Plan {
    fn add(&mut self, remote: String, info: &FileInfo, local: PathBuf) {
        if matches!(info.mode.chars().next(), Some('p' | 's' | 'b' | 'c' | 'S' | 'D')) {
            self.skipped.push(format!("{remote} is neither a file nor a folder"));
            return;
        }
        let mode = u32::from_str_radix(&info.permissions, 8).ok();
        self.files.push(File { remote, local, size: info.size, mode });
    }

    async fn add_folder(&mut self, sandbox: &Sandbox, source: &str, target: &Path) -> Outcome {
        self.folders.push(target.to_owned());
        let mut queue = VecDeque::from([(source.to_owned(), target.to_owned())]);
        while let Some((remote, local)) = queue.pop_front() {
            let listed = match sandbox.fs().list_files(&remote, Some(DEPTH), None).await {
                // More than a server tells at once.
                Err(error) if error.kind() == ErrorKind::BadRequest => {
                    sandbox.fs().list_files(&remote, None, None).await
                }
                listed => listed,
            };
            for entry in listed? {
                let relative = match &entry.path {
                    Some(path) => path.strip_prefix(&remote).unwrap_or(path).trim_start_matches('/').to_owned(),
                    None => entry.name.clone(),
                };
                if !is_plain(&relative) {
                    self.skipped.push(format!("{relative:?} in {remote} is not the name of a file"));
                    continue;
                }
                let (there, here) = (join(&remote, &relative), local.join(&relative));
                if !entry.is_dir {
                    self.add(there, &entry, here);
                    continue;
                }
                self.folders.push(here.clone());
                // Not every server lists more than one level, and none more than it was asked for.
                let deepest = i64::try_from(relative.split('/').count()) == Ok(DEPTH);
                if entry.path.is_none() || deepest {
                    queue.push_back((there, here));
                }
            }
        }
        Ok(())
    }

    async fn fetch(self, context: &Context, sandbox: &Sandbox, copied: &mut Copied) -> Outcome {
        let cannot = |path: &Path, error: std::io::Error| Failure::new(format!("{}: {error}", path.display()));
        for folder in &self.folders {
            std::fs::create_dir_all(folder).map_err(|error| cannot(folder, error))?;
        }
        let bar = bar(context, self.files.iter().map(|file| file.size).sum());
        let mut done = 0;
        for batch in self.files.chunks(BATCH) {
            if let Some(file) = batch.first() {
                bar.set_message(file.remote.clone());
            }
            let download = |file: &File| Download {
                source: file.remote.clone(),
                target: DownloadTarget::File(file.local.clone()),
            };
            let wanted = batch.iter().map(download).collect();
            let results = sandbox.fs().download_files(wanted, transfer(&bar, done)).await?;
            for (file, result) in batch.iter().zip(results) {
                match result.result {
                    Ok(_) => {
                        copied.files += 1;
                        copied.bytes += file.size;
                        set_mode(file).map_err(|error| cannot(&file.local, error))?;
                    }
                    Err(error) => copied.failed.push(format!("{}: {error}", file.remote)),
                }
            }
            done += batch.iter().map(|file| file.size).sum::<u64>();
            bar.set_position(done);
        }
        bar.finish_and_clear();
        copied.failed.extend(self.skipped);
        Ok(())
    }
}

/// As it is there, for those whom this machine lets read what is new.
fn set_mode(file: &File) -> std::io::Result<()> {
    let Some(mode) = file.mode else { return Ok(()) };
    let now = std::fs::metadata(&file.local)?.permissions().mode() & 0o777;
    let wanted = (now | ((now & 0o444) >> 2)) & mode;
    if wanted != now {
        std::fs::set_permissions(&file.local, std::fs::Permissions::from_mode(wanted))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_lead_out_of_the_folder() {
        assert!(is_plain("a/b.txt"));
        for bad in ["", "../a", "a/../../b", "/a", "a//b", "."] {
            assert!(!is_plain(bad), "{bad}");
        }
    }
}
