//! The client's side of the protocol of [`daytona_wire::exec_stream`].

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use daytona_wire::exec_stream::{GRACE_SECONDS, HEAD, STDERR, STDIN, STDOUT, ToClient, ToServer, WINDOW};
use reqwest::Url;
use serde::Serialize;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::OPERATION;
use super::overdue::Clock;
use super::retry::{Retry, Stood};
use super::shared::{KILL, Running, Shared};
use crate::client::join;
use crate::error::{Error, ErrorKind, Result};
use crate::output::{Batch, OutputStream};
use crate::sandbox::Sandbox;
use crate::session::RUN;
use crate::transport::Transport;
use crate::watch;
use crate::ws::{End, Message, Open, Socket};

const GRACE: Duration = Duration::from_secs(GRACE_SECONDS);
/// How long the first message of the server to a new command may take.
const FIRST_WORD: Duration = Duration::from_secs(60);
/// What one attempt to connect again may take, and then each of the first two answers.
const AGAIN: Duration = Duration::from_secs(10);
/// Output that was taken is acknowledged after this at the latest.
const ACK_DELAY: Duration = Duration::from_millis(20);
/// How long the server's close frame is waited for once the command has ended.
const GOODBYE: Duration = Duration::from_secs(5);
/// Bytes of stdin in one message.
const STDIN_FRAME: usize = 64 << 10;

pub(super) enum Ended {
    Done,
    /// The server does not know such commands.
    NoRoute,
}

/// How one connection ended.
enum Talk {
    Exited,
    GivenUp,
    Lost(Error),
}

/// A message of the server.
pub(crate) enum Heard<'a> {
    Output(OutputStream, u64, &'a [u8]),
    Control(ToClient),
}

/// Reads a message of the server.
pub(crate) fn parse(message: &Message) -> Result<Heard<'_>> {
    let unreadable = |what: String| {
        Error::new(ErrorKind::Other, format!("the server sent {what}"))
            .with_hint("Check that client and server are of fitting versions")
    };
    match message {
        Message::Text(text) => serde_json::from_str(text)
            .map(Heard::Control)
            .map_err(|error| unreadable(format!("a message that cannot be read: {error}"))),
        other => {
            let Message::Binary(data) = other else { return Err(unreadable("an unknown kind of message".to_owned())) };
            let Some((head, bytes)) = data.split_first_chunk::<HEAD>() else {
                return Err(unreadable(format!("{} bytes of data without a head", data.len())));
            };
            let [stream, offset @ ..] = *head;
            let stream = match stream {
                STDOUT => OutputStream::Stdout,
                STDERR => OutputStream::Stderr,
                other => return Err(unreadable(format!("data of an unknown stream, {other}"))),
            };
            Ok(Heard::Output(stream, u64::from_be_bytes(offset), bytes))
        }
    }
}

pub(super) struct Client {
    sandbox: Sandbox,
    transport: Arc<Transport>,
    start_url: Url,
    resume_url: Url,
    start: Message,
    /// The server has said that the command runs.
    has_started: bool,
    retry: Retry,
    /// Bytes of output received.
    received: u64,
    /// Those whose taking the server has been told of.
    acked: u64,
    /// Bytes came or went over this connection that had not before.
    has_moved: bool,
    clock: Arc<Clock>,
    /// Who runs the command, where the server tells.
    agent: Option<String>,
}

impl Client {
    pub(super) fn new(
        sandbox: Sandbox,
        transport: Arc<Transport>,
        process: &Url,
        id: &str,
        start: &ToServer,
        clock: Arc<Clock>,
    ) -> Result<Self> {
        let mut start_url = join(process.as_str(), &["execute", "stream"])?;
        start_url.query_pairs_mut().append_pair("id", id);
        let resume_url = join(process.as_str(), &["execute", "stream", id])?;
        let start = text(start);
        Ok(Self {
            sandbox,
            transport,
            start_url,
            resume_url,
            start,
            has_started: false,
            retry: Retry::new(),
            received: 0,
            acked: 0,
            has_moved: false,
            clock,
            agent: None,
        })
    }

