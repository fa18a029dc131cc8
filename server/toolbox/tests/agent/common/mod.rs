//! An agent on a socket of its own and a client that controls every byte it sends.

pub(crate) mod websocket;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use daytona_toolbox::AgentConfig;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tempfile::TempDir;

/// Far more than anything here takes; a test that hangs fails.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Agent {
    folder: TempDir,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
    /// The body ended as its framing says.
    pub(crate) whole: bool,
}

impl Agent {
    pub(crate) fn start() -> Self {
        Self::with(|_| {})
    }

    /// An agent confined to its work dir.
    pub(crate) fn confined() -> Self {
        Self::with(|config| config.confine = Some(config.work_dir.clone()))
    }

    pub(crate) fn with(change: impl FnOnce(&mut AgentConfig)) -> Self {
        let folder = tempfile::Builder::new().prefix("agent").tempdir().unwrap();
        let work = folder.path().join("work");
        fs::create_dir(&work).unwrap();
        let mut config = AgentConfig {
            sandbox_id: "sandbox".into(),
            user: "daytona".into(),
            home: work.clone(),
            work_dir: work,
            env: BTreeMap::from([
                ("PATH".into(), std::env::var("PATH").unwrap()),
                ("FROM_SANDBOX".into(), "yes".into()),
            ]),
            confine: None,
            entrypoint: None,
            version: "1.2.3".into(),
            patience: daytona_toolbox::Patience::default(),
        };
        change(&mut config);
        let listener = UnixListener::bind(folder.path().join("socket")).unwrap();
        std::thread::spawn(move || daytona_toolbox::run(config, listener));
        Self { folder }
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    /// A folder beside the work dir.
    pub(crate) fn outside(&self) -> PathBuf {
        let path = self.folder.path().join("outside");
        fs::create_dir_all(&path).unwrap();
        path
    }

    pub(crate) fn put(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.work().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// Names in the work dir, hidden ones too.
    pub(crate) fn names(&self) -> Vec<String> {
        names(&self.work())
    }

    pub(crate) fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.folder.path().join("socket")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    pub(crate) fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut stream = self.connect();
        let mut request = head(method, target, headers);
        if method != "GET" || !body.is_empty() {
            request.extend(format!("Content-Length: {}\r\n", body.len()).bytes());
        }
        request.extend(b"\r\n");
        stream.write_all(&request).unwrap();
        // Also what comes after the agent has answered finds a reader.
        stream.write_all(body).unwrap();
        read_answer(&mut stream)
    }

    pub(crate) fn get(&self, target: &str) -> Answer {
        self.send("GET", target, &[], b"")
    }

    pub(crate) fn post(&self, target: &str, body: &Value) -> Answer {
        self.send("POST", target, &[], body.to_string().as_bytes())
    }

    pub(crate) fn exec(&self, body: &Value) -> (i64, String) {
        let answer = self.post("/process/execute", body).json();
        (answer["exitCode"].as_i64().unwrap(), answer["result"].as_str().unwrap().to_owned())
    }
}

/// What a test has started ends with it, also what nothing else would end.
impl Drop for Agent {
    fn drop(&mut self) {
        let is_here = |process: &Path| fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.starts_with(self.work()));
        for process in fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path()) {
            let number = process.file_name().and_then(|name| name.to_str()?.parse().ok());
            if let Some(pid) = number.and_then(rustix::process::Pid::from_raw).filter(|_| is_here(&process)) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    /// The body of a success.
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Asserts a complete error body; gives its message.
    pub(crate) fn error(&self, status: u16, code: &str) -> String {
        assert_eq!(self.status, status, "{}", self.text());
        let body: Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(body["statusCode"], status);
        assert_eq!(body["code"], code, "{body}");
        assert_eq!(body["source"], "DAYTONA_DAEMON");
        assert!(body["path"].as_str().unwrap().starts_with('/'));
        assert!(!body["method"].as_str().unwrap().is_empty());
        body["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        body["message"].as_str().unwrap().to_owned()
    }
}

pub(crate) fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

pub(crate) fn head(method: &str, target: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n");
    for (name, value) in headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    head.into_bytes()
}

/// Sends a request without a body.
pub(crate) fn send_head(stream: &mut UnixStream, method: &str, target: &str, headers: &[(&str, &str)]) {
    let mut request = head(method, target, headers);
    request.extend(b"\r\n");
    stream.write_all(&request).unwrap();
}

pub(crate) fn read_answer(stream: &mut UnixStream) -> Answer {
    let mut raw = Vec::new();
    let _ = stream.read_to_end(&mut raw);
    let split = find(&raw, b"\r\n\r\n").unwrap_or_else(|| {
        panic!("no answer but {:?}", String::from_utf8_lossy(&raw));
    });
    let head = String::from_utf8(raw[..split].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap()[9..12].parse().unwrap();
    let headers: BTreeMap<_, _> = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let rest = &raw[split + 4..];
    let (body, whole) = if headers.contains_key("transfer-encoding") {
        unchunk(rest)
    } else {
        let length = headers.get("content-length").map_or(rest.len(), |n| n.parse().unwrap());
        (rest.to_vec(), length == rest.len())
    };
    Answer { status, headers, body, whole }
}

pub(crate) fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

fn unchunk(mut raw: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(line) = find(raw, b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&raw[..line]).unwrap(), 16).unwrap();
        if size == 0 {
            return (body, true);
        }
        let data = &raw[line + 2..];
        if data.len() < size + 2 {
            body.extend(&data[..data.len().min(size)]);
            return (body, false);
        }
        body.extend(&data[..size]);
        raw = &data[size + 2..];
    }
    (body, false)
}

/// Waits until `done`; fails after a while.
pub(crate) fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether a process that is no zombie has this id.
pub(crate) fn alive(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(") ").next().unwrap().starts_with('Z'))
}

pub(crate) const BOUNDARY: &str = "xBOUNDARYx";
pub(crate) const FORM: (&str, &str) = ("Content-Type", "multipart/form-data; boundary=xBOUNDARYx");

/// A bulk upload's body.
pub(crate) fn form(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (i, (path, content)) in files.iter().enumerate() {
        part(&mut body, &format!("files[{i}].path"), None, path.as_bytes());
        part(&mut body, &format!("files[{i}].file"), Some("f"), content);
    }
    body.extend(format!("--{BOUNDARY}--\r\n").bytes());
    body
}

pub(crate) fn part(body: &mut Vec<u8>, name: &str, filename: Option<&str>, content: &[u8]) {
    body.extend(format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"").bytes());
    if let Some(filename) = filename {
        body.extend(format!("; filename=\"{filename}\"").bytes());
    }
    body.extend(b"\r\n\r\n");
    body.extend(content);
    body.extend(b"\r\n");
}
