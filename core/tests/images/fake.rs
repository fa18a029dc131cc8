//! A server that takes contexts, and builds what it is told to.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Json;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use daytona_core::{Config, Context, Daytona, Image};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};

/// A piece of a log, or its end: orderly or not.
pub(crate) enum Piece {
    Text(&'static str),
    Break,
}

#[derive(Default)]
pub(crate) struct Seen {
    /// Objects by their keys.
    pub(crate) objects: BTreeMap<String, Vec<u8>>,
    /// Multipart uploads under way, and their parts by number.
    pub(crate) uploads: BTreeMap<String, BTreeMap<u32, Vec<u8>>>,
    /// Requests to the storage: `PUT part`.
    pub(crate) requests: Vec<String>,
    /// Bodies of `POST /snapshots` and `POST /sandbox`.
    pub(crate) created: Vec<Value>,
    /// Requests for a log, whether they are for all that comes.
    pub(crate) logs: Vec<bool>,
    /// Answers to requests to the storage in the place of what it would say, by what is asked.
    pub(crate) refuse: HashMap<&'static str, StatusCode>,
    /// Requests to the storage that are answered with 503, once each.
    pub(crate) busy: Vec<&'static str>,
    /// Parts on their way, and most of them at once.
    pub(crate) under_way: (usize, usize),
    /// Where the storage is, if not here.
    pub(crate) storage: Option<String>,
    /// Requests for the state of what is built.
    pub(crate) looks: usize,
}

pub(crate) struct Fake {
    pub(crate) url: String,
    seen: Mutex<Seen>,
    /// The states of what is built; the last one stays.
    states: Mutex<Vec<&'static str>>,
    /// Logs, one a request; `None` ends the answer in order.
    logs: Mutex<Vec<mpsc::UnboundedReceiver<Piece>>>,
    /// Something was asked of the storage.
    pub(crate) asked: Notify,
    /// Parts are not answered.
    pub(crate) stuck: std::sync::atomic::AtomicBool,
}

impl Fake {
    pub(crate) async fn start(states: &[&'static str]) -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let fake = Arc::new(Self {
            url: format!("http://{}/api", listener.local_addr().unwrap()),
            seen: Mutex::default(),
            states: Mutex::new(states.to_vec()),
            logs: Mutex::default(),
            asked: Notify::new(),
            stuck: false.into(),
        });
        let routes = Router::new()
            .route("/api/object-storage/push-access", get(access))
            .route("/api/snapshots", post(create))
            .route("/api/snapshots/{id}", get(look))
            .route("/api/snapshots/{id}/build-logs-url", get(log_url))
            .route("/api/sandbox", post(create))
            .route("/api/sandbox/{id}", get(look))
            .route("/api/sandbox/{id}/build-logs-url", get(log_url))
            .route("/log", get(log))
            .route("/storage/contexts/", any(list))
            .route("/storage/contexts/{*key}", any(object))
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(Arc::clone(&fake));
        tokio::spawn(async { axum::serve(listener, routes).await.unwrap() });
        fake
    }

    pub(crate) fn client(&self) -> Daytona {
        let config = Config {
            api_key: Some("key".into()),
            api_url: Some(self.url.clone()),
            environment: Some(HashMap::new().into_iter().collect()),
            ..Config::default()
        };
        Daytona::new(&config).unwrap()
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    /// The next log that is asked for.
    pub(crate) fn add_log(&self) -> mpsc::UnboundedSender<Piece> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.logs.lock().unwrap().push(receiver);
        sender
    }

    pub(crate) fn set_states(&self, states: &[&'static str]) {
        *self.states.lock().unwrap() = states.to_vec();
    }

    fn state(&self) -> &'static str {
        let mut states = self.states.lock().unwrap();
        if states.len() > 1 { states.remove(0) } else { states[0] }
    }

    fn described(&self) -> Json<Value> {
        let state = self.state();
        let reason = if state.contains("fail") { json!("RUN false: exit code 1") } else { json!(null) };
        Json(
            json!({"id": "b1", "name": "mine", "state": state, "errorReason": reason, "toolboxProxyUrl": "http://none"}),
        )
    }
}

type Shared = State<Arc<Fake>>;

async fn access(State(fake): Shared) -> Json<Value> {
    let storage = fake.seen().storage.clone().unwrap_or_else(|| fake.url.replace("/api", "/storage"));
    Json(json!({
        "accessKey": "access", "secret": "very secret", "sessionToken": "session", "organizationId": "org",
        "storageUrl": storage, "bucket": "contexts", "region": "here",
    }))
}

async fn create(State(fake): Shared, Json(body): Json<Value>) -> Json<Value> {
    fake.seen().created.push(body);
    fake.described()
}

async fn look(State(fake): Shared) -> Json<Value> {
    fake.seen().looks += 1;
    fake.described()
}

async fn log_url(State(fake): Shared) -> Json<Value> {
    Json(json!({"url": fake.url.replace("/api", "/log")}))
}

