//! Downloads: exact bytes, exact names, and an end that can be trusted.

use std::fs;
use std::io::{Read, Write};

use crate::common::{Agent, Answer, encode, find, head};
use serde_json::{Value, json};

/// Name, filename*, Content-Length, content.
type Part = (String, String, Option<usize>, Vec<u8>);

/// The parts of a bulk download; `None` if it is cut.
fn parts(answer: &Answer) -> Option<Vec<Part>> {
    let boundary = answer.headers["content-type"].strip_prefix("multipart/form-data; boundary=").unwrap();
    let delimiter = format!("--{boundary}");
    let mut rest = answer.body.as_slice();
    let mut parts = Vec::new();
    loop {
        rest = rest.strip_prefix(delimiter.as_bytes())?;
        if rest == b"--\r\n" {
            return Some(parts);
        }
        rest = rest.strip_prefix(b"\r\n")?;
        let split = find(rest, b"\r\n\r\n")?;
        let head = String::from_utf8(rest[..split].to_vec()).unwrap();
        rest = &rest[split + 4..];
        let end = find(rest, format!("\r\n{delimiter}").as_bytes())?;
        let content = rest[..end].to_vec();
        rest = &rest[end + 2..];
        let disposition = head.lines().next().unwrap();
        let name = disposition.split("name=\"").nth(1)?.split('"').next()?;
        let file = disposition.rsplit("filename*=utf-8''").next()?;
        let file = percent_encoding::percent_decode_str(file).decode_utf8().unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).map(|n| n.parse().unwrap());
        parts.push((name.into(), file.into_owned(), length, content));
    }
}

#[test]
fn parts_come_in_order_with_their_errors() {
    let agent = Agent::start();
    let large: Vec<u8> = (0..=255).cycle().step_by(7).take(700_001).collect();
    agent.put("a", "first");
    agent.put("large", &large);
    agent.put("empty", "");
    agent.put("dir/x", "");
    let paths = ["large", "nope", "a", "empty", "dir", "", "a"];
    let answer = agent.post("/files/bulk-download", &json!({"paths": paths}));
    assert_eq!(answer.status, 200);
    let parts = parts(&answer).unwrap();
    let names: Vec<_> = parts.iter().map(|p| p.0.as_str()).collect();
    assert_eq!(names, ["file", "error", "file", "file", "error", "error", "file"]);
    for (part, path) in parts.iter().zip(paths) {
        assert_eq!(part.1, path);
        assert_eq!(part.2, Some(part.3.len()));
    }
    assert!(parts[0].3 == large);
    assert_eq!(parts[2].3, b"first");
    let codes: Vec<Value> = parts
        .iter()
        .filter(|p| p.0 == "error")
        .map(|p| serde_json::from_slice::<Value>(&p.3).unwrap())
        .map(|error| json!([error["statusCode"], error["code"]]))
        .collect();
    assert_eq!(json!(codes), json!([[404, "FILE_NOT_FOUND"], [400, "INVALID_FILE_PATH"], [400, "INVALID_FILE_PATH"]]));
}

#[test]
fn odd_names_survive() {
    let agent = Agent::start();
    let names = ["a\"b", "a\\b", "new\nline\r\n", "ünï 🦀", "semi;colon=x", "per%20cent", "it's"];
    for name in names {
        agent.put(name, name);
    }
    let answer = agent.post("/files/bulk-download", &json!({"paths": names}));
    for (part, name) in parts(&answer).unwrap().iter().zip(names) {
        assert_eq!((part.1.as_str(), part.3.as_slice()), (name, name.as_bytes()));
        let single = agent.get(&format!("/files/download?path={}", encode(name)));
        assert_eq!(single.body, name.as_bytes());
    }
}

#[test]
fn files_without_a_size_come_whole() {
    let agent = Agent::start();
    let version = fs::read("/proc/version").unwrap();
    let answer = agent.post("/files/bulk-download", &json!({"paths": ["/proc/version"]}));
    assert_eq!(parts(&answer).unwrap()[0].3, version);
    assert_eq!(agent.get("/files/download?path=/proc/version").body, version);
}

#[test]
fn what_is_no_file_is_refused_without_waiting() {
    let agent = Agent::start();
    agent.exec(&json!({"command": "mkfifo fifo"}));
    for path in ["fifo", "/dev/zero", ".", "/dev/tty"] {
        let answer = agent.get(&format!("/files/download?path={path}"));
        assert!([400, 500].contains(&answer.status), "{path}: {}", answer.status);
        let answer = agent.post("/files/bulk-download", &json!({"paths": [path]}));
        assert_eq!(parts(&answer).unwrap()[0].0, "error");
    }
    agent.get("/files/download?path=fifo").error(400, "INVALID_FILE_PATH");
    agent.get("/files/download?path=nope").error(404, "FILE_NOT_FOUND");
    agent.post("/files/bulk-download", &json!({"paths": []})).error(400, "INVALID_REQUEST_BODY");
}

