//! Sessions and their logs.

use daytona_core::LogStream;
use daytona_core::wire::session::{SessionCommandLogs, SessionExecuteRequest};
use napi::bindgen_prelude::Null;
use napi_derive::napi;

use crate::completion::{Calls, Outcome};
use crate::daytona::parse;
use crate::sandbox::NativeSandbox;

fn logs(logs: SessionCommandLogs) -> Outcome {
    Outcome::Texts(vec![Some(logs.output), Some(logs.stdout), Some(logs.stderr)], None)
}

/// Hands an open log over.
pub(crate) fn followed(stream: LogStream) -> Outcome {
    Outcome::made(move |slots, calls| {
        let log = slots.instance(NativeLog { calls: calls.clone(), stream })?;
        slots.pair(log, Null)
    })
}

#[napi]
impl NativeSandbox {
    /// Starts a session.
    #[napi]
    pub fn create_session(&self, id: u32, session_id: String, timeout: Option<f64>) {
        self.process(id, move |process| async move {
            process.create_session(&session_id, timeout).await.map(|()| Outcome::Unit)
        });
    }

    /// A session and its commands.
    #[napi]
    pub fn get_session(&self, id: u32, session_id: String, timeout: Option<f64>) {
        self.process_json(id, move |process| async move { process.get_session(&session_id, timeout).await });
    }

    /// The session of the entrypoint.
    #[napi]
    pub fn get_entrypoint_session(&self, id: u32, timeout: Option<f64>) {
        self.process_json(id, move |process| async move { process.get_entrypoint_session(timeout).await });
    }

    /// All sessions.
    #[napi]
    pub fn list_sessions(&self, id: u32, timeout: Option<f64>) {
        self.process_json(id, move |process| async move { process.list_sessions(timeout).await });
    }

    /// Ends a session.
    #[napi]
    pub fn delete_session(&self, id: u32, session_id: String, timeout: Option<f64>) {
        self.process(id, move |process| async move {
            process.delete_session(&session_id, timeout).await.map(|()| Outcome::Unit)
        });
    }

    /// Runs a command in a session. `request` is JSON.
    #[napi]
    pub fn execute_session_command(&self, id: u32, session_id: String, request: String, timeout: Option<f64>) {
        self.process(id, move |process| async move {
            let request: SessionExecuteRequest = parse(&request)?;
            let answer = process.execute_session_command(&session_id, request, timeout).await?;
            let texts = vec![Some(answer.cmd_id), answer.output, answer.stdout, answer.stderr];
            Ok(Outcome::Texts(texts, answer.exit_code))
        });
    }

    /// A command of a session.
    #[napi]
    pub fn get_session_command(&self, id: u32, session_id: String, command_id: String, timeout: Option<f64>) {
        self.process_json(id, move |process| async move {
            process.get_session_command(&session_id, &command_id, timeout).await
        });
    }

    /// What a command has written.
    #[napi]
    pub fn get_session_command_logs(&self, id: u32, session_id: String, command_id: String, timeout: Option<f64>) {
        self.process(id, move |process| async move {
            process.get_session_command_logs(&session_id, &command_id, timeout).await.map(logs)
        });
    }

    /// What the entrypoint has written.
    #[napi]
    pub fn get_entrypoint_logs(&self, id: u32, timeout: Option<f64>) {
        self.process(id, move |process| async move { process.get_entrypoint_logs(timeout).await.map(logs) });
    }

    /// Opens what a command writes.
    #[napi]
    pub fn follow_session_command_logs(&self, id: u32, session_id: String, command_id: String) {
        self.process(id, move |process| async move {
            process.follow_session_command_logs(&session_id, &command_id).await.map(followed)
        });
    }

    /// Opens what the entrypoint writes.
    #[napi]
    pub fn follow_entrypoint_logs(&self, id: u32) {
        self.process(id, move |process| async move { process.follow_entrypoint_logs().await.map(followed) });
    }

    /// Writes to a command's stdin.
    #[napi]
    pub fn send_session_command_input(
        &self,
        id: u32,
        session_id: String,
        command_id: String,
        data: String,
        timeout: Option<f64>,
    ) {
        self.process(id, move |process| async move {
            process.send_session_command_input(&session_id, &command_id, &data, timeout).await.map(|()| Outcome::Unit)
        });
    }
}

/// An open log.
#[napi]
pub struct NativeLog {
    calls: Calls,
    stream: LogStream,
}

#[napi]
impl NativeLog {
    /// The next batch.
    #[napi]
    pub fn next(&self, id: u32) {
        let stream = self.stream.clone();
        self.calls.spawn(id, async move { stream.next().await.map(Outcome::Output) });
    }

    /// Ends it early.
    #[napi]
    pub fn close(&self) {
        self.stream.close();
    }
}
