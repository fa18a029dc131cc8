//! What a call has made that was called off before its caller had it. The server answers late, as one far away does,
//! and goes on when a client has gone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing};
use daytona_core::{
    Config, CreateOptions, CreateParams, CreateSnapshotOptions, CreateSnapshotParams, Daytona, ErrorKind, Sandbox,
};
use serde_json::{Value, json};
use tokio::sync::{Mutex, watch};
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(20);

/// The end of a program takes all that it has begun: one test at a time.
static ONE: Mutex<()> = Mutex::const_new(());

/// What there is, by path: `sandbox/1`.
type Things = BTreeMap<String, Value>;

struct Fake {
    things: watch::Sender<Things>,
    /// All names that were given to sandboxes.
    names: watch::Sender<Vec<String>>,
    /// Requests that make something and are not answered yet.
    asked: watch::Sender<usize>,
    answers: watch::Sender<Answers>,
    state: watch::Sender<&'static str>,
    deleted: watch::Sender<usize>,
    url: String,
}

#[derive(Clone, Copy, PartialEq)]
enum Answers {
    Late,
    Now,
    Never,
}

impl Fake {
    async fn start(answers: Answers) -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let fake = Arc::new(Self {
            things: watch::Sender::default(),
            names: watch::Sender::default(),
            asked: watch::Sender::default(),
            answers: watch::Sender::new(answers),
            state: watch::Sender::new("started"),
            deleted: watch::Sender::default(),
            url: format!("http://{}/api", listener.local_addr().unwrap()),
        });
        let routes = Router::new().route("/api/{*path}", routing::any(answer)).with_state(Arc::clone(&fake));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        fake
    }

    fn client(&self) -> Daytona {
        let config = Config { api_key: Some("key".into()), api_url: Some(self.url.clone()), ..Config::default() };
        Daytona::new(&config).unwrap()
    }

    /// Makes something and tells it late, whatever becomes of the client.
    async fn make(self: Arc<Self>, kind: &'static str, name: String, more: Value) -> Response {
        let (tell, told) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            let mut data = more;
            let number = self.things.borrow().len() + self.deleted.borrow().to_owned() + 1;
            let id = format!("{kind}-{number}");
            data["id"] = json!(id);
            data["name"] = json!(if name.is_empty() { id.clone() } else { name.clone() });
            self.things.send_modify(|things| drop(things.insert(format!("{kind}/{id}"), data.clone())));
            if kind == "sandbox" {
                self.names.send_modify(|names| names.push(name));
            }
            self.asked.send_modify(|asked| *asked += 1);
            let _ = self.answers.subscribe().wait_for(|answers| *answers == Answers::Now).await;
            data["state"] = self.state_of(kind);
            let _ = tell.send(data);
        });
        match told.await {
            Ok(data) => Json(data).into_response(),
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }

    fn state_of(&self, kind: &str) -> Value {
        match kind {
            "snapshots" => json!("active"),
            "volumes" => json!("ready"),
            _ => json!(*self.state.borrow()),
        }
    }

    async fn until_asked(&self, count: usize) {
        until(&self.asked, |asked| *asked >= count).await;
    }

    async fn until_empty(&self) {
        until(&self.things, Things::is_empty).await;
    }
}

async fn until<T>(value: &watch::Sender<T>, is: impl FnMut(&T) -> bool) {
    let mut receiver = value.subscribe();
    let waited = timeout(LIMIT, receiver.wait_for(is)).await;
    assert!(waited.is_ok(), "it does not come to that");
}

