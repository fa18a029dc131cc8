//! Files: listing, describing, finding, changing.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, SystemTime};

use crate::common::{Agent, encode};
use serde_json::{Value, json};

fn texts<'a>(list: &'a Value, field: &str) -> Vec<&'a str> {
    list.as_array().unwrap().iter().map(|item| item[field].as_str().unwrap()).collect()
}

#[test]
fn a_list_is_sorted_and_describes_what_is_there() {
    let agent = Agent::start();
    agent.put("b.txt", "hello");
    agent.put("a/inner.txt", "");
    agent.put("Z", "");
    symlink("b.txt", agent.work().join("link")).unwrap();
    for target in
        ["/files", "/files?path=.", "/files?path=", &format!("/files?path={}", encode(agent.work().to_str().unwrap()))]
    {
        let list = agent.get(target).json();
        assert_eq!(texts(&list, "name"), ["Z", "a", "b.txt", "link"]);
        assert_eq!(texts(&list, "mode")[1..], ["drwxr-xr-x", "-rw-r--r--", "Lrwxrwxrwx"]);
        assert_eq!(list[1]["isDir"], true);
        assert_eq!(list[2]["isDir"], false);
        assert_eq!(list[2]["size"], 5);
        assert_eq!(list[2]["permissions"], "0644");
        assert!(list[2].get("path").is_none());
    }
}

#[test]
fn a_deep_list_has_paths() {
    let agent = Agent::start();
    agent.put("a/b/c", "");
    agent.put("a-b", "");
    agent.put("d", "");
    assert_eq!(texts(&agent.get("/files?depth=2").json(), "path"), ["a", "a/b", "a-b", "d"]);
    assert_eq!(texts(&agent.get("/files?path=a&depth=9").json(), "path"), ["a/b", "a/b/c"]);
    let root = agent.work().join("a");
    let target = format!("/files?depth=2&path={}", encode(root.to_str().unwrap()));
    assert_eq!(texts(&agent.get(&target).json(), "path")[0], root.join("b").to_str().unwrap());
    for depth in ["0", "-1"] {
        agent.get(&format!("/files?depth={depth}")).error(400, "BAD_REQUEST");
    }
    agent.get("/files?depth=x").error(400, "BAD_REQUEST");
}

#[test]
fn a_bad_root_is_an_error() {
    let agent = Agent::start();
    agent.put("file", "");
    let message = agent.get("/files?path=nope").error(404, "FILE_NOT_FOUND");
    assert!(message.contains("nope"));
    agent.get("/files?path=file").error(400, "INVALID_FILE_PATH");
    agent.get("/files?path=file/x").error(400, "INVALID_FILE_PATH");
    agent.get("/files?path=a%00b").error(400, "INVALID_FILE_PATH");
    agent.get("/files/info?path=").error(400, "INVALID_FILE_PATH");
    agent.get("/files/info").error(400, "BAD_REQUEST");
    agent.get("/files/search?path=nope&pattern=x").error(404, "FILE_NOT_FOUND");
    agent.get("/files/find?path=nope&pattern=x").error(404, "FILE_NOT_FOUND");
    symlink("loop", agent.work().join("loop")).unwrap();
    agent.get("/files/info?path=loop").error(400, "INVALID_FILE_PATH");
    let long = "x".repeat(300);
    agent.get(&format!("/files/info?path={long}")).error(400, "INVALID_FILE_PATH");
}

#[test]
fn info_has_every_field() {
    let agent = Agent::start();
    let path = agent.put("file", "12345678");
    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 120_000_000);
    fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    let user = String::from_utf8(std::process::Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
    let info = agent.get("/files/info?path=file").json();
    assert_eq!(
        info,
        json!({
            "name": "file", "size": 8, "mode": "-rw-r-----", "isDir": false, "permissions": "0640",
            "modTime": "2023-11-14 22:13:20.12 +0000 UTC", "modifiedAt": "2023-11-14T22:13:20.12Z",
            "owner": user.trim(), "group": info["group"],
        })
    );
    assert_eq!(agent.get("/files/info?path=.").json()["name"], "work");
    assert_eq!(agent.get("/files/info?path=/").json()["name"], "/");
}

#[test]
fn modes_show_special_bits() {
    let agent = Agent::start();
    for (mode, dir, text, permissions) in [
        (0o1777, true, "dtrwxrwxrwx", "1777"),
        (0o4755, false, "urwxr-xr-x", "4755"),
        (0o2755, true, "dgrwxr-xr-x", "2755"),
        (0o000, false, "----------", "0000"),
    ] {
        let path = agent.work().join("x");
        if dir {
            fs::create_dir(&path).unwrap();
        } else {
            fs::write(&path, "").unwrap();
        }
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let info = agent.get("/files/info?path=x").json();
        assert_eq!((&info["mode"], &info["permissions"]), (&json!(text), &json!(permissions)));
        if dir { fs::remove_dir(&path).unwrap() } else { fs::remove_file(&path).unwrap() }
    }
    let device = agent.get("/files/info?path=/dev/null").json();
    assert_eq!(device["mode"], "Dcrw-rw-rw-");
}

