//! Memory of the agent, which runs in this process; so this file has one test.

#[expect(dead_code, reason = "the other tests use the rest")]
#[path = "agent/common/mod.rs"]
mod common;

use common::{Agent, eventually};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

const OUTPUT: usize = 100 << 20;

/// The process's peak memory since the last reset, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

fn reset_peak() {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
}

#[test]
fn large_output_takes_little_memory() {
    let agent = Agent::start();
    let path = "/process/session";
    assert_eq!(agent.post(path, &json!({"sessionId": "s"})).status, 201);
    let exec = |command: &str| {
        let answer = agent.post(&format!("{path}/s/exec"), &json!({"command": command, "runAsync": true}));
        let answer: Value = serde_json::from_slice(&answer.body).unwrap();
        format!("{path}/s/command/{}", answer["cmdId"].as_str().unwrap())
    };
    let ended = |command: &str| agent.get(command).json()["exitCode"].as_i64() == Some(0);
    let warm = exec("echo x");
    eventually("it ends", || ended(&warm));
    reset_peak();
    let before = peak();

    // Streams alternate line by line, which is the worst for a list of pieces.
    let small = exec("for ((i = 0; i < 100000; i++)); do echo $i; echo $i >&2; done");
    let large = exec(&format!("head -c {OUTPUT} /dev/zero"));
    let mut socket = agent.websocket(&format!("{large}/logs?follow=true"), &[]);
    let mut total = 0;
    while let Message::Binary(frame) = socket.read().unwrap() {
        total += frame.len() - 3;
    }
    assert_eq!(total, OUTPUT);
    assert!(ended(&small) && ended(&large));
    let mut answer = agent.connect();
    let headers = [("X-Daytona-SDK-Version", "1.0.0")];
    common::send_head(&mut answer, "GET", &format!("{small}/logs"), &headers);
    let small: usize = std::io::copy(&mut answer, &mut std::io::sink()).unwrap().try_into().unwrap();
    assert!(small > 2 * 588_890, "{small}");
    let mut answer = agent.connect();
    common::send_head(&mut answer, "GET", &format!("{large}/logs"), &headers);
    // Each NUL is `\u0000`, once in `output` and once in `stdout`.
    assert!(usize::try_from(std::io::copy(&mut answer, &mut std::io::sink()).unwrap()).unwrap() > 12 * OUTPUT);
    drop((answer, socket));
    let grown = peak() - before;
    assert!(grown < 8 << 20, "{grown} bytes");

    // Commands keep no descriptor, nor do clients that left.
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = descriptors();
    for i in 0..200 {
        let body = json!({"command": format!("echo {i}; echo {i} >&2")});
        assert_eq!(agent.post(&format!("{path}/s/exec"), &body).json()["stdout"], format!("{i}\n"));
    }
    let reading = exec("cat");
    for _ in 0..20 {
        drop(agent.websocket(&format!("{reading}/logs?follow=true"), &[]));
    }
    assert_eq!(agent.send("DELETE", &format!("{path}/s"), &[], b"").status, 204);
    eventually("descriptors are closed", || descriptors() < before);
}