async fn answer(
    State(fake): State<Arc<Fake>>,
    method: Method,
    uri: Uri,
    Path(path): Path<String>,
    body: axum::body::Bytes,
) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let name = body["name"].as_str().unwrap_or_default().to_owned();
    let parts: Vec<&str> = path.split('/').collect();
    match (method, &parts[..]) {
        (Method::POST, ["sandbox"] | ["sandbox", _, "fork"]) => {
            let toolbox = uri.to_string();
            fake.make("sandbox", name, json!({ "toolboxProxyUrl": toolbox })).await
        }
        (Method::POST, ["sandbox", _, "snapshot"]) => {
            let answer = fake.make("snapshots", name, json!({ "state": "active" })).await;
            if answer.status().is_success() {
                return Json(json!({ "id": "box", "name": "box", "state": "started" })).into_response();
            }
            answer
        }
        (Method::POST, ["volumes"]) => fake.make("volumes", name, json!({})).await,
        (Method::POST, ["snapshots"]) => fake.make("snapshots", name, json!({})).await,
        (Method::GET, ["sandbox", "box"]) => {
            Json(json!({ "id": "box", "name": "box", "state": "started" })).into_response()
        }
        (Method::GET, [kind, id]) => match found(&fake, kind, id) {
            Some(path) => {
                let mut data = fake.things.borrow()[&path].clone();
                data["state"] = fake.state_of(kind);
                Json(data).into_response()
            }
            None => StatusCode::NOT_FOUND.into_response(),
        },
        (Method::DELETE, [kind, id]) => match found(&fake, kind, id) {
            Some(path) => {
                fake.deleted.send_modify(|deleted| *deleted += 1);
                fake.things.send_modify(|things| drop(things.remove(&path)));
                StatusCode::OK.into_response()
            }
            None => StatusCode::NOT_FOUND.into_response(),
        },
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

/// The path of what is called so.
fn found(fake: &Fake, kind: &str, id: &str) -> Option<String> {
    let things = fake.things.borrow();
    let is =
        |path: &str, data: &Value| path.starts_with(&format!("{kind}/")) && (data["id"] == id || data["name"] == id);
    things.iter().find(|(path, data)| is(path, data)).map(|(path, _)| path.clone())
}

fn options(timeout: Option<f64>) -> CreateOptions {
    CreateOptions { timeout, ..CreateOptions::default() }
}

/// Begins a call and drops it when the server has made something and has not answered; answers then.
async fn call_off<T: Send + 'static>(fake: &Arc<Fake>, call: impl Future<Output = T> + Send + 'static) {
    let task = tokio::spawn(call);
    fake.until_asked(1).await;
    task.abort();
    assert!(task.await.is_err());
    fake.answers.send_replace(Answers::Now);
    fake.until_empty().await;
}

async fn sandbox(fake: &Fake) -> Sandbox {
    fake.client().get("box", None).await.unwrap()
}

#[tokio::test]
async fn what_is_made_after_a_call_was_dropped_is_deleted() {
    let _one = ONE.lock().await;
    for name in [None, Some("mine".to_owned())] {
        let fake = Fake::start(Answers::Late).await;
        let client = fake.client();
        let params = CreateParams { name, ..CreateParams::default() };
        call_off(&fake, async move { client.create(params, &options(None)).await }).await;
    }
    let fake = Fake::start(Answers::Late).await;
    let parent = sandbox(&fake).await;
    call_off(&fake, async move { parent.fork(None, None).await }).await;
}

#[tokio::test]
async fn so_are_snapshots_and_volumes() {
    let _one = ONE.lock().await;
    let fake = Fake::start(Answers::Late).await;
    let parent = sandbox(&fake).await;
    call_off(&fake, async move { parent.create_snapshot("mine", None).await }).await;

    let fake = Fake::start(Answers::Late).await;
    let client = fake.client();
    let params = CreateSnapshotParams {
        name: "mine".to_owned(),
        image: Some("debian:12".to_owned().into()),
        ..CreateSnapshotParams::default()
    };
    call_off(&fake, async move { client.snapshot().create(params, &CreateSnapshotOptions::default()).await }).await;

    let fake = Fake::start(Answers::Late).await;
    let client = fake.client();
    call_off(&fake, async move { client.volume().create("mine", None).await }).await;
}

#[tokio::test]
async fn a_sandbox_that_is_dropped_while_it_starts_is_deleted() {
    let _one = ONE.lock().await;
    let fake = Fake::start(Answers::Now).await;
    fake.state.send_replace("creating");
    let client = fake.client();
    let task = tokio::spawn(async move { client.create(CreateParams::default(), &options(None)).await });
    fake.until_asked(1).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    task.abort();
    fake.until_empty().await;

    // Begun and never finished.
    let creation = fake.client().begin_create(CreateParams::default(), &options(None)).await.unwrap();
    assert_eq!(fake.things.borrow().len(), 1);
    drop(creation);
    fake.until_empty().await;

    // Whoever has it, keeps it.
    let creation = fake.client().begin_create(CreateParams::default(), &options(None)).await.unwrap();
    let kept = creation.sandbox().clone();
    drop(creation);
    fake.state.send_replace("started");
    let creation = fake.client().begin_create(CreateParams::default(), &options(None)).await.unwrap();
    let finished = creation.finish().await.unwrap();
    creation.close();
    let made = fake.client().make(CreateParams::default(), &options(None)).await.unwrap();
    let told = made.get().id().to_owned();
    drop(made);
    until(&fake.things, |things| !things.contains_key(&format!("sandbox/{told}"))).await;
    // The answer to that deletion may still be on its way.
    timeout(LIMIT, daytona_core::finish_work()).await.unwrap();
    let left: Vec<_> = fake.things.borrow().keys().cloned().collect();
    assert_eq!(left, [format!("sandbox/{}", kept.id()), format!("sandbox/{}", finished.id())]);
}

