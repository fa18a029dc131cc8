//! Runs the behaviour cases of `tests/cases` against a real local server. Their format is described there.

mod access;
mod calls;
mod code;
mod host;
mod lifecycle;
mod processes;
mod server;
mod services;
mod terminals;
mod values;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use daytona_core::{CreateOptions, Daytona, Error, ErrorKind, ListQuery, Sandbox};
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::{Map, Value, json};
use tokio::runtime::Handle;
use tokio::sync::OnceCell;

use calls::Outcome;
use server::Server;
use values::{Names, Saved, fill, mismatch};

/// Files whose cases are run without isolation too: what they are about is the machine's programs.
const WITHOUT_ISOLATION: [&str; 2] = ["git", "lsp"];

/// What one step may take.
const LIMIT: Duration = Duration::from_secs(60);

type Checked = Result<(), String>;

struct Session {
    handle: Handle,
    server: Server,
    /// Which limits hold on this machine.
    holds: Vec<String>,
    client: Daytona,
    count: AtomicUsize,
}

/// A file of cases and the sandbox they share.
struct File {
    params: Option<Value>,
    with: Value,
    without: Value,
    setup: Value,
    shared: OnceCell<Sandbox>,
}

fn main() {
    let arguments = Arguments::from_args();
    if arguments.list {
        libtest_mimic::run(&arguments, trials(&[])).exit();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads start");
    let sessions = [None, Some("process")].map(|kind| Arc::new(runtime.block_on(Session::start(kind))));
    let conclusion = libtest_mimic::run(&arguments, trials(&sessions));
    for session in sessions {
        runtime.block_on(clean_up(&session.client));
        drop(Arc::into_inner(session).expect("all cases have ended"));
    }
    conclusion.exit();
}

/// The cases, on the first of the sessions, and some on the second.
fn trials(sessions: &[Arc<Session>]) -> Vec<Trial> {
    let mut trials = trials_on("", |_| true, sessions.first());
    trials.extend(trials_on("process/", |file| WITHOUT_ISOLATION.contains(&file), sessions.get(1)));
    trials
}

fn trials_on(prefix: &str, wanted: impl Fn(&str) -> bool, session: Option<&Arc<Session>>) -> Vec<Trial> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases");
    let mut trials = Vec::new();
    for entry in std::fs::read_dir(folder).expect("tests/cases is there") {
        let path = entry.expect("tests/cases is readable").path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a file of cases is readable");
        let mut content: Value = serde_json::from_str(&text).expect("a file of cases is JSON");
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if !wanted(&stem) {
            continue;
        }
        let file = Arc::new(File {
            params: content.get("sandbox").cloned(),
            with: content["with"].clone(),
            without: content["without"].clone(),
            setup: json!({ "steps": content.get("setup").unwrap_or(&json!([])) }),
            shared: OnceCell::new(),
        });
        for case in content["cases"].as_array_mut().expect("a file has cases").drain(..) {
            let name = format!("{prefix}{stem}/{}", case["name"].as_str().expect("a case has a name"));
            let session = session.map(Arc::clone);
            let file = Arc::clone(&file);
            trials.push(Trial::test(name, move || {
                let session = session.ok_or("there is no server")?;
                session.handle.block_on(session.case(&file, &case)).map_err(Failed::from)
            }));
        }
    }
    trials
}

/// Deletes what the cases shared or left.
async fn clean_up(client: &Daytona) {
    let left = client.list(&ListQuery { limit: Some(200), ..ListQuery::default() }, None, None).await;
    for sandbox in left.expect("sandboxes are listed").items {
        let deleted = sandbox.delete(None, true).await;
        deleted
            .or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
            .expect("deleted");
    }
}

impl Session {
    async fn start(runtime: Option<&str>) -> Self {
        let server = Server::start(runtime);
        let holds = calls::limits_that_hold(&server.url, &server.api_key).await;
        let client = calls::client(&server.url, &server.api_key).expect("a client is made");
        Self { handle: Handle::current(), server, holds, client, count: AtomicUsize::new(0) }
    }

    /// Whether the case is about machines like this one.
    fn applies(&self, file: &File, case: &Value) -> bool {
        let holds = |name: &Value| self.holds.iter().any(|held| name == held);
        let mut with = [&file.with, &case["with"]].into_iter().filter_map(Value::as_array).flatten();
        let mut without = [&file.without, &case["without"]].into_iter().filter_map(Value::as_array).flatten();
        with.all(holds) && !without.any(holds)
    }

    async fn case(&self, file: &File, case: &Value) -> Checked {
        if !self.applies(file, case) {
            println!("skipped: this machine has {:?}", self.holds);
            return Ok(());
        }
        let id = format!("r{}x{}", std::process::id(), self.count.fetch_add(1, Ordering::Relaxed));
        let local = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut names = Names::new();
        for (name, value) in [
            ("id", id.as_str()),
            ("dir", &id),
            ("local", &local.path().to_string_lossy()),
            ("api_url", &self.server.url),
            ("api_key", &self.server.api_key),
        ] {
            names.insert(name.to_owned(), Saved::Value(json!(value)));
        }
        let fresh = match case.get("fresh") {
            Some(params) => Some(self.create(&fill(params, &names, false)).await?),
            None => None,
        };
        let sandbox = match (&fresh, &file.params) {
            (Some(fresh), _) => Some(fresh.clone()),
            (None, Some(params)) => {
                Some(file.shared.get_or_try_init(|| self.prepare(params, &file.setup, &names)).await?.clone())
            }
            (None, None) => None,
        };
        if let Some(sandbox) = sandbox {
            let work = sandbox.work_dir().await.map_err(text)?;
            let home = sandbox.user_home_dir().await.map_err(text)?;
            names.insert("work".to_owned(), Saved::Value(json!(work)));
            names.insert("home".to_owned(), Saved::Value(json!(home)));
            names.insert("sandbox".to_owned(), Saved::Sandbox(sandbox));
        }
        let result = self.steps(case, &mut names).await;
        if let Some(fresh) = fresh {
            // The case may have deleted it already.
            let _ = fresh.delete(None, false).await;
        }
        result
    }

