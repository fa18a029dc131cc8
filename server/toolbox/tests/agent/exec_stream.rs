//! Commands on a websocket: streams, stdin, signals, lost connections.

use std::fs;
use std::time::Duration;

use crate::common::websocket::{Received, Socket};
use crate::common::{Agent, alive, eventually};
use daytona_wire::exec_stream::{STDERR, STDIN, STDOUT, TAKEN_OVER, WINDOW};
use serde_json::{Value, json};

const ID: &str = "0123456789abcdef";

/// A client that acknowledges what it takes.
struct Stream {
    socket: Socket,
    stdin: u64,
    taken: u64,
    output: Vec<(u8, Vec<u8>)>,
}

/// What comes other than output.
#[derive(Debug, PartialEq)]
enum Event {
    Output(u8, Vec<u8>),
    Said(Value),
    Closed(u16),
    Lost,
}

fn start(agent: &Agent, command: &str) -> Stream {
    start_with(agent, ID, &json!({"type": "start", "command": command}))
}

fn start_with(agent: &Agent, id: &str, message: &Value) -> Stream {
    let mut stream = open(agent, &format!("?id={id}"));
    stream.socket.send(message);
    assert_eq!(stream.event(), Event::Said(json!({"type": "started", "stdin": 0})));
    stream
}

fn open(agent: &Agent, rest: &str) -> Stream {
    let socket = agent.socket(&format!("/process/execute/stream{rest}"));
    Stream { socket, stdin: 0, taken: 0, output: Vec::new() }
}

impl Stream {
    fn event(&mut self) -> Event {
        match self.socket.next() {
            Received::Binary(data) => {
                assert_eq!(data[1..9], self.taken.to_be_bytes(), "a gap or a repetition");
                assert!((1..=64 << 10).contains(&(data.len() - 9)));
                self.taken += data.len() as u64 - 9;
                Event::Output(data[0], data[9..].to_vec())
            }
            Received::Text(value) => Event::Said(value),
            Received::Closed(code, _) => Event::Closed(code),
            Received::Lost => Event::Lost,
            Received::Nothing => panic!("no message came"),
        }
    }

    fn ack(&mut self) {
        self.socket.send(&json!({"type": "ack", "offset": self.taken}));
    }

    fn write(&mut self, bytes: &[u8]) {
        let mut message = vec![STDIN];
        message.extend(self.stdin.to_be_bytes());
        message.extend(bytes);
        self.stdin += bytes.len() as u64;
        self.socket.send_bytes(message);
    }

    fn eof(&mut self) {
        self.socket.send(&json!({"type": "eof", "offset": self.stdin}));
    }

    /// Reads output until all of it is `expected`.
    fn expect(&mut self, stream: u8, expected: &str) {
        let mut got = String::new();
        while got.len() < expected.len() {
            match self.event() {
                Event::Output(from, bytes) => {
                    assert_eq!(from, stream);
                    got.push_str(std::str::from_utf8(&bytes).unwrap());
                }
                Event::Said(said) if said["type"] == "ack" => {}
                other => panic!("{other:?} after {got:?}"),
            }
        }
        assert_eq!(got, expected);
        self.ack();
    }

