//! Sessions: state, order, streams, input, ends.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::common::{Agent, Answer, alive, eventually, head};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Message, WebSocket};

const NEW: (&str, &str) = ("X-Daytona-SDK-Version", "0.226.1");
/// By the time a bound has passed, something hangs.
const PROMPT: Duration = Duration::from_secs(10);

/// An agent with a session `s`.
fn start() -> Agent {
    let agent = Agent::start();
    create(&agent, "s");
    agent
}

fn create(agent: &Agent, id: &str) {
    assert_eq!(agent.post("/process/session", &json!({"sessionId": id})).status, 201);
}

fn post(agent: &Agent, command: impl Into<String>) -> Answer {
    agent.post("/process/session/s/exec", &json!({"command": command.into()}))
}

/// Exit code, stdout and stderr of a command.
fn run(agent: &Agent, command: impl Into<String>) -> (i64, String, String) {
    let answer = post(agent, command).json();
    assert!(!answer["cmdId"].as_str().unwrap().is_empty());
    let text = |name: &str| answer[name].as_str().unwrap().to_owned();
    assert_eq!(text("output").len(), text("stdout").len() + text("stderr").len());
    (answer["exitCode"].as_i64().unwrap(), text("stdout"), text("stderr"))
}

fn out(agent: &Agent, command: impl Into<String>) -> String {
    run(agent, command).1
}

/// Starts a command and gives the path of its routes.
fn spawn(agent: &Agent, body: Value) -> String {
    let mut body = body;
    body["runAsync"] = true.into();
    let answer = agent.post("/process/session/s/exec", &body);
    assert_eq!(answer.status, 202, "{}", answer.text());
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(answer.as_object().unwrap().len(), 1, "{answer}");
    format!("/process/session/s/command/{}", answer["cmdId"].as_str().unwrap())
}

fn input(agent: &Agent, command: &str, data: &str) -> Answer {
    agent.post(&format!("{command}/input"), &json!({"data": data}))
}

fn exit_code(agent: &Agent, command: &str) -> Option<i64> {
    agent.get(command).json()["exitCode"].as_i64()
}

fn wait(agent: &Agent, command: &str) -> i64 {
    eventually("the command ends", || exit_code(agent, command).is_some());
    exit_code(agent, command).unwrap()
}

fn logs(agent: &Agent, command: &str) -> Value {
    agent.send("GET", &format!("{command}/logs"), &[NEW], b"").json()
}

fn open(agent: &Agent, command: &str) -> WebSocket<UnixStream> {
    agent.websocket(&format!("{command}/logs?follow=true"), &[NEW])
}

/// stdout and stderr of a followed log that ends well.
fn follow(agent: &Agent, command: &str) -> (Vec<u8>, Vec<u8>) {
    rest(open(agent, command))
}

