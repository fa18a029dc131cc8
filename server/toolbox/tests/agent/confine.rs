//! The unisolated runtime: no file operation leaves the sandbox's folder.

use std::fs;
use std::os::unix::fs::symlink;

use crate::common::{Agent, FORM, encode, form};
use serde_json::json;

/// A confined agent with links out, and a secret they lead to.
fn trapped() -> Agent {
    let agent = Agent::confined();
    let outside = agent.outside();
    fs::write(outside.join("secret"), "secret").unwrap();
    symlink(&outside, agent.work().join("out")).unwrap();
    symlink("../outside/secret", agent.work().join("file")).unwrap();
    symlink("../outside/new", agent.work().join("dangling")).unwrap();
    symlink("out", agent.work().join("twice")).unwrap();
    agent.put("in/file", "inside");
    symlink("in", agent.work().join("good")).unwrap();
    agent
}

/// Ways out, all leading into the folder `outside`.
fn escapes(agent: &Agent, name: &str) -> Vec<String> {
    let outside = agent.outside();
    vec![
        outside.join(name).to_str().unwrap().to_owned(),
        format!("../outside/{name}"),
        format!("in/../../outside/{name}"),
        format!("out/{name}"),
        format!("twice/{name}"),
        format!("not/there/../../../outside/{name}"),
        format!("good/../../outside/{name}"),
    ]
}

#[test]
fn nothing_outside_is_read() {
    let agent = trapped();
    let mut paths = escapes(&agent, "secret");
    paths.push("file".into());
    for path in &paths {
        for target in [
            "/files/info?path=",
            "/files/download?path=",
            "/files/find?pattern=s&path=",
            "/files/search?pattern=s&path=",
        ] {
            let answer = agent.get(&format!("{target}{}", encode(path)));
            let message = answer.error(403, "FILE_ACCESS_DENIED");
            assert!(message.contains("outside the sandbox"), "{path}: {message}");
        }
    }
    let answer = agent.post("/files/bulk-download", &json!({"paths": paths}));
    let text = answer.text();
    assert_eq!(text.matches("FILE_ACCESS_DENIED").count(), paths.len());
    for path in ["/", "..", "out", "twice"] {
        agent.get(&format!("/files?path={}", encode(path))).error(403, "FILE_ACCESS_DENIED");
    }
    // Walks do not follow links either.
    assert_eq!(agent.get("/files/search?path=.&pattern=secret").json()["files"], json!([]));
    assert_eq!(agent.get("/files/find?path=.&pattern=secret").json(), json!([]));
}

#[test]
fn nothing_outside_is_written() {
    let agent = trapped();
    let mut paths = escapes(&agent, "new");
    paths.push("dangling".into());
    for path in &paths {
        let answer = agent.send("POST", "/files/bulk-upload", &[FORM], &form(&[(path, b"x")]));
        let message = answer.error(400, "BAD_REQUEST");
        assert!(message.contains("outside the sandbox"), "{path}: {message}");
        let upload = format!("/files/upload-v2?path={}", encode(path));
        agent.send("POST", &upload, &[], b"x").error(403, "FILE_ACCESS_DENIED");
        let folder = format!("/files/folder?path={}", encode(path));
        agent.send("POST", &folder, &[], b"").error(403, "FILE_ACCESS_DENIED");
    }
    for path in escapes(&agent, "new") {
        let rename = format!("/files/move?source=in&destination={}", encode(&path));
        agent.send("POST", &rename, &[], b"").error(403, "FILE_ACCESS_DENIED");
    }
    for path in escapes(&agent, "secret") {
        let path = encode(&path);
        let rename = format!("/files/move?destination=stolen&source={path}");
        agent.send("POST", &rename, &[], b"").error(403, "FILE_ACCESS_DENIED");
        agent.send("DELETE", &format!("/files?path={path}"), &[], b"").error(403, "FILE_ACCESS_DENIED");
        let mode = format!("/files/permissions?mode=0777&path={path}");
        agent.send("POST", &mode, &[], b"").error(403, "FILE_ACCESS_DENIED");
    }
    let replaced = agent.post("/files/replace", &json!({"files": ["file"], "pattern": "s", "newValue": "x"}));
    assert_eq!(replaced.json()[0]["success"], false);
    assert_eq!(crate::common::names(&agent.outside()), ["secret"]);
    assert_eq!(fs::read_to_string(agent.outside().join("secret")).unwrap(), "secret");
}

#[test]
fn inside_everything_works() {
    let agent = trapped();
    assert_eq!(agent.get("/files/download?path=good/file").text(), "inside");
    assert_eq!(agent.get("/files/download?path=out/../in/file").status, 403);
    let up = form(&[("good/new/deep", b"1"), ("in/../top", b"2")]);
    assert_eq!(agent.send("POST", "/files/bulk-upload", &[FORM], &up).status, 200);
    assert_eq!(fs::read(agent.work().join("in/new/deep")).unwrap(), b"1");
    assert_eq!(fs::read(agent.work().join("top")).unwrap(), b"2");
    // A link that leads out may be deleted and moved: that touches the link only.
    assert_eq!(agent.send("DELETE", "/files?path=file", &[], b"").status, 204);
    assert_eq!(agent.send("POST", "/files/move?source=out&destination=out2", &[], b"").status, 200);
    assert!(agent.outside().join("secret").exists());
    agent.send("DELETE", "/files?path=.&recursive=true", &[], b"").error(400, "INVALID_FILE_PATH");
    assert!(agent.work().join("in").exists());
}
