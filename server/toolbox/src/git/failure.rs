//! From what git says to errors that programs can tell apart.

use axum::http::StatusCode;
use daytona_wire::error::code;

use super::credentials::{Credentials, scrub};
use super::run::Output;
use crate::error::Error;

/// The longest message.
const LONGEST: usize = 2000;

struct Rule {
    /// Any of these in what git says.
    says: &'static [&'static str],
    status: StatusCode,
    code: &'static str,
    hint: &'static str,
}

/// The first that fits counts.
const RULES: &[Rule] = &[
    Rule {
        says: &[
            "CONFLICT (",
            "Automatic merge failed",
            "unmerged files",
            "unresolved conflict",
            "have not concluded your merge",
            "resolve your current index first",
            "path is unmerged",
            "Not possible to fast-forward",
        ],
        status: StatusCode::CONFLICT,
        code: code::GIT_MERGE_CONFLICT,
        hint: "resolve the conflicts, then add and commit, or give the merge up with a hard reset",
    },
    Rule {
        says: &["[remote rejected]"],
        status: StatusCode::UNPROCESSABLE_ENTITY,
        code: code::GIT_REMOTE_REJECTED,
        hint: "",
    },
    Rule {
        says: &["[rejected]", "non-fast-forward"],
        status: StatusCode::CONFLICT,
        code: code::GIT_PUSH_REJECTED,
        hint: "pull first, then push again",
    },
    Rule {
        says: &[
            "would be overwritten by",
            "commit your changes or stash",
            "have unstaged changes",
            "contains uncommitted changes",
            "not uptodate. Cannot merge",
            "would be removed by",
        ],
        status: StatusCode::CONFLICT,
        code: code::GIT_DIRTY_WORKTREE,
        hint: "commit the changes or take them back first",
    },
    Rule {
        says: &[
            "Authentication failed",
            "could not read Username",
            "could not read Password",
            "returned error: 401",
            "Permission denied (publickey",
            "Permission denied, please try again",
        ],
        status: StatusCode::UNAUTHORIZED,
        code: code::GIT_AUTH_FAILED,
        hint: "give the user name and password, or a token as password, that the remote takes",
    },
    Rule {
        says: &["returned error: 403"],
        status: StatusCode::FORBIDDEN,
        code: "GIT_ACCESS_DENIED",
        hint: "the remote knows the user and does not allow this",
    },
    Rule {
        says: &["dubious ownership"],
        status: StatusCode::FORBIDDEN,
        code: "GIT_ACCESS_DENIED",
        hint: "the repository belongs to another user; allow it with set_config(\"safe.directory\", \"*\")",
    },
    Rule {
        says: &[
            "not found in upstream",
            "couldn't find remote ref",
            "does not match any",
            "invalid reference",
            "unknown revision",
            "not a valid object name",
            "not a valid ref",
            "reference is not a tree",
            "unable to read tree",
            "Could not parse object",
            "could not resolve",
            "Failed to resolve",
            "ambiguous argument",
            "bad revision",
            "not our ref",
        ],
        status: StatusCode::NOT_FOUND,
        code: code::GIT_BRANCH_NOT_FOUND,
        hint: "",
    },
    Rule {
        says: &["did not match any file"],
        status: StatusCode::NOT_FOUND,
        code: code::FILE_NOT_FOUND,
        hint: "paths are names of files and folders, not patterns, and start at the repository's root",
    },
    Rule {
        says: &["A branch named", "a branch named"],
        status: StatusCode::CONFLICT,
        code: code::GIT_BRANCH_EXISTS,
        hint: "",
    },
    Rule {
        says: &["not an empty directory"],
        status: StatusCode::CONFLICT,
        code: "CONFLICT",
        hint: "clone into another folder, or delete what is there",
    },
    Rule {
        says: &["No such remote"],
        status: StatusCode::NOT_FOUND,
        code: "GIT_REMOTE_NOT_FOUND",
        hint: "add it with remote_add, or name one of those there are",
    },
    Rule {
        says: &[".lock': File exists", "Another git process"],
        status: StatusCode::CONFLICT,
        code: "CONFLICT",
        hint: "another git is at work in this repository; try again when it has ended",
    },
    Rule {
        says: &["cannot delete branch", "Cannot delete branch", "used by worktree"],
        status: StatusCode::CONFLICT,
        code: "CONFLICT",
        hint: "check another branch out first",
    },
    Rule {
        says: &["No space left on device"],
        status: StatusCode::INSUFFICIENT_STORAGE,
        code: "INSUFFICIENT_STORAGE",
        hint: "delete files or use a sandbox with a larger disk",
    },
    Rule {
        says: &[
            "does not appear to be a git repo",
            "not a git repository",
            "Repository not found",
            "not valid: is this a git repo",
            "' not found",
            "' does not exist",
            "returned error: 404",
        ],
        status: StatusCode::NOT_FOUND,
        code: code::GIT_REPO_NOT_FOUND,
        hint: "",
    },
    Rule {
        says: &["SSL certificate", "certificate verification failed", "certificate problem"],
        status: StatusCode::BAD_GATEWAY,
        code: code::GIT_TRANSPORT_FAILED,
        hint: "for a remote that you trust although its certificate is not known, clone with insecure_skip_tls",
    },
    Rule {
        says: &[
            "unable to access",
            "unable to connect",
            "Could not read from remote",
            "Could not resolve host",
            "Connection refused",
            "Connection timed out",
            "Connection reset",
            "early EOF",
            "RPC failed",
            "hung up unexpectedly",
            "unexpected disconnect",
            "Host key verification failed",
        ],
        status: StatusCode::BAD_GATEWAY,
        code: code::GIT_TRANSPORT_FAILED,
        hint: "",
    },
    Rule {
        says: &["Permission denied", "could not lock config"],
        status: StatusCode::FORBIDDEN,
        code: code::FILE_ACCESS_DENIED,
        hint: "the sandbox's user may not do that",
    },
    Rule {
        says: &["tell me who you are", "empty ident name", "auto-detect email"],
        status: StatusCode::BAD_REQUEST,
        code: "GIT_IDENTITY_UNKNOWN",
        hint: "say who commits with configure_user",
    },
    Rule {
        says: &["nothing to commit", "nothing added to commit", "no changes added to commit"],
        status: StatusCode::BAD_REQUEST,
        code: "GIT_NOTHING_TO_COMMIT",
        hint: "stage changes with add first, or allow an empty commit",
    },
    Rule {
        says: &["ignored by one of your"],
        status: StatusCode::BAD_REQUEST,
        code: "GIT_IGNORED",
        hint: "change .gitignore to add them",
    },
];