    /// Runs the command to its end, over as many connections as it takes.
    pub(super) async fn run(&mut self, running: &mut Running) -> Result<Ended> {
        let shared = Arc::clone(&running.shared);
        let mut is_start = true;
        loop {
            let talk = match self.connect(is_start, &shared).await {
                None => return Ok(Ended::Done),
                Some(Ok(mut socket)) => {
                    if is_start {
                        socket.queue(self.start.clone());
                        self.clock.begin();
                    }
                    let since = Instant::now();
                    self.has_moved = false;
                    self.agent = socket.agent().map(str::to_owned);
                    let talk = self.converse(&mut socket, running).await?;
                    match &talk {
                        Talk::Exited => self.goodbye(socket).await,
                        Talk::GivenUp => socket.close().await,
                        Talk::Lost(_) => {
                            let (has_moved, is_proven) = (self.has_moved, socket.is_proven());
                            self.retry.after(&Stood { lasted: since.elapsed(), has_moved, is_proven });
                        }
                    }
                    talk
                }
                Some(Err(error)) => match (error.status(), is_start) {
                    // The first word to this server.
                    (Some(404 | 405 | 501), true) if !self.retry.is_again() => return Ok(Ended::NoRoute),
                    (_, true) if !self.retry.is_again() => return Err(watch::why(&self.sandbox, error).await),
                    (Some(404), false) if !self.has_started => {
                        is_start = true;
                        continue;
                    }
                    (Some(404), false) => return Err(self.forgotten(error)),
                    // It was started after all; the next attempt finds it.
                    (Some(409), true) => Talk::Lost(error),
                    (Some(409 | 410), false) => {
                        return Err(Error::new(ErrorKind::SandboxDied, error.message()).after(error));
                    }
                    (None | Some(408 | 429 | 502..=504), _) if error.kind() != ErrorKind::SandboxDied => {
                        Talk::Lost(error)
                    }
                    _ => return Err(error),
                },
            };
            let error = match talk {
                Talk::Exited | Talk::GivenUp => return Ok(Ended::Done),
                Talk::Lost(error) => watch::why(&self.sandbox, error).await,
            };
            if error.kind() == ErrorKind::SandboxDied {
                return Err(error);
            }
            is_start = false;
            let Some(pause) = self.retry.pause(Instant::now(), if shared.is_closing() { AGAIN } else { GRACE }) else {
                return Err(error.with_hint("The command was out of reach for too long; the server has killed it"));
            };
            tracing::debug!(error = %error, offset = self.received, "connecting to a command again");
            if shared.is_closing() {
                sleep(pause).await;
            } else {
                // One that is given up is still to be ended.
                tokio::select! {
                    () = sleep(pause) => {}
                    () = closing(&shared) => {}
                }
            }
        }
    }

    /// `None` if it was given up before it was started.
    async fn connect(&self, is_start: bool, shared: &Shared) -> Option<Result<Socket>> {
        let mut url = if is_start { self.start_url.clone() } else { self.resume_url.clone() };
        let limit = if is_start {
            None
        } else {
            url.query_pairs_mut().append_pair("offset", &self.received.to_string());
            Some(AGAIN)
        };
        let socket = self.transport.websocket(Open { limit, ..Open::new(OPERATION, url) });
        if !is_start {
            return Some(socket.await);
        }
        tokio::select! {
            socket = socket => Some(socket),
            () = closing(shared) => None,
        }
    }

    async fn converse(&mut self, socket: &mut Socket, running: &mut Running) -> Result<Talk> {
        let mut died = std::pin::pin!(died(self.sandbox.clone()));
        let shared = Arc::clone(&running.shared);
        let pipe = &shared.pipe;
        let patience = if self.retry.is_again() { AGAIN } else { FIRST_WORD };
        let first_word = Instant::now() + patience;
        let mut sending = None;
        let mut taken = self.acked;
        let mut ack_at = None;
        let mut batch = Batch::default();
        loop {
            if shared.is_closing() {
                return Ok(Talk::GivenUp);
            }
            if let Some(sending) = &mut sending {
                send_input(socket, &shared, sending);
            }
            tokio::select! {
                biased;
                now = pipe.taken(taken) => {
                    taken = now;
                    if taken - self.acked >= WINDOW as u64 / 2 {
                        ack_at = None;
                        self.ack(socket, taken);
                    } else {
                        ack_at.get_or_insert(Instant::now() + ACK_DELAY);
                    }
                }
                first = socket.next() => {
                    let mut received = Some(first);
                    while let Some(message) = received {
                        let message = match message {
                            Ok(message) => message,
                            Err(end) => {
                                pipe.push(&mut batch);
                                return Ok(Talk::Lost(lost(end)));
                            }
                        };
                        match parse(&message)? {
                            Heard::Output(stream, offset, bytes) => match self.accept(stream, offset, bytes, &mut batch) {
                                Ok(()) => {}
                                Err(error) => return Ok(Talk::Lost(error)),
                            },
                            Heard::Control(control) => {
                                pipe.push(&mut batch);
                                if self.retry.is_again() && matches!(control, ToClient::Started { .. }) {
                                    socket.probe(AGAIN);
                                }
                                if let Some(exit) = self.obey(control, running, &mut sending)? {
                                    shared.exited(exit.0, exit.1);
                                    return Ok(Talk::Exited);
                                }
                            }
                        }
                        received = if batch.len() < RUN { socket.next_ready() } else { None };
                    }
                    pipe.push(&mut batch);
                }
                () = shared.changed.notified() => {}
                () = sleep_until(ack_at.unwrap_or(first_word)), if ack_at.is_some() => {
                    ack_at = None;
                    self.ack(socket, taken);
                }
                error = died.as_mut() => return Err(error),
                () = sleep_until(first_word), if sending.is_none() => {
                    let what = format!("the server said nothing for {} s", patience.as_secs());
                    return Ok(Talk::Lost(Error::new(ErrorKind::ConnectionTimeout, what)));
                }
            }
        }
    }

