//! Git where only a client that sees bytes can tell: calls that are given up, routes that no client has, names.

use std::io::{Read, Write};
use std::net::TcpListener;

use crate::common::{Agent, encode, head};
use serde_json::{Value, json};

fn repository(agent: &Agent) {
    assert_eq!(agent.post("/git/init", &json!({ "path": "repo", "initial_branch": "main" })).status, 201);
}

fn commit(agent: &Agent, message: &str) -> String {
    let body = json!({ "path": "repo", "message": message, "author": "M", "email": "m@x", "allow_empty": true });
    agent.post("/git/commit", &body).json()["hash"].as_str().unwrap().to_owned()
}

#[test]
fn history_is_latest_first_and_whole() {
    let agent = Agent::start();
    repository(&agent);
    assert_eq!(agent.get("/git/history?path=repo").json(), json!([]));
    let first = commit(&agent, "one\n\nwith a body\nof lines");
    let second = commit(&agent, "zwei: ü");
    let history = agent.get("/git/history?path=repo").json();
    let hashes: Vec<&str> = history.as_array().unwrap().iter().map(|one| one["hash"].as_str().unwrap()).collect();
    assert_eq!(hashes, [second, first]);
    assert_eq!(history[0]["message"], "zwei: ü\n");
    assert_eq!(history[1]["message"], "one\n\nwith a body\nof lines\n");
    assert_eq!((&history[1]["author"], &history[1]["email"]), (&json!("M"), &json!("m@x")));
    history[1]["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
}

#[test]
fn a_call_that_is_given_up_ends_git_and_leaves_nothing() {
    let agent = Agent::start();
    let remote = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/x.git", remote.local_addr().unwrap());
    let body = json!({ "url": url, "path": "clone", "username": "u", "password": "p" }).to_string();
    let mut client = agent.connect();
    let length = body.len().to_string();
    let mut request = head("POST", "/git/clone", &[("Content-Length", length.as_str())]);
    request.extend(b"\r\n");
    request.extend(body.bytes());
    client.write_all(&request).unwrap();
    // git asks, and gets no answer.
    let (mut asked, _) = remote.accept().unwrap();
    let mut piece = [0; 4096];
    assert!(asked.read(&mut piece).unwrap() > 0);
    drop(client);
    // Nobody holds the connection any more.
    assert!(matches!(asked.read(&mut piece), Ok(0) | Err(_)));
    crate::common::eventually("the clone is taken back", || !agent.work().join("clone").exists());
}

#[test]
fn many_files_are_staged_and_told() {
    let agent = Agent::start();
    repository(&agent);
    let names: Vec<String> = (0..5000).map(|i| format!("folder/file with a long name {i}.txt")).collect();
    for name in &names {
        agent.put(&format!("repo/{name}"), "x");
    }
    assert_eq!(agent.post("/git/add", &json!({ "path": "repo", "files": names })).status, 200);
    let status = agent.get("/git/status?path=repo").json();
    let files = status["fileStatus"].as_array().unwrap();
    assert_eq!(files.len(), names.len());
    assert!(files.iter().all(|file| file["staging"] == "Added" && file["worktree"] == "Unmodified"));
}

#[test]
fn the_settings_of_the_surroundings_do_not_count() {
    let agent = Agent::with(|config| {
        for (name, value) in [("GIT_DIR", "/nowhere"), ("GIT_TRACE", "1"), ("LC_ALL", "de_DE.UTF-8")] {
            config.env.insert(name.into(), value.into());
        }
    });
    repository(&agent);
    commit(&agent, "x");
    let body = json!({ "path": "repo", "message": "y", "author": "M", "email": "m@x" });
    agent.post("/git/commit", &body).error(400, "GIT_NOTHING_TO_COMMIT");
}

#[test]
fn a_confined_agent_stays_in_its_folder() {
    let agent = Agent::confined();
    let outside = agent.outside();
    let path = outside.to_str().unwrap();
    agent.post("/git/init", &json!({ "path": path })).error(403, "FILE_ACCESS_DENIED");
    agent.get(&format!("/git/status?path={}", encode(path))).error(403, "FILE_ACCESS_DENIED");
    agent.post("/git/clone", &json!({ "url": "x", "path": path })).error(403, "FILE_ACCESS_DENIED");
}

#[test]
fn bad_requests_say_what_is_wrong() {
    let agent = Agent::start();
    repository(&agent);
    for (route, body) in [
        ("/git/add", json!({ "path": "repo", "files": [] })),
        ("/git/branches", json!({ "path": "repo", "name": "a\u{0}b" })),
        ("/git/reset", json!({ "path": "repo", "mode": "x" })),
        ("/git/config", json!({ "key": "a.b", "value": "x", "scope": "local" })),
        ("/git/credentials", json!({ "username": "a\nhost=b", "password": "x" })),
        ("/git/credentials", json!({ "username": "a", "password": "x", "host": "h/p" })),
    ] {
        let answer = agent.post(route, &body);
        assert_eq!(answer.status, 400, "{route} {body}: {}", answer.text());
        let error: Value = serde_json::from_slice(&answer.body).unwrap();
        assert!(!error["message"].as_str().unwrap().is_empty());
    }
}
