//! `logs`: what a sandbox's entrypoint or a command of a session writes.

use std::io;

use daytona_core::wire::session::{ENTRYPOINT, SessionCommandLogs};
use daytona_core::{ErrorKind, LogStream, OutputStream, Process};

use crate::context::{Context, Failure, Outcome, Target};
use crate::output::{BROKEN_PIPE, closed, reader_gone};

/// Whose log.
#[derive(clap::Args, Debug)]
pub(crate) struct Logs {
    #[command(flatten)]
    target: Target,
    /// Go on until it ends.
    #[arg(long, short)]
    follow: bool,
    /// That of a session's command instead of the entrypoint's.
    #[arg(long, value_name = "NAME")]
    session: Option<String>,
    /// Which command of the session [default: the last].
    #[arg(long, value_name = "ID", requires = "session")]
    command: Option<String>,
}

pub(crate) async fn run(context: &Context, args: &Logs) -> Outcome {
    let process = context.sandbox(args.target.id()).await?.process();
    if let Some(session) = args.session.as_deref().filter(|session| *session != ENTRYPOINT) {
        let command = match &args.command {
            Some(command) => command.clone(),
            None => last_command(&process, session).await?,
        };
        if args.follow {
            return follow(&process.follow_session_command_logs(session, &command).await?).await;
        }
        return print(context, &process.get_session_command_logs(session, &command, None).await?);
    }
    // A server gives an empty log where there is nothing that could write one.
    let known = process.get_entrypoint_session(None).await;
    match known {
        Ok(session) if session.commands.is_empty() => return Err(no_entrypoint(&process).await),
        Err(error) if error.kind().is(ErrorKind::NotFound) => return Err(no_entrypoint(&process).await),
        Ok(_) => {}
        Err(error) => return Err(error.into()),
    }
    if args.follow {
        return follow(&process.follow_entrypoint_logs().await?).await;
    }
    print(context, &process.get_entrypoint_logs(None).await?)
}

async fn last_command(process: &Process, session: &str) -> Outcome<String> {
    let found = process.get_session(session, None).await?;
    let last = found.commands.last().map(|command| command.id.clone());
    last.ok_or_else(|| Failure::Own(format!("the session {session} has not run anything yet"), 5))
}

/// Names what there is instead.
async fn no_entrypoint(process: &Process) -> Failure {
    let sessions: Vec<String> = match process.list_sessions(None).await {
        Ok(sessions) => sessions.into_iter().map(|session| session.session_id).collect(),
        Err(error) => return error.into(),
    };
    let hint = if sessions.is_empty() {
        "it has no sessions either; run something with `daytona-native exec`".to_owned()
    } else {
        format!("name a session with --session: {}", sessions.join(", "))
    };
    Failure::Own(format!("the sandbox has no entrypoint, and so no log of one; {hint}"), 5)
}

fn print(context: &Context, logs: &SessionCommandLogs) -> Outcome {
    if context.out.json {
        return context.out.json(logs);
    }
    // Servers of an older kind have the two merged only.
    if logs.stdout.is_empty() && logs.stderr.is_empty() {
        return write(&mut io::stdout().lock(), logs.output.as_bytes());
    }
    write(&mut io::stdout().lock(), logs.stdout.as_bytes())?;
    write(&mut io::stderr().lock(), logs.stderr.as_bytes())
}

async fn follow(stream: &LogStream) -> Outcome {
    let mut unread = std::pin::pin!(reader_gone());
    loop {
        let chunks = tokio::select! {
            chunks = stream.next() => chunks?,
            // As `tail -f` does: what is followed may be silent for ever.
            () = &mut unread => return Err(Failure::Silent(BROKEN_PIPE)),
        };
        let Some(chunks) = chunks else { return Ok(()) };
        for chunk in chunks {
            match chunk.stream {
                OutputStream::Stdout => write(&mut io::stdout().lock(), &chunk.bytes)?,
                OutputStream::Stderr => write(&mut io::stderr().lock(), &chunk.bytes)?,
            }
        }
    }
}

fn write(to: &mut impl io::Write, bytes: &[u8]) -> Outcome {
    to.write_all(bytes).and_then(|()| to.flush()).map_err(closed)
}
