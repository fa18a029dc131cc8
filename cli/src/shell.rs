//! `daytona-native shell`: the user's terminal on a sandbox's shell.

mod detach;
mod pipe;
mod terminal;

use std::future::pending;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::process::ExitCode;

use daytona_core::{Error, ErrorKind, Process, Pty, PtyExit, PtyOptions};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use crate::context::{Context, Target};

use detach::{DetachKeys, Matcher};
use terminal::Raw;

/// What `ssh` answers too where it is not the remote shell that failed.
const FAILED: u8 = 255;
/// Seconds to end the shell of a terminal that was closed.
const KILL_LIMIT: f64 = 5.0;
const READ_SIZE: usize = 64 * 1024;
/// SIGPIPE, as a program gets it that writes for nobody.
const READER_GONE: i32 = 13;

/// The settings come from the environment, as for every program.
#[derive(clap::Args)]
#[command(after_help = "Where and as whom: DAYTONA_API_KEY, and DAYTONA_API_URL, which may be `local` for the local \
server.\n\nExits as the shell does; with 255 if it could not be reached. Without a terminal on the standard input, \
the shell reads its commands from there.")]
pub(crate) struct Shell {
    #[command(flatten)]
    target: Target,
    /// Attach to the session of this name, or make it; it goes on when you leave with the detach keys.
    #[arg(long, value_name = "NAME")]
    session: Option<String>,
    /// Where a new shell starts [default: the sandbox's work dir].
    #[arg(long, value_name = "DIR")]
    cwd: Option<String>,
    /// Keys that leave the session and let it go on.
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q")]
    detach_keys: DetachKeys,
}

/// How an attached terminal was left.
enum End {
    Exit(PtyExit),
    Detached,
    /// The terminal was closed, the reader of the output has gone, or someone ended this program.
    Signal(i32),
}

pub(crate) fn main(args: &Shell, context: &Context) -> ExitCode {
    // One thread, so that a terminal costs little; reading and writing it has threads of its own.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return crate::fail(&format!("threads cannot be started: {error}"), FAILED),
    };
    let code = runtime.block_on(run(args, context)).unwrap_or_else(|message| {
        let line: Vec<&str> = message.split_whitespace().collect();
        crate::fail(&line.join(" "), FAILED);
        FAILED
    });
    runtime.shutdown_background();
    ExitCode::from(code)
}

async fn run(args: &Shell, context: &Context) -> Result<u8, String> {
    let sandbox = context.sandbox(args.target.id()).await.map_err(|failure| failure.message())?;
    let process = sandbox.process();
    if !io::stdin().is_terminal() {
        if args.session.is_some() {
            return Err("--session needs a terminal on the standard input. Leave it out to run the commands read \
                        from there"
                .to_owned());
        }
        return pipe::run(&process, args.cwd.clone()).await;
    }
    terminal(args, &process).await
}

async fn terminal(args: &Shell, process: &Process) -> Result<u8, String> {
    let (pty, name) = open(args, process).await.map_err(text)?;
    let again = format!("daytona-native shell {} --session {}", quoted(args.target.id()), quoted(&name));
    let end = {
        let raw = Raw::enter().map_err(|error| format!("the terminal cannot be set to raw mode: {error}"))?;
        attached(&pty, &raw, args.detach_keys.clone()).await
    };
    match end {
        Ok(End::Exit(PtyExit { exit_code: Some(code), .. })) => Ok(exit_byte(code)),
        Ok(End::Exit(PtyExit { error, .. })) => {
            Err(format!("the session ended: {}", error.as_deref().unwrap_or("the server did not say why")))
        }
        Ok(End::Detached) => {
            terminal::reset_modes();
            pty.disconnect();
            let _ = writeln!(io::stderr(), "\nLeft the session running. Attach again with: {again}");
            Ok(0)
        }
        Ok(End::Signal(number)) => {
            terminal::reset_modes();
            if args.session.is_none() {
                // Nobody has been told its name.
                let _ = process.kill_pty_session(&name, Some(KILL_LIMIT)).await;
            }
            Ok(exit_byte(128 + number))
        }
        Err(message) => {
            terminal::reset_modes();
            Err(format!("{message}. If the session still runs, attach again with: {again}"))
        }
    }
}

/// The terminal, attached, and its name.
async fn open(args: &Shell, process: &Process) -> Result<(Pty, String), Error> {
    let size = terminal::size();
    if let Some(name) = &args.session {
        match process.connect_pty_session(name, true).await {
            Ok(pty) => {
                if let Some((cols, rows)) = size {
                    pty.resize(cols, rows).await?;
                }
                return Ok((pty, name.clone()));
            }
            Err(error) if error.kind().is(ErrorKind::NotFound) => {}
            Err(error) => return Err(error),
        }
    }
    let name = args.session.clone().unwrap_or_else(fresh_name);
    let (cols, rows) = size.unzip();
    let options = PtyOptions { cwd: args.cwd.clone(), env: None, cols, rows };
    Ok((process.create_pty_session(&name, options).await?, name))
}

