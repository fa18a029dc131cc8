//! `preview` and `ssh`: ways into a sandbox from outside.

use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;

use daytona_core::wire::ssh::SshAccess;
use tokio::signal::unix::{SignalKind, signal};

use crate::context::{Context, Failure, Outcome, Target};
use crate::output::Tone;

/// What `ssh` itself ends with where it cannot connect.
const FAILED: u8 = 255;

/// Which port.
#[derive(clap::Args, Debug)]
pub(crate) struct Preview {
    #[command(flatten)]
    target: Sandbox,
    /// Port that something in the sandbox listens on.
    #[arg(value_name = "PORT")]
    port: i64,
    /// Make a URL that needs no token, good for so many seconds [60 where no number is given].
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "60")]
    signed: Option<i64>,
}

/// Id and port stand beside each other: the id is no option here.
#[derive(clap::Args, Debug)]
pub(crate) struct Sandbox {
    /// Id or name of the sandbox.
    #[arg(value_name = "ID")]
    id: String,
}

/// How to connect.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Runs the ssh of this machine with a token made for it, which is taken back at the end. Exits as \
ssh does."
)]
pub(crate) struct Ssh {
    #[command(flatten)]
    target: Target,
    /// Minutes that the token lets someone in.
    #[arg(long, value_name = "MINUTES", default_value_t = 60)]
    expires: i64,
    /// Print the command instead of running it; its token stays good.
    #[arg(long)]
    print: bool,
    /// A command to run instead of a shell, and options of ssh before it.
    #[arg(last = true, value_name = "WORD")]
    words: Vec<String>,
}

pub(crate) async fn preview(context: &Context, args: &Preview) -> Outcome {
    let sandbox = context.sandbox(&args.target.id).await?;
    if let Some(seconds) = args.signed {
        let signed = sandbox.create_signed_preview_url(args.port, Some(seconds), None).await?;
        if context.out.json {
            return context.out.json(&signed);
        }
        return context.out.line(signed.url);
    }
    let link = sandbox.get_preview_link(args.port, None).await?;
    if context.out.json {
        return context.out.json(&link);
    }
    context.out.line(&link.url)?;
    if !sandbox.data().public && !link.token.is_empty() {
        let how = format!("with the header x-daytona-preview-token: {}", link.token);
        context.out.line(context.out.paint(Tone::Dim, &how))?;
        context.out.note("for a browser, make a URL that needs no token with --signed");
    }
    Ok(())
}

pub(crate) async fn ssh(context: &Context, args: &Ssh) -> Outcome<u8> {
    let sandbox = context.sandbox(args.target.id()).await?;
    let access = sandbox.create_ssh_access(Some(args.expires), None).await?;
    if context.out.json {
        return context.out.json(&access).map(|()| 0);
    }
    if args.print {
        return context.out.line(&access.ssh_command).map(|()| 0);
    }
    let ended = connect(&access, &args.words).await;
    // Whoever comes later makes another.
    let _ = sandbox.revoke_ssh_access(&access.token, Some(5.0)).await;
    ended
}

/// The words of the server's command with the token in a file of its own: what stands on a command line is seen by
/// everybody on this machine.
fn without_token(access: &SshAccess) -> Option<(Vec<String>, String)> {
    let words = shlex::split(&access.ssh_command)?;
    let (program, rest) = words.split_first()?;
    let login = format!("{}@", access.token);
    let mut hidden = vec![program.clone()];
    let mut host = None;
    for word in rest {
        match word.strip_prefix(&login) {
            Some(name) => {
                host = Some(name.to_owned());
                hidden.push(name.to_owned());
            }
            None => hidden.push(word.clone()),
        }
    }
    let seen = access.token.is_empty() || hidden.iter().any(|word| word.contains(&access.token));
    (program == "ssh" && !seen).then_some((hidden, host?))
}

async fn connect(access: &SshAccess, words: &[String]) -> Outcome<u8> {
    let own = |error: std::io::Error| Failure::Own(format!("a file for ssh's settings: {error}"), FAILED);
    let Some((mut command, host)) = without_token(access) else {
        return Err(Failure::Own(
            "the server's SSH command is of a form that is not known here: run what --print prints".to_owned(),
            FAILED,
        ));
    };
    // Only its owner may read it.
    let mut file = tempfile::Builder::new().prefix("daytona-native-ssh-").tempfile().map_err(own)?;
    writeln!(file, "Host {host}\n  User {}", access.token).and_then(|()| file.flush()).map_err(own)?;
    let config = file.path().display().to_string();
    command.splice(1..1, ["-F".to_owned(), config]);
    command.extend(words.iter().cloned());
    // For ssh, which is in the same group; this program has to live to take the token back.
    let mut watched = Vec::new();
    for kind in [SignalKind::interrupt(), SignalKind::quit(), SignalKind::terminate(), SignalKind::hangup()] {
        watched.push(signal(kind).map_err(own)?);
    }
    let mut child = tokio::process::Command::new(&command[0])
        .args(&command[1..])
        .stdin(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| Failure::Own(format!("ssh cannot be run: {error}. Install an OpenSSH client"), FAILED))?;
    let status = child.wait().await.map_err(|error| Failure::Own(format!("ssh: {error}"), FAILED))?;
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    Ok(u8::try_from(code).unwrap_or(FAILED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_leaves_the_command_line() {
        let access = SshAccess {
            token: "secret".to_owned(),
            ssh_command: "ssh -p 2222 -o 'UserKnownHostsFile=/a b' secret@127.0.0.1".to_owned(),
            ..SshAccess::default()
        };
        let (words, host) = without_token(&access).unwrap();
        assert_eq!(words, ["ssh", "-p", "2222", "-o", "UserKnownHostsFile=/a b", "127.0.0.1"]);
        assert_eq!(host, "127.0.0.1");
        let odd = SshAccess { ssh_command: "ssh -l secret 127.0.0.1".to_owned(), ..access };
        assert!(without_token(&odd).is_none());
    }
}
