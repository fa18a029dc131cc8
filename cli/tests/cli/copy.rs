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
    // The home, and a name that looks like it.
    run(&server, &["cp", file, &format!("{id}:~/at-home")]).await.expect(0);
    run(&server, &["cp", file, &format!("{id}:~")]).await.expect(0);
    run(&server, &["cp", file, &format!("{id}:~/made/")]).await.expect(0);
    let tilde = server.dir.join("~");
    fs::write(&tilde, "tilde").unwrap();
    run(&server, &["cp", tilde.to_str().unwrap(), &format!("{id}:")]).await.expect(0);
    assert_eq!(server.exec(&id, "cat ~/at-home ~/one.txt ~/made/one.txt './~'").await, "oneoneonetilde");
    let home = server.dir.join("from-home");
    run(&server, &["cp", &format!("{id}:~/at-home"), home.to_str().unwrap()]).await.expect(0);
    assert_eq!(fs::read_to_string(&home).unwrap(), "one");
    run(&server, &["cp", &format!("{id}:~/made"), server.dir.join("from-made").to_str().unwrap()]).await.expect(0);
    assert_eq!(fs::read_to_string(server.dir.join("from-made/one.txt")).unwrap(), "one");
    let folder = server.dir.join("some");
    fs::create_dir(&folder).unwrap();
    let both = [format!("{id}:one.txt"), format!("{id}:two.txt")];
    run(&server, &["cp", &both[0], &both[1], folder.to_str().unwrap()]).await.expect(0);
    assert_eq!(fs::read_to_string(folder.join("two.txt")).unwrap(), "one");

    run(&server, &["cp", "/nowhere/x", &format!("{id}:x")]).await.expect(1);
    run(&server, &["cp", &format!("{id}:/nowhere/x"), folder.to_str().unwrap()]).await.expect(5);
    run(&server, &["cp", file, folder.to_str().unwrap()]).await.expect(2);
    run(&server, &["cp", &both[0], &format!("{id}:three.txt")]).await.expect(2);
    let ran = run(&server, &["cp", &both[0], "-"]).await.expect(2);
    assert!(ran.stderr.contains("exec ID -- cat"), "{ran:?}");
}

#[tokio::test]
async fn modes_stay_and_what_cannot_be_copied_is_named() {
    let server = Server::new().await;
    let id = server.create(json!({})).await;
    let odd = server.dir.join("odd");
    fs::create_dir_all(odd.join("sub dir")).unwrap();
    fs::write(odd.join("key"), "private").unwrap();
    fs::set_permissions(odd.join("key"), fs::Permissions::from_mode(0o600)).unwrap();
    for name in ["-dash", "a:b", "$(x)*?", "new\nline", "sub dir/ü 'quoted\""] {
        fs::write(odd.join(name), name).unwrap();
    }
    std::os::unix::fs::symlink("nowhere", odd.join("broken")).unwrap();
    std::os::unix::fs::symlink("..", odd.join("sub dir/loop")).unwrap();
    std::os::unix::fs::symlink("key", odd.join("link")).unwrap();
    let ran = run(&server, &["cp", odd.to_str().unwrap(), &format!("{id}:/tmp/odd"), "--json"]).await.expect(1);
    let copied = ran.json();
    assert_eq!(copied["files"], 7);
    let failed = copied["failed"].to_string();
    assert!(failed.contains("broken") && failed.contains("loop leads back to"), "{failed}");
    let listed =
        server.exec(&id, "cd /tmp/odd; stat -c %a key link ./-dash; cat 'new\nline' \"sub dir/ü 'quoted\\\"\"").await;
    assert_eq!(listed, "600\n600\n644\nnew\nlinesub dir/ü 'quoted\"");

    let back = server.dir.join("back");
    server.exec(&id, "cd /tmp/odd; chmod 400 link; ln -s nowhere broken; mkfifo pipe").await;
    let ran = run(&server, &["cp", &format!("{id}:/tmp/odd"), back.to_str().unwrap()]).await.expect(1);
    assert!(ran.stderr.contains("broken") && ran.stderr.contains("pipe is neither a file nor a folder"), "{ran:?}");
    let mode = |name: &str| fs::metadata(back.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("key"), mode("link"), mode("-dash") & 0o600), (0o600, 0o400, 0o600));
    assert_eq!(fs::read_to_string(back.join("sub dir/ü 'quoted\"")).unwrap(), "sub dir/ü 'quoted\"");
}