    /// Takes everything up to the end; gives the message of the exit. Runs of one stream are joined in `output`.
    fn end(&mut self) -> Value {
        let exited = loop {
            match self.event() {
                Event::Output(stream, bytes) => {
                    match self.output.last_mut() {
                        Some((last, all)) if *last == stream => all.extend(bytes),
                        _ => self.output.push((stream, bytes)),
                    }
                    self.ack();
                }
                Event::Said(said) if said["type"] == "exited" => break said,
                Event::Said(said) => assert!(said["type"] == "ack" || said["type"] == "stdinClosed", "{said}"),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(self.event(), Event::Closed(1000));
        exited
    }

    /// Takes a message without acknowledging it; false if none comes for a while.
    fn more_unacknowledged(&mut self) -> bool {
        match self.socket.next_within(Duration::from_millis(500)) {
            None => false,
            Some(Received::Binary(data)) => {
                self.taken += data.len() as u64 - 9;
                true
            }
            Some(other) => panic!("{other:?}"),
        }
    }

    fn texts(&self) -> Vec<(u8, &str)> {
        self.output.iter().map(|(stream, bytes)| (*stream, std::str::from_utf8(bytes).unwrap())).collect()
    }
}

fn exited(code: i32) -> Value {
    json!({"type": "exited", "exitCode": code, "timedOut": false})
}

/// Whether the agent has forgotten the command.
fn forgotten(agent: &Agent) -> bool {
    // An offset that cannot be: nothing is taken over.
    agent.refused_socket(&format!("/process/execute/stream/{ID}?offset={}", u64::MAX)).status == 404
}

#[test]
fn streams_come_apart_and_in_order() {
    let agent = Agent::start();
    let mut stream = start(&agent, "echo a; sleep .1; echo b >&2; sleep .1; printf c; exit 7");
    assert_eq!(stream.end(), exited(7));
    assert_eq!(stream.texts(), [(STDOUT, "a\n"), (STDERR, "b\n"), (STDOUT, "c")]);
    eventually("it is forgotten", || forgotten(&agent));
}

#[test]
fn surroundings_are_those_of_exec() {
    let agent = Agent::start();
    agent.put("sub/file", "");
    let mut stream = start_with(
        &agent,
        ID,
        &json!({"type": "start", "command": "a=(1 2); ls; echo $FROM_SANDBOX-$MINE-${a[1]}; kill -9 $$",
                "cwd": "sub", "envs": {"MINE": "x"}}),
    );
    assert_eq!(stream.end(), exited(137));
    assert_eq!(stream.texts(), [(STDOUT, "file\nyes-x-2\n")]);
}

#[test]
fn a_long_command_leaves_stdin_to_the_client() {
    let agent = Agent::start();
    let mut stream = start(&agent, &format!("cat; : {}; echo $#-$_script", "x".repeat(300_000)));
    stream.write(b"input");
    stream.eof();
    assert_eq!(stream.end(), exited(0));
    assert_eq!(stream.texts(), [(STDOUT, "input0-\n")]);
}

#[test]
fn stdin_is_open_until_its_end() {
    let agent = Agent::start();
    let mut stream = start(&agent, "cat; echo end");
    for text in ["one\n", "two\n"] {
        stream.write(text.as_bytes());
        stream.expect(STDOUT, text);
    }
    stream.eof();
    assert_eq!(stream.end(), exited(0));
    assert_eq!(stream.texts(), [(STDOUT, "end\n")]);
}

#[test]
fn stdin_is_acknowledged_when_it_is_taken() {
    let agent = Agent::start();
    let mut stream = start(&agent, "read -r line; echo \"$line\"; wc -c");
    // More than a pipe holds: it takes the second reader.
    let bytes = vec![b'x'; WINDOW - 3];
    stream.write(b"go\n");
    stream.write(&bytes);
    stream.eof();
    let mut acked = 0;
    while acked < WINDOW as u64 {
        if let Event::Said(said) = stream.event() {
            assert_eq!(said["type"], "ack");
            assert!(said["offset"].as_u64().unwrap() > acked);
            acked = said["offset"].as_u64().unwrap();
        }
    }
    stream.ack();
    assert_eq!(stream.end(), exited(0));
    assert_eq!(stream.texts().last().unwrap().1.trim(), (WINDOW - 3).to_string());
}

#[test]
fn input_that_nobody_reads_is_told() {
    let agent = Agent::start();
    let mut stream = start(&agent, "exec <&-; echo closed; sleep 1000");
    stream.expect(STDOUT, "closed\n");
    stream.write(b"lost");
    assert_eq!(stream.event(), Event::Said(json!({"type": "stdinClosed"})));
    stream.socket.send(&json!({"type": "signal", "signal": "KILL"}));
    assert_eq!(stream.end(), exited(137));
}

#[test]
fn signals_reach_the_group() {
    let agent = Agent::start();
    let mut stream =
        start(&agent, "trap 'echo int' INT; trap 'echo usr1' USR1; echo ready; while :; do sleep 1000 & wait; done");
    stream.expect(STDOUT, "ready\n");
    for (signal, said) in [("SIGINT", "int\n"), ("usr1", "usr1\n"), ("2", "int\n")] {
        stream.socket.send(&json!({"type": "signal", "signal": signal}));
        stream.expect(STDOUT, said);
    }
    stream.socket.send(&json!({"type": "signal", "signal": "TERM"}));
    assert_eq!(stream.end(), exited(143));
}

#[test]
fn a_time_limit_kills_the_group() {
    let agent = Agent::start();
    let mut stream =
        start_with(&agent, ID, &json!({"type": "start", "command": "sleep 1000 & echo $!; wait", "timeout": 1}));
    assert_eq!(stream.end(), json!({"type": "exited", "exitCode": 137, "timedOut": true}));
    let pid = stream.texts()[0].1.trim().to_owned();
    eventually("the child is killed", || !alive(&pid));
}

#[test]
fn what_holds_the_pipes_does_not_hold_the_end() {
    let agent = Agent::start();
    let mut stream = start(&agent, "sleep 1000 & echo $!");
    assert_eq!(stream.end(), exited(0));
    let pid = stream.texts()[0].1.trim().to_owned();
    assert!(alive(&pid), "a background job outlives its command");
    agent.exec(&json!({"command": format!("kill -9 {pid}")}));
}

#[test]
fn a_lost_connection_loses_and_doubles_nothing() {
    const SIZE: u64 = 20 << 20;
    let agent = Agent::start();
    // Lines with their own offset: one that is wrong shows.
    let command = format!("head -c {SIZE} /dev/zero | od -v -A d -t x1 | head -c {SIZE}; printf end >&2");
    let mut stream = start(&agent, &command);
    let mut all = Vec::new();
    let mut connections = 0;
    let code = loop {
        match stream.event() {
            Event::Output(STDOUT, bytes) => all.extend(bytes),
            Event::Output(_, bytes) => assert_eq!(bytes, b"end"),
            Event::Said(said) if said["type"] == "exited" => break said["exitCode"].clone(),
            Event::Said(said) => assert_eq!(said["type"], "stdinClosed"),
            other => panic!("{other:?}"),
        }
        if all.len() as u64 / 1_500_000 > connections {
            connections += 1;
            let taken = stream.taken;
            // Some bytes are taken and not acknowledged, others are on their way.
            drop(stream);
            stream = open(&agent, &format!("/{ID}?offset={taken}"));
            stream.taken = taken;
            assert!(matches!(stream.event(), Event::Said(said) if said["type"] == "started"));
        } else if all.len() % 7 != 0 {
            stream.ack();
        }
    };
    stream.ack();
    assert_eq!(stream.event(), Event::Closed(1000));
    assert_eq!(code, 0);
    assert!(connections > 10);
    let sum = |command: &str| agent.exec(&json!({"command": format!("{command} | sha256sum")})).1;
    let got = agent.put("got", &all);
    let (got, expected) = (sum(&format!("cat {}", got.display())), sum(&format!("({command}) 2>/dev/null")));
    assert_eq!((all.len() as u64, got), (SIZE, expected));
}

#[test]
fn a_client_that_takes_nothing_holds_the_command() {
    const SIZE: u64 = 8 << 20;
    let agent = Agent::start();
    let mut stream = start(&agent, &format!("head -c {SIZE} /dev/zero; touch done"));
    while stream.more_unacknowledged() {}
    let window = WINDOW as u64;
    assert!((window / 2..=window).contains(&stream.taken), "{}", stream.taken);
    assert!(!agent.names().contains(&"done".to_owned()), "the command was not held");
    stream.ack();
    assert_eq!(stream.end()["exitCode"], 0);
    assert_eq!(stream.taken, SIZE);
    assert!(agent.names().contains(&"done".to_owned()));
}

#[test]
fn closing_kills() {
    let agent = Agent::start();
    let mut stream = start(&agent, "sleep 1000 & echo $!; wait");
    let Event::Output(_, pid) = stream.event() else { panic!() };
    stream.socket.close();
    let pid = String::from_utf8(pid).unwrap().trim().to_owned();
    eventually("the group is killed", || !alive(&pid));
    eventually("it is forgotten", || forgotten(&agent));
}

#[test]
fn a_lost_client_has_a_grace() {
    let agent = Agent::with(|config| config.patience.reconnect = Duration::from_secs(1));
    let mut stream = start(&agent, "echo $$; sleep 1000");
    let Event::Output(_, pid) = stream.event() else { panic!() };
    let pid = String::from_utf8(pid).unwrap().trim().to_owned();
    let taken = stream.taken;
    drop(stream);
    // In time.
    let mut stream = open(&agent, &format!("/{ID}?offset={taken}"));
    assert!(matches!(stream.event(), Event::Said(_)));
    std::thread::sleep(Duration::from_millis(1500));
    assert!(alive(&pid), "a connected client's command was killed");
    drop(stream);
    eventually("the grace is over", || !alive(&pid));
    eventually("it is forgotten", || forgotten(&agent));
}

#[test]
fn the_exit_is_told_again_until_the_client_has_it() {
    let agent = Agent::start();
    let mut stream = start(&agent, "printf abc; exit 5");
    while !matches!(stream.event(), Event::Said(said) if said["type"] == "exited") {}
    // Nothing was acknowledged.
    drop(stream);
    let mut stream = open(&agent, &format!("/{ID}?offset=1"));
    stream.taken = 1;
    assert!(matches!(stream.event(), Event::Said(_)));
    while !matches!(stream.event(), Event::Said(said) if said["type"] == "exited") {}
    assert_eq!(stream.taken, 3);
    stream.ack();
    // The close frame is on its way when the connection breaks.
    drop(stream);
    let mut stream = open(&agent, &format!("/{ID}?offset=3"));
    stream.taken = 3;
    assert!(matches!(stream.event(), Event::Said(_)));
    assert_eq!(stream.end(), exited(5));
    eventually("it is forgotten", || forgotten(&agent));
}

#[test]
fn stdin_goes_on_after_a_lost_connection() {
    let agent = Agent::start();
    let mut stream = start(&agent, "cat");
    stream.write(b"0123456789");
    stream.expect(STDOUT, "0123456789");
    let taken = stream.taken;
    drop(stream);
    let mut stream = open(&agent, &format!("/{ID}?offset={taken}"));
    stream.taken = taken;
    assert_eq!(stream.event(), Event::Said(json!({"type": "started", "stdin": 10})));
    // What was there already is passed over.
    stream.stdin = 5;
    stream.write(b"56789abc");
    stream.eof();
    assert_eq!(stream.end(), exited(0));
    assert_eq!(stream.texts(), [(STDOUT, "abc")]);
}

#[test]
fn the_last_connection_wins() {
    let agent = Agent::start();
    let mut first = start(&agent, "cat");
    let mut second = open(&agent, &format!("/{ID}"));
    assert!(matches!(second.event(), Event::Said(_)));
    assert_eq!(first.event(), Event::Closed(TAKEN_OVER));
    drop(first);
    second.write(b"still here");
    second.expect(STDOUT, "still here");
    second.eof();
    assert_eq!(second.end(), exited(0));
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    let agent = Agent::start();
    let plain = agent.get(&format!("/process/execute/stream?id={ID}"));
    assert!(plain.error(426, "UPGRADE_REQUIRED").contains("websocket"));
    for target in ["?id=short", "?id=", &format!("?id={ID}%2F.."), "", &format!("/{ID}?offset=x")] {
        let answer = agent.refused_socket(&format!("/process/execute/stream{target}"));
        assert_eq!(answer.status, 400, "{target}: {}", answer.text());
    }
    agent.refused_socket(&format!("/process/execute/stream/{ID}")).error(404, "PROCESS_NOT_FOUND");

    let mut stream = start(&agent, "cat");
    agent.refused_socket(&format!("/process/execute/stream?id={ID}")).error(409, "CONFLICT");
    agent.refused_socket(&format!("/process/execute/stream/{ID}?offset=1")).error(400, "BAD_REQUEST");
    stream.eof();
    assert_eq!(stream.end(), exited(0));
    eventually("it is forgotten", || forgotten(&agent));

    for (start, text) in [
        (json!({"type": "start", "command": " "}), "blank"),
        (json!({"type": "start", "command": "a\0b"}), "NUL"),
        (json!({"type": "start", "command": "true", "cwd": "/not/there"}), "/not/there"),
        (json!({"type": "start", "command": "true", "envs": {"1": "x"}}), "environment variable"),
        (json!({"type": "ack", "offset": 0}), "what to start"),
        (json!({"type": "nonsense"}), "nonsense"),
    ] {
        let mut stream = open(&agent, &format!("?id={ID}"));
        stream.socket.send(&start);
        let said = stream.socket.text();
        assert_eq!(said["error"]["statusCode"], 400, "{said}");
        assert!(said["error"]["message"].as_str().unwrap().contains(text), "{said}");
        assert_eq!(stream.event(), Event::Closed(1008));
        assert!(forgotten(&agent));
    }
}

#[test]
fn messages_that_make_no_sense_leave_the_command() {
    let agent = Agent::start();
    let mut stream = start(&agent, "cat");
    for message in [
        json!({"type": "signal", "signal": "NONSENSE"}),
        json!({"type": "ack", "offset": 1}),
        json!({"type": "eof", "offset": 1}),
        json!({"type": "start", "command": "true"}),
    ] {
        stream.socket.send(&message);
        assert_eq!(stream.socket.text()["type"], "error");
        assert_eq!(stream.event(), Event::Closed(1008));
        stream = open(&agent, &format!("/{ID}"));
        assert!(matches!(stream.event(), Event::Said(said) if said["type"] == "started"));
    }
    stream.stdin = 1;
    stream.write(b"a gap");
    assert_eq!(stream.socket.text()["type"], "error");
    let mut stream = open(&agent, &format!("/{ID}"));
    assert!(matches!(stream.event(), Event::Said(_)));
    stream.eof();
    assert_eq!(stream.end(), exited(0));
}

#[test]
fn commands_run_side_by_side() {
    let agent = Agent::start();
    let mut streams: Vec<_> = (0..20)
        .map(|i| {
            let command = json!({"type": "start", "command": format!("read -r x; echo {i} $x")});
            start_with(&agent, &format!("{ID}-{i}"), &command)
        })
        .collect();
    for (i, stream) in streams.iter_mut().enumerate().rev() {
        stream.write(b"go\n");
        assert_eq!(stream.end(), exited(0));
        assert_eq!(stream.texts(), [(STDOUT, format!("{i} go\n").as_str())]);
    }
    assert_eq!(fs::read_dir(agent.work()).unwrap().count(), 0);
}
