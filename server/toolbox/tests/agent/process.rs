//! Commands: output, exit codes, time limits, what they leave behind.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::common::{Agent, alive, eventually, head};
use serde_json::json;

#[test]
fn output_is_merged_in_order_and_codes_are_kept() {
    let agent = Agent::start();
    let (code, out) = agent.exec(&json!({"command": "echo a; echo b >&2; echo c; exit 7"}));
    assert_eq!((code, out.as_str()), (7, "a\nb\nc\n"));
    assert_eq!(agent.exec(&json!({"command": "kill -9 $$"})).0, 137);
    assert_eq!(agent.exec(&json!({"command": "no-such-command-here"})).0, 127);
    assert_eq!(agent.exec(&json!({"command": "true"})), (0, String::new()));
}

#[test]
fn the_shell_is_bash_and_stdin_is_empty() {
    let agent = Agent::start();
    let (_, out) = agent.exec(&json!({"command": "a=(1 2); echo ${a[1]}; echo -e 'x\\ty'; cat; echo end"}));
    assert_eq!(out, "2\nx\ty\nend\n");
    // A command that looks like an option is none.
    assert_eq!(agent.exec(&json!({"command": "-x; echo still"})).1.lines().last(), Some("still"));
}

#[test]
fn surroundings_are_as_asked() {
    let agent = Agent::start();
    agent.put("sub/file", "");
    let work = agent.work();
    assert_eq!(agent.exec(&json!({"command": "pwd"})).1.trim(), work.to_str().unwrap());
    assert_eq!(agent.exec(&json!({"command": "ls", "cwd": "sub"})).1, "file\n");
    let (_, out) = agent.exec(&json!({
        "command": "echo $FROM_SANDBOX-$MINE-$HOME", "envs": {"MINE": "a b\n'c'"}
    }));
    assert_eq!(out, "yes-a b 'c'-\n");
    // Nothing of the agent's own environment.
    assert!(!agent.exec(&json!({"command": "env"})).1.contains("CARGO"));
}

#[test]
fn commands_inherit_no_descriptors() {
    let agent = Agent::start();
    let command = "exec ls /proc/self/fd";
    // Whoever runs the tests may have left some open.
    let here = std::process::Command::new("bash").args(["-c", command]).output().unwrap();
    assert_eq!(agent.exec(&json!({"command": command})).1, String::from_utf8(here.stdout).unwrap());
}

#[test]
fn a_missing_working_directory_is_named() {
    let agent = Agent::start();
    let refused = agent.post("/process/execute", &json!({"command": "true", "cwd": "/not/there"}));
    let message = refused.error(400, "BAD_REQUEST");
    assert!(message.contains("/not/there does not exist"), "{message}");
}

#[test]
fn an_environment_that_linux_does_not_take_is_named() {
    let agent = Agent::start();
    let refused = |envs: &serde_json::Value| {
        agent.post("/process/execute", &json!({"command": "true", "envs": envs})).error(400, "BAD_REQUEST")
    };
    let message = refused(&json!({"BIG": "x".repeat(200 << 10)}));
    assert!(message.contains("BIG is too long") && message.contains("128 KiB"), "{message}");
    // Each fits, and all together do not.
    let many: serde_json::Map<_, _> =
        (0..100).map(|number| (format!("V{number}"), "x".repeat(100 << 10).into())).collect();
    let message = refused(&many.into());
    assert!(message.contains("too large together"), "{message}");
}

#[test]
fn bad_requests_say_what_is_wrong() {
    let agent = Agent::start();
    let refused = |body| agent.post("/process/execute", &body);
    let message = refused(json!({"command": " \n\t"})).error(400, "BAD_REQUEST");
    assert!(message.contains("blank"));
    for name in ["1A", "", "A-B", "A=B", "Ä"] {
        refused(json!({"command": "true", "envs": {name: "x"}})).error(400, "BAD_REQUEST");
    }
    refused(json!({"command": "a\0b"})).error(400, "BAD_REQUEST");
    refused(json!({"command": "true", "envs": {"A": "\0"}})).error(400, "BAD_REQUEST");
    refused(json!({"command": "true", "timeout": -1})).error(400, "INVALID_REQUEST_BODY");
    refused(json!({"cmd": "true"})).error(400, "INVALID_REQUEST_BODY");
    agent.send("POST", "/process/execute", &[], b"{").error(400, "INVALID_REQUEST_BODY");
}

#[test]
fn a_huge_body_is_refused() {
    let agent = Agent::start();
    let body = vec![b' '; 33 << 20];
    let answer = agent.send("POST", "/process/execute", &[], &body);
    answer.error(413, "PAYLOAD_TOO_LARGE");
}

#[test]
fn a_long_command_works_like_a_short_one() {
    let agent = Agent::start();
    let text = "x".repeat(300_000);
    let command = format!("cat; echo '{text}' | wc -c; echo ${{_script-unset}}\ncat <<E\nhere\nE\nexit 3");
    let (code, out) = agent.exec(&json!({"command": command}));
    assert_eq!((code, out.as_str()), (3, "300001\nunset\nhere\n"));
}

