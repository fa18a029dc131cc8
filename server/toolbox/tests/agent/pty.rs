//! Terminals: what programs in them see, what their clients see, and how they end.

use std::time::{Duration, Instant};

use crate::common::websocket::{Received, Socket};
use crate::common::{Agent, alive, encode, eventually, find};
use serde_json::{Value, json};

const EXIT_CONTROL: &str = "X-Daytona-Pty-Exit-Control";

/// Waits for the program that says that way that it is deaf to signals by now.
const DEAF: &str = "while [ ! -e deaf ]; do sleep .01; done";

/// A client of a terminal.
struct Client {
    socket: Socket,
    output: Vec<u8>,
    /// What was looked at already.
    seen: usize,
}

fn agent() -> Agent {
    agent_with(|_| {})
}

/// An agent whose shells read no one's startup files.
fn agent_with(change: impl FnOnce(&mut daytona_toolbox::AgentConfig)) -> Agent {
    Agent::with(|config| {
        config.env.insert("HOME".into(), config.home.to_str().unwrap().into());
        change(config);
    })
}

impl Client {
    fn new(socket: Socket) -> Self {
        let mut client = Self { socket, output: Vec::new(), seen: 0 };
        assert_eq!(client.socket.text(), json!({"type": "control", "status": "connected"}));
        client
    }

    /// A new terminal whose shell has said that it is ready.
    fn create(agent: &Agent, query: &str) -> Self {
        let mut client = Self::new(agent.socket(&format!("/process/pty/create-connect?{query}")));
        client.ready();
        client
    }

    fn connect(agent: &Agent, rest: &str) -> Self {
        Self::new(agent.socket(&format!("/process/pty/{rest}")))
    }

    /// A shell without prompt and echo.
    fn ready(&mut self) {
        self.type_in("stty -echo; PS1=; bind 'set enable-bracketed-paste off'; echo rea''dy\n");
        self.until("ready\r\n");
    }

    fn type_in(&mut self, text: &str) {
        self.socket.send_bytes(text);
    }

    /// Reads until `text` has come after what was looked at before; gives everything up to its end.
    fn until(&mut self, text: &str) -> String {
        let mut from = self.seen;
        loop {
            if let Some(at) = find(&self.output[from..], text.as_bytes()) {
                let end = from + at + text.len();
                let got = String::from_utf8_lossy(&self.output[self.seen..end]).into_owned();
                self.seen = end;
                return got;
            }
            from = from.max((self.output.len() + 1).saturating_sub(text.len()));
            match self.socket.next() {
                Received::Binary(bytes) => self.output.extend(bytes),
                other => panic!("{other:?} after {:?}", String::from_utf8_lossy(&self.output[self.seen..])),
            }
        }
    }

    /// What a command says.
    fn run(&mut self, command: &str) -> String {
        self.type_in(&format!("{command}; echo do''ne\n"));
        let said = self.until("done\r\n");
        said.strip_suffix("done\r\n").unwrap().replace("\r\n", "\n")
    }

    /// Reads to the end; gives the close frame's code and reason, and the message of the exit if there was one.
    fn end(&mut self) -> (u16, Value, Option<Value>) {
        let mut said = None;
        loop {
            match self.socket.next() {
                Received::Binary(bytes) => self.output.extend(bytes),
                Received::Text(text) => said = Some(text),
                Received::Closed(code, reason) => return (code, serde_json::from_str(&reason).unwrap(), said),
                other => panic!("{other:?}"),
            }
        }
    }
}

fn create(agent: &Agent, body: &Value) -> String {
    let answer = agent.post("/process/pty", body);
    assert_eq!(answer.status, 201, "{}", answer.text());
    serde_json::from_slice::<Value>(&answer.body).unwrap()["sessionId"].as_str().unwrap().to_owned()
}

fn delete(agent: &Agent, id: &str) -> crate::common::Answer {
    agent.send("DELETE", &format!("/process/pty/{id}"), &[], b"")
}

fn gone(agent: &Agent, id: &str) -> bool {
    agent.get(&format!("/process/pty/{id}")).status == 404
}

#[test]
fn programs_see_a_terminal() {
    let agent = agent();
    agent.put("sub/file", "");
    let mut client = Client::create(&agent, "id=a&cols=100&rows=30&cwd=sub");
    let tty = client.run("tty");
    assert!(tty.starts_with("/dev/"), "{tty}");
    assert_eq!(client.run("stty size"), "30 100\n");
    assert_eq!(
        client.run("echo $TERM $FROM_SANDBOX; ls; shopt -q login_shell && echo login"),
        "xterm-256color yes\nfile\nlogin\n"
    );
    // It is the session's own controlling terminal, with job control.
    assert_eq!(client.run("ps -o sid= -p $$ | tr -d ' ' | grep -qx $$ && : </dev/tty && echo controls"), "controls\n");
    assert_eq!(client.run("case $- in *m*i*|*i*m*) echo jobs;; esac"), "jobs\n");
    client.type_in("stty echo; echo u''p; cat >/dev/null\n");
    client.until("up\r\n");
    client.type_in("what is typed\n");
    client.until("what is typed\r\n");
}

