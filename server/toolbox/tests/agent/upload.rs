//! Uploads: whole or not at all, whatever comes down the wire.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Instant;

use crate::common::{Agent, BOUNDARY, FORM, encode, eventually, find, form, head, part, read_answer};
use serde_json::json;

fn bulk(agent: &Agent, body: &[u8]) -> crate::common::Answer {
    agent.send("POST", "/files/bulk-upload", &[FORM], body)
}

#[test]
fn files_are_written_with_their_parents() {
    let agent = Agent::start();
    let absolute = agent.work().join("abs");
    let body = form(&[
        ("a", b"1"),
        ("new/deep/b", b""),
        (absolute.to_str().unwrap(), b"\r\n--xBOUNDARY\r\n\0\xff"),
        ("Ünïcode \"quoted\"\\", b"4"),
    ]);
    let answer = bulk(&agent, &body).json();
    assert_eq!(
        answer,
        json!({"files": [
            {"path": "a", "bytes": 1}, {"path": "new/deep/b", "bytes": 0},
            {"path": absolute, "bytes": 17}, {"path": "Ünïcode \"quoted\"\\", "bytes": 1},
        ]})
    );
    assert_eq!(fs::read(absolute).unwrap(), b"\r\n--xBOUNDARY\r\n\0\xff");
    assert_eq!(agent.names(), ["a", "abs", "new", "Ünïcode \"quoted\"\\"]);
    assert_eq!(fs::metadata(agent.work().join("a")).unwrap().permissions().mode() & 0o777, 0o644);
}

#[test]
fn all_paths_may_come_first() {
    let agent = Agent::start();
    let mut body = Vec::new();
    for i in 0..3 {
        part(&mut body, &format!("files[{i}].path"), None, format!("f{i}").as_bytes());
    }
    for i in 0..3 {
        part(&mut body, &format!("files[{i}].file"), Some("x"), i.to_string().as_bytes());
    }
    body.extend(format!("--{BOUNDARY}--\r\n").bytes());
    assert_eq!(bulk(&agent, &body).status, 200);
    assert_eq!(fs::read_to_string(agent.work().join("f2")).unwrap(), "2");
}

#[test]
fn an_overwritten_file_keeps_its_mode_and_a_link_stays_a_link() {
    let agent = Agent::start();
    let path = agent.put("script", "a long old content");
    fs::set_permissions(&path, Permissions::from_mode(0o751)).unwrap();
    symlink("script", agent.work().join("link")).unwrap();
    symlink("made/later", agent.work().join("dangling")).unwrap();
    assert_eq!(bulk(&agent, &form(&[("link", b"new"), ("dangling", b"d")])).status, 200);
    assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o751);
    assert!(agent.work().join("link").is_symlink());
    assert_eq!(fs::read_to_string(agent.work().join("made/later")).unwrap(), "d");
}

#[test]
fn a_bad_file_fails_alone_and_is_named() {
    let agent = Agent::start();
    agent.put("dir/x", "");
    agent.put("file", "");
    agent.exec(&json!({"command": "mkfifo fifo"}));
    let body = form(&[
        ("ok", b"1"),
        ("dir", b"2"),
        ("", b"3"),
        ("a\0b", b"4"),
        ("file/x", b"5"),
        ("fifo", b"6"),
        ("/dev/null", b"7"),
        ("ok2", b"8"),
    ]);
    let answer = bulk(&agent, &body);
    answer.error(400, "BAD_REQUEST");
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["files"], json!([{"path": "ok", "bytes": 1}, {"path": "ok2", "bytes": 1}]));
    assert_eq!(body["errors"].as_array().unwrap().len(), 6, "{body}");
    assert!(body["errors"][0].as_str().unwrap().contains("dir"));
    assert_eq!(agent.names(), ["dir", "fifo", "file", "ok", "ok2"]);
}

#[test]
fn parts_out_of_order_are_refused() {
    let agent = Agent::start();
    let mut body = Vec::new();
    part(&mut body, "files[0].file", Some("f"), b"lost");
    part(&mut body, "files[0].path", None, b"a");
    part(&mut body, "other", None, b"x");
    body.extend(format!("--{BOUNDARY}--\r\n").bytes());
    let answer = bulk(&agent, &body);
    answer.error(400, "BAD_REQUEST");
    let text = answer.text();
    for part in ["files[0].path before it", "unknown part", "is missing"] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(agent.names(), Vec::<String>::new());
}

