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
/// After a time limit it is at most this part of the limit, so that a limit of a second does not become three.
const GRACE_PART: f64 = 0.5;
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

/// Does what is asked for until nobody can ask any more. `name` is what messages call the context.
pub(super) async fn serve(
    name: String,
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
                lost = Some(format!("the interpreter {how} after its last code"));
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
        if let Some(why) = lost.take() {
            run.tell(&RunMessage::Stderr { text: format!("[the state of {name} is lost: {why}]\n") });
        }
        match run.go(&mut process, &name).await {
            Ok(()) => worker = Some(process),
            Err(Lost(why)) => lost = Some(why),
        }
    }
}

async fn ended(worker: &mut Option<Worker>) -> String {
    match worker {
        Some(worker) => worker.idle().await,
        None => std::future::pending().await,
    }
}

/// Why a worker, and with it the state of its context, is no more.
struct Lost(String);

/// Why code was interrupted.
#[derive(Clone, Copy, PartialEq)]
enum Stop {
    TimeOut,
    ClientGone,
}

impl Run {
    /// Runs it in the context of this name.
    async fn go(&mut self, worker: &mut Worker, name: &str) -> Result<(), Lost> {
        if self.interrupts.is_closed() {
            return Ok(());
        }
        if self.interrupts.try_recv().is_ok() {
            self.tell(&RunMessage::Control { text: "interrupted".to_owned() });
            self.close(close_code::NORMAL, "");
            return Ok(());
        }
        let limit = self.request.timeout.unwrap_or(DEFAULT_LIMIT);
        let time = if limit == 0 { LONG } else { Duration::from_secs(limit).min(LONG) };
        let mut end = Instant::now() + time;
        let mut stop = None;
        worker.run(&self.request);
        loop {
            tokio::select! {
                event = next(&self.client, worker, stop.is_none()) => match event {
                    Event::Message(RunMessage::Control { .. }) => {
                        match stop {
                            Some(Stop::TimeOut) => {
                                let why = format!("the code ran over its {limit} s and was interrupted; the state of {name} is kept");
                                self.close(CLOSE_TIMEOUT, &why);
                            }
                            Some(Stop::ClientGone) => {}
                            None => self.close(close_code::NORMAL, ""),
                        }
                        return Ok(());
                    }
                    Event::Message(_) => {}
                    Event::Ended(how) => {
                        let code = if stop == Some(Stop::TimeOut) { CLOSE_TIMEOUT } else { close_code::AWAY };
                        self.close(code, &format!("the interpreter {how}; the state of {name} is lost"));
                        return Err(Lost(format!("the interpreter {how} in the code before this")));
                    }
                },
                asked = self.interrupts.recv(), if stop != Some(Stop::ClientGone) => {
                    worker.interrupt();
                    if asked.is_none() {
                        stop = Some(Stop::ClientGone);
                        end = Instant::now() + GRACE;
                    }
                }
                () = sleep_until(end) => match stop {
                    None => {
                        worker.interrupt();
                        stop = Some(Stop::TimeOut);
                        end = Instant::now() + time.mul_f64(GRACE_PART).min(GRACE);
                    }
                    Some(Stop::TimeOut) => {
                        let why = format!("the code did not end at its {limit} s and was killed; the state of {name} is lost");
                        self.close(CLOSE_TIMEOUT, &why);
                        return Err(Lost(format!("the code before this did not end at its {limit} s and was killed")));
                    }
                    Some(Stop::ClientGone) => {
                        let why = "the code before this did not end when it was interrupted and was killed";
                        return Err(Lost(why.to_owned()));
                    }
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
