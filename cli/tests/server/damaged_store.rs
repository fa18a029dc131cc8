//! A store that is lost or damaged: the server refuses it, or it keeps everything; it never begins anew.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use serde_json::{Value, json};

use crate::data_folder::{copy, refused};
use crate::support::Server;

/// A data directory with a sandbox, an archived one, a snapshot and, where the runtime has them, a volume.
struct Sample {
    base: tempfile::TempDir,
    /// What has to be there after every start, below the data directory.
    kept: Vec<String>,
    files: Vec<(String, Vec<u8>)>,
}

impl Sample {
    async fn new() -> Self {
        let base = tempfile::tempdir().unwrap();
        let dir = base.path().join("data");
        let mut server = Server::open(&dir, &[]).await;
        let one = server.create(json!({"name": "one"})).await;
        server.exec(&one, "echo kept > kept").await;
        let mut kept = vec![format!("sandboxes/{one}")];
        if server.ready["runtime"] == "ns" {
            let volume = server.call("POST", "/api/volumes", json!({"name": "v"})).await.expect(200);
            kept.push(format!("volumes/{}", volume["id"].as_str().unwrap()));
        }
        server.becomes("one", "stop", "stopped").await;
        let path = "/api/sandbox/one/snapshot";
        server.call("POST", path, json!({"name": "snap"})).await;
        let snapshots = server.call("GET", "/api/snapshots", Value::Null).await.expect(200);
        let snap = snapshots["items"].as_array().unwrap().iter().find(|one| one["name"] == "snap").unwrap();
        kept.push(format!("snapshots/{}", snap["id"].as_str().unwrap()));
        let two = server.create(json!({"name": "two"})).await;
        server.becomes("two", "stop", "stopped").await;
        server.becomes("two", "archive", "archived").await;
        kept.push(format!("archives/{two}.tar.zst"));
        server.terminate().await;
        // The day's copy is to have all of it.
        let _ = fs::remove_dir_all(dir.join("backups"));
        Server::open(&dir, &[]).await.terminate().await;
        let files = Self::files_of(&dir, &kept);
        assert!(files.iter().any(|(path, text)| path.ends_with("/kept") && text == b"kept\n"), "{files:?}");
        Self { base, kept, files }
    }

    fn dir(&self) -> std::path::PathBuf {
        self.base.path().join("data")
    }

    /// Regular files of what is kept, from wherever it lies now, with their contents.
    fn files_of(dir: &Path, kept: &[String]) -> Vec<(String, Vec<u8>)> {
        let mut files = Vec::new();
        for name in kept {
            let mut left = vec![dir.join(name)];
            while let Some(path) = left.pop() {
                let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
                if metadata.is_dir() {
                    left.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
                } else if metadata.is_file() {
                    files.push((path.strip_prefix(dir).unwrap().display().to_string(), fs::read(&path).unwrap()));
                }
            }
        }
        files.sort();
        files
    }
}

type Damage = Box<dyn Fn(&Path, &[u8])>;

