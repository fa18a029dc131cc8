//! Language servers that misbehave.

use std::os::unix::fs::PermissionsExt;

use crate::common::{Agent, alive, eventually};
use serde_json::{Value, json};

/// A server in Python that does as `behaviour` says when it is asked for symbols.
fn agent(behaviour: &str) -> Agent {
    let agent = Agent::with(|config| {
        let path = format!("{}:{}", config.work_dir.join("bin").display(), config.env["PATH"]);
        config.env.insert("PATH".into(), path);
        config.env.insert("BEHAVIOUR".into(), behaviour.into());
    });
    let program = r#"#!/usr/bin/env python3
import json, os, subprocess, sys

def send(message, head=None):
    body = json.dumps(message).encode()
    sys.stdout.buffer.write((head or b"Content-Length: %d\r\nContent-Type: x\r\n\r\n" % len(body)) + body)
    sys.stdout.buffer.flush()

def receive():
    length = 0
    while line := sys.stdin.buffer.readline().strip():
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    return json.loads(sys.stdin.buffer.read(length)) if length else sys.exit(0)

def symbol(name):
    at = {"line": 1, "character": 2}
    inner = {"name": "in " + name, "kind": 6, "range": {"start": at, "end": at}, "selectionRange": {"start": at, "end": at}}
    return [{"name": name, "kind": 5, "range": {"start": at, "end": at}, "selectionRange": {"start": at, "end": at}, "children": [inner]}]

behaviour = os.environ["BEHAVIOUR"]
child = subprocess.Popen(["sleep", "1000"])
open("pids", "w").write(f"{os.getpid()} {child.pid}")
while True:
    message = receive()
    method, id = message.get("method"), message.get("id")
    if method == "initialize":
        if behaviour == "refuse":
            send({"jsonrpc": "2.0", "id": id, "error": {"code": 1, "message": "not today"}})
        send({"jsonrpc": "2.0", "id": id, "result": {"capabilities": {}}})
    elif method == "textDocument/documentSymbol":
        if behaviour == "ask":
            send({"jsonrpc": "2.0", "method": "window/logMessage", "params": {}})
            send({"jsonrpc": "2.0", "id": "a", "method": "workspace/configuration", "params": {"items": [{}, {}]}})
            first = receive()
            send({"jsonrpc": "2.0", "id": 7, "method": "client/nothing", "params": {}})
            second = receive()
            send({"jsonrpc": "2.0", "id": id, "result": symbol(json.dumps([first["result"], second["error"]["code"]]))})
        elif behaviour == "crash":
            print("out of cheese", file=sys.stderr, flush=True)
            os._exit(3)
        elif behaviour == "huge":
            send(None, b"Content-Length: 99999999999\r\n\r\n")
        elif behaviour == "noise":
            send(None, b"x" * 100000)
        elif behaviour == "slow":
            open("asked", "w").close()
            while receive().get("method") != "$/cancelRequest":
                pass
            open("cancelled", "w").close()
        else:
            send({"jsonrpc": "2.0", "id": id, "result": symbol("plain")})
    elif method == "shutdown":
        send({"jsonrpc": "2.0", "id": id, "result": None})
    elif method == "exit":
        sys.exit(0)
"#;
    let file = agent.put("bin/pylsp", program);
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).unwrap();
    agent.put("project/a.py", "x = 1\n");
    agent
}

fn project() -> Value {
    json!({ "languageId": "python", "pathToProject": "project" })
}

const SYMBOLS: &str = "/lsp/document-symbols?languageId=python&pathToProject=project&uri=file%3A%2F%2Fa.py";

fn pids(agent: &Agent) -> Vec<String> {
    let text = std::fs::read_to_string(agent.work().join("project/pids")).unwrap();
    text.split(' ').map(str::to_owned).collect()
}

fn gone(agent: &Agent) {
    eventually("the server and what it started are gone", || !pids(agent).iter().any(|pid| alive(pid)));
}

#[test]
fn what_the_server_asks_for_is_answered() {
    let agent = agent("ask");
    assert_eq!(agent.post("/lsp/start", &project()).status, 200);
    let symbols = agent.get(SYMBOLS).json();
    assert_eq!(symbols[0]["name"], "[[null, null], -32601]");
    assert_eq!(symbols[1]["name"], "in [[null, null], -32601]");
    assert_eq!(symbols[1]["location"]["range"]["start"], json!({ "line": 1, "character": 2 }));
}

#[test]
fn one_that_ends_says_why_and_starts_again() {
    for (behaviour, why) in
        [("crash", "exit code 3 and said: out of cheese"), ("huge", "bytes"), ("noise", "no message")]
    {
        let agent = agent(behaviour);
        assert_eq!(agent.post("/lsp/start", &project()).status, 200);
        let said = agent.get(SYMBOLS).error(400, "LSP_SERVER_NOT_INITIALIZED");
        assert!(said.contains(why), "{behaviour}: {said}");
        agent.get(SYMBOLS).error(400, "LSP_SERVER_NOT_INITIALIZED");
        gone(&agent);
        assert_eq!(agent.post("/lsp/start", &project()).status, 200);
    }
}

#[test]
fn stop_ends_all_that_it_has_started() {
    let agent = agent("plain");
    for _ in 0..2 {
        assert_eq!(agent.post("/lsp/start", &project()).status, 200);
        let before = pids(&agent);
        assert_eq!(agent.post("/lsp/start", &project()).status, 200);
        assert_eq!(pids(&agent), before);
        assert!(before.iter().all(|pid| alive(pid)));
        assert_eq!(agent.post("/lsp/stop", &project()).status, 200);
        gone(&agent);
        agent.get(SYMBOLS).error(400, "LSP_SERVER_NOT_INITIALIZED");
    }
}

#[test]
fn a_call_that_is_given_up_is_taken_back() {
    let agent = agent("slow");
    assert_eq!(agent.post("/lsp/start", &project()).status, 200);
    let mut client = agent.connect();
    crate::common::send_head(&mut client, "GET", SYMBOLS, &[]);
    eventually("the server is asked", || agent.work().join("project/asked").exists());
    drop(client);
    eventually("the server is told", || agent.work().join("project/cancelled").exists());
}

#[test]
fn one_that_does_not_start_is_no_server() {
    let agent = agent("refuse");
    let said = agent.post("/lsp/start", &project()).error(500, "LSP_REQUEST_FAILED");
    assert!(said.contains("not today"), "{said}");
    gone(&agent);
    agent.get(SYMBOLS).error(400, "LSP_SERVER_NOT_INITIALIZED");
    let other = json!({ "languageId": "cobol", "pathToProject": "project" });
    agent.post("/lsp/start", &other).error(400, "BAD_REQUEST");
    let nowhere = json!({ "languageId": "python", "pathToProject": "nowhere" });
    agent.post("/lsp/start", &nowhere).error(404, "FILE_NOT_FOUND");
}
