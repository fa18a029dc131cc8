//! `daytona-native shell` on a terminal of its own, and without one.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{ExitStatus, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use crate::support::{LIMIT, Server};

fn shell(server: &Server, mut command: Command, arguments: &[&str]) -> Command {
    let directory = std::env::temp_dir();
    command
        .arg("shell")
        .args(arguments)
        .env("DAYTONA_API_URL", server.ready["url"].as_str().unwrap())
        .env("DAYTONA_API_KEY", server.key())
        .current_dir(directory)
        .kill_on_drop(true);
    command
}

/// A user before a terminal.
pub(crate) struct Terminal {
    pub(crate) master: File,
    /// Kept open, to look at its mode after the program has ended.
    slave: OwnedFd,
    child: Child,
    shown: mpsc::UnboundedReceiver<Vec<u8>>,
    unread: Vec<u8>,
}

impl Terminal {
    fn open(server: &Server, arguments: &[&str]) -> Self {
        Self::run(|mut command| {
            command.arg(env!("CARGO_BIN_EXE_daytona-native"));
            shell(server, command, arguments)
        })
    }

    /// Runs what is added to a command, which is run on a terminal of 91 columns and 33 rows.
    pub(crate) fn run(complete: impl FnOnce(Command) -> Command) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        set_size(&slave, 91, 33);
        let stdio = || Stdio::from(slave.try_clone().unwrap());
        // With the terminal as its controlling one, so that it is told of a new size.
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait"]);
        let mut command = complete(command);
        let child = command.stdin(stdio()).stdout(stdio()).stderr(stdio()).spawn().unwrap();
        let master = File::from(master);
        let mut reader = master.try_clone().unwrap();
        let (send, shown) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                if send.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { master, slave, child, shown, unread: Vec::new() }
    }

    pub(crate) fn type_in(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    /// Returns when this is shown, after what was waited for before.
    pub(crate) async fn until(&mut self, text: &str) {
        let find = |unread: &[u8]| unread.windows(text.len()).position(|part| part == text.as_bytes());
        let found = async {
            loop {
                if let Some(at) = find(&self.unread) {
                    self.unread.drain(..at + text.len());
                    return;
                }
                self.unread.extend(self.shown.recv().await.expect("the terminal is open"));
            }
        };
        let is_shown = tokio::time::timeout(LIMIT, found).await.is_ok();
        assert!(is_shown, "{text:?} was not shown: {}", String::from_utf8_lossy(&self.unread));
    }

    fn is_raw(&self) -> bool {
        !tcgetattr(&self.slave).unwrap().local_modes.intersects(LocalModes::ICANON | LocalModes::ECHO)
    }

    fn is_cooked(&self) -> bool {
        tcgetattr(&self.slave).unwrap().local_modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    pub(crate) async fn ended(&mut self) -> ExitStatus {
        tokio::time::timeout(LIMIT, self.child.wait()).await.expect("the shell did not end").unwrap()
    }
}

pub(crate) fn set_size(terminal: &impl std::os::fd::AsFd, cols: u16, rows: u16) {
    tcsetwinsize(terminal, Winsize { ws_col: cols, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
}

async fn sessions(server: &Server, id: &str) -> Vec<String> {
    let listed = server.call("GET", &format!("/toolbox/{id}/process/pty"), Value::Null).await.expect(200);
    listed["sessions"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
}

// The shell echoes what is typed: what is waited for is typed in two parts.

#[tokio::test]
async fn a_terminal_with_its_size_keys_and_exit_code() {
    let server = Server::new().await;
    let id = server.create(json!({ "name": "box" })).await;
    let mut terminal = Terminal::open(&server, &["box", "--cwd", "/tmp"]);
    terminal.type_in("stty size; pwd; echo a''b\n");
    terminal.until("33 91\r\n").await;
    terminal.until("/tmp\r\n").await;
    terminal.until("ab\r\n").await;
    assert!(terminal.is_raw());
    assert_eq!(sessions(&server, &id).await.len(), 1);

    set_size(&terminal.master, 100, 40);
    terminal.type_in("until [ \"$(stty size)\" = '40 100' ]; do sleep 0.02; done; echo si''zed\n");
    terminal.until("sized\r\n").await;

    // Said by the program that Ctrl-C is for: one between two commands would be lost.
    terminal.type_in("bash -c \"echo sta''rted; exec sleep 300\"\n");
    terminal.until("started\r\n").await;
    terminal.type_in("\x03");
    terminal.type_in("echo sti''ll; exit 7\n");
    terminal.until("still\r\n").await;
    assert_eq!(terminal.ended().await.code(), Some(7));
    assert!(terminal.is_cooked());
}

#[tokio::test]
async fn a_session_is_left_and_attached_to_again() {
    let server = Server::new().await;
    let id = server.create(json!({})).await;
    let mut first = Terminal::open(&server, &[&id, "--session", "my work"]);
    first.type_in("kept=val''ue; echo be''fore\n");
    first.until("before\r\n").await;
    first.type_in("\x10\x11");
    first.until(&format!("Attach again with: daytona-native shell {id} --session 'my work'\r\n")).await;
    assert_eq!(first.ended().await.code(), Some(0));
    assert!(first.is_cooked());
    assert_eq!(sessions(&server, &id).await, ["my work"]);

    let mut second = Terminal::open(&server, &[&id, "--session", "my work", "--detach-keys", "ctrl-]"]);
    second.until("before\r\n").await;
    second.type_in("echo \"<$kept>\"\n");
    second.until("<value>\r\n").await;
    second.type_in("\x1d");
    second.until("Attach again with").await;
    assert_eq!(second.ended().await.code(), Some(0));

    let mut third = Terminal::open(&server, &[&id, "--session", "my work"]);
    third.until("<value>\r\n").await;
    third.type_in("exit 3\n");
    assert_eq!(third.ended().await.code(), Some(3));
    assert!(sessions(&server, &id).await.is_empty());
}

#[tokio::test]
async fn a_program_that_is_ended_leaves_the_terminal_as_it_was() {
    let server = Server::new().await;
    let id = server.create(json!({})).await;
    let mut terminal = Terminal::open(&server, &[&id]);
    terminal.type_in("echo rea''dy\n");
    terminal.until("ready\r\n").await;
    terminal.signal(Signal::TERM);
    assert_eq!(terminal.ended().await.code(), Some(143));
    assert!(terminal.is_cooked());
    // Nobody knows its name, so that it does not go on.
    assert!(sessions(&server, &id).await.is_empty());
}

#[tokio::test]
async fn a_sandbox_that_stops_ends_the_shell_with_a_word() {
    let server = Server::new().await;
    let id = server.create(json!({})).await;
    let mut terminal = Terminal::open(&server, &[&id]);
    terminal.type_in("echo rea''dy\n");
    terminal.until("ready\r\n").await;
    server.call("POST", &format!("/api/sandbox/{id}/stop"), Value::Null).await.expect(200);
    terminal.until("daytona-native: ").await;
    assert_eq!(terminal.ended().await.code(), Some(255));
    assert!(terminal.is_cooked());
}

async fn piped(server: &Server, arguments: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut command = shell(server, Command::new(env!("CARGO_BIN_EXE_daytona-native")), arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // One that fails at once does not read it.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = tokio::time::timeout(LIMIT, child.wait_with_output()).await.expect("it did not end").unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn without_a_terminal_it_runs_what_it_reads() {
    let server = Server::new().await;
    let id = server.create(json!({})).await;
    let ran = piped(&server, &[&id, "--cwd", "/tmp"], "pwd; echo err >&2; cat; exit 4").await;
    assert_eq!(ran, (Some(4), "/tmp\n".to_owned(), "err\n".to_owned()));
}

#[tokio::test]
async fn errors_are_one_line() {
    let server = Server::new().await;
    let (code, stdout, stderr) = piped(&server, &["nowhere"], "ls").await;
    assert_eq!((code, stdout.as_str(), stderr.lines().count()), (Some(255), "", 1), "{stderr}");
    assert!(stderr.starts_with("daytona-native: Failed to get sandbox: "), "{stderr}");

    let id = server.create(json!({})).await;
    let (code, _, stderr) = piped(&server, &[&id, "--session", "work"], "ls").await;
    assert_eq!((code, stderr.lines().count()), (Some(255), 1));
    assert!(stderr.contains("--session needs a terminal"), "{stderr}");

    let (code, _, stderr) = piped(&server, &[&id, "--detach-keys", "ctrl-1"], "").await;
    assert_eq!(code, Some(2));
    assert!(stderr.contains("\"ctrl-1\" is not a key"), "{stderr}");
}