#[test]
fn the_environment_travels_in_a_subprotocol() {
    use base64::Engine as _;
    let agent = agent();
    let envs = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(json!({"MINE": "ä ?>", "TERM": "vt100"}).to_string());
    let envs = format!("X-Daytona-Pty-Envs~{envs}");
    let socket = agent.socket_with("/process/pty/create-connect?id=a", &[&envs, EXIT_CONTROL]);
    assert_eq!(socket.protocol.as_deref(), Some(EXIT_CONTROL));
    let mut client = Client::new(socket);
    client.ready();
    assert_eq!(client.run("echo \"$MINE-$TERM\""), "ä ?>-vt100\n");
    assert_eq!(agent.get("/process/pty/a").json()["envs"], json!({"MINE": "ä ?>", "TERM": "vt100"}));
    for (offered, chosen) in [
        (vec!["X-Daytona-SDK-Version~0.200.0"], Some("X-Daytona-SDK-Version~0.200.0")),
        (vec!["other", "X-Daytona-SDK-Version~1"], Some("X-Daytona-SDK-Version~1")),
        (vec!["other"], Some("other")),
        (vec![], None),
    ] {
        assert_eq!(agent.socket_with("/process/pty/a/connect", &offered).protocol.as_deref(), chosen);
    }
}

#[test]
fn sizes_change_and_programs_are_told() {
    let agent = agent();
    let mut client = Client::create(&agent, "id=a");
    // One process group: the terminal tells the one in the foreground, which with job control is each command's own.
    client.type_in("bash -c 'trap \"stty size\" WINCH; echo wai\"\"ting; while :; do sleep .05; done'\n");
    client.until("waiting\r\n");
    let info = agent.post("/process/pty/a/resize", &json!({"cols": 111, "rows": 22})).json();
    assert_eq!((&info["cols"], &info["rows"], &info["active"]), (&json!(111), &json!(22), &json!(true)));
    client.until("22 111\r\n");
    agent.post("/process/pty/a/resize", &json!({"cols": 0, "rows": 22})).error(400, "BAD_REQUEST");
    agent.post("/process/pty/a/resize", &json!({"cols": 1, "rows": 1001})).error(400, "BAD_REQUEST");
    agent.post("/process/pty/b/resize", &json!({"cols": 1, "rows": 1})).error(404, "PROCESS_NOT_FOUND");
    assert_eq!(agent.get("/process/pty/a").json()["cols"], 111);
}

#[test]
fn control_c_interrupts() {
    let agent = agent();
    let mut client = Client::create(&agent, "id=a");
    client.type_in("bash -c 'echo sta\"\"rts; exec sleep 1000'\n");
    client.until("starts\r\n");
    client.type_in("\x03");
    assert_eq!(client.run("echo code $?").lines().last(), Some("code 130"));
}

#[test]
fn every_byte_comes_through() {
    let agent = agent();
    let mut client = Client::create(&agent, "id=a");
    client.type_in("stty raw; echo ra''w; head -c 256000\n");
    client.until("raw\n");
    let all: Vec<u8> = (0..=255).cycle().take(256_000).collect();
    for part in all.chunks(20_000) {
        client.socket.send_bytes(part);
    }
    while client.output.len() - client.seen < all.len() {
        let Received::Binary(bytes) = client.socket.next() else { panic!() };
        client.output.extend(bytes);
    }
    assert_eq!(client.output[client.seen..], all);
}

#[test]
fn text_is_input_too() {
    let agent = agent();
    let mut client = Client::create(&agent, "id=a");
    client.socket.send_text("echo te''xt\n");
    client.until("text\r\n");
}

#[test]
fn exits_are_told_after_all_output() {
    let agent = agent();
    for (ending, code, reason) in [
        ("exit 0", 0, json!({"exitCode": 0})),
        ("exit 3", 3, json!({"exitCode": 3})),
        ("kill -9 $$", 137, json!({"exitCode": 137, "exitReason": "SIGKILL"})),
        ("exec bash -c 'kill $$'", 143, json!({"exitCode": 143, "exitReason": "SIGTERM"})),
        ("exec bash -c 'kill -USR1 $$'", 138, json!({"exitCode": 138, "exitReason": "signal 10"})),
        ("exit 130", 130, json!({"exitCode": 130, "exitReason": "Ctrl+C"})),
    ] {
        let mut client = Client::new(agent.socket_with("/process/pty/create-connect?id=a", &[EXIT_CONTROL]));
        client.ready();
        client.type_in(&format!("seq 30000; printf last; {ending}\n"));
        let (closed, said, control) = client.end();
        assert_eq!((closed, &said), (if code == 0 { 1000 } else { 1011 }, &reason), "{ending}");
        let mut expected = reason;
        expected["type"] = "control".into();
        expected["status"] = "exited".into();
        assert_eq!(control, Some(expected));
        let output = String::from_utf8_lossy(&client.output);
        assert!(output.contains("\r\n30000\r\nlast"), "{ending}: {}", &output[output.len().saturating_sub(200)..]);
        assert!(gone(&agent, "a"), "{ending}");
    }
    // Who does not know the message does not get it.
    let mut client = Client::create(&agent, "id=a");
    client.type_in("exit\n");
    assert_eq!(client.end(), (1000, json!({"exitCode": 0}), None));
}

