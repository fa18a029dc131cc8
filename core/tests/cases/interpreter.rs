//! Code in contexts, run to its end.

use daytona_core::wire::interpreter::RunMessage;
use daytona_core::{CodeInterpreter, Result, RunCodeOptions};
use serde_json::{Value, json};

use crate::calls::{Outcome, arg};

pub(crate) async fn call(method: &str, interpreter: &CodeInterpreter, args: &Value) -> Result<Outcome> {
    let context = || match &args["context"] {
        Value::Object(fields) => fields.get("id").and_then(Value::as_str).map(str::to_owned),
        other => other.as_str().map(str::to_owned),
    };
    match method {
        "run_code" => {
            let results: Option<bool> = arg(args, "results");
            let options = RunCodeOptions {
                context: context(),
                env: arg(args, "envs"),
                timeout: arg(args, "timeout"),
                results: results.unwrap_or_default(),
            };
            run(interpreter, &arg::<String>(args, "code"), options).await
        }
        "create_context" => {
            let cwd: Option<String> = arg(args, "cwd");
            interpreter.create_context(cwd.as_deref(), None).await.map(Outcome::from)
        }
        "list_context_ids" => {
            let listed = interpreter.list_contexts(None).await;
            listed.map(|contexts| contexts.into_iter().map(|one| one.id).collect::<Vec<_>>().into())
        }
        "delete_context" => interpreter.delete_context(&context().unwrap_or_default(), None).await.map(Outcome::from),
        _ => panic!("unknown call code_interpreter.{method}"),
    }
}

async fn run(interpreter: &CodeInterpreter, code: &str, options: RunCodeOptions) -> Result<Outcome> {
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
                RunMessage::Result { data, is_main } => {
                    let part = |kind: &str| data.get(kind).cloned().unwrap_or_default();
                    results.push(json!({
                        "text": part("text/plain"),
                        "html": part("text/html"),
                        "json": part("application/json"),
                        "is_main": is_main,
                    }));
                }
                RunMessage::Control { text } => panic!("control message {text}"),
            }
        }
    }
    let seen_error = failure["name"].as_str().unwrap_or_default().to_owned();
    Ok(json!({
        "stdout": stdout,
        "stderr": stderr,
        "error": failure,
        "results": results,
        "seen_stdout": stdout,
        "seen_stderr": stderr,
        "seen_error": seen_error,
    })
    .into())
}