/// Forms of damage: what is done to `state.redb`, whose bytes are given.
fn forms(other: Vec<u8>) -> Vec<(String, Damage)> {
    fn form(name: impl Into<String>, damage: impl Fn(&Path, &[u8]) + 'static) -> (String, Damage) {
        (name.into(), Box::new(damage))
    }
    fn bytes(name: impl Into<String>, change: impl Fn(&mut Vec<u8>) + 'static) -> (String, Damage) {
        form(name, move |path, good| {
            let mut bytes = good.to_vec();
            change(&mut bytes);
            fs::write(path, bytes).unwrap();
        })
    }
    let page = 4096;
    let mut forms = vec![
        form("gone", |path, _| fs::remove_file(path).unwrap()),
        bytes("empty", Vec::clear),
        form("a folder", |path, _| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        }),
        form("a pipe", |path, _| {
            fs::remove_file(path).unwrap();
            let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
            rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        }),
        form("a link to nowhere", |path, _| {
            fs::remove_file(path).unwrap();
            symlink("nowhere", path).unwrap();
        }),
        form("a link to itself", |path, _| {
            fs::remove_file(path).unwrap();
            symlink("state.redb", path).unwrap();
        }),
        form("unreadable", |path, _| fs::set_permissions(path, fs::Permissions::from_mode(0o0)).unwrap()),
        bytes("text", |bytes| *bytes = b"this is no database\n".to_vec()),
        bytes("SQLite", |bytes| *bytes = [b"SQLite format 3\0".as_slice(), &[0; 8192]].concat()),
        bytes("nothing but zeroes", |bytes| bytes.fill(0)),
        bytes("nothing but ones", |bytes| bytes.fill(0xff)),
        bytes("longer by a page", move |bytes| bytes.resize(bytes.len() + page, 0)),
        bytes("longer by a line", |bytes| bytes.extend(b"DB corrupted\n")),
        bytes("twice", |bytes| bytes.extend(bytes.clone())),
        bytes("another directory's", move |bytes| bytes.clone_from(&other)),
        bytes("a wrong magic number", |bytes| bytes[0] ^= 1),
        bytes("no magic number", |bytes| bytes[..9].fill(0)),
        bytes("a header without flags", |bytes| bytes[9] = 0),
        bytes("a header with all flags", |bytes| bytes[9] = 0xff),
        bytes("a header of zeroes after the magic number", |bytes| bytes[9..320].fill(0)),
        bytes("another size of pages", |bytes| bytes[12..16].copy_from_slice(&512_u32.to_le_bytes())),
        bytes("other regions", |bytes| bytes[16..32].fill(0x7f)),
        bytes("the first slot of a commit gone", |bytes| bytes[64..192].fill(0)),
        bytes("the second slot of a commit gone", |bytes| bytes[192..320].fill(0)),
        bytes("both slots gone", |bytes| bytes[64..320].fill(0)),
        bytes("both slots overwritten", |bytes| bytes[64..320].fill(0xa5)),
        bytes("the wrong slot", |bytes| bytes[9] ^= 1),
        bytes("turned around", |bytes| bytes.reverse()),
        bytes("its two halves swapped", |bytes| {
            let half = bytes.len() / 2;
            bytes.rotate_left(half);
        }),
        bytes("a page too early", move |bytes| drop(bytes.drain(page..2 * page))),
    ];
    for (name, at) in [("9 bytes", 9), ("a header", 320), ("a page", 4096), ("two pages", 8192)] {
        forms.push(bytes(format!("cut to {name}"), move |bytes| bytes.truncate(at)));
    }
    for tenth in [3, 5, 9] {
        forms.push(bytes(format!("cut to {tenth} tenths"), move |bytes| bytes.truncate(bytes.len() * tenth / 10)));
    }
    forms.push(bytes("cut by a byte", |bytes| bytes.truncate(bytes.len() - 1)));
    for number in [1, 2, 3] {
        forms.push(bytes(format!("used page {number} of zeroes"), move |bytes| {
            let used: Vec<usize> = used_pages(bytes);
            let at = used[number * (used.len() - 1) / 3];
            bytes[at..at + 4096].fill(0);
        }));
    }
    // The same in each run.
    for seed in 1..=4_u64 {
        forms.push(bytes(format!("bytes changed here and there, {seed}"), move |bytes| {
            let mut state = seed;
            for at in used_pages(bytes) {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let offset = usize::try_from(state >> 33).unwrap() % 4096;
                bytes[at + offset] ^= 1 << (state >> 60 & 7);
            }
        }));
    }
    forms
}

/// Where pages begin that hold something, after the header.
fn used_pages(bytes: &[u8]) -> Vec<usize> {
    let used = |at: &usize| bytes.get(*at..at + 4096).is_some_and(|page| page.iter().any(|byte| *byte != 0));
    (4096..bytes.len()).step_by(4096).filter(used).collect()
}

/// The store of another data directory.
async fn another_store() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    Server::open(dir.path(), &[]).await.terminate().await;
    fs::read(dir.path().join("state.redb")).unwrap()
}

#[tokio::test]
async fn no_form_of_damage_loses_anything() {
    let sample = Sample::new().await;
    let dir = sample.dir();
    let good = fs::read(dir.join("state.redb")).unwrap();
    let forms = forms(another_store().await);
    assert_eq!(forms.len(), 45);
    let untouched = sample.base.path().join("untouched");
    fs::rename(&dir, &untouched).unwrap();
    let mut refusals = 0;
    for (name, damage) in forms {
        copy(&untouched, &dir).await;
        let store = dir.join("state.redb");
        damage(&store, &good);
        // The copy has to say that it is one on purpose.
        let mut child = crate::support::binary()
            .args(["serve", "--port", "0", "--json", "--adopt-copy", "--data-dir"])
            .arg(&dir)
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = tokio::io::BufReader::new(child.stdout.take().unwrap());
        let read = tokio::io::AsyncBufReadExt::read_line(&mut stdout, &mut line);
        let read = tokio::time::timeout(crate::support::LIMIT, read).await;
        read.unwrap_or_else(|_| panic!("{name}: neither served nor refused")).unwrap();
        if line.is_empty() {
            let output = child.wait_with_output().await.unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{name}: {stderr}");
            let told = stderr.contains(store.to_str().unwrap())
                && stderr.contains("1 sandbox,")
                && stderr.contains("1 snapshot and 1 archive")
                && stderr.contains("backups/state-")
                && stderr.contains(&format!("daytona-native store rebuild {}", dir.display()));
            assert!(told, "{name}: {stderr}");
            refusals += 1;
        } else {
            let ready: Value = serde_json::from_str(&line).unwrap();
            let pid = i32::try_from(ready["pid"].as_u64().unwrap()).unwrap();
            let pid = rustix::process::Pid::from_raw(pid).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
            child.wait_with_output().await.unwrap();
            let server = Server::open(&dir, &[]).await;
            for (sandbox, state) in [("one", "stopped"), ("two", "archived")] {
                assert_eq!(server.get(sandbox).await.expect(200)["state"], state, "{name}");
            }
        }
        assert_eq!(Sample::files_of(&dir, &sample.kept), sample.files, "{name}");
        fs::remove_dir_all(&dir).unwrap();
    }
    assert!(refusals >= 35, "{refusals} of 45 were refused");
}