async fn log(State(fake): Shared, Query(query): Query<HashMap<String, String>>, headers: HeaderMap) -> Response {
    assert_eq!(headers["authorization"], "Bearer key");
    let follow = query.get("follow").is_some_and(|follow| follow == "true");
    fake.seen().logs.push(follow);
    if !follow {
        return "one\ntwo\nRUN false\n".into_response();
    }
    let log = fake.logs.lock().unwrap().remove(0);
    let pieces = futures_util::stream::unfold(log, |mut log| async move {
        let piece = match log.recv().await? {
            Piece::Text(text) => Ok(Bytes::from(text)),
            Piece::Break => Err(std::io::Error::other("broken")),
        };
        Some((piece, log))
    });
    Body::from_stream(pieces.boxed()).into_response()
}

/// What every request to the storage has to carry, and what none may.
fn check(query: &HashMap<String, String>, headers: &HeaderMap) {
    assert_eq!(query["X-Amz-Security-Token"], "session");
    assert!(query["X-Amz-Credential"].starts_with("access/") && query["X-Amz-Credential"].contains("/here/s3/"));
    assert_eq!(query["X-Amz-Signature"].len(), 64);
    assert!(!headers.contains_key("authorization") && !headers.contains_key("x-daytona-source"), "{headers:?}");
}

async fn list(State(fake): Shared, Query(query): Query<HashMap<String, String>>, headers: HeaderMap) -> Response {
    check(&query, &headers);
    fake.seen().requests.push(format!("LIST {}", query["prefix"]));
    let found = fake.seen().objects.keys().find(|key| key.starts_with(&query["prefix"])).cloned();
    let contents = found.map(|key| format!("<Contents><Key>{key}</Key><Size>1</Size></Contents>")).unwrap_or_default();
    format!(
        "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>contexts</Name>\
         <MaxKeys>1</MaxKeys><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>"
    )
    .into_response()
}

async fn object(
    State(fake): Shared,
    method: Method,
    Path(key): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    check(&query, &headers);
    let part = query.get("partNumber").map(|number| number.parse::<u32>().unwrap());
    let what = match (method.as_str(), part, query.contains_key("uploads"), query.contains_key("uploadId")) {
        ("HEAD", ..) => "HEAD",
        ("PUT", None, ..) => "PUT",
        ("PUT", Some(_), _, true) => "PUT part",
        ("POST", _, true, _) => "BEGIN",
        ("POST", _, false, true) => "COMPLETE",
        ("DELETE", _, _, true) => "ABORT",
        other => panic!("{other:?}"),
    };
    {
        let mut seen = fake.seen();
        seen.requests.push(what.to_owned());
        if let Some(status) = seen.refuse.get(what) {
            let text = "<Error><Code>AccessDenied</Code><Message>not for you</Message></Error>";
            return (*status, text).into_response();
        }
        if let Some(at) = seen.busy.iter().position(|busy| *busy == what) {
            seen.busy.remove(at);
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        if what == "PUT part" {
            let (now, most) = seen.under_way;
            seen.under_way = (now + 1, most.max(now + 1));
        }
    }
    fake.asked.notify_one();
    if what == "PUT part" && fake.stuck.load(std::sync::atomic::Ordering::SeqCst) {
        std::future::pending::<()>().await;
    }
    let mut seen = fake.seen();
    match what {
        "HEAD" if seen.objects.contains_key(&key) => StatusCode::OK.into_response(),
        "HEAD" => StatusCode::NOT_FOUND.into_response(),
        "PUT" => {
            seen.objects.insert(key, body.to_vec());
            StatusCode::OK.into_response()
        }
        "BEGIN" => {
            seen.uploads.insert("u1".to_owned(), BTreeMap::new());
            format!(
                "<?xml version=\"1.0\"?><InitiateMultipartUploadResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                 <Bucket>contexts</Bucket><Key>{key}</Key><UploadId>u1</UploadId></InitiateMultipartUploadResult>"
            )
            .into_response()
        }
        "PUT part" => {
            let number = part.unwrap();
            seen.under_way.0 -= 1;
            seen.uploads.get_mut(&query["uploadId"]).expect("it has begun").insert(number, body.to_vec());
            ([("etag", format!("\"e{number}\""))], "").into_response()
        }
        "COMPLETE" => {
            let parts = seen.uploads.remove(&query["uploadId"]).expect("it has begun");
            let named = String::from_utf8(body.to_vec()).unwrap();
            for number in parts.keys() {
                assert!(named.contains(&format!("e{number}")), "{named}");
            }
            let sizes: Vec<_> = parts.values().map(Vec::len).collect();
            assert!(sizes[..sizes.len() - 1].iter().all(|size| *size == sizes[0] && *size >= 5 << 20), "{sizes:?}");
            seen.objects.insert(key, parts.into_values().flatten().collect());
            "<CompleteMultipartUploadResult/>".into_response()
        }
        _ => {
            seen.uploads.remove(&query["uploadId"]);
            StatusCode::NO_CONTENT.into_response()
        }
    }
}

/// An image that copies one local path.
pub(crate) fn copies(path: &std::path::Path) -> Image {
    let source_path = path.to_str().unwrap().to_owned();
    let context = Context { archive_path: source_path.clone(), source_path, context_dir: None };
    Image { dockerfile: "FROM x\nCOPY . .\n".to_owned(), context_list: vec![context] }
}