    /// Takes output; what comes again was received already.
    fn accept(&mut self, stream: OutputStream, offset: u64, bytes: &[u8], batch: &mut Batch) -> Result<()> {
        let Some(again) = self.received.checked_sub(offset) else {
            let what = format!("the server sent output from {offset} on, and {} was due", self.received);
            return Err(Error::new(ErrorKind::Connection, what));
        };
        let new = usize::try_from(again).ok().and_then(|again| bytes.get(again..)).unwrap_or_default();
        if !new.is_empty() {
            self.received += new.len() as u64;
            self.has_moved = true;
            self.clock.put_off();
            batch.push(stream, new);
        }
        Ok(())
    }

    /// The exit code and whether it ran over its time limit, if that is what the message says.
    fn obey(
        &mut self,
        control: ToClient,
        running: &mut Running,
        sending: &mut Option<Sending>,
    ) -> Result<Option<(i32, bool)>> {
        let shared = Arc::clone(&running.shared);
        match control {
            ToClient::Started { stdin } => {
                if !std::mem::replace(&mut self.has_started, true) {
                    self.clock.begin();
                }
                shared.taken(stdin);
                *sending = Some(Sending { stdin, ..Sending::default() });
                running.opened();
            }
            ToClient::Ack { offset } => {
                self.has_moved = true;
                shared.taken(offset);
            }
            ToClient::StdinClosed => shared.close_input(),
            ToClient::Exited { exit_code, timed_out } => return Ok(Some((exit_code, timed_out))),
            ToClient::Error { error } => return Err(Error::from_body(error)),
        }
        Ok(None)
    }

    /// Why the command is not known any more.
    fn forgotten(&self, error: Error) -> Error {
        let now = error.headers().iter().find(|(name, _)| name == daytona_wire::AGENT).map(|(_, agent)| agent);
        if self.agent.is_some() && now.is_some() && self.agent.as_ref() != now {
            return Error::killed(self.sandbox.id()).after(error);
        }
        let what = "the server does not know the command any more: it was restarted, or the command ended long ago";
        Error::new(ErrorKind::NotFound, what).with_cause(error)
    }

    fn ack(&mut self, socket: &mut Socket, offset: u64) {
        self.acked = offset;
        socket.queue(text(&ToServer::Ack { offset }));
    }

    /// All output is here, wherever it goes next: the server may forget it.
    async fn goodbye(&mut self, mut socket: Socket) {
        self.ack(&mut socket, self.received);
        let _ = timeout(GOODBYE, async { while socket.next().await.is_ok() {} }).await;
    }
}

/// What was sent on this connection.
#[derive(Default)]
struct Sending {
    /// Offset of the first byte not sent.
    stdin: u64,
    eof: bool,
    kill: bool,
}

fn send_input(socket: &mut Socket, shared: &Shared, sending: &mut Sending) {
    let mut input = shared.input();
    for signal in input.signals.drain(..) {
        socket.queue(text(&ToServer::Signal { signal: signal.0.to_string() }));
    }
    if input.is_killed && !std::mem::replace(&mut sending.kill, true) {
        socket.queue(text(&ToServer::Signal { signal: KILL.to_string() }));
    }
    sending.stdin = sending.stdin.max(input.begin);
    while sending.stdin < input.end() {
        let begin = usize::try_from(sending.stdin - input.begin).unwrap_or(usize::MAX);
        let bytes = &input.waiting[begin..];
        let bytes = &bytes[..bytes.len().min(STDIN_FRAME)];
        let mut frame = BytesMut::with_capacity(HEAD + bytes.len());
        frame.put_u8(STDIN);
        frame.put_u64(sending.stdin);
        frame.put_slice(bytes);
        sending.stdin += bytes.len() as u64;
        socket.queue(Message::Binary(frame.freeze()));
    }
    if input.is_over && sending.stdin == input.end() && !std::mem::replace(&mut sending.eof, true) {
        socket.queue(text(&ToServer::Eof { offset: sending.stdin }));
    }
}

fn text(message: &impl Serialize) -> Message {
    Message::text(serde_json::to_string(message).expect("these messages are JSON"))
}

fn lost(end: End) -> Error {
    match end {
        End::Broken(error) => error,
        End::Closed { code, reason } => {
            let code = code.map_or("none".to_owned(), |code| code.to_string());
            let what = format!("the server closed the connection before the command had ended: {reason} (code {code})");
            Error::new(ErrorKind::Connection, what)
        }
    }
}

/// Waits for the sandbox's end. A network that is gone may come back within the time a command has.
async fn died(sandbox: Sandbox) -> Error {
    loop {
        let error = watch::ended(&sandbox).await;
        if error.kind() == ErrorKind::SandboxDied {
            return error;
        }
    }
}

async fn closing(shared: &Shared) {
    while !shared.is_closing() {
        shared.changed.notified().await;
    }
}
