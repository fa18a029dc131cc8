//! Signals to the server and to its launcher: an order to end, or a line in the log; never a silent end.

use std::path::Path;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr, Command};

use crate::support::{LIMIT, Server, binary};

/// A server whose log is read.
struct Logged {
    child: Child,
    log: tokio::io::Lines<BufReader<ChildStderr>>,
    ready: Value,
}

impl Logged {
    async fn new(mut command: Command, dir: &Path) -> Self {
        let mut child = command
            .args(["serve", "--port", "0", "--json", "--data-dir"])
            .arg(dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        tokio::time::timeout(LIMIT, stdout.read_line(&mut line)).await.unwrap().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, log, ready: serde_json::from_str(&line).unwrap() }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.ready["pid"].as_u64().unwrap()).unwrap()).unwrap()
    }

    /// Reads the log until a line has this text.
    async fn logs(&mut self, text: &str) {
        let found = async {
            while let Some(line) = self.log.next_line().await.unwrap() {
                if line.contains(text) {
                    return;
                }
            }
            panic!("the log ended without {text:?}");
        };
        tokio::time::timeout(LIMIT, found).await.unwrap_or_else(|_| panic!("no {text:?} in the log"));
    }

    async fn ended(&mut self) -> Option<i32> {
        tokio::time::timeout(LIMIT, self.child.wait()).await.expect("it did not end").unwrap().code()
    }
}

/// The child of a process that is called so.
fn child_of(parent: Pid, name: &str) -> Pid {
    find_child(parent, name).unwrap_or_else(|| panic!("no {name} below {parent:?}"))
}

/// The same, if it is there.
pub(crate) fn find_child(parent: Pid, name: &str) -> Option<Pid> {
    let parent = parent.as_raw_nonzero().to_string();
    let found = std::fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        let (head, tail) = stat.rsplit_once(") ")?;
        let ours = head.ends_with(&format!("({name}")) && tail.split(' ').nth(1) == Some(&parent);
        ours.then(|| entry.file_name().to_str()?.parse().ok()).flatten()
    });
    found.and_then(Pid::from_raw)
}

#[tokio::test]
async fn signals_that_mean_an_end_end_it_in_order() {
    let dir = tempfile::tempdir().unwrap();
    Server::open(dir.path(), &[]).await.terminate().await;
    let ending = [
        ("SIGHUP", Signal::HUP),
        ("SIGINT", Signal::INT),
        ("SIGQUIT", Signal::QUIT),
        ("SIGTERM", Signal::TERM),
        ("SIGXCPU", Signal::XCPU),
        ("SIGPWR", Signal::POWER),
    ];
    for (name, signal) in ending {
        let mut server = Logged::new(binary(), dir.path()).await;
        kill_process(server.pid(), signal).unwrap();
        server.logs(name).await;
        server.logs("stopped").await;
        assert_eq!(server.ended().await, Some(0), "{name}");
    }
}

#[tokio::test]
async fn a_closed_terminal_stops_sandboxes_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::open(dir.path(), &[]).await;
    let id = server.create(json!({"name": "s"})).await;
    server.exec(&id, "echo kept > kept").await;
    server.signal(Signal::HUP);
    assert_eq!(server.ended().await.code(), Some(0));
    let server = Server::open(dir.path(), &[]).await;
    let stopped = server.get("s").await.expect(200);
    assert_eq!((&stopped["state"], &stopped["errorReason"]), (&json!("stopped"), &Value::Null), "{stopped}");
    server.becomes("s", "start", "started").await;
    assert_eq!(server.exec(&id, "cat kept").await, "kept\n");
}

#[tokio::test]
async fn other_signals_change_nothing_but_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Logged::new(binary(), dir.path()).await;
    let launcher = child_of(server.pid(), "launcher");
    let noted = [
        ("SIGUSR1", Signal::USR1),
        ("SIGUSR2", Signal::USR2),
        ("SIGALRM", Signal::ALARM),
        ("SIGVTALRM", Signal::VTALARM),
        ("SIGPROF", Signal::PROF),
        ("SIGIO", Signal::IO),
        ("SIGXFSZ", Signal::XFSZ),
        ("SIGSTKFLT", Signal::STKFLT),
    ];
    for (name, signal) in noted {
        kill_process(launcher, signal).unwrap();
        kill_process(server.pid(), signal).unwrap();
        server.logs(name).await;
    }
    for signal in [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM, Signal::XCPU, Signal::POWER] {
        kill_process(launcher, signal).unwrap();
    }
    kill_process(server.pid(), Signal::PIPE).unwrap();
    let real_time = Command::new("kill").args(["-40", &server.pid().as_raw_nonzero().to_string()]).status();
    assert!(real_time.await.unwrap().success());
    server.logs("signal 40").await;
    assert_eq!(child_of(server.pid(), "launcher"), launcher);
    kill_process(server.pid(), Signal::TERM).unwrap();
    assert_eq!(server.ended().await, Some(0));
}

#[tokio::test]
async fn sandboxes_live_through_signals_to_server_and_launcher() {
    let server = Server::new().await;
    let id = server.create(json!({})).await;
    server.exec(&id, "sleep 1000 > /dev/null 2>&1 & echo $! > pid").await;
    let pid = Pid::from_raw(i32::try_from(server.ready["pid"].as_u64().unwrap()).unwrap()).unwrap();
    let launcher = child_of(pid, "launcher");
    for signal in [Signal::USR1, Signal::USR2, Signal::ALARM, Signal::HUP, Signal::QUIT] {
        kill_process(launcher, signal).unwrap();
        if !matches!(signal, Signal::HUP | Signal::QUIT) {
            server.signal(signal);
        }
    }
    server.exec(&id, "kill -0 $(cat pid)").await;
}

/// Who starts it with `nohup` wants it to outlive the terminal.
#[tokio::test]
async fn an_ignored_hangup_stays_ignored() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new("nohup");
    command.arg(env!("CARGO_BIN_EXE_daytona-native")).stdin(Stdio::null()).kill_on_drop(true);
    let mut server = Logged::new(command, dir.path()).await;
    kill_process(server.pid(), Signal::HUP).unwrap();
    kill_process(server.pid(), Signal::USR1).unwrap();
    server.logs("SIGUSR1").await;
    kill_process(server.pid(), Signal::TERM).unwrap();
    assert_eq!(server.ended().await, Some(0));
}
