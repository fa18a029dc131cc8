//! What a sandbox can become besides started and stopped.

use serde_json::{Value, json};

use crate::support::{LIMIT, Server};

impl Server {
    /// A POST to a sandbox.
    pub(crate) async fn post(&self, id: &str, what: &str, body: Value) -> crate::support::Answer {
        self.call("POST", &format!("/api/sandbox/{id}/{what}"), body).await
    }

    /// Stops it, or whatever else changes its state, up to this one.
    pub(crate) async fn becomes(&self, id: &str, what: &str, state: &str) -> Value {
        let answer = self.post(id, what, Value::Null).await.expect(200);
        assert_eq!(answer["state"], state, "{answer}");
        answer
    }

    /// Whether something holds here: `freeze`, `cpu`, `memory`.
    pub(crate) async fn limit_holds(&self, name: &str) -> bool {
        let config = self.call("GET", "/api/config", Value::Null).await.expect(200);
        config["runtime"]["limits"][name]["state"] == "enforced"
    }
}

#[tokio::test]
async fn a_paused_sandbox_keeps_its_memory() {
    let server = Server::new().await;
    let id = server.create(json!({"name": "p"})).await;
    if !server.limit_holds("freeze").await {
        for what in ["pause", "fork"] {
            let refused = server.post("p", what, Value::Null).await.error(501, "UNSUPPORTED_BY_RUNTIME");
            assert!(refused["message"].as_str().unwrap().contains("stop the sandbox"), "{refused}");
        }
        return;
    }
    server.exec(&id, "(echo up > up; while :; do date +%s%N > tick; done) >/dev/null 2>&1 </dev/null &").await;
    server.wait_for_file(&id, "up").await;
    let long = server.try_exec(&id, "touch begun; while [ ! -e go ]; do sleep 0.02; done; echo went on");
    let rest = async {
        server.wait_for_file(&id, "begun").await;
        let paused = server.becomes("p", "pause", "paused").await;
        assert_eq!(paused["desiredState"], "paused");
        let refused = server.try_exec(&id, "true").await.error(409, "SANDBOX_NOT_RUNNING");
        assert!(refused["message"].as_str().unwrap().contains("is paused; start it first"), "{refused}");
        server.post("p", "pause", Value::Null).await.error(400, "SANDBOX_STATE_INVALID");
        server.post("p", "archive", Value::Null).await.error(400, "SANDBOX_STATE_INVALID");
        server.becomes("p", "start", "started").await;
        server.exec(&id, "touch go").await;
    };
    let (answer, ()) = tokio::join!(long, rest);
    assert_eq!(answer.expect(200)["result"], "went on\n", "the request under way was answered");
    // What ran runs on.
    server.exec(&id, "rm -f tick; while [ ! -s tick ]; do sleep 0.02; done").await;
    server.becomes("p", "pause", "paused").await;
    server.becomes("p", "stop", "stopped").await;
    server.becomes("p", "start", "started").await;
    server.becomes("p", "pause", "paused").await;
    server.call("DELETE", "/api/sandbox/p", Value::Null).await.expect(200);
}

#[tokio::test]
async fn an_archived_sandbox_comes_back_whole() {
    let server = Server::new().await;
    let id = server.create(json!({"name": "a"})).await;
    let files = "umask 027; mkdir -p d/shut; echo one > d/file; ln d/file same; ln -s d/file link; echo x > 'odd \
                 name'; touch -d 2001-02-03T04:05:06.789 d/file; echo in > d/shut/in; chmod 100 d/shut; \
                 truncate -s 1M hole";
    server.exec(&id, files).await;
    let isolated = server.ready["runtime"] == "ns";
    if isolated {
        server.exec(&id, "echo kept > /tmp/kept").await;
    }
    let refused = server.post("a", "archive", Value::Null).await.error(400, "SANDBOX_STATE_INVALID");
    assert!(refused["message"].as_str().unwrap().contains("stop it first"), "{refused}");
    server.becomes("a", "stop", "stopped").await;
    let archived = server.becomes("a", "archive", "archived").await;
    assert_eq!((&archived["desiredState"], &archived["backupState"]), (&json!("archived"), &json!("Completed")));
    assert!(!server.dir.join("sandboxes").join(&id).exists());
    let archive = server.dir.join("archives").join(format!("{id}.tar.zst"));
    assert!(archive.exists());
    server.try_exec(&id, "true").await.error(409, "SANDBOX_NOT_RUNNING");
    server.post("a", "stop", Value::Null).await.error(400, "SANDBOX_STATE_INVALID");
    server.becomes("a", "start", "started").await;
    assert!(!archive.exists());
    let look = "cat same 'odd name'; readlink link; stat -c '%a %Y' d/file; stat -c %a d/shut; chmod 700 d/shut; cat \
                d/shut/in; stat -c %s hole; [ d/file -ef same ] && echo linked";
    let seen = server.exec(&id, look).await;
    assert_eq!(seen, "one\nx\nd/file\n640 981173106\n100\nin\n1048576\nlinked\n");
    if isolated {
        assert_eq!(server.exec(&id, "cat /tmp/kept").await, "kept\n");
    }
    server.becomes("a", "stop", "stopped").await;
    server.becomes("a", "archive", "archived").await;
    server.call("DELETE", "/api/sandbox/a", Value::Null).await.expect(200);
    assert!(!archive.exists());
    server.create(json!({"name": "e", "autoDeleteInterval": 0})).await;
    server.post("e", "archive", Value::Null).await.error(400, "SANDBOX_STATE_INVALID");
}