/// Starts a bulk download of `file`, has it change when the answer has begun, reads on.
fn changed_midway(change: impl FnOnce(&fs::File)) -> Answer {
    let agent = Agent::start();
    let path = agent.put("f", vec![b'x'; 8 << 20]);
    let mut stream = agent.connect();
    let body = json!({"paths": ["f"]}).to_string();
    stream.write_all(&head("POST", "/files/bulk-download", &[])).unwrap();
    write!(stream, "Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    // Content has come, and the socket holds far less than the file: the agent is in its middle.
    let mut first = vec![0; 64 << 10];
    stream.read_exact(&mut first).unwrap();
    change(&fs::OpenOptions::new().append(true).open(path).unwrap());
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    first.extend(rest);
    let (client, mut server) = std::os::unix::net::UnixStream::pair().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            server.write_all(&first).unwrap();
            drop(server);
        });
        crate::common::read_answer(&mut { client })
    })
}

#[test]
fn a_file_that_shrinks_is_a_cut_and_never_a_wrong_end() {
    let answer = changed_midway(|file| file.set_len(1 << 20).unwrap());
    assert!(!answer.whole);
    assert!(parts(&answer).is_none());
}

#[test]
fn a_file_that_grows_is_sent_as_it_was() {
    let answer = changed_midway(|mut file| file.write_all(&vec![b'y'; 1 << 20]).unwrap());
    assert!(answer.whole);
    let parts = parts(&answer).unwrap();
    assert!(parts[0].3 == vec![b'x'; 8 << 20]);
    assert_eq!(parts[0].2, Some(8 << 20));
}

#[test]
fn many_small_files_come_in_one_answer() {
    let agent = Agent::start();
    let names: Vec<_> = (0..1000).map(|i| format!("f{i}")).collect();
    for name in &names {
        agent.put(name, name.repeat(100));
    }
    let answer = agent.post("/files/bulk-download", &json!({"paths": names}));
    let parts = parts(&answer).unwrap();
    assert_eq!(parts.len(), 1000);
    assert!(parts.iter().zip(&names).all(|(p, name)| p.3 == name.repeat(100).as_bytes()));
}

#[test]
fn ranges() {
    let agent = Agent::start();
    let content: Vec<u8> = (0..=255).cycle().step_by(7).take(1_000_000).collect();
    agent.put("f", &content);
    let get = |range: &str| agent.send("GET", "/files/download?path=f", &[("Range", range)], b"");
    let whole = agent.get("/files/download?path=f");
    assert_eq!(whole.headers["content-type"], "application/octet-stream");
    assert_eq!(whole.headers["content-length"], "1000000");
    assert_eq!(whole.headers["accept-ranges"], "bytes");
    assert!(whole.body == content);
    for (range, start, end) in [
        ("bytes=0-0", 0, 0),
        ("bytes=10-19", 10, 19),
        ("bytes=500000-", 500_000, 999_999),
        ("bytes=-5", 999_995, 999_999),
        ("bytes=999999-2000000", 999_999, 999_999),
        ("bytes=-2000000", 0, 999_999),
    ] {
        let answer = get(range);
        assert_eq!(answer.status, 206, "{range}");
        assert_eq!(answer.headers["content-range"], format!("bytes {start}-{end}/1000000"));
        assert!(answer.body == content[start..=end], "{range}");
    }
    for range in ["bytes=1000000-", "bytes=-0"] {
        let answer = get(range);
        answer.error(416, "RANGE_NOT_SATISFIABLE");
        assert_eq!(answer.headers["content-range"], "bytes */1000000");
    }
    for range in ["bytes=5-4", "bytes=a-b", "bytes=0-1,5-6", "lines=1-2"] {
        assert_eq!(get(range).status, 200, "{range}");
    }
}

#[test]
fn a_known_file_is_not_sent_again() {
    let agent = Agent::start();
    let path = agent.put("f", "content");
    let answer = agent.get("/files/download?path=f");
    let etag = answer.headers["etag"].clone();
    let modified = answer.headers["last-modified"].clone();
    let get = |headers: &[(&str, &str)]| agent.send("GET", "/files/download?path=f", headers, b"");
    assert_eq!(get(&[("If-None-Match", &etag)]).status, 304);
    let part = ("Range", "bytes=0-1");
    assert_eq!(get(&[part, ("If-Range", &etag)]).status, 206);
    assert_eq!(get(&[part, ("If-Range", &modified)]).status, 206);
    fs::write(path, "another content").unwrap();
    assert_eq!(get(&[("If-None-Match", &etag)]).status, 200);
    assert_eq!(get(&[part, ("If-Range", &etag)]).text(), "another content");
}