#[tokio::test]
async fn a_lost_store_comes_back_from_its_copy() {
    let sample = Sample::new().await;
    let dir = sample.dir();
    let copies: Vec<_> = fs::read_dir(dir.join("backups")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(copies.len(), 1, "{copies:?}");
    let newest = &copies[0];
    assert!(newest.file_name().unwrap().to_str().unwrap().starts_with("state-2"), "{newest:?}");
    fs::remove_file(dir.join("state.redb")).unwrap();
    for _ in 0..2 {
        let stderr = refused(&dir, &[]).await;
        assert!(stderr.contains("is missing") && stderr.contains(newest.to_str().unwrap()), "{stderr}");
    }
    fs::copy(newest, dir.join("state.redb")).unwrap();
    let server = Server::open(&dir, &[]).await;
    let one = server.get("one").await.expect(200)["id"].as_str().unwrap().to_owned();
    server.becomes("one", "start", "started").await;
    assert_eq!(server.exec(&one, "cat kept").await, "kept\n");
    server.becomes("two", "start", "started").await;
    drop(server);
    assert!(sample.kept.iter().any(|path| dir.join(path).exists()));
}

/// An older copy is sound, and knows less.
#[tokio::test]
async fn what_an_older_copy_does_not_know_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("state.redb");
    let mut server = Server::open(dir.path(), &[]).await;
    server.create(json!({"name": "old"})).await;
    server.becomes("old", "stop", "stopped").await;
    server.terminate().await;
    let older = fs::read(&store).unwrap();
    let mut server = Server::open(dir.path(), &[]).await;
    let id = server.create(json!({"name": "new"})).await;
    server.exec(&id, "echo precious > precious").await;
    server.becomes("new", "stop", "stopped").await;
    server.terminate().await;
    fs::write(&store, older).unwrap();
    let mut server = Server::open(dir.path(), &[]).await;
    assert_eq!(server.get("old").await.expect(200)["state"], "stopped");
    assert_eq!(server.get("new").await.status, 404);
    server.terminate().await;
    let everything = crate::data_folder::everything(dir.path());
    assert!(everything.values().any(|(_, _, text)| text == b"precious\n"), "its files are not there any more");
}

#[tokio::test]
async fn copies_are_a_week_of_days_and_one_before_each_upgrade() {
    let sample = Sample::new().await;
    let dir = sample.dir();
    let backups = dir.join("backups");
    fs::remove_dir_all(&backups).unwrap();
    fs::create_dir(&backups).unwrap();
    for day in 1..=9 {
        let old = backups.join(format!("state-2020-01-0{day}.redb"));
        fs::write(&old, "").unwrap();
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_577_836_800 + day * 86400);
        fs::File::options().write(true).open(&old).unwrap().set_modified(time).unwrap();
    }
    fs::write(backups.join("mine.redb"), "mine").unwrap();
    let marker = dir.join("daytona-native.json");
    let mut contents: Value = serde_json::from_slice(&fs::read(&marker).unwrap()).unwrap();
    contents["version"] = json!("0.0.1");
    fs::write(&marker, contents.to_string()).unwrap();
    let before = fs::read(dir.join("state.redb")).unwrap();
    Server::open(&dir, &[]).await.terminate().await;
    let upgrade = backups.join(concat!("state-before-", env!("CARGO_PKG_VERSION"), ".redb"));
    assert_eq!(fs::read(&upgrade).unwrap(), before);
    let mut names: Vec<String> =
        fs::read_dir(&backups).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let days = names.iter().filter(|name| name.starts_with("state-2")).count();
    assert_eq!((days, names.len()), (7, 9), "{names:?}");
    assert!(names.contains(&"state-2020-01-09.redb".to_owned()) && names.contains(&"mine.redb".to_owned()));
    assert!(!names.contains(&"state-2020-01-03.redb".to_owned()), "{names:?}");
    // The next start of the same version makes no other.
    Server::open(&dir, &[]).await.terminate().await;
    assert_eq!(fs::read(&upgrade).unwrap(), before);
}