#[tokio::test]
async fn an_archive_that_cannot_be_read_stays() {
    let server = Server::new().await;
    let id = server.create(json!({})).await;
    server.exec(&id, "echo kept > kept").await;
    server.becomes(&id, "stop", "stopped").await;
    server.becomes(&id, "archive", "archived").await;
    let archive = server.dir.join("archives").join(format!("{id}.tar.zst"));
    let whole = std::fs::read(&archive).unwrap();
    std::fs::write(&archive, &whole[..whole.len() / 2]).unwrap();
    server.post(&id, "start", Value::Null).await.error(400, "SANDBOX_START_FAILED");
    let failed = server.get(&id).await.expect(200);
    assert_eq!(failed["state"], "archived");
    assert!(failed["errorReason"].as_str().unwrap().contains("could not be restored"), "{failed}");
    std::fs::write(&archive, whole).unwrap();
    server.becomes(&id, "start", "started").await;
    assert_eq!(server.exec(&id, "cat kept").await, "kept\n");
}

#[tokio::test]
async fn what_failed_for_a_while_is_recovered() {
    let server = Server::new().await;
    server.create(json!({"name": "fine"})).await;
    let refused = server.post("fine", "recover", Value::Null).await.error(400, "SANDBOX_STATE_INVALID");
    assert!(refused["message"].as_str().unwrap().contains("cannot be recovered"), "{refused}");
    server.call("DELETE", "/api/sandbox/fine", Value::Null).await.expect(200);
    // A file where the folder of the sandboxes has to be.
    let folder = server.dir.join("sandboxes");
    std::fs::remove_dir(&folder).unwrap();
    std::fs::write(&folder, "").unwrap();
    server.call("POST", "/api/sandbox", json!({"name": "r"})).await.error(400, "SANDBOX_START_FAILED");
    let failed = server.get("r").await.expect(200);
    assert_eq!((&failed["state"], &failed["recoverable"]), (&json!("error"), &json!(true)), "{failed}");
    let refused = server.post("r", "start", Value::Null).await.error(400, "SANDBOX_STATE_INVALID");
    assert!(refused["message"].as_str().unwrap().contains("recover it first"), "{refused}");
    let found = server.call("GET", "/api/sandbox?isRecoverable=true", Value::Null).await.expect(200);
    assert_eq!(found["items"][0]["name"], "r");
    server.post("r", "recover", Value::Null).await.error(400, "SANDBOX_START_FAILED");
    assert_eq!(server.get("r").await.expect(200)["recoverable"], true, "it may be tried again");
    std::fs::remove_file(&folder).unwrap();
    server.becomes("r", "recover?skipStart=true", "stopped").await;
    server.becomes("r", "start", "started").await;
    assert_eq!(server.get("r").await.expect(200)["recoverable"], false);
}

