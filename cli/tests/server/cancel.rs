//! Work on many files ends when nobody waits for it any more.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::support::{LIMIT, Server};

/// How many files there are to work on.
const FILES: usize = 20_000;

/// Sends a request and waits for nothing; whoever drops this has hung up.
async fn send(server: &Server, method: &str, path: &str, body: &Value) -> TcpStream {
    let address = server.origin.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        server.key(),
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await.unwrap();
    stream
}

/// What a command says once it says the same twice, with a while between.
async fn settled(server: &Server, id: &str, command: &str) -> String {
    let same = async {
        let mut before = server.exec(id, command).await;
        loop {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let now = server.exec(id, command).await;
            if now == before {
                return now;
            }
            before = now;
        }
    };
    tokio::time::timeout(LIMIT, same).await.expect("it goes on and on")
}

#[tokio::test]
async fn a_replacement_stops_where_it_is() {
    let server = Server::new().await;
    let id = server.create(json!({})).await;
    // One line, one file: tree/f00000 and so on.
    server.exec(&id, &format!("mkdir tree; seq -f 'needle %g' {FILES} | split -d -l 1 -a 5 - tree/f")).await;
    let files: Vec<String> = (0..FILES).map(|number| format!("tree/f{number:05}")).collect();
    let body = json!({"files": files, "pattern": "needle", "newValue": "thread"});
    let first = server.exec(&id, "until grep -q thread tree/f00000; do sleep 0.001; done");
    let path = format!("/toolbox/{id}/files/replace");
    let begun = send(&server, "POST", &path, &body);
    let (stream, _) = tokio::join!(begun, first);
    drop(stream);
    let changed = settled(&server, &id, "grep -rl thread tree | wc -l").await.trim().parse::<usize>().unwrap();
    assert!((1..FILES).contains(&changed), "{changed} of {FILES} files were changed");
    // Each is whole: the one or the other.
    assert_eq!(server.exec(&id, "cat tree/* | grep -cE '^(needle|thread) [0-9]+$'").await, format!("{FILES}\n"));
    assert_eq!(server.exec(&id, "ls -A tree | wc -l").await, format!("{FILES}\n"), "files are left over");
}

#[tokio::test]
async fn a_search_stops_where_it_is() {
    let server = Server::new().await;
    if server.ready["runtime"] != "ns" {
        println!("skipped: the agent is not told from others here");
        return;
    }
    let id = server.create(json!({})).await;
    // Much to read, and little on the disk.
    let link = "import os; [os.link('text', f'tree/{at}') for at in range(20000)]";
    let make = format!("yes 'a line without it' | head -c 8000000 > text; mkdir tree; /usr/bin/python3 -c \"{link}\"");
    server.exec(&id, &make).await;
    // Its processor time, in hundredths of a second.
    let used = "for p in /proc/[0-9]*; do grep -q sandbox-agent $p/comm && cut -d ' ' -f 14,15 $p/stat; done; true";
    let before = settled(&server, &id, used).await;
    assert!(!before.is_empty());
    let query = format!("/toolbox/{id}/files/find?path=tree&pattern=needle");
    let stream = send(&server, "GET", &query, &Value::Null).await;
    let busy = async {
        let spent = |text: &str| text.split_whitespace().filter_map(|part| part.parse::<u64>().ok()).sum::<u64>();
        while spent(&server.exec(&id, used).await) < spent(&before) + 20 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LIMIT, busy).await.expect("the search does not begin");
    drop(stream);
    let all = std::time::Instant::now();
    // What the looks themselves take is less than a hundredth each.
    settled(&server, &id, used).await;
    assert!(all.elapsed() < Duration::from_secs(10), "it has gone on for {:?}", all.elapsed());
}