#[test]
fn what_is_no_form_is_refused() {
    let agent = Agent::start();
    bulk(&agent, b"").error(400, "BAD_REQUEST");
    bulk(&agent, b"no multipart").error(400, "BAD_REQUEST");
    bulk(&agent, format!("--{BOUNDARY}--\r\n").as_bytes()).error(400, "BAD_REQUEST");
    let body = form(&[("a", b"1")]);
    for kind in ["application/json", "multipart/form-data", "multipart/form-data; boundary="] {
        agent.send("POST", "/files/bulk-upload", &[("Content-Type", kind)], &body).error(400, "BAD_REQUEST");
    }
    assert_eq!(agent.names(), Vec::<String>::new());
}

#[test]
fn a_split_anywhere_changes_nothing() {
    let agent = Agent::start();
    let content = b"\r\n--xBOUNDAR\r\n\r\n-\r\n--xBOUNDARYy";
    let body = form(&[("a", b"1"), ("b", content)]);
    for at in 0..=body.len() {
        let mut stream = agent.connect();
        let mut request = head("POST", "/files/bulk-upload", &[FORM, ("Transfer-Encoding", "chunked")]);
        request.extend(b"\r\n");
        for piece in [&body[..at], &body[at..]] {
            if !piece.is_empty() {
                request.extend(format!("{:x}\r\n", piece.len()).bytes());
                request.extend(piece);
                request.extend(b"\r\n");
            }
        }
        request.extend(b"0\r\n\r\n");
        stream.write_all(&request).unwrap();
        let answer = read_answer(&mut stream);
        // A boundary followed by something else is no delimiter; a parser may refuse it.
        assert_eq!(answer.status, 200, "split at {at}: {}", answer.text());
        assert_eq!(fs::read(agent.work().join("b")).unwrap(), content, "split at {at}");
        fs::remove_file(agent.work().join("b")).unwrap();
    }
}

#[test]
fn single_bytes_make_a_form_too() {
    let agent = Agent::start();
    let content = b"\r\r\n\r\n--\r\n--xBOUNDARY\r\n-";
    let body = form(&[("a", content)]);
    let mut stream = agent.connect();
    let mut request = head("POST", "/files/bulk-upload", &[FORM]);
    write!(request, "Content-Length: {}\r\n\r\n", body.len()).unwrap();
    stream.write_all(&request).unwrap();
    for byte in &body {
        stream.write_all(&[*byte]).unwrap();
        std::thread::yield_now();
    }
    assert_eq!(read_answer(&mut stream).status, 200);
    assert_eq!(fs::read(agent.work().join("a")).unwrap(), content);
}

#[test]
fn an_early_refusal_reaches_a_client_that_goes_on_sending() {
    let agent = Agent::start();
    let mut endless_head = format!("--{BOUNDARY}\r\nX: ").into_bytes();
    endless_head.resize(48 << 20, b'x');
    let no_start = vec![b'x'; 48 << 20];
    let mut broken = Vec::new();
    part(&mut broken, "files[0].path", None, &[b'x'; 5000]);
    broken.resize(48 << 20, b'x');
    for body in [endless_head, no_start, broken] {
        bulk(&agent, &body).error(400, "BAD_REQUEST");
    }
    assert_eq!(agent.names(), Vec::<String>::new());
}

#[test]
fn a_body_cut_anywhere_leaves_no_half_file() {
    let agent = Agent::start();
    let body = form(&[("a", b"first"), ("b/c", b"second")]);
    let first = find(&body, b"first").unwrap() + 5 + 2 + 2 + BOUNDARY.len();
    for at in 0..body.len() - 4 {
        // Framed as complete: only the form is cut.
        let answer = bulk(&agent, &body[..at]);
        answer.error(400, "BAD_REQUEST");
        let names = agent.names();
        assert!(!names.contains(&"b".to_owned()), "cut at {at}: {names:?}");
        if names == ["a"] {
            assert!(at >= first, "cut at {at}");
            assert_eq!(fs::read(agent.work().join("a")).unwrap(), b"first");
            fs::remove_file(agent.work().join("a")).unwrap();
        } else {
            assert_eq!(names, Vec::<String>::new(), "cut at {at}");
        }
    }
}