#[tokio::test]
async fn limits_change_by_the_rules() {
    let server = Server::new().await;
    let id = server.create(json!({"name": "r"})).await;
    for bad in [json!({}), json!({"cpu": 0}), json!({"memory": -1}), json!({"disk": 0})] {
        server.post("r", "resize", bad).await.error(400, "VALIDATION_FAILED");
    }
    if !(server.limit_holds("cpu").await && server.limit_holds("memory").await) {
        let refused = server.post("r", "resize", json!({"cpu": 2})).await.error(501, "UNSUPPORTED_BY_RUNTIME");
        assert!(refused["message"].as_str().unwrap().contains("run the server"), "{refused}");
        return;
    }
    let before = server.get("r").await.expect(200);
    let sizes = |of: &Value| {
        let size = |name: &str| of[name].as_u64().unwrap();
        (size("cpu"), size("memory"), size("disk"))
    };
    let (cpu, memory, disk) = sizes(&before);
    let bigger = json!({"cpu": cpu + 1, "memory": memory + 1});
    let resized = server.post("r", "resize", bigger).await.expect(200);
    assert_eq!((sizes(&resized), &resized["state"]), ((cpu + 1, memory + 1, disk), &json!("started")));
    assert_eq!(server.exec(&id, "echo runs").await, "runs\n");
    for (bad, why) in [
        (json!({"cpu": cpu}), "stop it first"),
        (json!({"memory": memory}), "stop it first"),
        (json!({"disk": disk + 1}), "stop it first"),
    ] {
        let refused = server.post("r", "resize", bad).await.error(400, "VALIDATION_FAILED");
        assert!(refused["message"].as_str().unwrap().contains(why), "{refused}");
    }
    server.becomes("r", "stop", "stopped").await;
    let all = json!({"cpu": cpu, "memory": memory, "disk": disk + 2});
    let resized = server.post("r", "resize", all).await.expect(200);
    assert_eq!((sizes(&resized), &resized["state"]), ((cpu, memory, disk + 2), &json!("stopped")));
    server.post("r", "resize", json!({"disk": disk})).await.error(400, "VALIDATION_FAILED");
    server.becomes("r", "start", "started").await;
    assert_eq!(sizes(&server.get("r").await.expect(200)), (cpu, memory, disk + 2));
}

#[tokio::test]
async fn a_fork_is_a_sandbox_of_its_own() {
    let server = Server::new().await;
    let id = server.create(json!({"name": "a", "env": {"KEPT": "yes"}, "labels": {"l": "1"}, "ttlMinutes": 60})).await;
    if !server.limit_holds("freeze").await {
        return;
    }
    server.exec(&id, "echo first > file; mkdir d; ln file d/same").await;
    let fork = server.post("a", "fork", json!({"name": "b"})).await.expect(200);
    assert_eq!((&fork["state"], &fork["name"]), (&json!("started"), &json!("b")));
    assert_eq!((&fork["labels"]["l"], &fork["env"]["KEPT"]), (&json!("1"), &json!("yes")));
    assert!(fork.get("autoDestroyAt").is_none());
    assert_eq!(server.get("a").await.expect(200)["state"], "started");
    server.exec(&id, "echo changed > file").await;
    let seen = server.exec("b", "cat file; [ file -ef d/same ] && echo $KEPT; cat /etc/hostname; hostname").await;
    assert_eq!(seen, "first\nyes\nb\nb\n");
    server.exec("b", "echo other > file").await;
    assert_eq!(server.exec(&id, "cat file").await, "changed\n");

    server.post("a", "fork", json!({"name": "b"})).await.error(409, "SANDBOX_NAME_TAKEN");
    let unnamed = server.post("b", "fork", Value::Null).await.expect(200);
    let grandchild = unnamed["id"].as_str().unwrap();
    assert_eq!(unnamed["name"], grandchild);
    let get = async |path: &str| server.call("GET", &format!("/api/sandbox/{path}"), Value::Null).await.expect(200);
    let names = |list: Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(get("a/forks").await), ["b"]);
    assert_eq!(get("b/parent").await["id"], id);
    assert_eq!(names(get(&format!("{grandchild}/ancestors")).await), ["b", "a"]);
    assert_eq!(get("a/ancestors").await, json!([]));
    server.call("GET", "/api/sandbox/a/parent", Value::Null).await.error(404, "SANDBOX_NOT_FORKED");

    let blocked = server.call("DELETE", "/api/sandbox/a", Value::Null).await.error(409, "SANDBOX_HAS_FORKS");
    assert!(blocked["message"].as_str().unwrap().contains("delete b first"), "{blocked}");
    for name in [grandchild, "b", "a"] {
        server.call("DELETE", &format!("/api/sandbox/{name}"), Value::Null).await.expect(200);
    }
    server.create(json!({"name": "s"})).await;
    server.becomes("s", "stop", "stopped").await;
    server.post("s", "fork", Value::Null).await.error(400, "SANDBOX_STATE_INVALID");
    assert_eq!(std::fs::read_dir(server.dir.join("sandboxes")).unwrap().count(), 1);
}