    async fn create(&self, params: &Value) -> Result<Sandbox, String> {
        let params = calls::create_params(params)?;
        self.client.create(params, &CreateOptions::default()).await.map_err(text)
    }

    /// The sandbox that the cases of a file share.
    async fn prepare(&self, params: &Value, setup: &Value, names: &Names) -> Result<Sandbox, String> {
        let sandbox = self.create(params).await?;
        let mut names = names.clone();
        names.insert("sandbox".to_owned(), Saved::Sandbox(sandbox.clone()));
        self.steps(setup, &mut names).await?;
        Ok(sandbox)
    }

    async fn steps(&self, case: &Value, names: &mut Names) -> Checked {
        let mut running = HashMap::new();
        for (number, step) in case["steps"].as_array().ok_or("a case has steps")?.iter().enumerate() {
            if let Some(name) = step["join"].as_str() {
                let (at, step, task): (String, &Value, _) = running.remove(name).ok_or("joined what does not run")?;
                judge(&at, step, in_time(task).await?, names)?;
                continue;
            }
            let call = step["call"].as_str().ok_or("a step has a call")?;
            let at = format!("step {number} ({call})");
            let target = names.get(step["on"].as_str().unwrap_or("sandbox")).cloned();
            let client = match &target {
                Some(Saved::Client(client)) => client.clone(),
                _ => self.client.clone(),
            };
            let args = fill(step.get("args").unwrap_or(&json!({})), names, false);
            let url = self.server.url.clone();
            let known = names.clone();
            let begin = Instant::now();
            let call = call.to_owned();
            let task =
                tokio::spawn(async move { calls::call(&call, &client, target.as_ref(), &args, &known, &url).await });
            if let Some(name) = step["background"].as_str() {
                running.insert(name, (at, step, task));
                continue;
            }
            judge(&at, step, in_time(task).await?, names)?;
            let limit = step["within"].as_f64().map_or(LIMIT, Duration::from_secs_f64);
            if begin.elapsed() > limit {
                return Err(format!("{at} took {:?}", begin.elapsed()));
            }
        }
        if running.is_empty() { Ok(()) } else { Err("a background step was never joined".to_owned()) }
    }
}

async fn in_time<T>(task: tokio::task::JoinHandle<T>) -> Result<T, String> {
    match tokio::time::timeout(LIMIT, task).await {
        Ok(joined) => joined.map_err(text),
        Err(_) => Err(format!("a step did not end within {LIMIT:?}")),
    }
}

fn judge(at: &str, step: &Value, result: Result<Outcome, Error>, names: &mut Names) -> Checked {
    let wanted = step.get("error").map(|wanted| fill(wanted, names, true));
    match (result, wanted) {
        (Ok(outcome), None) => {
            for (name, path) in step["save"].as_object().unwrap_or(&Map::new()) {
                names.insert(name.clone(), outcome.part(path.as_str().unwrap_or_default()));
            }
            match step.get("expect") {
                Some(want) => mismatch(&fill(want, names, true), &outcome.value, "result")
                    .map_or(Ok(()), |problem| Err(format!("{at}: {problem}"))),
                None => Ok(()),
            }
        }
        (Ok(outcome), Some(wanted)) => Err(format!("{at} returned {:.400}, wanted {wanted}", outcome.value)),
        (Err(error), None) => Err(format!("{at} failed: {error:?}")),
        (Err(error), Some(Value::Object(mut wanted))) => {
            let class = wanted.remove("class").unwrap_or_default();
            let kind = kind(class.as_str().unwrap_or_default())?;
            let got = json!({
                "status": error.status(),
                "code": error.code(),
                "source": error.source_name(),
                "request_id": error.request_id(),
                "sandbox_id": error.sandbox_id(),
                "message": error.to_string(),
            });
            let problem = if error.kind().is(kind) {
                mismatch(&Value::Object(wanted), &got, "error")
            } else {
                Some(format!("error is {}, wanted {class}", error.kind().class_name()))
            };
            problem.map_or(Ok(()), |problem| Err(format!("{at}: {problem} ({error:?})")))
        }
        (Err(_), Some(other)) => Err(format!("{at}: {other} is not an error")),
    }
}

fn kind(class: &str) -> Result<ErrorKind, String> {
    // The base class of 400, and its other name.
    if class == "DaytonaBadRequestError" {
        return Ok(ErrorKind::BadRequest);
    }
    let found = ErrorKind::ALL.iter().find(|kind| kind.class_name() == class);
    found.copied().ok_or_else(|| format!("there is no error class {class}"))
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
