//! `exec`: one command in a sandbox, as if it ran here.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::time::Duration;

use daytona_core::{ExecOptions, ExecStream, OutputStream};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::context::{Context, Failure, INTERRUPTED, Outcome, variable};
use crate::output::closed;

const READ_SIZE: usize = 64 * 1024;
/// What a killed command may take to end.
const END_LIMIT: Duration = Duration::from_secs(3);

/// What to run, and where.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Exits as the command does: 128 and the signal's number if one has ended it, 7 if it ran over its \
--timeout, 255 if it could not be run. Ctrl-C is for the command; a second one kills it. A command whose output has \
lost its reader, as before `head`, is killed at what it writes next: the exit code is 141."
)]
pub(crate) struct Exec {
    /// Id or name of the sandbox.
    #[arg(value_name = "ID", required_unless_present = "id", conflicts_with = "id")]
    sandbox: Option<String>,
    /// The same.
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// A line for the sandbox's shell.
    #[arg(long, short, value_name = "CMD", conflicts_with = "words", required_unless_present = "words")]
    cmd: Option<String>,
    /// A program and its arguments, taken as they are.
    #[arg(last = true, value_name = "WORD")]
    words: Vec<String>,
    /// Where it runs [default: the sandbox's work dir].
    #[arg(long, value_name = "DIR")]
    cwd: Option<String>,
    /// Environment variable; NAME alone takes its value from here. May be repeated.
    #[arg(long, short, value_name = "NAME[=VALUE]", value_parser = variable)]
    env: Vec<(String, String)>,
    /// Seconds after which it is killed; 0 is no limit.
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0)]
    timeout: f64,
    /// Send the standard input to it.
    #[arg(long, short = 'i')]
    stdin: bool,
}

/// What ended a command's stream.
struct End {
    code: i32,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

pub(crate) async fn run(context: &Context, args: &Exec) -> Outcome<u8> {
    let id = args.sandbox.as_deref().or(args.id.as_deref()).unwrap_or_default();
    let command = match &args.cmd {
        Some(line) => line.clone(),
        None => {
            shlex::try_join(args.words.iter().map(String::as_str)).map_err(|error| Failure::usage(error.to_string()))?
        }
    };
    let env: BTreeMap<String, String> = args.env.iter().cloned().collect();
    let options = ExecOptions {
        cwd: args.cwd.clone(),
        env: Some(env),
        timeout: Some(args.timeout),
        no_stdin: !args.stdin,
        ..ExecOptions::default()
    };
    // Before the command runs: from then on they are for it.
    let mut signals = Signals::watch()?;
    let start = async { Ok::<_, Failure>(context.sandbox(id).await?.process().exec_stream(&command, options).await?) };
    let mut start = std::pin::pin!(start);
    let stream = tokio::select! {
        started = &mut start => started?,
        name = signals.next() => {
            // It may run by now, without this program's knowledge.
            let given_up = async {
                if let Ok(stream) = start.await {
                    end(&stream).await;
                }
            };
            tokio::select! {
                _ = tokio::time::timeout(END_LIMIT, given_up) => {}
                _ = signals.next() => {}
            }
            return Err(Failure::Silent(ended_by(name)));
        }
    };
    let signals = tokio::spawn(pass_on(signals, stream.clone()));
    if args.stdin {
        send_stdin(stream.clone());
    }
    let ended = output(&stream, context.out.json).await;
    signals.abort();
    let ended = ended?;
    if context.out.json {
        context.out.json(&json!({
            "exitCode": ended.code,
            "stdout": String::from_utf8_lossy(&ended.stdout),
            "stderr": String::from_utf8_lossy(&ended.stderr),
        }))?;
    }
    Ok(u8::try_from(ended.code).unwrap_or(u8::MAX))
}

/// Writes what the command writes, or keeps it.
async fn output(stream: &ExecStream, keep: bool) -> Outcome<End> {
    let mut ended = End { code: 0, stdout: Vec::new(), stderr: Vec::new() };
    while let Some(chunks) = stream.next().await? {
        for chunk in chunks {
            let kept = match chunk.stream {
                OutputStream::Stdout => &mut ended.stdout,
                OutputStream::Stderr => &mut ended.stderr,
            };
            if keep {
                kept.extend_from_slice(&chunk.bytes);
                continue;
            }
            let written = match chunk.stream {
                OutputStream::Stdout => write(&mut io::stdout().lock(), &chunk.bytes),
                OutputStream::Stderr => write(&mut io::stderr().lock(), &chunk.bytes),
            };
            if let Err(error) = written {
                // Nobody reads it any more: it ends as it would here.
                end(stream).await;
                return Err(closed(error));
            }
        }
    }
    ended.code = stream.wait().await?;
    Ok(ended)
}

fn write(to: &mut impl io::Write, bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes)?;
    to.flush()
}

/// Kills a command that nobody is interested in any more, and waits until it has ended: this program would be gone before
/// the server hears of it, and the command would go on as after a lost connection.
pub(crate) async fn end(stream: &ExecStream) {
    if stream.exit_code().is_none() {
        let ended = async {
            stream.kill().await?;
            // The end comes after the output.
            while stream.next().await?.is_some() {}
            stream.wait().await
        };
        let _ = tokio::time::timeout(END_LIMIT, ended).await;
    }
    stream.close();
}

/// Signals that this program gets.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    quit: Signal,
    interrupted: bool,
}

impl Signals {
    fn watch() -> Outcome<Self> {
        let watch = |kind| signal(kind).map_err(|error| Failure::new(format!("signals cannot be watched: {error}")));
        Ok(Self {
            interrupt: watch(SignalKind::interrupt())?,
            terminate: watch(SignalKind::terminate())?,
            hangup: watch(SignalKind::hangup())?,
            quit: watch(SignalKind::quit())?,
            interrupted: false,
        })
    }

    /// The name of the next one; a second interrupt kills.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => {
                if std::mem::replace(&mut self.interrupted, true) { "SIGKILL" } else { "SIGINT" }
            }
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.hangup.recv() => "SIGHUP",
            _ = self.quit.recv() => "SIGQUIT",
        }
    }
}

/// What a shell says of a program that a signal has ended.
fn ended_by(name: &str) -> u8 {
    match name {
        "SIGHUP" => 129,
        "SIGQUIT" => 131,
        "SIGTERM" => 143,
        _ => INTERRUPTED,
    }
}

/// Signals are for the command.
async fn pass_on(mut signals: Signals, stream: ExecStream) {
    while stream.signal(signals.next().await).await.is_ok() {}
    // A server that cannot send signals kills what nobody waits for.
    stream.close();
}

/// A thread, because a terminal cannot be polled everywhere.
fn send_stdin(stream: ExecStream) {
    let (send, mut receive) = mpsc::channel::<Vec<u8>>(1);
    std::thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        let mut buffer = vec![0; READ_SIZE];
        loop {
            match stdin.read(&mut buffer) {
                Ok(length @ 1..) => {
                    if send.blocking_send(buffer[..length].to_vec()).is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => return,
            }
        }
    });
    tokio::spawn(async move {
        while let Some(bytes) = receive.recv().await {
            // One that takes no more has ended, and its output says how.
            if stream.write_stdin(bytes.into()).await.is_err() {
                return;
            }
        }
        let _ = stream.close_stdin().await;
    });
}