fn rest(mut socket: WebSocket<UnixStream>) -> (Vec<u8>, Vec<u8>) {
    let mut streams = (Vec::new(), Vec::new());
    loop {
        match socket.read().unwrap() {
            Message::Binary(frame) => {
                assert!((4..=3 + (32 << 10)).contains(&frame.len()), "{}", frame.len());
                match frame[..3] {
                    [1, 1, 1] => streams.0.extend(&frame[3..]),
                    [2, 2, 2] => streams.1.extend(&frame[3..]),
                    _ => panic!("no marker in {frame:?}"),
                }
            }
            Message::Close(frame) => {
                assert_eq!(frame.unwrap().code, CloseCode::Normal);
                return streams;
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn state_persists_from_command_to_command() {
    let agent = start();
    assert_eq!(out(&agent, "pwd; echo $FROM_SANDBOX"), format!("{}\nyes\n", agent.work().display()));
    run(&agent, "cd /usr; x=1; export Y=2; f() { echo \"f $1\"; }; declare -A map=([k]=v); umask 027; set -- a b");
    assert_eq!(out(&agent, "pwd; echo $x; sh -c 'echo $Y'; f 3; echo ${map[k]}; umask; echo $2"), {
        "/usr\n1\n2\nf 3\nv\n0027\nb\n"
    });
    assert_eq!(run(&agent, "(exit 42)").0, 42);
    assert_eq!(out(&agent, "echo $?"), "42\n");
    assert_eq!(out(&agent, "echo $?"), "0\n");
    // What would break a shell's loop or function does nothing to the session.
    assert_eq!(run(&agent, "return 5").0, 5);
    run(&agent, "break; continue; exec >/dev/null; IFS=x; set -fuC; trap 'echo debug' DEBUG; set -x");
    let (code, stdout, stderr) = run(&agent, "echo on");
    assert_eq!((code, stdout.as_str()), (0, "on\n"));
    assert!(stderr.contains("+ echo on"), "{stderr}");
}

#[test]
fn streams_are_apart_and_raw() {
    let agent = start();
    assert_eq!(
        run(&agent, "echo a; echo b >&2; printf c; exit_code() { return 3; }; exit_code"),
        (3, "a\nc".into(), "b\n".into())
    );
    let command = spawn(&agent, json!({"command": "printf 'a\\0b\\xff\\xc3\\xa9'; printf '\\xc3' >&2"}));
    assert_eq!(wait(&agent, &command), 0);
    assert_eq!(follow(&agent, &command), (b"a\0b\xff\xc3\xa9".to_vec(), b"\xc3".to_vec()));
    let answer = logs(&agent, &command);
    assert_eq!(answer["stdout"], "a\0b\u{fffd}\u{e9}");
    assert_eq!(answer["stderr"], "\u{fffd}");
}

#[test]
fn characters_are_whole_wherever_they_were_split() {
    let agent = start();
    // 3 bytes each: no piece is a multiple of that. The other stream comes in between.
    let text = "\u{20ac}".repeat(100_000);
    agent.put("text", &text);
    let command = "for i in 1 2 3; do head -c 100001 <&3; printf '\\xe2'; echo x >&2; printf '\\x82'; printf '\\xac'; done 3<text";
    let (_, stdout, stderr) = run(&agent, command);
    assert_eq!(stderr, "x\nx\nx\n");
    let bytes: usize = 3 * 100_001 + 9;
    assert!(stdout.len() >= bytes, "{}", stdout.len());
    assert_eq!(out(&agent, "cat text; printf '\\xe2\\x82'; sleep 0.01; printf '\\xac'"), format!("{text}\u{20ac}"));
}

#[test]
fn commands_run_in_order() {
    let agent = start();
    let commands: Vec<_> = (0..20)
        .map(|i| spawn(&agent, json!({"command": format!("echo {i} >> order; sleep 0.00{}", 9 - i % 10)})))
        .collect();
    assert_eq!(out(&agent, "cat order"), (0..20).fold(String::new(), |all, i| format!("{all}{i}\n")));
    for command in &commands {
        assert_eq!(exit_code(&agent, command), Some(0));
    }
    let listed = agent.get("/process/session/s").json();
    let ids: Vec<_> = listed["commands"].as_array().unwrap().iter().map(|c| c["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 21);
    assert!(ids.iter().zip(&commands).all(|(id, path)| path.ends_with(id)));
}

#[test]
fn an_end_of_the_shell_is_told() {
    for (command, code) in [
        ("echo x; exit 7", 7),
        ("exec sh -c 'echo x; exit 3'", 3),
        ("exec echo x", 0),
        ("set -e; echo x; false; echo never", 1),
        ("echo x; kill -9 $$", 137),
    ] {
        let agent = start();
        let first = spawn(&agent, json!({"command": format!("read -r line; {command}")}));
        let queued = spawn(&agent, json!({"command": "echo never"}));
        assert_eq!(input(&agent, &first, "go").status, 204);
        assert_eq!(wait(&agent, &first), code, "{command}");
        assert_eq!(logs(&agent, &first)["stdout"], "go\nx\n");
        assert_eq!(wait(&agent, &queued), -1);
        let why = logs(&agent, &queued)["stderr"].as_str().unwrap().to_owned();
        assert!(why.contains("did not run"), "{why}");
        let message = post(&agent, "echo y").error(410, "SESSION_ENDED");
        assert!(message.contains(&format!("exit code {code}")) && message.contains("create a session"), "{message}");
        let answer = agent.post("/process/session/s/exec", &json!({"command": "x", "runAsync": true}));
        answer.error(410, "SESSION_ENDED");
        assert_eq!(agent.send("DELETE", "/process/session/s", &[], b"").status, 204);
        create(&agent, "s");
        assert_eq!(out(&agent, "echo again"), "again\n");
    }
}

#[test]
fn a_sync_call_gets_the_code_of_a_shell_that_ends() {
    let agent = start();
    assert_eq!(run(&agent, "echo bye; exit 9"), (9, "bye\n".into(), String::new()));
    post(&agent, "true").error(410, "SESSION_ENDED");
}

#[test]
fn scripts_of_any_shape_and_length_run() {
    let agent = start();
    assert_eq!(out(&agent, "cat <<'E'\nheredoc $x\nE\ncat <<E\nunfinished"), "heredoc $x\nunfinished\n");
    assert_eq!(out(&agent, "for i in 1 2; do\n  echo $i\ndone"), "1\n2\n");
    assert_eq!(out(&agent, "echo 'a\\b\"' # comment"), "a\\b\"\n");
    let (code, _, stderr) = run(&agent, "if then");
    assert_ne!(code, 0);
    assert!(stderr.contains("syntax error"), "{stderr}");
    let (code, _, stderr) = run(&agent, "no-such-command-here");
    assert_eq!(code, 127);
    assert!(stderr.contains("no-such-command-here: command not found"), "{stderr}");
    let long = format!("x='{}'; echo ${{#x}}", "y".repeat(10 << 20));
    assert_eq!(out(&agent, long), format!("{}\n", 10 << 20));
    assert_eq!(out(&agent, "echo ${#x}"), format!("{}\n", 10 << 20));
    assert_eq!(run(&agent, "printf 'no newline'"), (0, "no newline".into(), String::new()));
}

#[test]
fn input_reaches_the_command_and_its_log() {
    let agent = start();
    let command = spawn(&agent, json!({"command": "read -r a; read -r b; echo \"$a|$b\"; head -c 3"}));
    assert_eq!(exit_code(&agent, &command), None);
    assert_eq!(input(&agent, &command, "one").status, 204);
    assert_eq!(input(&agent, &command, "two\nabc").status, 204);
    assert_eq!(wait(&agent, &command), 0);
    let stdout = logs(&agent, &command)["stdout"].as_str().unwrap().to_owned();
    assert!(stdout.starts_with("one\ntwo\nabc\n"), "{stdout}");
    assert!(stdout.ends_with("one|two\nabc"), "{stdout}");
    let message = input(&agent, &command, "late").error(410, "COMMAND_ALREADY_COMPLETED");
    assert!(message.contains("ended"), "{message}");

    let quiet = spawn(&agent, json!({"command": "read -r a; echo \"got $a\"", "suppressInputEcho": true}));
    assert_eq!(input(&agent, &quiet, "secret").status, 204);
    assert_eq!(wait(&agent, &quiet), 0);
    assert_eq!(logs(&agent, &quiet)["output"], "got secret\n");
}

#[test]
fn a_command_that_is_waited_for_sees_the_end_of_its_input() {
    let agent = start();
    assert_eq!(out(&agent, "cat; echo end"), "end\n");
    assert_eq!(run(&agent, "read -r -p 'name? ' x"), (1, String::new(), String::new()));
    assert_eq!(out(&agent, "bash; sort; (cat; echo later) & wait; exec 5<&0; cat <&5; echo end"), "later\nend\n");
    assert_eq!(out(&agent, "set -m; cat; set +m; echo end"), "end\n");
    std::thread::scope(|scope| {
        let waited = scope.spawn(|| run(&agent, "touch up; until [ -e go ]; do sleep 0.01; done"));
        eventually("it runs", || agent.work().join("up").exists());
        let commands = agent.get("/process/session/s").json()["commands"].clone();
        let command = commands.as_array().unwrap().last().unwrap()["id"].as_str().unwrap().to_owned();
        let message = input(&agent, &format!("/process/session/s/command/{command}"), "x").error(400, "BAD_REQUEST");
        assert!(message.contains("runAsync"), "{message}");
        agent.put("go", "");
        assert_eq!(waited.join().unwrap().0, 0);
        let message = input(&agent, &format!("/process/session/s/command/{command}"), "x");
        message.error(410, "COMMAND_ALREADY_COMPLETED");
    });
    // Another program in the place of the shell.
    assert_eq!(run(&agent, "exec cat"), (0, String::new(), String::new()));
    post(&agent, "true").error(410, "SESSION_ENDED");
}

/// Each leaves a shell that runs nothing any more, or does not report.
const SILENCING: [&str; 5] = ["set -n", "set -o noexec", "eval 'set -n'", "trap 'exec >&-' DEBUG", "command() { :; }"];

#[test]
fn a_shell_that_runs_nothing_any_more_is_told_and_ended() {
    for command in SILENCING {
        let agent = start();
        let message = post(&agent, format!("echo before; {command}")).error(410, "SESSION_ENDED");
        assert!(message.contains("set -n") && message.contains("create a session"), "{command}: {message}");
        let message = post(&agent, "echo after").error(410, "SESSION_ENDED");
        assert!(message.contains("unable to run anything"), "{command}: {message}");
        let session = agent.get("/process/session/s").json();
        assert_eq!(session["commands"][0]["exitCode"], -1, "{command}: {session}");
        let path = format!("/process/session/s/command/{}", session["commands"][0]["id"].as_str().unwrap());
        let log = logs(&agent, &path);
        assert_eq!(log["stdout"], "before\n", "{command}");
        assert!(log["stderr"].as_str().unwrap().contains("set -n"), "{command}: {log}");
        assert_eq!(agent.send("DELETE", "/process/session/s", &[], b"").status, 204);
        create(&agent, "s");
        assert_eq!(out(&agent, "echo again"), "again\n");
    }
}

#[test]
fn what_is_queued_behind_such_a_command_is_told() {
    let agent = start();
    let first = spawn(&agent, json!({"command": "read -r x; set -n"}));
    let queued = spawn(&agent, json!({"command": "echo never"}));
    let follower = open(&agent, &first);
    assert_eq!(input(&agent, &first, "go").status, 204);
    let (stdout, stderr) = rest(follower);
    assert_eq!(stdout, b"go\n");
    assert!(String::from_utf8(stderr).unwrap().contains("set -n"));
    assert_eq!((wait(&agent, &first), wait(&agent, &queued)), (-1, -1));
    assert!(logs(&agent, &queued)["stderr"].as_str().unwrap().contains("did not run"));
}

#[test]
fn names_of_what_runs_commands_may_be_taken() {
    let agent = start();
    for command in [
        "command() { builtin command \"$@\"; }; printf() { :; }; exit() { read -r x; }; .() { :; }",
        "shopt -s expand_aliases; alias builtin=no command=no printf=no .=no exit=no",
    ] {
        assert_eq!(run(&agent, command).0, 0, "{command}");
        assert_eq!(run(&agent, "sh -c 'exit 3'").0, 3, "{command}");
        assert_eq!(out(&agent, "echo $?"), "3\n", "{command}");
    }
}

#[test]
fn the_streams_of_a_command_are_its_own_affair() {
    let agent = start();
    for command in [
        "exec <&-",
        "exec >&-",
        "exec 2>&-",
        "exec <&- >&- 2>&-",
        "exec 3<&0 4>&1; exec <&3 >&4 3<&- 4>&-",
        "exec 3<&0; cat <&3",
        "trap 'cat; read -r x' DEBUG ERR; false; true",
        "trap 'cat; read -r x' CHLD",
        "set -u; set -C",
    ] {
        assert_eq!(run(&agent, command).0, 0, "{command}");
        assert_eq!(out(&agent, "echo on"), "on\n", "{command}");
    }
}

#[test]
fn input_that_nobody_reads_ends_with_the_command() {
    let agent = start();
    let command = spawn(&agent, json!({"command": "while ! [ -e go ]; do sleep 0.01; done"}));
    std::thread::scope(|scope| {
        let big = scope.spawn(|| input(&agent, &command, &"x".repeat(1 << 20)));
        eventually("the input waits", || logs(&agent, &command)["stdout"].as_str().unwrap().len() > 1 << 20);
        agent.put("go", "");
        big.join().unwrap().error(410, "COMMAND_ALREADY_COMPLETED");
    });
    assert_eq!(out(&agent, "echo on"), "on\n");
}

#[test]
fn a_queued_command_gets_input_when_it_starts() {
    let agent = start();
    let first = spawn(&agent, json!({"command": "read -r x"}));
    let second = spawn(&agent, json!({"command": "cat"}));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| input(&agent, &second, "for the second"));
        assert_eq!(input(&agent, &first, "for the first").status, 204);
        assert_eq!(waiting.join().unwrap().status, 204);
    });
    eventually("cat answers", || logs(&agent, &second)["stdout"] == "for the second\nfor the second\n");
    assert_eq!(exit_code(&agent, &second), None);
}

#[test]
fn a_background_job_holds_nothing_and_is_heard_later() {
    let agent = start();
    let start = Instant::now();
    let answer =
        post(&agent, "(while ! [ -e go ]; do sleep 0.01; done; echo later; exec sleep 1000) & echo now").json();
    assert_eq!(answer["stdout"], "now\n");
    let command = format!("/process/session/s/command/{}", answer["cmdId"].as_str().unwrap());
    assert_eq!(follow(&agent, &command).0, b"now\n");
    assert_eq!(out(&agent, "jobs -rp | wc -l").trim(), "1");
    assert!(start.elapsed() < PROMPT);
    agent.put("go", "");
    eventually("its output is kept", || logs(&agent, &command)["stdout"] == "now\nlater\n");
    assert_eq!(follow(&agent, &command).0, b"now\nlater\n");
}

#[test]
fn followers_get_everything_from_the_start() {
    let agent = start();
    let command = spawn(&agent, json!({"command": "echo first; read -r x; echo \"$x\" >&2; read -r x; exit 2"}));
    let expected = (b"first\none\ntwo\n".to_vec(), b"one\n".to_vec());
    std::thread::scope(|scope| {
        let early = [0; 2].map(|_| scope.spawn(|| follow(&agent, &command)));
        eventually("it starts", || logs(&agent, &command)["stdout"] == "first\n");
        let plain = scope.spawn(|| agent.get(&format!("{command}/logs?follow=true")));
        assert_eq!(input(&agent, &command, "one").status, 204);
        assert_eq!(input(&agent, &command, "two").status, 204);
        for follower in early {
            assert_eq!(follower.join().unwrap(), expected);
        }
        let plain = plain.join().unwrap();
        assert!(plain.whole && plain.headers["content-type"].starts_with("text/plain"));
        assert_eq!(plain.body.len(), 18);
    });
    assert_eq!(follow(&agent, &command), expected);
}

#[test]
fn a_follower_hears_each_line_at_once_and_its_pings_are_answered() {
    let agent = start();
    let command = spawn(&agent, json!({"command": "while read -r x; do echo \"$x\"; done", "suppressInputEcho": true}));
    let mut socket = open(&agent, &command);
    for i in 0..50 {
        assert_eq!(input(&agent, &command, &i.to_string()).status, 204);
        assert_eq!(socket.read().unwrap().into_data(), format!("\u{1}\u{1}\u{1}{i}\n"));
        socket.send(Message::Ping("sign".into())).unwrap();
        assert_eq!(socket.read().unwrap(), Message::Pong("sign".into()));
    }
    socket.close(None).unwrap();
    while socket.read().is_ok() {}
}

#[test]
fn a_slow_follower_loses_nothing() {
    let agent = start();
    let command = spawn(&agent, json!({"command": "seq 1000000"}));
    let mut socket = open(&agent, &command);
    let mut bytes = Vec::<u8>::new();
    bytes.extend(&socket.read().unwrap().into_data()[3..]);
    // The command does not wait for its followers.
    assert_eq!(wait(&agent, &command), 0);
    while let Message::Binary(frame) = socket.read().unwrap() {
        bytes.extend(&frame[3..]);
    }
    assert!((1..=1_000_000).flat_map(|i: u32| format!("{i}\n").into_bytes()).eq(bytes));
}

#[test]
fn deleting_ends_all_processes_of_the_session() {
    let agent = start();
    let command = spawn(
        &agent,
        json!({"command": "\
            (trap '' TERM; touch deaf; exec sleep 1000) & echo $!
            setsid sleep 1000 & echo $!
            set -m; sleep 1000 & echo $!; (sleep 1000 & echo $!); set +m
            (trap 'echo term; exit' TERM; echo $BASHPID; while :; do sleep 0.01; done) &
            kill -STOP $!
            while [ ! -e deaf ]; do sleep 0.01; done
            echo $$; echo ready; cat"}),
    );
    eventually("it starts", || logs(&agent, &command)["stdout"].as_str().unwrap().contains("ready"));
    let stdout = logs(&agent, &command)["stdout"].as_str().unwrap().to_owned();
    let pids: Vec<_> = stdout.lines().filter(|line| line.parse::<u32>().is_ok()).collect();
    assert!(pids.len() >= 5, "{stdout}");
    assert!(pids.iter().all(|pid| alive(pid)));
    let start = Instant::now();
    let follower = open(&agent, &command);
    assert_eq!(agent.send("DELETE", "/process/session/s", &[], b"").status, 204);
    rest(follower);
    // One ignores SIGTERM.
    assert!(start.elapsed() >= Duration::from_secs(5), "{:?}", start.elapsed());
    for pid in pids {
        assert!(!alive(pid), "{pid} of {stdout}");
    }
    agent.get("/process/session/s").error(404, "PROCESS_NOT_FOUND");
    agent.send("DELETE", "/process/session/s", &[], b"").error(404, "PROCESS_NOT_FOUND");
    create(&agent, "s");
}

#[test]
fn deleting_is_prompt_and_releases_callers() {
    let agent = start();
    let start = Instant::now();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| post(&agent, "touch started; sleep 1000"));
        eventually("it starts", || agent.work().join("started").exists());
        let queued = scope.spawn(|| post(&agent, "echo never"));
        eventually("it is queued", || {
            agent.get("/process/session/s").json()["commands"].as_array().unwrap().len() == 2
        });
        assert_eq!(agent.send("DELETE", "/process/session/s", &[], b"").status, 204);
        assert_eq!(waiting.join().unwrap().json()["exitCode"], 143);
        queued.join().unwrap().error(410, "SESSION_ENDED");
    });
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_client_that_leaves_does_not_end_its_command() {
    let agent = start();
    let body = json!({"command": "touch started; while ! [ -e go ]; do sleep 0.01; done; echo done"}).to_string();
    let mut stream = agent.connect();
    stream.write_all(&head("POST", "/process/session/s/exec", &[])).unwrap();
    write!(stream, "Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    eventually("it starts", || agent.work().join("started").exists());
    drop(stream);
    agent.put("go", "");
    assert_eq!(out(&agent, "echo next"), "next\n");
    let session = agent.get("/process/session/s").json();
    assert_eq!(session["commands"][0]["exitCode"], 0);
    let command = format!("/process/session/s/command/{}", session["commands"][0]["id"].as_str().unwrap());
    assert_eq!(logs(&agent, &command)["output"], "done\n");
}

#[test]
fn sessions_are_listed_and_bad_requests_refused() {
    let agent = start();
    create(&agent, "a b/\u{e9}");
    assert_eq!(run(&agent, "true").0, 0);
    let list = agent.get("/process/session").json();
    let ids: Vec<_> = list.as_array().unwrap().iter().map(|s| s["sessionId"].as_str().unwrap()).collect();
    assert_eq!(ids, ["a b/\u{e9}", "s"]);
    assert_eq!(list[1]["commands"][0]["command"], "true");
    assert_eq!(list[1]["commands"][0]["exitCode"], 0);
    assert_eq!(agent.get("/process/session/a%20b%2F%C3%A9").json()["commands"], json!([]));

    let create = |id| agent.post("/process/session", &json!({"sessionId": id}));
    assert_eq!(create("s").error(409, "CONFLICT"), "session already exists");
    assert!(create("entrypoint").error(400, "BAD_REQUEST").contains("reserved"));
    create(" \t").error(400, "BAD_REQUEST");
    agent.post("/process/session", &json!({})).error(400, "INVALID_REQUEST_BODY");
    post(&agent, " \n").error(400, "BAD_REQUEST");
    post(&agent, "a\0b").error(400, "BAD_REQUEST");
    let none = "/process/session/none";
    agent.get(none).error(404, "PROCESS_NOT_FOUND");
    agent.post(&format!("{none}/exec"), &json!({"command": "true"})).error(404, "PROCESS_NOT_FOUND");
    for path in ["none/command/x", "s/command/x", "s/command/x/logs", "s/command/x/logs?follow=true"] {
        agent.get(&format!("/process/session/{path}")).error(404, "PROCESS_NOT_FOUND");
    }
    input(&agent, "/process/session/s/command/x", "").error(404, "PROCESS_NOT_FOUND");
    agent.post("/process/session/entrypoint/exec", &json!({"command": "true"})).error(400, "BAD_REQUEST");
    agent.send("DELETE", "/process/session/entrypoint", &[], b"").error(400, "BAD_REQUEST");
}

#[test]
fn private_files_are_private_and_made_anew() {
    let agent = start();
    let command =
        "f=$(dirname \"$BASH_SOURCE\"); stat -c '%a %U' \"$f\" \"$f\"/*; rm -rf \"$f\"; echo gone; echo x >/dev/stderr";
    let (code, stdout, stderr) = run(&agent, command);
    assert_eq!((code, stderr.as_str()), (0, "x\n"));
    let mut lines = stdout.lines();
    assert!(lines.next().unwrap().starts_with("700 "));
    assert_eq!(lines.filter(|line| line.starts_with("600 ")).count(), 3);
    assert_eq!(out(&agent, "echo on"), "on\n");
}

#[test]
fn commands_inherit_no_descriptors() {
    let agent = start();
    let command = "exec ls /proc/self/fd";
    let here = std::process::Command::new("bash").args(["-c", command]).output().unwrap();
    assert_eq!(out(&agent, "ls /proc/self/fd"), String::from_utf8(here.stdout).unwrap());
}

#[test]
fn older_clients_get_what_they_read() {
    let agent = start();
    let exec = |headers: &[(&str, &str)]| {
        let body = json!({"command": "echo a; sleep 0.05; echo b >&2"}).to_string();
        let answer = agent.send("POST", "/process/session/s/exec", headers, body.as_bytes()).json();
        assert_eq!((answer["stdout"].as_str(), answer["stderr"].as_str()), (Some("a\n"), Some("b\n")));
        let command = format!("/process/session/s/command/{}/logs", answer["cmdId"].as_str().unwrap());
        (answer["output"].as_str().unwrap().to_owned(), command)
    };
    let (plain, marked) = ("a\nb\n", "\u{1}\u{1}\u{1}a\n\u{2}\u{2}\u{2}b\n");
    for (version, expected, json) in [
        ("0.26.9", plain, false),
        ("0.27.0-alpha.1", marked, false),
        ("0.126.0a3", marked, false),
        ("v0.166.99", marked, false),
        ("0.167.0", plain, true),
        ("1.0.0", plain, true),
        ("0.0.0-dev", plain, true),
        ("what", plain, false),
    ] {
        let version = [("X-Daytona-SDK-Version", version)];
        let (output, command) = exec(&version);
        assert_eq!(output, expected, "{version:?}");
        let answer = agent.send("GET", &command, &version, b"");
        if json {
            assert_eq!(answer.json(), json!({"output": plain, "stdout": "a\n", "stderr": "b\n"}));
        } else {
            assert_eq!((answer.status, answer.text().as_str()), (200, expected), "{version:?}");
            assert!(answer.headers["content-type"].starts_with("text/plain"));
        }
    }
    let (output, command) = exec(&[]);
    assert_eq!(output, plain);
    assert_eq!(agent.get(&command).text(), plain);
    let split = [("X-Daytona-Split-Output", "true")];
    assert_eq!(agent.send("GET", &command, &split, b"").text(), marked);
    let follow = format!("{command}?follow=true");
    assert_eq!(agent.send("GET", &follow, &[NEW], b"").text(), plain);
    assert_eq!(agent.send("GET", &follow, &split, b"").text(), marked);

    let first = |headers: &[(&'static str, &str)]| agent.websocket(&follow, headers).read().unwrap().into_data();
    assert_eq!(first(&[]), "\u{1}\u{1}\u{1}a\n");
    assert_eq!(first(&[("X-Daytona-SDK-Version", "0.26.0")]), "a\n");
    // A browser names its version in a subprotocol, and wants that chosen.
    assert_eq!(first(&[("Sec-WebSocket-Protocol", "X-Daytona-SDK-Version~0.30.0")]), "\u{1}\u{1}\u{1}a\n");
    assert_eq!(first(&[("Sec-WebSocket-Protocol", "X-Daytona-SDK-Version~0.20.0")]), "a\n");
    let answer = agent.send("GET", &command, &[("Sec-WebSocket-Protocol", "x, X-Daytona-SDK-Version~0.200.0")], b"");
    assert_eq!(answer.json()["stderr"], "b\n");
}

#[test]
fn without_an_entrypoint_its_session_is_empty() {
    let agent = Agent::start();
    let path = "/process/session/entrypoint";
    assert_eq!(agent.get(path).json(), json!({"sessionId": "entrypoint", "commands": []}));
    assert_eq!(logs(&agent, path), json!({"output": "", "stdout": "", "stderr": ""}));
    assert_eq!(follow(&agent, path), (Vec::new(), Vec::new()));
    assert_eq!(agent.get("/process/session").json(), json!([]));
}

#[test]
fn the_entrypoint_runs_from_the_start() {
    let agent = Agent::with(|config| {
        let script = "echo \"$0\" \"$1\"; cat; echo err >&2; while ! [ -e go ]; do sleep 0.01; done; exit 4";
        config.entrypoint = Some(["sh", "-c", script, "it's", "a  b"].map(str::to_owned).to_vec());
    });
    let path = "/process/session/entrypoint";
    eventually("it speaks", || logs(&agent, path)["stderr"] == "err\n");
    assert_eq!(agent.get("/process/session").json(), json!([]));
    let session = agent.get(path).json();
    assert_eq!(session["commands"].as_array().unwrap().len(), 1);
    assert_eq!(session["commands"][0]["exitCode"], Value::Null);
    std::thread::scope(|scope| {
        let follower = scope.spawn(|| follow(&agent, path));
        agent.put("go", "");
        assert_eq!(follower.join().unwrap(), (b"it's a  b\n".to_vec(), b"err\n".to_vec()));
    });
    assert_eq!(agent.get(path).json()["commands"][0]["exitCode"], 4);
}
