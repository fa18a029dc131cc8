//! Programs in Python, JavaScript and TypeScript.

mod common;

use common::Agent;
use serde_json::{Value, json};

fn run(agent: &Agent, body: &Value) -> (i64, String) {
    let answer = agent.post("/process/code-run", body).json();
    (answer["exitCode"].as_i64().unwrap(), answer["result"].as_str().unwrap().to_owned())
}

#[test]
fn python() {
    let agent = Agent::start();
    agent.put("helper.py", "value = 42");
    let code = "import sys, os, helper\nprint(sys.argv[1:], os.environ['A'], helper.value)\nprint('err', file=sys.stderr)\nprint('out')\nsys.exit(3)";
    let (exit, out) = run(
        &agent,
        &json!({
            "language": "python", "code": code, "argv": ["a b", "", "--c", "$HOME"], "envs": {"A": "1"}
        }),
    );
    assert_eq!((exit, out.as_str()), (3, "['a b', '', '--c', '$HOME'] 1 42\nerr\nout\n"));
    let (exit, out) = run(&agent, &json!({"language": "python", "code": "x = 1\nraise ValueError('no')"}));
    assert_eq!(exit, 1);
    assert!(out.contains("File \"<string>\", line 2") && out.ends_with("ValueError: no\n"), "{out}");
}

#[test]
fn javascript() {
    let agent = Agent::start();
    agent.put("helper.js", "module.exports = 42");
    let code = "const os = require('os'); console.log(process.argv.slice(2), require('./helper'), process.env.A); console.error('err'); process.exitCode = 4";
    let (exit, out) = run(
        &agent,
        &json!({
            "language": "javascript", "code": code, "argv": ["a b", "--c", "-e"], "envs": {"A": "1"}
        }),
    );
    assert_eq!((exit, out.as_str()), (4, "[ 'a b', '--c', '-e' ] 42 1\nerr\n"));
}

#[test]
fn long_programs_run_like_short_ones() {
    let agent = Agent::start();
    let filler = "x".repeat(200_000);
    let (exit, out) = run(
        &agent,
        &json!({
            "language": "python", "argv": ["a"],
            "code": format!("s = '{filler}'\nimport sys\nprint(len(s), sys.argv[1:], repr(sys.stdin.read()))")
        }),
    );
    assert_eq!((exit, out.as_str()), (0, "200000 ['a'] ''\n"));
    let (exit, out) = run(
        &agent,
        &json!({
            "language": "javascript", "argv": ["a"],
            "code": format!("const s = '{filler}'; console.log(s.length, process.argv.slice(2))")
        }),
    );
    assert_eq!((exit, out.as_str()), (0, "200000 [ 'a' ]\n"));
}

#[test]
fn limits_and_refusals() {
    let agent = Agent::start();
    let answer = agent.post(
        "/process/code-run",
        &json!({
            "language": "python", "code": "import time; time.sleep(1000)", "timeout": 1
        }),
    );
    assert_eq!(answer.error(408, "PROCESS_EXECUTION_TIMEOUT"), "command execution timeout");
    let message = agent.post("/process/code-run", &json!({"language": "cobol", "code": "x"})).error(400, "BAD_REQUEST");
    assert!(message.contains("python, javascript or typescript"));
    agent.post("/process/code-run", &json!({"language": "python"})).error(400, "INVALID_REQUEST_BODY");
    agent
        .post("/process/code-run", &json!({"language": "python", "code": "x", "argv": ["\0"]}))
        .error(400, "BAD_REQUEST");
}

#[test]
fn a_missing_interpreter_is_named() {
    let agent = Agent::with(|config| {
        config.env.insert("PATH".into(), "/nowhere".into());
    });
    for (language, name) in [("python", "python3"), ("javascript", "node"), ("typescript", "node")] {
        let (exit, out) = run(&agent, &json!({"language": language, "code": "1"}));
        assert_eq!(exit, -1);
        assert!(out.contains(name) && out.contains("install"), "{out}");
    }
}