#[test]
fn a_client_that_leaves_leaves_nothing() {
    let agent = Agent::start();
    agent.put("old", "old");
    let mut body = Vec::new();
    part(&mut body, "files[0].path", None, b"old");
    part(&mut body, "files[0].file", Some("f"), &vec![b'x'; 3 << 20]);
    let mut stream = agent.connect();
    let mut request = head("POST", "/files/bulk-upload", &[FORM]);
    write!(request, "Content-Length: {}\r\n\r\n", body.len() + 1000).unwrap();
    stream.write_all(&request).unwrap();
    stream.write_all(&body[..body.len() - 100]).unwrap();
    eventually("a temporary file appears", || agent.names().len() == 2);
    drop(stream);
    eventually("the temporary file goes", || agent.names() == ["old"]);
    assert_eq!(fs::read_to_string(agent.work().join("old")).unwrap(), "old");
}

#[test]
fn a_thousand_files_are_quick() {
    let agent = Agent::start();
    let names: Vec<_> = (0..1000).map(|i| format!("many/f{i}")).collect();
    let content = [b'x'; 1024];
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), &content[..])).collect();
    let body = form(&files);
    let start = Instant::now();
    let answer = bulk(&agent, &body).json();
    println!("1000 files: {:?}", start.elapsed());
    assert_eq!(answer["files"].as_array().unwrap().len(), 1000);
    assert_eq!(fs::read_dir(agent.work().join("many")).unwrap().count(), 1000);
}

#[test]
fn large_files_pass_through() {
    let agent = Agent::start();
    let content: Vec<u8> = (0..=255).cycle().step_by(7).take(20_000_000).collect();
    assert_eq!(bulk(&agent, &form(&[("large", &content)])).status, 200);
    assert!(fs::read(agent.work().join("large")).unwrap() == content);
}

#[test]
fn single_uploads_take_a_form_or_the_bare_body() {
    let agent = Agent::start();
    for route in ["/files/upload", "/files/upload-v2"] {
        let target = format!("{route}?expires=1&signature=x&path={}", encode("sub/f 1"));
        let mut body = Vec::new();
        part(&mut body, "other", None, b"ignored");
        part(&mut body, "file", Some("f"), b"form");
        body.extend(format!("--{BOUNDARY}--\r\n").bytes());
        let answer = agent.send("POST", &target, &[FORM], &body).json();
        assert_eq!(answer, json!({"name": "f 1", "path": "sub/f 1", "type": "file", "bytes": 4}));
        assert_eq!(fs::read_to_string(agent.work().join("sub/f 1")).unwrap(), "form");
        let kind = [("Content-Type", "application/octet-stream")];
        assert_eq!(agent.send("POST", &target, &kind, b"bare").status, 200);
        assert_eq!(fs::read_to_string(agent.work().join("sub/f 1")).unwrap(), "bare");
        assert_eq!(agent.send("POST", &target, &[], b"").status, 200);
        assert_eq!(fs::read_to_string(agent.work().join("sub/f 1")).unwrap(), "");
        let mut wrong = Vec::new();
        part(&mut wrong, "data", None, b"x");
        wrong.extend(format!("--{BOUNDARY}--\r\n").bytes());
        agent.send("POST", &target, &[FORM], &wrong).error(400, "INVALID_REQUEST_BODY");
    }
    agent.send("POST", "/files/upload-v2", &[], b"x").error(400, "BAD_REQUEST");
    agent.send("POST", "/files/upload-v2?path=sub", &[], b"x").error(400, "INVALID_FILE_PATH");
}

#[test]
fn a_bare_body_cut_short_leaves_nothing() {
    let agent = Agent::start();
    let mut stream = agent.connect();
    let mut request = head("POST", "/files/upload-v2?path=a", &[]);
    request.extend(b"Content-Length: 3000000\r\n\r\n");
    request.extend(vec![b'x'; 2_000_000]);
    stream.write_all(&request).unwrap();
    eventually("a temporary file appears", || !agent.names().is_empty());
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    drop(stream);
    eventually("the temporary file goes", || agent.names().is_empty());
}