#[test]
fn search_globs_base_names_without_following_links() {
    let agent = Agent::start();
    for name in ["src/main.rs", "src/lib.rs", "src/.hidden.rs", "rs/x", "ignored.rs", ".gitignore", "target.rs/keep"] {
        agent.put(name, "ignored.rs\n");
    }
    fs::write(agent.outside().join("far.rs"), "").unwrap();
    symlink(agent.outside(), agent.work().join("away")).unwrap();
    let search = |pattern: &str| {
        let found = agent.get(&format!("/files/search?path=.&pattern={}", encode(pattern))).json();
        found["files"].as_array().unwrap().iter().map(|f| f.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(search("*.rs"), ["ignored.rs", "src/.hidden.rs", "src/lib.rs", "src/main.rs", "target.rs"]);
    assert_eq!(search("[lm]*.rs"), ["src/lib.rs", "src/main.rs"]);
    assert_eq!(search("[^lm]???.rs"), Vec::<String>::new());
    assert_eq!(search("???.rs"), ["src/lib.rs"]);
    assert_eq!(search("rs"), ["rs"]);
    assert_eq!(search("nothing*"), Vec::<String>::new());
    agent.get("/files/search?path=.&pattern=%5Ba").error(400, "BAD_REQUEST");
    agent.get("/files/search?path=.&pattern=").error(400, "BAD_REQUEST");
    let absolute = agent.work().join("src");
    let found = agent.get(&format!("/files/search?path={}&pattern=lib*", encode(absolute.to_str().unwrap()))).json();
    assert_eq!(found["files"], json!([absolute.join("lib.rs")]));
}

#[test]
fn find_gives_lines_of_text_files() {
    let agent = Agent::start();
    agent.put("a.txt", "one TODO\r\nnothing\ntwo TODO: x");
    agent.put("sub/b.txt", "TODO");
    agent.put("binary", b"TODO\0TODO");
    agent.put("latin", b"TODO \xff\n");
    symlink("a.txt", agent.work().join("link")).unwrap();
    let found = agent.get("/files/find?path=.&pattern=TODO").json();
    assert_eq!(
        found,
        json!([
            {"file": "a.txt", "line": 1, "content": "one TODO"},
            {"file": "a.txt", "line": 3, "content": "two TODO: x"},
            {"file": "latin", "line": 1, "content": "TODO \u{fffd}"},
            {"file": "sub/b.txt", "line": 1, "content": "TODO"},
        ])
    );
    let one = agent.get("/files/find?path=a.txt&pattern=nothing").json();
    assert_eq!(one, json!([{"file": "a.txt", "line": 2, "content": "nothing"}]));
    // Plain text, no expression.
    assert_eq!(agent.get("/files/find?path=.&pattern=T.DO").json(), json!([]));
    agent.get("/files/find?path=.&pattern=").error(400, "BAD_REQUEST");
}

#[test]
fn find_does_not_wait_for_a_fifo() {
    let agent = Agent::start();
    agent.put("a", "x\n");
    agent.exec(&json!({"command": "mkfifo pipe"}));
    assert_eq!(agent.get("/files/find?path=.&pattern=x").json().as_array().unwrap().len(), 1);
    assert_eq!(agent.get("/files/find?path=pipe&pattern=x").json(), json!([]));
}

#[test]
fn replace_is_literal_and_each_file_fails_for_itself() {
    let agent = Agent::start();
    let path = agent.put("a", "x.y x.y xzy");
    fs::set_permissions(&path, Permissions::from_mode(0o750)).unwrap();
    agent.put("b", "none");
    let target = agent.put("real", "x.y");
    symlink("real", agent.work().join("link")).unwrap();
    let results = agent
        .post("/files/replace", &json!({"files": ["a", "missing", "b", "link"], "pattern": "x.y", "newValue": "$1"}))
        .json();
    assert_eq!(results[0], json!({"file": "a", "success": true}));
    assert_eq!(results[1]["success"], false);
    assert!(results[1]["error"].as_str().unwrap().contains("missing"));
    assert_eq!(results[2]["success"], true);
    assert_eq!(fs::read_to_string(&path).unwrap(), "$1 $1 xzy");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o750);
    assert_eq!(fs::read_to_string(target).unwrap(), "$1");
    assert!(agent.work().join("link").is_symlink());
    agent.post("/files/replace", &json!({"files": ["a"], "pattern": "", "newValue": "x"})).error(400, "BAD_REQUEST");
    assert_eq!(agent.names(), ["a", "b", "link", "real"]);
}

#[test]
fn folders_are_made_with_parents_and_mode() {
    let agent = Agent::start();
    let make = |query: &str| agent.send("POST", &format!("/files/folder?{query}"), &[], b"");
    let mode = |path: &str| fs::metadata(agent.work().join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(make("path=a/b&mode=0700").status, 201);
    assert_eq!((mode("a"), mode("a/b")), (0o755, 0o700));
    assert_eq!(make("path=a/b").status, 201);
    assert_eq!(mode("a/b"), 0o700);
    assert_eq!(make("path=c&mode=").status, 201);
    assert_eq!(mode("c"), 0o755);
    assert_eq!(make("path=d&mode=777").status, 201);
    assert_eq!(mode("d"), 0o777);
    for bad in ["9", "abc", "77777", "-1", "%2B7"] {
        make(&format!("path=x&mode={bad}")).error(400, "BAD_REQUEST");
    }
    agent.put("file", "");
    make("path=file").error(400, "INVALID_FILE_PATH");
    make("path=file/x").error(400, "INVALID_FILE_PATH");
    assert_eq!(agent.names(), ["a", "c", "d", "file"]);
}

#[test]
fn delete_keeps_folders_without_recursive_and_targets_of_links() {
    let agent = Agent::start();
    agent.put("dir/file", "");
    agent.put("kept/file", "");
    symlink("kept", agent.work().join("link")).unwrap();
    let delete = |query: &str| agent.send("DELETE", &format!("/files?{query}"), &[], b"");
    let message = delete("path=dir").error(400, "INVALID_FILE_PATH");
    assert!(message.contains("recursive"));
    delete("path=dir&recursive=false").error(400, "INVALID_FILE_PATH");
    delete("path=dir&recursive=maybe").error(400, "BAD_REQUEST");
    assert!(agent.work().join("dir/file").exists());
    assert_eq!(delete("path=dir&recursive=true").status, 204);
    assert_eq!(delete("path=link").status, 204);
    assert_eq!(delete("path=kept/file").status, 204);
    delete("path=kept/file").error(404, "FILE_NOT_FOUND");
    delete("path=/&recursive=true").error(400, "INVALID_FILE_PATH");
    delete("path=&recursive=true").error(400, "INVALID_FILE_PATH");
    assert_eq!(agent.names(), ["kept"]);
}

#[test]
fn move_never_replaces() {
    let agent = Agent::start();
    let rename = |from: &str, to: &str| {
        agent.send("POST", &format!("/files/move?source={}&destination={}", encode(from), encode(to)), &[], b"")
    };
    agent.put("a", "a");
    agent.put("b", "b");
    agent.put("dir/x", "");
    rename("a", "b").error(409, "CONFLICT");
    rename("a", "dir").error(409, "CONFLICT");
    rename("a", "a").error(409, "CONFLICT");
    let message = rename("a", "no/where").error(404, "FILE_NOT_FOUND");
    assert!(message.contains("no/where"), "{message}");
    let message = rename("nope", "c").error(404, "FILE_NOT_FOUND");
    assert!(message.contains("nope"), "{message}");
    rename("dir", "dir/inner").error(400, "INVALID_FILE_PATH");
    assert_eq!(rename("a", "dir/a").status, 200);
    assert_eq!(rename("dir", "dir2").status, 200);
    symlink("b", agent.work().join("link")).unwrap();
    assert_eq!(rename("link", "link2").status, 200);
    assert!(agent.work().join("link2").is_symlink());
    assert_eq!(fs::read_to_string(agent.work().join("dir2/a")).unwrap(), "a");
    assert_eq!(agent.names(), ["b", "dir2", "link2"]);
}

#[test]
fn move_crosses_file_systems() {
    let agent = Agent::start();
    let far = tempfile::tempdir_in("/dev/shm").unwrap();
    agent.put("tree/sub/file", "content");
    symlink("sub/file", agent.work().join("tree/link")).unwrap();
    fs::set_permissions(agent.work().join("tree/sub/file"), Permissions::from_mode(0o640)).unwrap();
    let to = far.path().join("moved");
    let answer =
        agent.send("POST", &format!("/files/move?source=tree&destination={}", encode(to.to_str().unwrap())), &[], b"");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(fs::read_to_string(to.join("link")).unwrap(), "content");
    assert!(to.join("link").is_symlink());
    assert_eq!(fs::metadata(to.join("sub/file")).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(agent.names(), Vec::<String>::new());
    assert_eq!(crate::common::names(far.path()), ["moved"]);
}

#[test]
fn permissions_change_all_or_nothing() {
    let agent = Agent::start();
    let path = agent.put("file", "");
    let change = |query: &str| agent.send("POST", &format!("/files/permissions?{query}"), &[], b"");
    let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(change("path=file&mode=0600").status, 200);
    assert_eq!(mode(), 0o600);
    let id = |flag: &str| {
        let out = std::process::Command::new("id").arg(flag).output().unwrap().stdout;
        String::from_utf8(out).unwrap().trim().to_owned()
    };
    let query = format!("path=file&owner={}&group={}&mode=4711", id("-un"), id("-g"));
    assert_eq!(change(&query).status, 200);
    assert_eq!(mode(), 0o4711);
    change("path=file&mode=0644&owner=no-such-user").error(400, "BAD_REQUEST");
    change("path=file&mode=0644&group=no-such-group").error(400, "BAD_REQUEST");
    change("path=file&mode=rwx").error(400, "BAD_REQUEST");
    change("path=file").error(400, "BAD_REQUEST");
    change("path=nope&mode=0644").error(404, "FILE_NOT_FOUND");
    assert_eq!(mode(), 0o4711);
}
