//! Builds upon an image of a registry, and what is made of them.

use std::path::PathBuf;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::registry::with_registry;
use crate::support::{LIMIT, Server, wait_until_gone};

const USED: &str = " ---> Using cache";
const RAN: &str = " ---> Running in";

fn count(log: &str, line: &str) -> usize {
    log.lines().filter(|have| have.starts_with(line)).count()
}

/// Reads an answer as it comes.
struct Reader {
    socket: tokio::net::TcpStream,
    text: String,
}

impl Reader {
    async fn open(server: &Server, path: &str) -> Self {
        let host = server.origin.strip_prefix("http://").unwrap();
        let mut socket = tokio::net::TcpStream::connect(host).await.unwrap();
        let key = server.key();
        let request = format!("GET {path} HTTP/1.0\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        Self { socket, text: String::new() }
    }

    /// All that is there once `text` is; without one, at the end.
    async fn until(&mut self, text: Option<&str>) -> &str {
        let read = async {
            let mut piece = [0; 4096];
            while text.is_none_or(|text| !self.text.contains(text)) {
                let read = self.socket.read(&mut piece).await.unwrap();
                if read == 0 {
                    assert!(text.is_none(), "the log ended: {}", self.text);
                    break;
                }
                self.text += &String::from_utf8_lossy(&piece[..read]);
            }
        };
        tokio::time::timeout(LIMIT, read).await.expect("the log goes on");
        &self.text
    }
}

/// The folders of cache mounts.
fn cache_mounts(server: &Server) -> Vec<PathBuf> {
    std::fs::read_dir(server.dir.join("images/mounts")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[tokio::test]
async fn a_sandbox_of_an_image_lives_as_others_do() {
    let Some((registry, dir, mut server)) = with_registry().await else { return };
    let made = server.build("i", &format!("FROM {}\n", registry.image("small:1"))).await;
    assert_eq!((&made["state"], &made["user"]), (&json!("started"), &json!("root")), "{made}");
    assert_eq!(made["labels"]["daytona-native/image"], Value::Null);
    let id = made["id"].as_str().unwrap().to_owned();
    // Nothing of this machine.
    let seen = server.exec(&id, "echo $(ls -A /); id -un; echo $HOME $0; cat /etc/hostname; touch /kept").await;
    let words: Vec<&str> = seen.lines().collect();
    assert_eq!(words[0], "bin dev etc home proc root run sys tmp var");
    assert_eq!((words[1], words[3]), ("root", "i"), "{seen}");
    assert!(words[2].starts_with("/root "), "{seen}");

    server.becomes("i", "stop", "stopped").await;
    server.becomes("i", "start", "started").await;
    assert_eq!(server.exec(&id, "ls /kept").await, "/kept\n");
    let fork = server.post("i", "fork", json!({"name": "twin"})).await.expect(200);
    server.reaches("/api/sandbox/twin", &["started"]).await;
    assert_eq!(
        server.exec(fork["id"].as_str().unwrap(), "ls /kept; rm /kept; ls /").await,
        "/kept\nbin\ndev\netc\nhome\nproc\nroot\nrun\nsys\ntmp\nvar\n"
    );
    server.becomes("i", "stop", "stopped").await;
    server.post("i", "snapshot", json!({"name": "shot"})).await.expect(200);
    let copy = server.create(json!({"snapshot": "shot"})).await;
    assert_eq!(server.exec(&copy, "ls /kept; cat /etc/hostname").await, format!("/kept\n{copy}\n"));
    server.post("i", "archive", Value::Null).await.expect(200);
    server.reaches("/api/sandbox/i", &["archived"]).await;
    server.post("i", "start", Value::Null).await.expect(200);
    server.reaches("/api/sandbox/i", &["started"]).await;
    assert_eq!(server.exec(&id, "ls /kept").await, "/kept\n");

    server.kill().await;
    drop(server);
    let server = Server::open(dir.path(), &[]).await;
    server.becomes("i", "start", "started").await;
    assert_eq!(server.exec(&id, "ls /kept").await, "/kept\n");
}

#[tokio::test]
async fn users_are_those_of_the_image() {
    let Some((registry, _dir, server)) = with_registry().await else { return };
    let from = format!("FROM {}\n", registry.image("small:1"));
    let create = async |name: &str, user: &str, rest: &str| {
        let body = json!({"name": name, "user": user, "buildInfo": {"dockerfileContent": format!("{from}{rest}")}});
        server.call("POST", "/api/sandbox", body).await.expect(200);
        server.reaches(&format!("/api/sandbox/{name}"), &["started", "build_failed", "error"]).await
    };
    for (name, user, rest, expected) in [
        ("web", "web", "", "web /tmp"),
        ("number", "33:0", "", "web /tmp"),
        ("own", "daytona", "", "daytona /home/daytona"),
        ("given", "root", "USER web\n", "root /root"),
    ] {
        let made = create(name, user, rest).await;
        assert_eq!((&made["state"], &made["user"]), (&json!("started"), &json!(user)), "{made}");
        let id = made["id"].as_str().unwrap();
        assert_eq!(server.exec(id, "echo $(id -un) $HOME").await.trim_end(), expected);
    }
    let failed = create("nobody", "nobody-here", "").await;
    assert_eq!(failed["state"], "error");
    assert!(failed["errorReason"].as_str().unwrap().contains("nobody-here"), "{failed}");
}

#[tokio::test]
async fn steps_run_once() {
    let Some((registry, _dir, server)) = with_registry().await else { return };
    let dockerfile = |last: &str| {
        format!(
            "ARG IMAGE={}\nFROM $IMAGE AS base\nARG GREETING=hello\nENV NAME=world\n\
             RUN echo \"$GREETING $NAME\" > /said && id -u > /who\nFROM base\nWORKDIR /srv/app\n\
             COPY --from=base --chown=web /said copied\nCOPY <<END text\nhere\nEND\n\
             RUN --mount=type=cache,target=/cache cat copied && echo x >> /cache/count && wc -l < /cache/count > runs\n\
             RUN {last}\nUSER web\nLABEL a=b\n\
             ENTRYPOINT [\"sh\", \"-c\", \"echo entered $0 $1 as $(id -un) in $PWD; sleep 1000\"]\nCMD [\"one\", \"two\"]\n",
            registry.image("small:1")
        )
    };
    let made = server.build("first", &dockerfile("echo last")).await;
    assert_eq!((&made["state"], &made["user"]), (&json!("started"), &json!("web")), "{made}");
    let id = made["id"].as_str().unwrap();
    let seen = server.exec(id, "cat copied text runs; pwd; id -un; cat /who; echo $NAME; stat -c %U copied").await;
    assert_eq!(seen, "hello world\nhere\n1\n/srv/app\nweb\n0\nworld\nweb\n");
    let mut entered =
        Reader::open(&server, &format!("/toolbox/{id}/process/session/entrypoint/logs?follow=true")).await;
    entered.until(Some("entered one two as web in /srv/app")).await;
    let log = server.log("/api/sandbox/first").await;
    for part in ["Step 2/", "FROM $IMAGE AS base", "Pull complete", "hello world\n", "last\n", "Successfully built"] {
        assert!(log.contains(part), "{part}: {log}");
    }
    assert_eq!((count(&log, RAN), count(&log, USED)), (3, 0), "{log}");

    let begun = std::time::Instant::now();
    let again = server.build("second", &dockerfile("echo last")).await;
    let warm = begun.elapsed();
    let id = again["id"].as_str().unwrap();
    assert_eq!(server.exec(id, "cat runs").await, "1\n");
    let log = server.log("/api/sandbox/second").await;
    // Every step that changes files.
    assert_eq!((count(&log, RAN), count(&log, USED)), (0, 6), "{log}");
    let begun = std::time::Instant::now();
    server.create(json!({})).await;
    eprintln!(
        "a build from the cache takes {:.2} times a plain create",
        warm.as_secs_f64() / begun.elapsed().as_secs_f64()
    );

    server.build("third", &dockerfile("echo other")).await;
    let log = server.log("/api/sandbox/third").await;
    assert_eq!((count(&log, RAN), count(&log, USED)), (1, 5), "{log}");
}

#[tokio::test]
async fn a_build_is_followed_and_ends_with_its_sandbox() {
    let Some((registry, _dir, server)) = with_registry().await else { return };
    let marker = format!("8{}", std::process::id());
    let dockerfile = format!(
        "FROM {}\nRUN --mount=type=cache,target=/gate echo fir''st; until [ -e /gate/go ]; do sleep 0.0{marker}; done; \
         echo sec''ond\n",
        registry.image("small:1")
    );
    let body = json!({"name": "f", "buildInfo": {"dockerfileContent": dockerfile}});
    server.call("POST", "/api/sandbox", body.clone()).await.expect(200);
    let mut log = Reader::open(&server, "/api/sandbox/f/build-logs?follow=true").await;
    assert!(!log.until(Some("first\n")).await.contains("second\n"));
    assert_eq!(server.get("f").await.expect(200)["state"], "building_snapshot");
    // A reader that comes later reads from the beginning, one that does not follow what is there.
    let now = server.call("GET", "/api/sandbox/f/build-logs", Value::Null).await;
    assert!(String::from_utf8_lossy(&now.bytes).contains("first\n"));
    let gate = cache_mounts(&server).remove(0);
    std::fs::write(gate.join("go"), "").unwrap();
    assert!(log.until(None).await.contains("second\n"));
    server.reaches("/api/sandbox/f", &["started"]).await;

    std::fs::remove_file(gate.join("go")).unwrap();
    let other = dockerfile.replace("sec''ond", "nev''er");
    let snapshot = json!({"name": "s", "buildInfo": {"dockerfileContent": other}});
    server.call("POST", "/api/snapshots", snapshot).await.expect(200);
    let mut log = Reader::open(&server, "/api/snapshots/s/build-logs?follow=true").await;
    log.until(Some("first\n")).await;
    assert_eq!(server.call("GET", "/api/snapshots/s", Value::Null).await.expect(200)["state"], "building");
    server.call("DELETE", "/api/snapshots/s", Value::Null).await.expect(200);
    assert!(!log.until(None).await.contains("never\n"));
    wait_until_gone(&format!("sleep\00.0{marker}")).await;
    server.is_clean().await;
}

impl Server {
    /// Returns when nothing half done is left of builds.
    pub(crate) async fn is_clean(&self) {
        let left = |name: &str| std::fs::read_dir(self.dir.join(name)).map_or(0, Iterator::count);
        let clean = async {
            while left("images/tmp") + left("steps") > 0 {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(LIMIT, clean).await.expect("what was half done is removed");
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(&*self.dir.to_string_lossy()), "{mounts}");
    }
}

#[tokio::test]
async fn what_cannot_be_built_is_refused_before_anything_runs() {
    let Some((registry, _dir, server)) = with_registry().await else { return };
    let from = format!("FROM {}\n", registry.image("small:1"));
    for (number, (rest, reason)) in [
        ("RUN true\nRUN --security=insecure true\n", "RUN --security=insecure is not supported (line 3)"),
        ("RUN --mount=type=ssh true\n", "RUN --mount=type=ssh is not supported (line 2)"),
        ("RUN --mount=type=secret,id=x true\n", "RUN --mount=type=secret is not supported (line 2)"),
        ("ADD https://example.com/x.git /x\n", "ADD of the git repository https://example.com/x.git is not supported"),
        ("ONBUILD RUN true\n", "ONBUILD is not supported (line 2)"),
        ("NONSENSE a\n", "Dockerfile line 2: "),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("r{number}");
        let failed = server.build(&name, &format!("{from}{rest}")).await;
        assert_eq!(failed["state"], "build_failed", "{rest}");
        let said = failed["errorReason"].as_str().unwrap();
        assert!(said.contains(reason), "{said}");
        let log = server.log(&format!("/api/sandbox/{name}")).await;
        assert!(log.contains(said) && count(&log, RAN) == 0, "{log}");
    }
    let failed = server.build("code", &format!("{from}RUN cat; echo saying why >&2; exit 7\n")).await;
    assert!(failed["errorReason"].as_str().unwrap().contains("returned a non-zero code: 7"), "{failed}");
    assert!(server.log("/api/sandbox/code").await.contains("saying why\n"));
    let context = json!({"dockerfileContent": format!("{from}COPY x /x\n"), "contextHashes": ["00"]});
    server.call("POST", "/api/sandbox", json!({"name": "none", "buildInfo": context})).await.expect(200);
    let failed = server.reaches("/api/sandbox/none", &["build_failed"]).await;
    assert!(failed["errorReason"].as_str().unwrap().contains("was not uploaded"), "{failed}");
}

#[tokio::test]
async fn snapshots_of_images_are_kept_and_pruned() {
    let Some((registry, _dir, server)) = with_registry().await else { return };
    let image = registry.image("small:1");
    let body = json!({"name": "pulled", "imageName": image, "entrypoint": ["sh", "-c", "echo own; sleep 1000"]});
    let pending = server.call("POST", "/api/snapshots", body).await.expect(200);
    assert_eq!((&pending["state"], &pending["imageName"]), (&json!("pending"), &json!(image)));
    let pulled = server.reaches("/api/snapshots/pulled", &["active", "error"]).await;
    assert!(pulled["state"] == "active" && pulled["size"].as_f64().unwrap() > 0.0, "{pulled}");
    let body = json!({"name": "built", "cpu": 1, "memory": 2, "buildInfo": {"dockerfileContent": format!("FROM {image}\nRUN echo made > /made\nRUN rm /bin/vi\n")}});
    server.call("POST", "/api/snapshots", body).await.expect(200);
    let built = server.reaches("/api/snapshots/built", &["active", "build_failed"]).await;
    assert_eq!(built["state"], "active", "{built}");
    let id = server.create(json!({"snapshot": "built"})).await;
    let made = server.get(&id).await.expect(200);
    assert_eq!((&made["cpu"], &made["memory"], &made["user"]), (&json!(1), &json!(2), &json!("root")));
    assert_eq!(
        server.exec(&id, "cat /made; ls /bin/vi 2>&1 || true").await,
        "made\nls: /bin/vi: No such file or directory\n"
    );
    let web = server.create(json!({"snapshot": "built", "user": "web"})).await;
    assert_eq!(server.exec(&web, "id -un").await, "web\n");
    let own = server.create(json!({"snapshot": "pulled"})).await;
    let mut log = Reader::open(&server, &format!("/toolbox/{own}/process/session/entrypoint/logs?follow=true")).await;
    log.until(Some("own")).await;

    let images = async || server.call("GET", "/api/images", Value::Null).await.expect(200);
    let prune = async |all: bool| server.call("POST", "/api/images/prune", json!({ "all": all })).await.expect(200);
    let listed = images().await;
    let of = |name: &str| listed.as_array().unwrap().iter().find(|one| one["snapshots"] == json!([name])).unwrap();
    assert_eq!((&of("pulled")["names"], &of("pulled")["digest"]), (&json!([image]), &pulled["ref"]));
    assert_eq!(of("built")["digest"], built["ref"]);
    assert_eq!(of("built")["layers"].as_array().unwrap().len(), 3);
    assert_eq!(of("built")["layers"][0], of("pulled")["layers"][0]);
    assert!(of("built")["layers"][0]["size"].as_u64().unwrap() > 100_000);
    let mut sandboxes = [json!(id), json!(web)];
    sandboxes.sort_by_key(Value::to_string);
    assert_eq!(of("built")["sandboxes"], json!(sandboxes));

    assert_eq!(prune(false).await, json!({"images": 0, "layers": 0, "bytes": 0}));
    server.becomes(&id, "stop", "stopped").await;
    server.becomes(&id, "start", "started").await;
    for path in [format!("/api/sandbox/{id}"), format!("/api/sandbox/{web}"), "/api/snapshots/built".to_owned()] {
        server.call("DELETE", &path, Value::Null).await.expect(200);
    }
    let freed = prune(false).await;
    // What the next build could use stays, unless all is to go.
    assert_eq!((&freed["images"], &freed["layers"]), (&json!(1), &json!(0)), "{freed}");
    assert_eq!(prune(true).await["layers"], 2);
    assert_eq!(images().await.as_array().unwrap().len(), 1);
    server.becomes(&own, "stop", "stopped").await;
    server.becomes(&own, "start", "started").await;
}
