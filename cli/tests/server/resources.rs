//! What outlives sandboxes and servers: volumes, secrets, keys, warm pools.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::support::{LIMIT, Server};

/// Whether sandboxes have a file system of their own here.
fn mounts(server: &Server) -> bool {
    server.ready["runtime"] == "ns"
}

#[tokio::test]
async fn volumes_and_secrets_outlive_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::open(dir.path(), &[]).await;
    let volume = server.call("POST", "/api/volumes", json!({ "name": "v" })).await.expect(200);
    let body = json!({ "name": "s", "value": "the real value", "hosts": ["example.com"] });
    let secret = server.call("POST", "/api/secret", body).await.expect(201);
    assert!(secret.get("value").is_none());
    let volumes = if mounts(&server) { json!([{ "volumeId": "v", "mountPath": "/data" }]) } else { json!([]) };
    let id = server.create(json!({ "volumes": volumes, "secrets": [{ "KEY": "s" }] })).await;
    if mounts(&server) {
        server.exec(&id, "echo kept >/data/file").await;
    }
    server.kill().await;
    let files = [dir.path().join("secrets.key"), dir.path().join("state.redb")];
    assert_eq!(files[0].metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let stored = std::fs::read(&files[1]).unwrap();
    assert!(!stored.windows(14).any(|bytes| bytes == b"the real value"));
    // Made and never acknowledged.
    std::fs::create_dir_all(dir.path().join("volumes/leftover")).unwrap();
    std::fs::write(dir.path().join("manifests/volumes/leftover.creating"), "").unwrap();

    let server = Server::open(dir.path(), &[]).await;
    assert!(!dir.path().join("volumes/leftover").exists() && !dir.path().join("lost+found").exists());
    let found = server.call("GET", "/api/volumes/by-name/v", Value::Null).await.expect(200);
    assert_eq!(found["id"], volume["id"]);
    let path = format!("/api/secret/{}", secret["id"].as_str().unwrap());
    let again = server.call("GET", &path, Value::Null).await.expect(200);
    assert_eq!(again, secret);
    server.call("POST", &format!("/api/sandbox/{id}/start"), Value::Null).await.expect(200);
    assert_eq!(server.exec(&id, "echo $KEY").await.trim(), secret["placeholder"]);
    if mounts(&server) {
        assert_eq!(server.exec(&id, "cat /data/file").await, "kept\n");
        let path = format!("/api/volumes/{}", volume["id"].as_str().unwrap());
        server.call("DELETE", &path, Value::Null).await.error(409, "VOLUME_IN_USE");
    }
    let shown = server.call("GET", &format!("/api/sandbox/{id}/secrets"), Value::Null).await;
    shown.error(501, "NOT_IMPLEMENTED");
}

#[tokio::test]
async fn a_fork_has_the_volumes_and_secrets_of_the_first() {
    let server = Server::new().await;
    if !mounts(&server) || !server.limit_holds("freeze").await {
        println!("skipped: volumes are not mounted, or nothing can be forked");
        return;
    }
    let volume = server.call("POST", "/api/volumes", json!({ "name": "v" })).await.expect(200);
    let secret = server.call("POST", "/api/secret", json!({ "name": "s", "value": "v" })).await.expect(201);
    let placeholder = secret["placeholder"].as_str().unwrap();
    let volumes = json!([{ "volumeId": "v", "mountPath": "/data" }]);
    let first = server.create(json!({ "volumes": volumes, "secrets": [{ "KEY": "s" }] })).await;
    server.exec(&first, "echo one > /data/file; echo mine > own").await;
    let twin = server.post(&first, "fork", json!({ "name": "twin" })).await.expect(200);
    assert_eq!(twin["volumes"][0]["mountPath"], "/data");
    assert_eq!(server.exec("twin", "echo $KEY; cat /data/file own").await, format!("{placeholder}\none\nmine\n"));
    // The volume is the same one, the files are not; each has its secrets for itself.
    server.exec("twin", "echo two > /data/file; echo other > own").await;
    assert_eq!(server.exec(&first, "cat /data/file own").await, "two\nmine\n");
    server.call("PUT", &format!("/api/sandbox/{first}/secrets"), json!({ "secrets": [] })).await.expect(200);
    assert_eq!(server.exec(&first, "echo $KEY").await, "\n");
    assert_eq!(server.exec("twin", "echo $KEY").await, format!("{placeholder}\n"));
    server.call("DELETE", "/api/sandbox/twin", Value::Null).await.expect(200);
    let path = format!("/api/volumes/{}", volume["id"].as_str().unwrap());
    server.call("DELETE", &path, Value::Null).await.error(409, "VOLUME_IN_USE");
    assert_eq!(server.exec(&first, "cat /data/file").await, "two\n");
}

#[tokio::test]
async fn a_volume_is_mounted_for_root_too() {
    let server = Server::new().await;
    if !mounts(&server) || !rustix::process::geteuid().is_root() {
        return;
    }
    server.call("POST", "/api/volumes", json!({ "name": "v" })).await.expect(200);
    let volumes = json!([{ "volumeId": "v", "mountPath": "/data" }]);
    let root = server.create(json!({ "user": "root", "volumes": volumes })).await;
    let user = server.create(json!({ "volumes": volumes })).await;
    server.exec(&user, "echo user >/data/user").await;
    server.exec(&root, "id -u | grep -qx 0 && cat /data/user && echo root >/data/root && mkdir /data/folder").await;
    assert_eq!(server.exec(&user, "cat /data/root; rm /data/root; ls /data").await, "root\nfolder\nuser\n");
    // Neither programs of another user nor devices come through a volume.
    let options = server.exec(&user, "grep ' /data ' /proc/mounts").await;
    assert!(options.contains("nosuid") && options.contains("nodev"), "{options}");
}

