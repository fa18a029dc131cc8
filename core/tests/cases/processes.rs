//! Calls about what runs in a sandbox: commands, sessions, streams, terminals, the interpreter.

use std::sync::Arc;

use daytona_core::wire::interpreter::RunMessage;
use daytona_core::wire::session::SessionExecuteRequest;
use daytona_core::{
    ExecOptions, ExecStream, LogStream, OutputChunk, OutputStream, Process, Pty, PtyOptions, Result, RunCodeOptions,
    Sandbox,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::calls::{Outcome, arg};
use crate::values::bytes;

/// A pseudo-terminal that is driven by what it shows.
#[derive(Clone)]
pub(crate) struct Terminal {
    pty: Arc<Pty>,
}

pub(crate) async fn on_process(method: &str, sandbox: &Sandbox, args: &Value) -> Result<Outcome> {
    let process = sandbox.process();
    let options = ExecOptions {
        cwd: arg(args, "cwd"),
        env: arg(args, "env"),
        argv: arg(args, "argv"),
        timeout: arg(args, "timeout"),
        ..ExecOptions::default()
    };
    match method {
        "exec" => process.exec(&arg::<String>(args, "command"), options).await.map(Outcome::from),
        "code_run" => process.code_run(&arg::<String>(args, "code"), None, options).await.map(Outcome::from),
        "stream" => {
            let stream = process.exec_stream(&arg::<String>(args, "command"), options).await?;
            streamed(stream, args).await.map(Outcome::from)
        }
        _ if method.contains("pty") => on_terminals(method, &process, args).await,
        _ => on_sessions(method, &process, args).await,
    }
}

async fn on_sessions(method: &str, process: &Process, args: &Value) -> Result<Outcome> {
    let session: Option<String> = arg(args, "session_id");
    let session = session.as_deref().unwrap_or_default();
    let command: Option<String> = arg(args, "command_id");
    let command = command.as_deref().unwrap_or_default();
    match method {
        "create_session" => process.create_session(session, None).await.map(Outcome::from),
        "get_session" => process.get_session(session, None).await.map(Outcome::from),
        "get_entrypoint_session" => process.get_entrypoint_session(None).await.map(Outcome::from),
        "list_session_ids" => {
            let all = process.list_sessions(None).await?;
            Ok(all.into_iter().map(|one| one.session_id).collect::<Vec<_>>().into())
        }
        "delete_session" => process.delete_session(session, None).await.map(Outcome::from),
        "execute_session_command" => {
            let request = SessionExecuteRequest {
                command: arg(args, "command"),
                run_async: arg(args, "run_async"),
                var_async: None,
                suppress_input_echo: arg(args, "suppress_input_echo"),
            };
            process.execute_session_command(session, request, arg(args, "timeout")).await.map(Outcome::from)
        }
        "get_session_command" => process.get_session_command(session, command, None).await.map(Outcome::from),
        "get_session_command_logs" => process.get_session_command_logs(session, command, None).await.map(Outcome::from),
        "get_entrypoint_logs" => process.get_entrypoint_logs(None).await.map(Outcome::from),
        "send_session_command_input" => {
            let data: String = arg(args, "data");
            process.send_session_command_input(session, command, &data, None).await.map(Outcome::from)
        }
        "follow_logs" => followed(process.follow_session_command_logs(session, command).await?).await,
        "follow_entrypoint_logs" => followed(process.follow_entrypoint_logs().await?).await,
        _ => panic!("unknown call process.{method}"),
    }
}

/// What a stream has given so far.
#[derive(Default)]
struct Taken {
    stdout: String,
    stderr: String,
    data: Vec<u8>,
}

impl Taken {
    fn add(&mut self, chunks: Vec<OutputChunk>) {
        for chunk in chunks {
            let text = if chunk.stream == OutputStream::Stdout { &mut self.stdout } else { &mut self.stderr };
            text.push_str(&chunk.text);
            self.data.extend_from_slice(&chunk.bytes);
        }
    }
}

pub(crate) async fn followed(stream: LogStream) -> Result<Outcome> {
    let mut taken = Taken::default();
    while let Some(chunks) = stream.next().await? {
        taken.add(chunks);
    }
    Ok(json!({ "stdout": taken.stdout, "stderr": taken.stderr }).into())
}

/// Takes a stream to its end, answering what it shows.
pub(crate) async fn streamed(stream: ExecStream, args: &Value) -> Result<Value> {
    let stdin: Vec<String> = arg::<Option<Vec<String>>>(args, "stdin").unwrap_or_default();
    let mut until: Option<String> = arg(args, "until");
    let mut taken = Taken::default();
    let writing = async {
        for text in stdin {
            stream.write_stdin(text.into()).await?;
        }
        if args.get("stdin").is_some() { stream.close_stdin().await } else { Ok(()) }
    };
    let reading = async {
        loop {
            if until.as_ref().is_some_and(|until| taken.stdout.contains(until.as_str())) {
                until = None;
                let then = &args["then"];
                match (then["stdin"].as_str(), then["signal"].as_str()) {
                    (Some(text), _) => stream.write_stdin(text.to_owned().into()).await?,
                    (None, Some(signal)) => stream.signal(signal).await?,
                    (None, None) => stream.kill().await?,
                }
            }
            match stream.next().await? {
                Some(chunks) => taken.add(chunks),
                None => return stream.wait().await,
            }
        }
    };
    let ((), exit_code) = tokio::try_join!(writing, reading)?;
    if args.get("digest").is_some() {
        let (first, rest) = taken.stdout.split_once('\n').unwrap_or_default();
        let digest = bytes(&Sha256::digest(rest.as_bytes()));
        let same = digest["$bytes"].as_str() == first.split(' ').next();
        return Ok(json!({ "exit_code": exit_code, "same": same }));
    }
    let Taken { stdout, stderr, data } = taken;
    Ok(json!({ "stdout": stdout, "stderr": stderr, "data": bytes(&data), "exit_code": exit_code }))
}

async fn on_terminals(method: &str, process: &Process, args: &Value) -> Result<Outcome> {
    let id: Option<String> = arg(args, "session_id");
    let id = id.as_deref().unwrap_or_default();
    match method {
        "list_pty_ids" => {
            let all = process.list_pty_sessions(None).await?;
            Ok(all.into_iter().map(|one| one.id).collect::<Vec<_>>().into())
        }
        "get_pty_session_info" => process.get_pty_session_info(id, None).await.map(Outcome::from),
        "kill_pty_session" => process.kill_pty_session(id, None).await.map(Outcome::from),
        "resize_pty_session" => {
            process.resize_pty_session(id, arg(args, "cols"), arg(args, "rows"), None).await.map(Outcome::from)
        }
        _ => panic!("unknown call process.{method}"),
    }
}

/// `pty.create` and `pty.connect`.
pub(crate) async fn open_terminal(method: &str, sandbox: &Sandbox, args: &Value) -> Result<Terminal> {
    let process = sandbox.process();
    let pty = if method == "create" {
        let options = PtyOptions {
            cwd: arg(args, "cwd"),
            env: arg(args, "envs"),
            cols: arg(args, "cols"),
            rows: arg(args, "rows"),
        };
        process.create_pty_session(&arg::<String>(args, "id"), options).await?
    } else {
        let replay: Option<bool> = arg(args, "replay");
        process.connect_pty_session(&arg::<String>(args, "session_id"), replay.unwrap_or_default()).await?
    };
    Ok(Terminal { pty: Arc::new(pty) })
}

impl Terminal {
    /// `pty.run`: takes the actions in order, each when its text has been shown.
    pub(crate) async fn run(&self, args: &Value) -> Result<Outcome> {
        let mut script: std::collections::VecDeque<Value> = arg(args, "script");
        let mut shown = Vec::new();
        self.pty.wait_for_connection(None).await?;
        loop {
            while let Some(action) = script.front()
                && String::from_utf8_lossy(&shown).contains(action["until"].as_str().unwrap_or_default())
            {
                let action = script.pop_front().unwrap_or_default();
                self.act(&action).await?;
            }
            match self.pty.next().await {
                Ok(Some(data)) => shown.extend_from_slice(&data),
                Ok(None) => break,
                Err(error) => return Err(error),
            }
        }
        let end = self.pty.wait(None).await?;
        let output = String::from_utf8_lossy(&shown);
        Ok(json!({ "output": output, "exit_code": end.exit_code, "error": end.error }).into())
    }

    async fn act(&self, action: &Value) -> Result<()> {
        if let Some(text) = action["send"].as_str() {
            self.pty.send_input(text.to_owned().into()).await
        } else if action.get("send_all_bytes").is_some() {
            self.pty.send_input((0..=255).collect::<Vec<u8>>().into()).await
        } else if action.get("resize").is_some() {
            let [cols, rows]: [u16; 2] = arg(action, "resize");
            self.pty.resize(cols, rows).await.map(drop)
        } else if action.get("kill").is_some() {
            self.pty.kill().await
        } else {
            self.pty.disconnect();
            Ok(())
        }
    }
}

pub(crate) async fn on_interpreter(method: &str, sandbox: &Sandbox, args: &Value) -> Result<Outcome> {
    let interpreter = sandbox.code_interpreter();
    let context: Option<Value> = arg(args, "context");
    let context = context.and_then(|context| context["id"].as_str().map(str::to_owned));
    match method {
        "create_context" => {
            let cwd: Option<String> = arg(args, "cwd");
            interpreter.create_context(cwd.as_deref(), None).await.map(Outcome::from)
        }
        "list_context_ids" => {
            let all = interpreter.list_contexts(None).await?;
            Ok(all.into_iter().map(|one| one.id).collect::<Vec<_>>().into())
        }
        "delete_context" => interpreter.delete_context(&context.unwrap_or_default(), None).await.map(Outcome::from),
        "run_code" => {
            let options = RunCodeOptions {
                context,
                env: arg(args, "envs"),
                timeout: arg(args, "timeout"),
                results: arg::<Option<bool>>(args, "results").unwrap_or_default(),
            };
            run_code(&interpreter, &arg::<String>(args, "code"), options).await
        }
        _ => panic!("unknown call code_interpreter.{method}"),
    }
}

async fn run_code(interpreter: &daytona_core::CodeInterpreter, code: &str, options: RunCodeOptions) -> Result<Outcome> {
    let run = interpreter.run_code(code, options).await?;
    let (mut stdout, mut stderr, mut failure, mut results) = (String::new(), String::new(), Value::Null, Vec::new());
    while let Some(messages) = run.next().await? {
        for message in messages {
            match message {
                RunMessage::Stdout { text } => stdout.push_str(&text),
                RunMessage::Stderr { text } => stderr.push_str(&text),
                RunMessage::Error { name, value, traceback } => {
                    failure = json!({ "name": name, "value": value, "traceback": traceback });
                }
                RunMessage::Result { data, is_main } => results.push(json!({
                    "is_main": is_main,
                    "text": data.get("text/plain"),
                    "html": data.get("text/html"),
                    "json": data.get("application/json"),
                })),
                RunMessage::Control { .. } => {}
            }
        }
    }
    let seen_error = failure["name"].as_str().unwrap_or_default().to_owned();
    Ok(json!({
        "seen_stdout": stdout, "seen_stderr": stderr, "seen_error": seen_error,
        "stdout": stdout, "stderr": stderr, "error": failure, "results": results,
    })
    .into())
}
