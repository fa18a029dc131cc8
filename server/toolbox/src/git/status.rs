//! What is checked out, what has changed, and what was committed.

use axum::extract::State;
use daytona_wire::git::{FileState, FileStatus, GitCommitInfo, GitStatus, ListBranchResponse};

use super::run::Git;
use super::{PathQuery, branch_of, repository};
use crate::App;
use crate::body::Query;
use crate::error::{Error, Result};
use crate::names;

/// `GET /git/status`
pub(super) async fn status(
    State(app): State<App>,
    Query(PathQuery { path }): Query<PathQuery>,
) -> Result<axum::Json<GitStatus>> {
    let folder = repository(&app, &path)?;
    let mut git = Git::new(&app, &folder, "status");
    git.args(["--porcelain=v2", "--branch", "-z", "--untracked-files=all", "--renames"]);
    // Not in the way of others who write the index.
    let text = git.env("GIT_OPTIONAL_LOCKS", "0").run().await?;
    let (mut status, published) = parse(&text)?;
    if !published && status.detached != Some(true) {
        let name = format!("refs/remotes/origin/{}", status.current_branch);
        let found = Git::new(&app, &folder, "show-ref").args(["--quiet", "--verify", "--", &name]).output().await?;
        status.branch_published = Some(found.code == 0);
    }
    Ok(axum::Json(status))
}

/// `GET /git/branches`
pub(super) async fn branches(
    State(app): State<App>,
    Query(PathQuery { path }): Query<PathQuery>,
) -> Result<axum::Json<ListBranchResponse>> {
    let folder = repository(&app, &path)?;
    let mut git = Git::new(&app, &folder, "for-each-ref");
    let text = git.args(["--format=%(refname:lstrip=2)", "refs/heads/"]).run().await?;
    let branches = String::from_utf8_lossy(&text).lines().map(str::to_owned).collect();
    let current = branch_of(&app, &folder).await?.unwrap_or_default();
    Ok(axum::Json(ListBranchResponse { branches, current: Some(current) }))
}

/// `GET /git/history`: the commits that lead to `HEAD`, latest first.
pub(super) async fn history(
    State(app): State<App>,
    Query(PathQuery { path }): Query<PathQuery>,
) -> Result<axum::Json<Vec<GitCommitInfo>>> {
    let folder = repository(&app, &path)?;
    if Git::new(&app, &folder, "rev-parse").args(["--verify", "--quiet", "HEAD"]).output().await?.code != 0 {
        return Ok(axum::Json(Vec::new()));
    }
    let mut git = Git::new(&app, &folder, "log");
    git.args([
        "-z",
        "--no-show-signature",
        "--no-color",
        "--encoding=UTF-8",
        "--format=%H%n%an%n%ae%n%aI%n%B",
        "HEAD",
        "--",
    ]);
    let text = git.run().await?;
    let text = String::from_utf8_lossy(&text);
    let commit = |record: &str| {
        let mut fields = record.splitn(5, '\n').map(str::to_owned);
        let [hash, author, email, timestamp, message] = std::array::from_fn(|_| fields.next().unwrap_or_default());
        GitCommitInfo { hash, author, email, message, timestamp }
    };
    Ok(axum::Json(text.split('\0').filter(|record| !record.is_empty()).map(commit).collect()))
}