#[tokio::test]
async fn the_process_runtime_says_that_it_mounts_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path(), &["--runtime", "process"]).await;
    server.call("POST", "/api/volumes", json!({ "name": "v" })).await.expect(200);
    let body = json!({ "volumes": [{ "volumeId": "v", "mountPath": "/data" }] });
    server.call("POST", "/api/sandbox", body).await.error(400, "UNSUPPORTED_BY_RUNTIME");
}

#[tokio::test]
async fn keys_outlive_the_server_and_are_stored_as_digests() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::open(dir.path(), &[]).await;
    let body = json!({ "name": "k", "permissions": ["read:volumes"] });
    let key = server.call("POST", "/api/api-keys", body).await.expect(201)["value"].as_str().unwrap().to_owned();
    let id = server.create(json!({})).await;
    server.kill().await;
    let stored = std::fs::read(dir.path().join("state.redb")).unwrap();
    assert!(!stored.windows(key.len()).any(|bytes| bytes == key.as_bytes()));
    let server = Server::open(dir.path(), &[]).await;
    let bearer = format!("Bearer {key}");
    let headers = [("authorization", bearer.as_str())];
    server.anonymous("GET", "/api/volumes", &headers).await.expect(200);
    server.anonymous("POST", "/api/volumes", &headers).await.error(403, "FORBIDDEN");
    server.anonymous("GET", &format!("/api/sandbox/{id}/signing-key"), &headers).await.error(403, "FORBIDDEN");
    server.anonymous("GET", &format!("/toolbox/{id}/work-dir"), &headers).await.error(401, "UNAUTHORIZED");
    server.call("DELETE", "/api/api-keys/local/k", Value::Null).await.expect(204);
    server.anonymous("GET", "/api/volumes", &headers).await.error(401, "UNAUTHORIZED");
}

/// Returns when so many sandboxes wait in the only pool.
async fn filled(server: &Server, size: i64) -> Value {
    let filled = async {
        loop {
            let pools = server.call("GET", "/api/warm-pools", Value::Null).await.expect(200);
            if pools[0]["currentSize"] == size {
                return pools[0].clone();
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, filled).await.expect("the pool was not filled")
}

async fn ids(server: &Server, query: &str) -> Vec<String> {
    let list = server.call("GET", &format!("/api/sandbox{query}"), Value::Null).await.expect(200);
    let items = list["items"].as_array().unwrap();
    items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_warm_pool_hands_its_sandboxes_over() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::open(dir.path(), &[]).await;
    server.call("POST", "/api/secret", json!({ "name": "s", "value": "v" })).await.expect(201);
    let pool = server.call("POST", "/api/warm-pools", json!({ "snapshot": "host", "pool": 1 })).await.expect(201);
    assert_eq!(filled(&server, 1).await["id"], pool["id"]);
    assert!(ids(&server, "").await.is_empty());
    let waiting = ids(&server, "?includeWarm=true").await;
    assert_eq!(waiting.len(), 1);

    let body = json!({
        "name": "mine", "labels": { "a": "b" }, "env": { "A": "1" }, "secrets": [{ "KEY": "s" }],
        "autoStopInterval": 7, "public": true,
    });
    let made = server.call("POST", "/api/sandbox", body).await.expect(200);
    assert_eq!(made["id"], waiting[0], "it was waiting");
    for (field, wanted) in [("name", json!("mine")), ("autoStopInterval", json!(7)), ("autoDeleteInterval", json!(-1))]
    {
        assert_eq!(made[field], wanted, "{field}");
    }
    assert_eq!((&made["labels"]["a"], &made["env"]["A"], &made["public"]), (&json!("b"), &json!("1"), &json!(true)));
    assert!(made.get("warmPoolId").is_none());
    let shown = server.exec("mine", "echo $A $KEY").await;
    assert!(shown.starts_with("1 dtn_secret_"), "{shown}");
    if mounts(&server) {
        let named = server.exec("mine", "hostname; cat /etc/hostname; getent hosts mine | tr -s ' '").await;
        assert_eq!(named, "mine\nmine\n127.0.1.1 mine\n");
    }
    // Another one takes its place, and what does not fit is made anew.
    filled(&server, 1).await;
    let waiting = ids(&server, "?includeWarm=true").await;
    let blocked = if mounts(&server) { json!({ "networkBlockAll": true }) } else { json!({ "target": "elsewhere" }) };
    let other = server.create(blocked).await;
    assert!(!waiting.contains(&other));
    server.call("POST", "/api/sandbox", json!({ "name": "mine" })).await.error(409, "SANDBOX_NAME_TAKEN");
    filled(&server, 1).await;

    server.kill().await;
    let server = Server::open(dir.path(), &[]).await;
    filled(&server, 1).await;
    assert_eq!(server.get("mine").await.expect(200)["state"], "stopped");
    let path = format!("/api/warm-pools/{}", pool["id"].as_str().unwrap());
    server.call("PATCH", &path, json!({ "pool": 0 })).await.expect(200);
    filled(&server, 0).await;
    server.call("DELETE", &path, Value::Null).await.expect(204);
    let emptied = async {
        // What waited is on its way out of the list.
        while ids(&server, "?includeWarm=true").await.len() != 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, emptied).await.expect("what waited stays");
}
