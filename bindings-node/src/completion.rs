//! Calls in flight and the queue of those that have finished.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use bytes::Bytes;
use daytona_core::wire::process::ExecuteResponse;
use daytona_core::{DownloadStream, Downloaded, Error, OutputChunk, OutputStream, Progress, Result, Sandbox};
use futures_util::FutureExt;
use napi::bindgen_prelude::{
    Array, Buffer, BufferSlice, ClassInstance, Env, JavaScriptClassExt, Null, Status, ToNapiValue,
};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi_derive::napi;
use tokio::runtime::{Builder, Handle};
use tokio::task::JoinHandle;

use crate::files::NativeDownload;
use crate::sandbox::NativeSandbox;
use crate::telemetry::within;

/// What a call gives: two values, which the JavaScript method that started it knows how to read.
pub(crate) enum Outcome {
    /// Nothing.
    Unit,
    /// A string.
    Text(String),
    /// A string of JSON, to be parsed in JavaScript: quicker than a call for each field.
    Json(String),
    /// Strings, and an exit code.
    Texts(Vec<Option<String>>, Option<i32>),
    /// Exit code and output.
    Exec(ExecuteResponse),
    /// An exit code.
    Code(i32),
    /// Pieces of output, or null at their end.
    Output(Option<Vec<OutputChunk>>),
    /// A buffer, or null.
    Bytes(Option<Vec<u8>>),
    /// A piece of a stream, or null at its end.
    Piece(Option<Bytes>),
    /// A sandbox and its data.
    Sandbox(Sandbox),
    /// The same of a sandbox that is its caller's from now on.
    Created(daytona_core::Made<Sandbox>),
    /// A string of JSON about something that is its caller's from now on.
    Kept(daytona_core::Made<String>),
    /// Sandboxes, and their data and the next cursor.
    Page(Vec<Sandbox>, String),
    /// An open stream and its length.
    Stream(Box<DownloadStream>),
    /// Buffers, and what else is known of each.
    Downloads(Vec<Downloaded>),
    /// What only the module that started the call knows.
    Made(Box<Made>),
    /// Not the end: bytes so far, and in all.
    Progress(u64, Option<u64>),
    /// An error, and the data of the sandbox if it may have changed.
    Failed(Error, Option<String>),
}