#[test]
fn what_holds_the_terminal_does_not_hold_the_exit() {
    let agent = agent();
    let mut client = Client::create(&agent, "id=a");
    let pid = client.run(&format!("(trap '' HUP; touch deaf; exec sleep 1000) & disown; {DEAF}; echo $!"));
    let pid = pid.lines().last().unwrap().to_owned();
    client.type_in("exit 4\n");
    assert_eq!(client.end().0, 1011);
    assert!(alive(&pid));
    agent.exec(&json!({"command": format!("kill -9 {pid}")}));
}

#[test]
fn created_first_and_connected_later() {
    let agent = agent();
    let id =
        create(&agent, &json!({"id": "a b", "envs": {"PROMPT_COMMAND": "printf wai''ting"}, "cols": 90, "rows": 20}));
    assert_eq!(id, "a b");
    let info = agent.get("/process/pty/a%20b").json();
    let work = agent.work();
    assert_eq!(info["cwd"], work.to_str().unwrap());
    for (field, value) in [
        ("id", json!("a b")),
        ("active", json!(true)),
        ("cols", json!(90)),
        ("rows", json!(20)),
        ("envs", json!({"PROMPT_COMMAND": "printf wai''ting"})),
        ("lazyStart", json!(false)),
    ] {
        assert_eq!(info[field], value, "{field}");
    }
    info["createdAt"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    // The prompt that came before is for the first client.
    let mut client = Client::connect(&agent, "a%20b/connect");
    client.until("waiting");
    create(&agent, &json!({"id": "z"}));
    let all = agent.get("/process/pty").json();
    let ids: Vec<_> = all["sessions"].as_array().unwrap().iter().map(|session| &session["id"]).collect();
    assert_eq!(ids, ["a b", "z"]);
}

#[test]
fn a_lazy_shell_starts_with_its_first_client() {
    let agent = agent();
    create(&agent, &json!({"id": "a", "lazyStart": true}));
    let info = agent.get("/process/pty/a").json();
    assert_eq!((&info["active"], &info["lazyStart"]), (&json!(false), &json!(true)));
    agent.post("/process/pty/a/resize", &json!({"cols": 70, "rows": 10})).json();
    let mut client = Client::connect(&agent, "a/connect");
    client.ready();
    assert_eq!(client.run("stty size"), "10 70\n");
    assert_eq!(agent.get("/process/pty/a").json()["active"], true);
    create(&agent, &json!({"id": "never", "lazyStart": true}));
    assert_eq!(delete(&agent, "never").status, 200);
    assert!(gone(&agent, "never"));
}

#[test]
fn what_was_shown_is_shown_again_on_demand() {
    let agent = agent();
    let mut client = Client::create(&agent, "id=a");
    client.run("seq 100000; echo the e''nd");
    client.socket.close();
    // Output without a client does not block the program.
    let mut plain = Client::connect(&agent, "a/connect");
    assert_eq!(plain.run("echo plain"), "plain\n");
    assert!(find(&plain.output, b"the end").is_none());
    let mut again = Client::connect(&agent, "a/connect?replay=true");
    again.until("the end\r\n");
    let shown = again.output.len();
    assert!((200 << 10..=256 << 10).contains(&shown), "{shown}");
    again.type_in("echo li''ve\n");
    again.until("live\r\n");
}

#[test]
fn without_a_client_programs_run_on() {
    let agent = agent();
    let mut client = Client::create(&agent, "id=a");
    client.type_in("sleep .2; seq 500000; touch finished\n");
    drop(client);
    eventually("the program ends", || agent.names().contains(&"finished".to_owned()));
}

#[test]
fn clients_see_the_same() {
    let agent = agent();
    let mut first = Client::create(&agent, "id=a");
    let mut second = Client::connect(&agent, "a/connect");
    first.type_in("echo from-fi''rst\n");
    second.until("from-first\r\n");
    second.type_in("echo from-sec''ond\n");
    first.until("from-second\r\n");
    second.type_in("exit 2\n");
    for client in [&mut first, &mut second] {
        assert_eq!(client.end(), (1011, json!({"exitCode": 2}), None));
    }
}

#[test]
fn a_client_that_takes_nothing_is_cut_off() {
    let patience = Duration::from_secs(2);
    let agent = agent_with(|config| config.patience.slow_client = patience);
    let mut first = Client::create(&agent, "id=a");
    let mut slow = Client::connect(&agent, "a/connect");
    let begun = Instant::now();
    first.type_in("seq 1000000; echo e''nd\n");
    first.until("\r\n1000000\r\nend\r\n");
    assert!(begun.elapsed() >= patience, "nobody waited for the slow client");
    // It gets what was on its way, and the reason.
    loop {
        match slow.socket.next() {
            Received::Binary(_) => {}
            Received::Closed(code, _) => break assert_eq!(code, 1008),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(first.run("echo on"), "on\n");
}

#[test]
fn a_slow_client_that_reads_on_loses_nothing() {
    let agent = agent_with(|config| config.patience.slow_client = Duration::from_secs(3));
    let mut client = Client::create(&agent, "id=a");
    client.type_in("seq 400000; echo e''nd\n");
    // Longer than a client without others may take nothing.
    for _ in 0..8 {
        std::thread::sleep(Duration::from_millis(500));
        for _ in 0..8 {
            match client.socket.next() {
                Received::Binary(bytes) => client.output.extend(bytes),
                other => panic!("{other:?} after {} bytes", client.output.len()),
            }
        }
    }
    let got = client.until("end\r\n");
    let lines: Vec<_> = got.lines().collect();
    let (numbers, last) = lines[lines.len() - 400_001..].split_at(400_000);
    assert!((1..=400_000).zip(numbers).all(|(n, line)| line.parse() == Ok(n)), "{} bytes", got.len());
    assert_eq!(last, ["end"]);
}

#[test]
fn deleting_ends_the_whole_session() {
    let agent = agent();
    let mut client = Client::create(&agent, "id=a");
    let said = client.run(&format!(
        "sleep 1001 & echo $!; (trap '' HUP; echo $BASHPID; touch deaf; exec sleep 1002) & {DEAF}; echo $$"
    ));
    let pids: Vec<_> = said.lines().filter(|line| line.parse::<u32>().is_ok()).map(str::to_owned).collect();
    assert_eq!(pids.len(), 3, "{said}");
    assert!(pids.iter().all(|pid| alive(pid)));
    assert_eq!(delete(&agent, "a").status, 200);
    for pid in &pids {
        assert!(!alive(pid), "{pid} lives on");
    }
    assert!(gone(&agent, "a"));
    assert_eq!(client.end(), (1011, json!({"exitCode": 137, "exitReason": "SIGKILL"}), None));
    delete(&agent, "a").error(404, "PROCESS_NOT_FOUND");
}

#[test]
fn what_cannot_be_is_refused() {
    let agent = agent();
    create(&agent, &json!({"id": "a"}));
    agent.post("/process/pty", &json!({"id": "a"})).error(409, "CONFLICT");
    for body in [
        json!({"id": " "}),
        json!({"id": "b", "cols": 0}),
        json!({"id": "b", "rows": 1001}),
        json!({"id": "b", "cwd": "/not/there"}),
        json!({"id": "b", "envs": {"A-B": "x"}}),
    ] {
        agent.post("/process/pty", &body).error(400, "BAD_REQUEST");
    }
    for (query, status) in [
        ("", 400),
        ("id=%20", 400),
        ("id=b&cols=0", 400),
        ("id=b&cols=many", 400),
        ("id=b&rows=70000", 400),
        ("id=b&cwd=%2Fnot%2Fthere", 400),
        ("id=a", 409),
    ] {
        let answer = agent.refused_socket(&format!("/process/pty/create-connect?{query}"));
        assert_eq!(answer.status, status, "{query}: {}", answer.text());
    }
    agent.get("/process/pty/create-connect?id=b").error(426, "UPGRADE_REQUIRED");
    agent.get("/process/pty/a/connect").error(426, "UPGRADE_REQUIRED");
    assert!(gone(&agent, "b"));
    agent.get("/process/pty/b").error(404, "PROCESS_NOT_FOUND");
    delete(&agent, "b").error(404, "PROCESS_NOT_FOUND");

    let long = "ü\"".repeat(200);
    let mut socket = agent.socket(&format!("/process/pty/{}/connect", encode(&long)));
    let said = socket.text();
    assert_eq!((&said["type"], &said["status"]), (&json!("control"), &json!("error")));
    assert!(said["error"].as_str().unwrap().contains("not found"), "{said}");
    let Received::Closed(1011, reason) = socket.next() else { panic!() };
    assert!(serde_json::from_str::<Value>(&reason).unwrap()["error"].is_string(), "{reason}");
}