/// The error of a run that failed.
pub(super) fn explain(output: &Output, credentials: Option<&Credentials>) -> Error {
    // Conflicts and what a commit lacks are told on stdout.
    let said = format!("{}\n{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    let rule = RULES.iter().find(|rule| rule.says.iter().any(|one| said.contains(one)));
    let mut message = message(&said);
    if message.is_empty() {
        message = format!("git ended with exit code {} and said nothing", output.code);
    }
    message = scrub(&message);
    if let Some(credentials) = credentials {
        message = credentials.hide(&message);
    }
    let Some(rule) = rule else {
        return if output.code > 128 + 2 && output.stderr.is_empty() {
            Error::internal(format!("git was ended by a signal (exit code {})", output.code))
        } else {
            Error::new(StatusCode::BAD_REQUEST, "GIT_COMMAND_FAILED", message)
        };
    };
    if !rule.hint.is_empty() {
        message = format!("{message}; {}", rule.hint);
    }
    Error::new(rule.status, rule.code, message)
}

/// What matters of it, on one line: errors, what the remote says and conflicts, or all of it where there is no such.
fn message(said: &str) -> String {
    let lines = || said.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("hint:"));
    let marked = |line: &&str| {
        ["fatal:", "error:", "remote:", "!", "CONFLICT", "ERROR:"].iter().any(|mark| line.starts_with(mark))
            || line.contains("denied")
    };
    let mut chosen: Vec<&str> = lines().filter(marked).collect();
    // The names of the files that are in the way.
    if let Some(at) = lines().position(|line| line.contains("would be overwritten by")) {
        chosen
            .extend(lines().skip(at + 1).take_while(|line| !line.starts_with("Please") && !line.starts_with("Abort")));
    }
    if chosen.is_empty() {
        chosen = lines().collect();
    }
    chosen.dedup();
    let strip = |line: &&str| line.trim_start_matches("fatal: ").trim_start_matches("error: ").to_owned();
    let mut text = chosen.iter().map(strip).collect::<Vec<_>>().join("; ");
    if text.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|&at| text.is_char_boundary(at)).unwrap_or_default();
        text.truncate(end);
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(stderr: &str) -> (u16, &'static str, String) {
        let output = Output { code: 128, stdout: Vec::new(), stderr: stderr.as_bytes().to_vec() };
        let error = explain(&output, None);
        (error.status.as_u16(), error.code, error.to_string())
    }

    #[test]
    fn what_git_says_has_a_code() {
        for (said, status, code) in [
            ("fatal: Authentication failed for 'http://h/x/'", 401, "GIT_AUTH_FAILED"),
            ("fatal: could not read Username for 'http://h': terminal prompts disabled", 401, "GIT_AUTH_FAILED"),
            (
                "git@h: Permission denied (publickey).\nfatal: Could not read from remote repository.",
                401,
                "GIT_AUTH_FAILED",
            ),
            ("fatal: unable to access 'http://h/x/': The requested URL returned error: 403", 403, "GIT_ACCESS_DENIED"),
            ("fatal: repository 'http://h/x/' not found", 404, "GIT_REPO_NOT_FOUND"),
            ("fatal: repository '/x' does not exist", 404, "GIT_REPO_NOT_FOUND"),
            ("ERROR: Repository not found.\nfatal: Could not read from remote repository.", 404, "GIT_REPO_NOT_FOUND"),
            ("fatal: Remote branch no not found in upstream origin", 404, "GIT_BRANCH_NOT_FOUND"),
            ("error: src refspec refs/heads/x does not match any", 404, "GIT_BRANCH_NOT_FOUND"),
            ("fatal: a branch named 'x' already exists", 409, "GIT_BRANCH_EXISTS"),
            (
                " ! [rejected]        main -> main (fetch first)\nerror: failed to push some refs",
                409,
                "GIT_PUSH_REJECTED",
            ),
            (" ! [remote rejected] main -> main (pre-receive hook declined)", 422, "GIT_REMOTE_REJECTED"),
            ("fatal: unable to access 'http://h/': Could not resolve host: h", 502, "GIT_TRANSPORT_FAILED"),
            ("fatal: Unable to create '/r/.git/index.lock': File exists.", 409, "CONFLICT"),
            ("fatal: something new", 400, "GIT_COMMAND_FAILED"),
        ] {
            let got = explained(said);
            assert_eq!((got.0, got.1), (status, code), "{said}");
        }
    }

    #[test]
    fn messages_are_short_and_hold_no_credentials() {
        let said = "Cloning into 'x'...\nhint: try\nremote: Go away\nfatal: unable to access 'http://u:secret@h/'";
        assert_eq!(explained(said).2, "remote: Go away; unable to access 'http://h/'");
        let files = "error: Your local changes to the following files would be overwritten by merge:\n\ta\n\tb c\n\
            Please commit your changes or stash them before you merge.\nAborting";
        assert!(explained(files).2.contains("; a; b c"), "{}", explained(files).2);
        assert!(explained(&"x".repeat(9000)).2.len() < 2100);
        assert!(explained("").2.contains("128"));
    }
}