#[test]
fn text_that_is_not_utf8_is_replaced() {
    let agent = Agent::start();
    let (_, out) = agent.exec(&json!({"command": "printf 'a\\xffb\\xc3\\xa9'"}));
    assert_eq!(out, "a\u{fffd}b\u{e9}");
}

#[test]
fn output_beyond_the_limit_is_dropped_and_the_result_says_so() {
    let agent = Agent::start();
    let (code, out) = agent.exec(&json!({"command": "head -c 70000000 /dev/zero | tr '\\0' x; exit 5"}));
    assert_eq!(code, 5);
    let kept = out.bytes().take_while(|&b| b == b'x').count();
    assert!((64 << 20..66 << 20).contains(&kept));
    assert!(out.contains(&format!("[{} bytes of output", 70_000_000 - kept)), "{}", &out[kept..]);
}

#[test]
fn over_its_time_the_whole_group_is_killed() {
    let agent = Agent::start();
    let pids = agent.work().join("pids");
    let command = format!("sleep 1000 & echo $! $$ > {}; wait", pids.display());
    let start = Instant::now();
    let message = agent
        .post("/process/execute", &json!({"command": command, "timeout": 1}))
        .error(408, "PROCESS_EXECUTION_TIMEOUT");
    assert_eq!(message, "command execution timeout");
    assert!(start.elapsed() >= Duration::from_secs(1));
    for pid in std::fs::read_to_string(pids).unwrap().split_whitespace() {
        eventually("the group ends", || !alive(pid));
    }
}

#[test]
fn no_timeout_and_zero_are_no_limit() {
    let agent = Agent::start();
    assert_eq!(agent.exec(&json!({"command": "sleep 0.1; echo x", "timeout": 0})).1, "x\n");
    assert_eq!(agent.exec(&json!({"command": "echo x", "timeout": u64::MAX})).1, "x\n");
}

#[test]
fn a_client_that_leaves_takes_its_command_along() {
    let agent = Agent::start();
    let pids = agent.work().join("pids");
    let body = json!({
        "command": format!("sleep 1000 & echo $! $$ > {0}.new; mv {0}.new {0}; wait", pids.display())
    })
    .to_string();
    let mut stream = agent.connect();
    stream.write_all(&head("POST", "/process/execute", &[])).unwrap();
    write!(stream, "Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    eventually("the command starts", || pids.exists());
    drop(stream);
    for pid in std::fs::read_to_string(pids).unwrap().split_whitespace() {
        eventually("the group ends", || !alive(pid));
    }
}

#[test]
fn a_background_child_neither_holds_the_call_nor_dies_of_it() {
    let agent = Agent::start();
    let out = agent.work().join("out");
    let go = agent.work().join("go");
    let command = format!(
        "(while ! [ -e {go} ]; do sleep 0.01; done; echo noise; echo survived > {out}; exec sleep 1000) & echo $!",
        go = go.display(),
        out = out.display(),
    );
    let start = Instant::now();
    let (code, pid) = agent.exec(&json!({"command": command}));
    assert_eq!(code, 0);
    assert!(start.elapsed() < Duration::from_secs(10));
    let pid = pid.trim();
    assert!(alive(pid));
    std::fs::write(go, "").unwrap();
    eventually("it writes on", || std::fs::read_to_string(&out).is_ok_and(|s| s == "survived\n"));
    assert!(alive(pid));
    agent.exec(&json!({"command": format!("kill {pid}")}));
}

#[test]
fn commands_run_side_by_side_and_leave_no_zombies() {
    let agent = Agent::start();
    std::thread::scope(|scope| {
        for i in 0..32 {
            let agent = &agent;
            scope.spawn(move || {
                let (_, out) = agent.exec(&json!({"command": format!("sleep 0.05; echo {i}; echo $$")}));
                let (number, pid) = out.trim().split_once('\n').unwrap();
                assert_eq!(number, i.to_string());
                eventually("the command is reaped", || !std::path::Path::new(&format!("/proc/{pid}")).exists());
            });
        }
    });
}

#[test]
fn routes_that_are_not_there_say_so() {
    let agent = Agent::start();
    agent.get("/nothing").error(404, "NOT_FOUND");
    agent.get("/process/execute").error(405, "METHOD_NOT_ALLOWED");
    agent.get("/computeruse/status").error(501, "NOT_IMPLEMENTED");
}

#[test]
fn the_agent_tells_about_itself() {
    let agent = Agent::start();
    let work = agent.work();
    assert_eq!(agent.get("/version").json(), json!({"version": "1.2.3"}));
    assert_eq!(agent.get("/work-dir").json(), json!({"dir": work}));
    assert_eq!(agent.get("/user-home-dir").json(), json!({"dir": work}));
    let metrics = agent.get("/system/metrics").json();
    assert!(metrics["cpuCount"].as_u64().unwrap() >= 1);
    let disk = |name: &str| metrics[name].as_u64().unwrap();
    assert!(disk("diskUsed") + disk("diskFree") <= disk("diskTotal"));
}
