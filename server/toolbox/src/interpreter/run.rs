//! The runs of one context, one after the other.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::ws::{Message, close_code};
use daytona_wire::interpreter::{CLOSE_TIMEOUT, RunMessage, RunRequest};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::worker::{Event, Worker};
use crate::{process, websocket};

/// The time limit of a run that asks for none.
const DEFAULT_LIMIT: u64 = 600;
/// How long interrupted code may take to end before it is killed.
const GRACE: Duration = Duration::from_secs(2);
/// As good as for ever.
const LONG: Duration = Duration::from_secs(100 * 365 * 86_400);

/// A run that was asked for.
pub(super) struct Run {
    pub(super) request: RunRequest,
    /// Takes messages as fast as the client does. The last one is a close frame.
    pub(super) client: mpsc::Sender<Message>,
    /// The client asks for interrupts, and ends this when it goes.
    pub(super) interrupts: mpsc::Receiver<()>,
}

/// What a context's worker is started with.
pub(super) struct Settings {
    pub(super) python: PathBuf,
    pub(super) cwd: PathBuf,
    pub(super) env: BTreeMap<String, String>,
}

impl Settings {
    pub(super) fn start(&self) -> io::Result<Worker> {
        if let Some(why) = process::no_directory(&self.cwd) {
            return Err(io::Error::new(io::ErrorKind::NotFound, why));
        }
        Worker::start(&self.python, &self.cwd, &self.env).map_err(|error| {
            io::Error::new(error.kind(), format!("{} cannot be started: {error}", self.python.display()))
        })
    }
}

/// Does what is asked for until nobody can ask any more.
pub(super) async fn serve(
    settings: Settings,
    active: Arc<AtomicBool>,
    mut worker: Option<Worker>,
    mut queue: mpsc::UnboundedReceiver<Run>,
) {
    let mut lost = None;
    loop {
        active.store(worker.is_some(), Ordering::Relaxed);
        let mut run = tokio::select! {
            run = queue.recv() => match run {
                Some(run) => run,
                None => return,
            },
            how = ended(&mut worker) => {
                lost = Some(format!(
                    "[the interpreter of this context {how} after its last code; what that had defined is lost]\n"
                ));
                worker = None;
                continue;
            }
        };
        let mut process = match worker.take().map_or_else(|| settings.start(), Ok) {
            Ok(process) => process,
            Err(error) => {
                run.close(close_code::ERROR, &error.to_string());
                continue;
            }
        };
        active.store(true, Ordering::Relaxed);
        if let Some(text) = lost.take() {
            run.tell(&RunMessage::Stderr { text });
        }
        if run.go(&mut process).await {
            worker = Some(process);
        }
    }
}

async fn ended(worker: &mut Option<Worker>) -> String {
    match worker {
        Some(worker) => worker.idle().await,
        None => std::future::pending().await,
    }
}

/// Why code was interrupted.
#[derive(Clone, Copy, PartialEq)]
enum Stop {
    TimeOut,
    ClientGone,
}

impl Run {
    /// Runs it. True if the worker lives on.
    async fn go(&mut self, worker: &mut Worker) -> bool {
        if self.interrupts.is_closed() {
            return true;
        }
        if self.interrupts.try_recv().is_ok() {
            self.tell(&RunMessage::Control { text: "interrupted".to_owned() });
            self.close(close_code::NORMAL, "");
            return true;
        }
        let limit = self.request.timeout.unwrap_or(DEFAULT_LIMIT);
        let mut end = Instant::now() + if limit == 0 { LONG } else { Duration::from_secs(limit).min(LONG) };
        let mut stop = None;
        worker.run(&self.request);
        loop {
            tokio::select! {
                event = next(&self.client, worker, stop.is_none()) => match event {
                    Event::Message(RunMessage::Control { .. }) => {
                        match stop {
                            Some(Stop::TimeOut) => self.close(CLOSE_TIMEOUT, &over(limit, true)),
                            Some(Stop::ClientGone) => {}
                            None => self.close(close_code::NORMAL, ""),
                        }
                        return true;
                    }
                    Event::Message(_) => {}
                    Event::Ended(how) => {
                        if stop == Some(Stop::TimeOut) {
                            self.close(CLOSE_TIMEOUT, &over(limit, false));
                        } else {
                            let why = format!("the interpreter {how}; the context starts afresh with the next code");
                            self.close(close_code::AWAY, &why);
                        }
                        return false;
                    }
                },
                asked = self.interrupts.recv(), if stop != Some(Stop::ClientGone) => {
                    worker.interrupt();
                    if asked.is_none() {
                        stop = Some(Stop::ClientGone);
                        end = Instant::now() + GRACE;
                    }
                }
                () = sleep_until(end) => {
                    if stop.is_some() {
                        self.close(CLOSE_TIMEOUT, &over(limit, false));
                        return false;
                    }
                    worker.interrupt();
                    stop = Some(Stop::TimeOut);
                    end = Instant::now() + GRACE;
                }
            }
        }
    }

    /// What comes before all else, so that there is room for it.
    fn tell(&self, message: &RunMessage) {
        let _ = self.client.try_send(as_frame(message));
    }

    /// The next run does not wait until the client has taken this.
    fn close(&self, code: u16, reason: &str) {
        let (client, frame) = (self.client.clone(), websocket::close(code, reason));
        tokio::spawn(async move { client.send(frame).await });
    }
}

/// The next event, passed on to the client if that is still there. How code ended that had to be interrupted is not for
/// the client: there are some that take it for the end of all. Cancel safe.
async fn next(client: &mpsc::Sender<Message>, worker: &mut Worker, tell_end: bool) -> Event {
    let place = client.reserve().await;
    let event = worker.next().await;
    if let (Ok(place), Event::Message(message)) = (place, &event)
        && (tell_end || !matches!(message, RunMessage::Control { .. }))
    {
        place.send(as_frame(message));
    }
    event
}

fn as_frame(message: &RunMessage) -> Message {
    Message::text(serde_json::to_string(message).unwrap_or_default())
}

fn over(limit: u64, kept: bool) -> String {
    let after = if kept { "its context lives on" } else { "it did not end, so its context starts afresh" };
    format!("the code ran longer than its {limit} s and was interrupted; {after}")
}