#[tokio::test]
async fn linked_sandboxes_go_together() {
    let server = Server::new().await;
    let id = server.create(json!({"name": "main"})).await;
    let refused = server.call("POST", "/api/sandbox", json!({"linkedSandbox": "main"})).await;
    assert!(refused.error(400, "VALIDATION_FAILED")["message"].as_str().unwrap().contains("ephemeral"));
    let none = json!({"linkedSandbox": "nobody", "autoDeleteInterval": 0});
    server.call("POST", "/api/sandbox", none).await.error(404, "SANDBOX_NOT_FOUND");
    let helper = server.create(json!({"name": "helper", "linkedSandbox": "main", "autoDeleteInterval": 0})).await;
    assert_eq!(server.get(&helper).await.expect(200)["linkedSandboxId"], id);
    let chain = json!({"linkedSandbox": "helper", "autoDeleteInterval": 0});
    server.call("POST", "/api/sandbox", chain).await.error(400, "VALIDATION_FAILED");
    server.call("DELETE", "/api/sandbox/main", Value::Null).await.expect(200);
    let gone = async {
        while server.get(&helper).await.status != 404 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, gone).await.expect("the linked sandbox is still there");
}

#[tokio::test]
async fn pausing_and_stopping_by_themselves_exclude_each_other() {
    let server = Server::new().await;
    server.create(json!({"name": "s"})).await;
    if !server.limit_holds("freeze").await {
        let refused = server.post("s", "autopause/5", Value::Null).await.error(400, "UNSUPPORTED_BY_RUNTIME");
        assert!(refused["message"].as_str().unwrap().contains("autoStopInterval"), "{refused}");
        return;
    }
    server.post("s", "autopause/5", Value::Null).await.error(400, "VALIDATION_FAILED");
    server.post("s", "autostop/0", Value::Null).await.expect(200);
    let set = server.post("s", "autopause/5", Value::Null).await.expect(200);
    assert_eq!((&set["autoPauseInterval"], &set["autoStopInterval"]), (&json!(5), &json!(0)));
    server.post("s", "autostop/5", Value::Null).await.error(400, "VALIDATION_FAILED");
    server.post("s", "autodelete/0", Value::Null).await.error(400, "VALIDATION_FAILED");
    let created = server.call("POST", "/api/sandbox", json!({"autoPauseInterval": 5})).await.expect(200);
    assert_eq!((&created["autoPauseInterval"], &created["autoStopInterval"]), (&json!(5), &json!(0)));
    for bad in [
        json!({"autoPauseInterval": 5, "autoStopInterval": 5}),
        json!({"autoPauseInterval": 5, "autoDeleteInterval": 0}),
        json!({"autoPauseInterval": -1}),
    ] {
        server.call("POST", "/api/sandbox", bad).await.error(400, "VALIDATION_FAILED");
    }
}

#[tokio::test]
async fn the_list_by_page_numbers() {
    let server = Server::new().await;
    for name in ["one", "two", "three"] {
        server.create(json!({"name": name, "labels": {"n": name}})).await;
    }
    let list = async |query: &str| {
        let path = format!("/api/sandbox/paginated?{query}");
        server.call("GET", &path, Value::Null).await.expect(200)
    };
    let names = |page: &Value| -> Vec<String> {
        page["items"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    };
    let page = list("limit=2&page=2&sort=name&order=asc").await;
    assert_eq!((names(&page), &page["total"], &page["totalPages"]), (vec!["two".to_owned()], &json!(3), &json!(2)));
    assert_eq!(names(&list("name=WO").await), ["two"], "any part of the name");
    assert_eq!(names(&list("labels=%7B%22n%22:%22one%22%7D").await), ["one"]);
    assert_eq!(names(&list("states=stopped").await), [""; 0]);
    assert_eq!(names(&list("page=9").await), [""; 0]);
    assert_eq!(names(&list("sort=createdAt").await), ["three", "two", "one"]);
    for bad in ["page=0", "limit=201", "sort=cpu", "order=up", "states=flying"] {
        let path = format!("/api/sandbox/paginated?{bad}");
        server.call("GET", &path, Value::Null).await.error(400, "VALIDATION_FAILED");
    }
    server.call("POST", "/api/sandbox/one/backup", Value::Null).await.expect(200);
}