fn fresh_name() -> String {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).expect("the system has random numbers");
    format!("shell-{:08x}", u32::from_ne_bytes(bytes))
}

/// Carries bytes both ways until the shell ends, the user leaves, or the connection breaks.
async fn attached(pty: &Pty, raw: &Raw, keys: DetachKeys) -> Result<End, String> {
    let cannot_watch = |error: io::Error| format!("signals cannot be watched: {error}");
    let mut resized = signal(SignalKind::window_change()).map_err(cannot_watch)?;
    let mut suspended = signal(SignalKind::from_raw(rustix::process::Signal::TSTP.as_raw())).map_err(cannot_watch)?;
    let mut endings = Vec::new();
    for kind in [SignalKind::hangup(), SignalKind::interrupt(), SignalKind::quit(), SignalKind::terminate()] {
        endings.push((kind.as_raw_value(), signal(kind).map_err(cannot_watch)?));
    }
    let typed = read_stdin();
    let output = write_output(pty.clone());
    tokio::select! {
        end = output => match end {
            Ok(Ok(true)) => pty.wait(None).await.map(End::Exit).map_err(text),
            Ok(Ok(false)) => Ok(End::Signal(READER_GONE)),
            Ok(Err(message)) => Err(message),
            Err(_) => Err("the output cannot be written".to_owned()),
        },
        end = send_input(pty, typed, Matcher::new(keys)) => end,
        number = any(&mut endings) => Ok(End::Signal(number)),
        never = follow_size(pty, &mut resized) => never,
        failed = suspend(raw, pty, &mut suspended) => failed,
    }
}

async fn send_input(pty: &Pty, mut typed: mpsc::Receiver<Vec<u8>>, mut matcher: Matcher) -> Result<End, String> {
    while let Some(bytes) = typed.recv().await {
        let (send, detached) = matcher.feed(&bytes);
        // If it fails the connection has ended, and the output says how.
        if !send.is_empty() && pty.send_input(send.into()).await.is_err() {
            return pending().await;
        }
        if detached {
            return Ok(End::Detached);
        }
    }
    Ok(End::Signal(SignalKind::hangup().as_raw_value()))
}

async fn follow_size(pty: &Pty, resized: &mut Signal) -> ! {
    loop {
        if resized.recv().await.is_none() {
            pending::<()>().await;
        }
        if let Some((cols, rows)) = terminal::size() {
            // The next one may work; a broken connection is told of elsewhere.
            let _ = pty.resize(cols, rows).await;
        }
    }
}

/// Suspended from outside: the terminal is the user's meanwhile.
async fn suspend<T>(raw: &Raw, pty: &Pty, suspended: &mut Signal) -> Result<T, String> {
    while suspended.recv().await.is_some() {
        terminal::reset_modes();
        raw.suspend().map_err(|error| format!("the terminal cannot be set to raw mode: {error}"))?;
        if let Some((cols, rows)) = terminal::size() {
            let _ = pty.resize(cols, rows).await;
        }
    }
    pending().await
}

async fn any(signals: &mut [(i32, Signal)]) -> i32 {
    std::future::poll_fn(|context| {
        for (number, signal) in &mut *signals {
            if signal.poll_recv(context).is_ready() {
                return std::task::Poll::Ready(*number);
            }
        }
        std::task::Poll::Pending
    })
    .await
}

/// What comes in on the standard input; ends with it. A thread, because a terminal cannot be polled everywhere.
fn read_stdin() -> mpsc::Receiver<Vec<u8>> {
    let (send, receive) = mpsc::channel(1);
    std::thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        let mut buffer = vec![0; READ_SIZE];
        loop {
            let length = match stdin.read(&mut buffer) {
                Ok(length @ 1..) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Ok(0) | Err(_) => return,
            };
            if send.blocking_send(buffer[..length].to_vec()).is_err() {
                return;
            }
        }
    });
    receive
}

/// Writes what the shell prints until it ends; false if its reader has gone. A thread, so that a slow terminal keeps
/// nothing else waiting.
fn write_output(pty: Pty) -> oneshot::Receiver<Result<bool, String>> {
    let (send, receive) = oneshot::channel();
    let runtime = tokio::runtime::Handle::current();
    std::thread::spawn(move || {
        let work = || {
            while let Some(bytes) = runtime.block_on(pty.next()).map_err(text)? {
                if !write(&mut io::stdout().lock(), &bytes)? {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        let _ = send.send(work());
    });
    receive
}

/// False if nobody reads it any more.
fn write(to: &mut impl io::Write, bytes: &[u8]) -> Result<bool, String> {
    match to.write_all(bytes).and_then(|()| to.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(format!("the output cannot be written: {error}")),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn text(error: Error) -> String {
    error.to_string()
}

fn exit_byte(code: i32) -> u8 {
    // As a shell has it; what no process ends with is a failure.
    u8::try_from(code).unwrap_or(FAILED)
}

/// As a shell reads it back.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}