/// Puts the two values of a call into their slots.
type Made = dyn FnOnce(&mut Slots<'_>, &Calls) -> napi::Result<()> + Send;

impl Outcome {
    /// Values that are made where JavaScript is.
    pub(crate) fn made(make: impl FnOnce(&mut Slots<'_>, &Calls) -> napi::Result<()> + Send + 'static) -> Self {
        Self::Made(Box::new(make))
    }

    /// Gives the caller what it has made.
    fn handed_over(self) -> Self {
        let handed_over = match self {
            Self::Created(made) => made.keep().map(Self::Sandbox),
            Self::Kept(made) => made.keep().map(Self::Json),
            other => return other,
        };
        handed_over.unwrap_or_else(|error| Self::Failed(error, None))
    }

    /// How the call goes on, in the numbers that the JavaScript layer knows (`lib/call.js`).
    const fn kind(&self) -> u32 {
        match self {
            Self::Progress(..) => 1,
            Self::Failed(..) => 2,
            _ => 0,
        }
    }
}

struct Done {
    id: u32,
    outcome: Outcome,
}

type Wake = ThreadsafeFunction<(), (), (), Status, false, true>;

/// Finished calls of one environment.
struct Queue {
    done: Mutex<Vec<Done>>,
    /// JavaScript has been told and has not come yet.
    woken: AtomicBool,
    wake: Wake,
}

impl Queue {
    fn push(&self, id: u32, outcome: Outcome) {
        {
            let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
            match (done.last_mut(), &outcome) {
                // The newest progress stands for all that nobody has seen.
                (Some(Done { id: last, outcome: last_outcome @ Outcome::Progress(..) }), Outcome::Progress(..))
                    if *last == id =>
                {
                    *last_outcome = outcome;
                }
                _ => done.push(Done { id, outcome }),
            }
        }
        if !self.woken.swap(true, Ordering::AcqRel) {
            // Fails only where the environment is gone, and its calls with it.
            let _ = self.wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
        }
    }

    fn take(&self) -> Vec<Done> {
        self.woken.store(false, Ordering::Release);
        std::mem::take(&mut *self.done.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Answers its call when it is dropped without an answer, so that a panic does not leave a promise
/// pending for ever.
struct Ticket {
    id: u32,
    queue: Arc<Queue>,
    answered: bool,
}

impl Ticket {
    fn answer(mut self, outcome: Result<Outcome>) {
        self.answered = true;
        self.queue.push(self.id, outcome.unwrap_or_else(|error| Outcome::Failed(error, None)));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.answered {
            self.queue.push(self.id, Outcome::Failed(Error::caller("the call ended without an answer"), None));
        }
    }
}

/// One thread does all I/O: for calls one after another it costs less than several.
static RUNTIME: LazyLock<Handle> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_all().build().expect("the system gives an event loop");
    let handle = runtime.handle().clone();
    std::thread::Builder::new()
        .name("daytona-native".into())
        .spawn(move || runtime.block_on(std::future::pending::<()>()))
        .expect("the system gives a thread");
    handle
});

/// Runs what belongs to no call.
pub(crate) fn spawn(work: impl Future<Output = ()> + Send + 'static) {
    RUNTIME.spawn(work);
}

/// The calls of one environment, shared by everything that starts some.
#[derive(Clone)]
pub(crate) struct Calls {
    queue: Arc<Queue>,
    tasks: Rc<RefCell<HashMap<u32, JoinHandle<()>>>>,
    /// The program's span of the next call.
    parent: Rc<RefCell<Option<String>>>,
}

impl Calls {
    /// Starts a call.
    pub(crate) fn spawn(&self, id: u32, work: impl Future<Output = Result<Outcome>> + Send + 'static) {
        let ticket = Ticket { id, queue: Arc::clone(&self.queue), answered: false };
        // Not an async block, which would hold the call's future twice.
        let task = match self.parent.take() {
            None => RUNTIME.spawn(work.map(|outcome| ticket.answer(outcome))),
            Some(parent) => RUNTIME.spawn(within(parent, work).map(|outcome| ticket.answer(outcome))),
        };
        self.tasks.borrow_mut().insert(id, task);
    }

    /// A function that reports the progress of a call.
    pub(crate) fn progress(&self, id: u32) -> Progress {
        let queue = Arc::clone(&self.queue);
        Arc::new(move |moved, total| queue.push(id, Outcome::Progress(moved, total)))
    }

    fn cancel_all(&self) {
        for task in self.tasks.take().into_values() {
            task.abort();
        }
    }
}

/// The calls of one environment, as JavaScript sees them.
#[napi]
pub struct NativeCalls {
    calls: Calls,
}

impl NativeCalls {
    pub(crate) fn calls(&self) -> Calls {
        self.calls.clone()
    }
}

#[napi]
impl NativeCalls {
    /// `wake` is called without arguments when finished calls wait to be taken.
    #[napi(constructor)]
    pub fn new(env: Env, wake: ThreadsafeFunction<(), (), (), Status, false, true>) -> napi::Result<Self> {
        daytona_core::set_background(|| RUNTIME.clone());
        let queue = Queue { done: Mutex::default(), woken: AtomicBool::new(false), wake };
        let calls = Calls { queue: Arc::new(queue), tasks: Rc::default(), parent: Rc::default() };
        // A worker that is terminated takes its calls along.
        env.add_env_cleanup_hook(calls.clone(), |calls| calls.cancel_all())?;
        Ok(Self { calls })
    }

    /// The span that the next call is a part of, as the header `traceparent`.
    #[napi]
    pub fn set_parent(&self, parent: Option<String>) {
        *self.calls.parent.borrow_mut() = parent;
    }

    /// Drops a call: its request is cancelled and its answer, if there is one, is of no use.
    #[napi]
    pub fn cancel(&self, id: u32) {
        if let Some(task) = self.calls.tasks.borrow_mut().remove(&id) {
            task.abort();
        }
    }

    /// The finished calls, four slots each: number, kind and two values that depend on the kind.
    #[napi]
    pub fn drain<'env>(&self, env: &'env Env) -> napi::Result<Array<'env>> {
        let done = self.calls.queue.take();
        let mut slots = Slots { env, array: env.create_array(0)?, next: 0 };
        let mut tasks = self.calls.tasks.borrow_mut();
        for Done { id, outcome } in done {
            if !matches!(outcome, Outcome::Progress(..)) && tasks.remove(&id).is_none() {
                // Cancelled meanwhile.
                continue;
            }
            let outcome = outcome.handed_over();
            slots.put(id)?;
            slots.put(outcome.kind())?;
            slots.outcome(outcome, &self.calls)?;
        }
        Ok(slots.array)
    }
}

/// The finished calls of one wake-up, as JavaScript gets them.
pub(crate) struct Slots<'env> {
    env: &'env Env,
    array: Array<'env>,
    next: u32,
}