/// Reads `git status --porcelain=v2 --branch -z`; also says whether the upstream is there.
fn parse(text: &[u8]) -> Result<(GitStatus, bool)> {
    let mut status = GitStatus {
        ahead: Some(0),
        behind: Some(0),
        branch_published: Some(false),
        detached: Some(false),
        upstream: Some(String::new()),
        ..GitStatus::default()
    };
    let mut published = false;
    let mut records = text.split(|&byte| byte == 0).filter(|record| !record.is_empty());
    while let Some(record) = records.next() {
        let strange = || Error::internal(format!("git status wrote {:?}", String::from_utf8_lossy(record)));
        let (kind, rest) = record.split_at_checked(2).ok_or_else(strange)?;
        // How many fields come before the name.
        let fields = match kind {
            b"# " => {
                published |= header(&mut status, &String::from_utf8_lossy(rest));
                continue;
            }
            b"? " | b"! " => {
                let state = FileState::Untracked;
                status.file_status.push(FileStatus {
                    name: show(rest),
                    extra: String::new(),
                    staging: state,
                    worktree: state,
                });
                continue;
            }
            b"1 " => 7,
            b"2 " => 8,
            b"u " => 9,
            _ => return Err(strange()),
        };
        let name = rest.splitn(fields + 1, |&byte| byte == b' ').nth(fields).ok_or_else(strange)?;
        let (staging, worktree) = if kind == b"u " {
            (FileState::UpdatedButUnmerged, FileState::UpdatedButUnmerged)
        } else {
            (state(rest[0]), state(*rest.get(1).ok_or_else(strange)?))
        };
        let extra = if kind == b"2 " { show(records.next().ok_or_else(strange)?) } else { String::new() };
        status.file_status.push(FileStatus { name: show(name), extra, staging, worktree });
    }
    status.branch_published = Some(published);
    Ok((status, published))
}

/// Reads one line about the branch; true where that is known on the remote.
fn header(status: &mut GitStatus, line: &str) -> bool {
    match line.split_once(' ') {
        Some(("branch.head", "(detached)")) => {
            status.detached = Some(true);
            "HEAD".clone_into(&mut status.current_branch);
        }
        Some(("branch.head", name)) => name.clone_into(&mut status.current_branch),
        Some(("branch.upstream", name)) => status.upstream = Some(name.to_owned()),
        // Only where the upstream is there.
        Some(("branch.ab", counts)) => {
            let mut counts = counts.split(' ').map(|count| count.get(1..).and_then(|digits| digits.parse().ok()));
            status.ahead = counts.next().flatten();
            status.behind = counts.next().flatten();
            return true;
        }
        _ => {}
    }
    false
}

fn state(letter: u8) -> FileState {
    match letter {
        b'.' => FileState::Unmodified,
        b'A' => FileState::Added,
        b'D' => FileState::Deleted,
        b'R' => FileState::Renamed,
        b'C' => FileState::Copied,
        b'U' => FileState::UpdatedButUnmerged,
        // T: another type of file.
        _ => FileState::Modified,
    }
}

fn show(name: &[u8]) -> String {
    use std::os::unix::ffi::OsStrExt;
    names::show(std::ffi::OsStr::from_bytes(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_status_tells() {
        let text = b"# branch.oid 1\0# branch.head main\0# branch.upstream origin/main\0# branch.ab +2 -3\0\
            1 M. N... 100644 100644 100644 a b with space\0\
            1 .D N... 100644 100644 000000 a b line\nbreak\0\
            2 R. N... 100644 100644 100644 a b R100 new name\0old name\0\
            u UU N... 100644 100644 100644 100644 a b c both\0? caf\xe9\0";
        let (status, published) = parse(text).unwrap();
        assert!(published);
        assert_eq!((status.ahead, status.behind), (Some(2), Some(3)));
        assert_eq!((status.current_branch.as_str(), status.upstream.as_deref()), ("main", Some("origin/main")));
        let seen: Vec<_> = status
            .file_status
            .iter()
            .map(|one| (one.name.as_str(), one.extra.as_str(), one.staging.as_str(), one.worktree.as_str()))
            .collect();
        assert_eq!(
            seen,
            [
                ("with space", "", "Modified", "Unmodified"),
                ("line\nbreak", "", "Unmodified", "Deleted"),
                ("new name", "old name", "Renamed", "Unmodified"),
                ("both", "", "Updated but unmerged", "Updated but unmerged"),
                (r"caf\xe9", "", "Untracked", "Untracked"),
            ]
        );
    }

    #[test]
    fn a_detached_head_and_an_upstream_that_is_gone() {
        let (status, published) = parse(b"# branch.oid 1\0# branch.head (detached)\0").unwrap();
        assert_eq!((status.current_branch.as_str(), status.detached, published), ("HEAD", Some(true), false));
        let (status, published) = parse(b"# branch.head x\0# branch.upstream origin/x\0").unwrap();
        assert_eq!((status.upstream.as_deref(), published), (Some("origin/x"), false));
        assert!(parse(b"9 what").is_err());
    }
}
