//! `cp`, both ways.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use crate::run::run;
use crate::support::Server;

#[tokio::test]
async fn folders_go_there_and_come_back() {
    let server = Server::new().await;
    let id = server.create(json!({ "name": "box" })).await;
    let work = server.dir.join("work");
    fs::create_dir_all(work.join("in/deep/empty")).unwrap();
    fs::write(work.join("in/a b.txt"), "text").unwrap();
    fs::write(work.join("in/deep/run.sh"), "#!/bin/sh\necho ran\n").unwrap();
    fs::set_permissions(work.join("in/deep/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(work.join("in/big"), vec![7; 3_000_000]).unwrap();
    for number in 0..250 {
        fs::write(work.join(format!("in/deep/{number}")), number.to_string()).unwrap();
    }
    let local = work.join("in");
    let copied = run(&server, &["cp", local.to_str().unwrap(), "box:/tmp/out", "--json"]).await.expect(0).json();
    assert_eq!((&copied["files"], &copied["failed"]), (&json!(253), &json!([])));
    assert_eq!(server.exec(&id, "/tmp/out/deep/run.sh; cat '/tmp/out/a b.txt'").await, "ran\ntext");
    server.exec(&id, "test -d /tmp/out/deep/empty && test \"$(cat /tmp/out/deep/249)\" = 249").await;
    // A folder that is there gets it under its own name.
    run(&server, &["cp", local.to_str().unwrap(), "box:/tmp/out"]).await.expect(0);
    server.exec(&id, "test -x /tmp/out/in/deep/run.sh && rm -r /tmp/out/in").await;

    let back = work.join("back");
    let copied = run(&server, &["cp", "box:/tmp/out", back.to_str().unwrap()]).await.expect(0).stdout;
    assert!(copied.contains("253 files") && copied.contains("2.86 MiB"), "{copied}");
    assert_eq!(fs::read_to_string(back.join("a b.txt")).unwrap(), "text");
    assert_eq!(fs::read(back.join("big")).unwrap().len(), 3_000_000);
    assert!(back.join("deep/empty").is_dir());
    assert_ne!(fs::metadata(back.join("deep/run.sh")).unwrap().permissions().mode() & 0o100, 0);
    assert_eq!(fs::metadata(back.join("big")).unwrap().permissions().mode() & 0o111, 0);
}

#[tokio::test]
async fn single_files_and_what_does_not_work() {
    let server = Server::new().await;
    let id = server.create(json!({})).await;
    let file = server.dir.join("one.txt");
    fs::write(&file, "one").unwrap();
    let file = file.to_str().unwrap();
    run(&server, &["cp", file, &format!("{id}:")]).await.expect(0);
    run(&server, &["cp", file, &format!("{id}:two.txt")]).await.expect(0);
    assert_eq!(server.exec(&id, "cat one.txt two.txt").await, "oneone");
    let folder = server.dir.join("some");
    fs::create_dir(&folder).unwrap();
    let both = [format!("{id}:one.txt"), format!("{id}:two.txt")];
    run(&server, &["cp", &both[0], &both[1], folder.to_str().unwrap()]).await.expect(0);
    assert_eq!(fs::read_to_string(folder.join("two.txt")).unwrap(), "one");

    run(&server, &["cp", "/nowhere/x", &format!("{id}:x")]).await.expect(1);
    run(&server, &["cp", &format!("{id}:/nowhere/x"), folder.to_str().unwrap()]).await.expect(5);
    run(&server, &["cp", file, folder.to_str().unwrap()]).await.expect(2);
    run(&server, &["cp", &both[0], &format!("{id}:three.txt")]).await.expect(2);
}
