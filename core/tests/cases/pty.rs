//! Terminals, driven by what they show.

use daytona_core::{Process, Pty, PtyOptions, Result};
use serde_json::{Value, json};

use crate::calls::{Outcome, arg};

pub(crate) async fn open(method: &str, process: &Process, args: &Value) -> Result<Outcome> {
    let pty = match method {
        "create" => {
            let options = PtyOptions {
                cwd: arg(args, "cwd"),
                env: arg(args, "envs"),
                cols: arg(args, "cols"),
                rows: arg(args, "rows"),
            };
            process.create_pty_session(&arg::<String>(args, "id"), options).await?
        }
        "connect" => {
            let replay: Option<bool> = arg(args, "replay");
            process.connect_pty_session(&arg::<String>(args, "session_id"), replay.unwrap_or_default()).await?
        }
        _ => panic!("unknown call pty.{method}"),
    };
    Ok(Outcome::pty(pty))
}

/// Takes each action when the terminal has shown its `until`, and waits for the end.
pub(crate) async fn run(pty: &Pty, args: &Value) -> Result<Outcome> {
    let script: Vec<Value> = arg(args, "script");
    let mut actions = script.iter().peekable();
    let mut shown = Vec::new();
    loop {
        let shows = |text: &str| memchr::memmem::find(&shown, text.as_bytes()).is_some();
        while let Some(action) = actions.next_if(|action| shows(action["until"].as_str().unwrap_or_default())) {
            act(pty, action).await?;
        }
        match pty.next().await? {
            Some(bytes) => shown.extend_from_slice(&bytes),
            None => break,
        }
    }
    let exit = pty.wait(None).await?;
    let output = String::from_utf8_lossy(&shown);
    Ok(json!({ "output": output, "exit_code": exit.exit_code, "error": exit.error }).into())
}

async fn act(pty: &Pty, action: &Value) -> Result<()> {
    if let Some(text) = action["send"].as_str() {
        return pty.send_input(text.to_owned().into()).await;
    }
    if action["send_all_bytes"] == true {
        return pty.send_input((0..=255).collect::<Vec<u8>>().into()).await;
    }
    if let Some((cols, rows)) = arg::<Option<(u16, u16)>>(action, "resize") {
        return pty.resize(cols, rows).await.map(drop);
    }
    if action["kill"] == true {
        return pty.kill().await;
    }
    assert_eq!(action["disconnect"], true, "unknown action {action}");
    pty.disconnect();
    Ok(())
}

pub(crate) async fn on_process(method: &str, process: &Process, args: &Value) -> Option<Result<Outcome>> {
    let id: Option<String> = arg(args, "session_id");
    let id = id.as_deref().unwrap_or_default();
    Some(match method {
        "get_pty_session_info" => process.get_pty_session_info(id, None).await.map(Outcome::from),
        "list_pty_ids" => {
            let listed = process.list_pty_sessions(None).await;
            listed.map(|sessions| sessions.into_iter().map(|one| one.id).collect::<Vec<_>>().into())
        }
        "resize_pty_session" => {
            process.resize_pty_session(id, arg(args, "cols"), arg(args, "rows"), None).await.map(Outcome::from)
        }
        "kill_pty_session" => process.kill_pty_session(id, None).await.map(Outcome::from),
        _ => return None,
    })
}