impl<'env> Slots<'env> {
    fn put<T: ToNapiValue>(&mut self, value: T) -> napi::Result<()> {
        self.array.set(self.next, value)?;
        self.next += 1;
        Ok(())
    }

    /// Puts the two values of a call.
    pub(crate) fn pair<A: ToNapiValue, B: ToNapiValue>(&mut self, first: A, second: B) -> napi::Result<()> {
        self.put(first)?;
        self.put(second)
    }

    /// An object for JavaScript.
    pub(crate) fn instance<T: JavaScriptClassExt>(&self, native: T) -> napi::Result<ClassInstance<'env, T>> {
        native.into_instance(self.env)
    }

    /// Two slots for each piece, 0 for stdout or 1 for stderr and the text, or with 2 added a third one: the bytes,
    /// where the text has others.
    fn output(&self, batch: Vec<OutputChunk>) -> napi::Result<Array<'env>> {
        let mut pieces = Slots { env: self.env, array: self.env.create_array(0)?, next: 0 };
        for OutputChunk { stream, bytes, text } in batch {
            let stream = match stream {
                OutputStream::Stdout => 0,
                OutputStream::Stderr => 1,
            };
            if bytes == text.as_bytes() {
                pieces.pair(stream, text)?;
            } else {
                pieces.pair(stream + 2, text)?;
                pieces.put(Buffer::from(bytes.to_vec()))?;
            }
        }
        Ok(pieces.array)
    }

    fn outcome(&mut self, outcome: Outcome, calls: &Calls) -> napi::Result<()> {
        match outcome {
            Outcome::Text(text) | Outcome::Json(text) => self.pair(text, Null),
            Outcome::Texts(texts, code) => self.pair(texts, code),
            Outcome::Code(code) => self.pair(code, Null),
            Outcome::Output(batch) => {
                let batch = batch.map(|batch| self.output(batch)).transpose()?;
                self.pair(batch, Null)
            }
            Outcome::Made(make) => make(self, calls),
            Outcome::Exec(answer) => self.pair(answer.exit_code, answer.result),
            Outcome::Bytes(bytes) => self.pair(bytes.map(Buffer::from), Null),
            // What was made was handed over before.
            Outcome::Unit | Outcome::Piece(None) | Outcome::Created(_) | Outcome::Kept(_) => self.pair(Null, Null),
            Outcome::Piece(Some(piece)) => {
                let piece = BufferSlice::copy_from(self.env, piece)?;
                self.pair(piece, Null)
            }
            Outcome::Sandbox(sandbox) => {
                let data = crate::sandbox::json(&sandbox);
                let handle = NativeSandbox::new(calls.clone(), sandbox).into_instance(self.env)?;
                self.pair(handle, data)
            }
            Outcome::Page(sandboxes, data) => {
                let mut handles = self.env.create_array(0)?;
                for sandbox in sandboxes {
                    handles.insert(NativeSandbox::new(calls.clone(), sandbox).into_instance(self.env)?)?;
                }
                self.pair(handles, data)
            }
            Outcome::Stream(stream) => {
                let total = stream.total().map(crate::files::number);
                let handle = NativeDownload::new(calls.clone(), *stream).into_instance(self.env)?;
                self.pair(handle, total)
            }
            Outcome::Downloads(files) => {
                let errors = crate::files::download_errors(&files);
                let mut buffers = self.env.create_array(0)?;
                for file in files {
                    buffers.insert(file.result.ok().flatten().map(Buffer::from))?;
                }
                self.pair(buffers, errors)
            }
            Outcome::Progress(moved, total) => self.pair(crate::files::number(moved), total.map(crate::files::number)),
            Outcome::Failed(error, data) => self.pair(crate::error::json(&error), data),
        }
    }
}