#[tokio::test]
async fn a_time_limit_says_what_becomes_of_it() {
    let _one = ONE.lock().await;
    // The id is not known: it is deleted.
    let fake = Fake::start(Answers::Late).await;
    let error = fake.client().create(CreateParams::default(), &options(Some(1.0))).await.err().unwrap();
    assert_eq!((error.kind(), error.sandbox_id()), (ErrorKind::Timeout, None), "{error}");
    assert!(error.to_string().contains("is deleted"), "{error}");
    let error = sandbox(&fake).await.fork(None, Some(1.0)).await.err().unwrap();
    assert!(error.kind() == ErrorKind::Timeout && error.to_string().contains("is deleted"), "{error}");
    fake.answers.send_replace(Answers::Now);
    fake.until_empty().await;

    // The error names it: it stays.
    fake.state.send_replace("creating");
    let error = fake.client().create(CreateParams::default(), &options(Some(1.0))).await.err().unwrap();
    let id = error.sandbox_id().unwrap().to_owned();
    assert!(error.kind() == ErrorKind::Timeout && error.to_string().contains(&format!("get(\"{id}\")")), "{error}");
    let error = sandbox(&fake).await.fork(None, Some(1.0)).await.err().unwrap();
    let fork = error.sandbox_id().unwrap().to_owned();
    assert!(!daytona_core::work_is_left());
    let left: Vec<_> = fake.things.borrow().keys().cloned().collect();
    assert_eq!(left, [format!("sandbox/{id}"), format!("sandbox/{fork}")]);
}

#[tokio::test]
async fn the_end_of_a_program_deletes_what_has_no_answer() {
    let _one = ONE.lock().await;
    let fake = Fake::start(Answers::Never).await;
    let client = fake.client();
    let create = tokio::spawn(async move { client.create(CreateParams::default(), &options(None)).await });
    let parent = sandbox(&fake).await;
    let fork = tokio::spawn(async move { parent.fork(None, None).await });
    fake.until_asked(2).await;
    assert!(daytona_core::work_is_left());
    let ending = tokio::spawn(daytona_core::finish_work());
    // Deleted by the names that were chosen for them.
    fake.until_empty().await;
    timeout(LIMIT, ending).await.unwrap().unwrap();
    // The answers come after all that.
    fake.answers.send_replace(Answers::Now);
    for call in [create, fork] {
        assert!(call.await.unwrap().is_err());
    }
}

#[tokio::test]
async fn the_end_of_a_program_waits_for_the_answer_of_a_name_that_was_given() {
    let _one = ONE.lock().await;
    let fake = Fake::start(Answers::Late).await;
    let client = fake.client();
    let params = CreateParams { name: Some("mine".to_owned()), ..CreateParams::default() };
    let create = tokio::spawn(async move { client.create(params, &options(None)).await });
    fake.until_asked(1).await;
    let ending = tokio::spawn(daytona_core::finish_work());
    tokio::task::yield_now().await;
    assert!(!fake.things.borrow().is_empty());
    fake.answers.send_replace(Answers::Now);
    fake.until_empty().await;
    timeout(LIMIT, ending).await.unwrap().unwrap();
    assert!(create.await.unwrap().is_err());
}

#[tokio::test]
async fn a_name_that_nobody_gave_is_not_seen() {
    let _one = ONE.lock().await;
    let fake = Fake::start(Answers::Now).await;
    let made = fake.client().create(CreateParams::default(), &options(None)).await.unwrap();
    assert_eq!(made.data().name, made.id());
    made.refresh_data(None).await.unwrap();
    assert_eq!(made.data().name, made.id());
    assert_eq!(fake.client().get(made.id(), None).await.unwrap().data().name, made.id());
    let params = CreateParams { name: Some("mine".to_owned()), ..CreateParams::default() };
    let named = fake.client().create(params, &options(None)).await.unwrap();
    assert_eq!(named.data().name, "mine");
    let given = fake.names.borrow().clone();
    assert!(given[0].starts_with("unnamed-") && given[1] == "mine", "{given:?}");
}
