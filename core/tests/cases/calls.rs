//! The calls of the cases, by their canonical names.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use daytona_core::wire::network::UpdateNetworkSettings;
use daytona_core::{
    Config, CreateOptions, CreateParams, Daytona, Download, DownloadTarget, ListQuery, LspServer, Permissions, Result,
    Sandbox, SandboxProvider, TerminalBackend, Transfer, Upload, UploadSource,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::access;
use crate::code;
use crate::host;
use crate::lifecycle;
use crate::processes::{self, Terminal};
use crate::services;
use crate::terminals;
use crate::values::{Names, Saved, bytes, field, to_bytes};

/// What a call returned: a value to compare, and the objects behind it.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) value: Value,
    sandboxes: Vec<Sandbox>,
    client: Option<Daytona>,
    terminal: Option<Terminal>,
    lsp: Option<LspServer>,
    backend: Option<TerminalBackend>,
    provider: Option<SandboxProvider>,
}

impl Outcome {
    /// A part of it, to keep for later steps.
    pub(crate) fn part(&self, path: &str) -> Saved {
        if let Some(client) = &self.client {
            return Saved::Client(client.clone());
        }
        if let Some(terminal) = &self.terminal {
            return Saved::Terminal(terminal.clone());
        }
        if let Some(lsp) = &self.lsp {
            return Saved::Lsp(lsp.clone());
        }
        if let Some(backend) = &self.backend {
            return Saved::Backend(backend.clone());
        }
        if let Some(provider) = &self.provider {
            return Saved::Provider(provider.clone());
        }
        let index = if path.is_empty() { Ok(0) } else { path.parse::<usize>() };
        if let Some(sandbox) = index.ok().and_then(|index| self.sandboxes.get(index)) {
            return Saved::Sandbox(sandbox.clone());
        }
        Saved::Value(match field(&self.value, path) {
            Value::String(text) => json!(text.trim()),
            other => other,
        })
    }

    pub(crate) fn backend(backend: TerminalBackend) -> Self {
        Self { backend: Some(backend), ..Self::default() }
    }

    pub(crate) fn provider(provider: SandboxProvider) -> Self {
        Self { provider: Some(provider), ..Self::default() }
    }

    pub(crate) fn sandbox(sandbox: Sandbox) -> Self {
        let value = serde_json::to_value(&*sandbox.data()).unwrap_or_default();
        Self { value, sandboxes: vec![sandbox], ..Self::default() }
    }
}

impl<T: serde::Serialize> From<T> for Outcome {
    fn from(value: T) -> Self {
        Self { value: serde_json::to_value(value).unwrap_or_default(), ..Self::default() }
    }
}

pub(crate) fn client(url: &str, key: &str) -> Result<Daytona> {
    Daytona::new(&Config { api_key: Some(key.into()), api_url: Some(url.to_owned()), ..Config::default() })
}

/// Reads one argument; one that is not there is its type's null.
pub(crate) fn arg<T: DeserializeOwned>(args: &Value, name: &str) -> T {
    let value = args.get(name).cloned().unwrap_or_default();
    serde_json::from_value(value).unwrap_or_else(|error| panic!("argument {name}: {error}"))
}

pub(crate) fn create_params(given: &Value) -> std::result::Result<CreateParams, String> {
    let known = [
        "name",
        "language",
        "labels",
        "env_vars",
        "image",
        "snapshot",
        "public",
        "ephemeral",
        "linked_sandbox",
        "queue_timeout",
        "ttl_minutes",
        "auto_stop_interval",
        "auto_pause_interval",
        "auto_archive_interval",
        "auto_delete_interval",
        "volumes",
        "secrets",
        "network_block_all",
        "network_allow_list",
        "domain_allow_list",
        "outbound_proxy_url",
    ];
    let given_names = given.as_object().into_iter().flat_map(serde_json::Map::keys);
    if let Some(unknown) = given_names.into_iter().find(|name| !known.contains(&name.as_str())) {
        return Err(format!("the runner does not know the parameter {unknown}"));
    }
    Ok(CreateParams {
        name: arg(given, "name"),
        language: arg(given, "language"),
        labels: arg(given, "labels"),
        env_vars: arg(given, "env_vars"),
        image: given.get("image").map(lifecycle::image),
        snapshot: arg(given, "snapshot"),
        public: arg(given, "public"),
        ephemeral: arg(given, "ephemeral"),
        linked_sandbox: arg(given, "linked_sandbox"),
        queue_timeout: arg(given, "queue_timeout"),
        ttl_minutes: arg(given, "ttl_minutes"),
        auto_stop_interval: arg(given, "auto_stop_interval"),
        auto_pause_interval: arg(given, "auto_pause_interval"),
        auto_archive_interval: arg(given, "auto_archive_interval"),
        auto_delete_interval: arg(given, "auto_delete_interval"),
        volumes: services::volumes(given),
        secrets: arg(given, "secrets"),
        network_block_all: arg(given, "network_block_all"),
        network_allow_list: arg(given, "network_allow_list"),
        domain_allow_list: arg(given, "domain_allow_list"),
        outbound_proxy_url: arg(given, "outbound_proxy_url"),
        ..CreateParams::default()
    })
}

fn list_query(given: &Value) -> ListQuery {
    ListQuery {
        limit: arg(given, "limit"),
        id: arg(given, "id"),
        name: arg(given, "name"),
        labels: arg(given, "labels"),
        states: arg(given, "states"),
        snapshots: arg(given, "snapshots"),
        targets: arg(given, "targets"),
        min_cpu: arg(given, "min_cpu"),
        max_cpu: arg(given, "max_cpu"),
        max_memory_gib: arg(given, "max_memory_gib"),
        max_disk_gib: arg(given, "max_disk_gib"),
        is_public: arg(given, "is_public"),
        is_recoverable: arg(given, "is_recoverable"),
        created_at_after: arg(given, "created_at_after"),
        created_at_before: arg(given, "created_at_before"),
        last_activity_after: arg(given, "last_activity_after"),
        last_activity_before: arg(given, "last_activity_before"),
        auto_destroy_at_after: arg(given, "auto_destroy_at_after"),
        sort: arg(given, "sort"),
        order: arg(given, "order"),
        ..ListQuery::default()
    }
}

pub(crate) async fn call(
    name: &str,
    client: &Daytona,
    target: Option<&Saved>,
    args: &Value,
    names: &Names,
    url: &str,
) -> Result<Outcome> {
    let sandbox = || match target {
        Some(Saved::Sandbox(sandbox)) => sandbox.clone(),
        _ => panic!("{name} needs a sandbox"),
    };
    match name.split_once('.').unwrap_or((name, "")) {
        ("daytona", method) => on_client(method, client, args, names).await,
        ("snapshot", method) => lifecycle::on_snapshots(method, client, args).await,
        ("sandbox", method) if lifecycle::CALLS.contains(&method) => {
            lifecycle::on_sandbox(method, &sandbox(), args).await
        }
        ("sandbox", method) if access::CALLS.contains(&method) => access::on_sandbox(method, &sandbox(), args).await,
        ("volume" | "secret" | "warm_pool" | "api", _) => services::on_service(name, client, args).await,
        ("sandbox", "create_lsp_server") => {
            let (language, path): (String, String) = (arg(args, "language_id"), arg(args, "path_to_project"));
            let lsp = sandbox().create_lsp_server(language, path)?;
            Ok(Outcome { lsp: Some(lsp), ..Outcome::default() })
        }
        ("sandbox", method) => match services::on_sandbox(method, &sandbox(), args).await {
            Some(outcome) => outcome,
            None => on_sandbox(method, &sandbox(), args).await,
        },
        ("process", method) => processes::on_process(method, &sandbox(), args).await,
        ("code_interpreter", method) => processes::on_interpreter(method, &sandbox(), args).await,
        ("pty", "run") => match target {
            Some(Saved::Terminal(terminal)) => terminal.run(args).await,
            _ => panic!("{name} needs a terminal"),
        },
        ("pty", method) => {
            let terminal = processes::open_terminal(method, &sandbox(), args).await?;
            Ok(Outcome { terminal: Some(terminal), ..Outcome::default() })
        }
        ("git", method) => code::on_git(method, &sandbox(), args).await,
        ("lsp", method) => match target {
            Some(Saved::Lsp(lsp)) => code::on_lsp(method, lsp, args).await,
            _ => panic!("{name} needs a language server"),
        },
        ("fs", method) => on_files(method, &sandbox(), args).await,
        ("terminal", method) => terminals::on_terminal(method, client, target, args).await,
        ("provider", method) => terminals::on_provider(method, target, args).await,
        ("look", "") => Ok(Outcome::sandbox(sandbox())),
        ("client", "new") => {
            let client = self::client(url, &arg::<String>(args, "api_key"))?;
            Ok(Outcome { client: Some(client), ..Outcome::default() })
        }
        ("http", method) => Ok(http(method, args).await.into()),
        ("host", _) => {
            host::kill_above(arg(args, "marker"), arg(args, "up")).await;
            Ok(Value::Null.into())
        }
        ("local", method) => Ok(local(method, args).into()),
        _ => panic!("unknown call {name}"),
    }
}

async fn on_client(method: &str, client: &Daytona, args: &Value, names: &Names) -> Result<Outcome> {
    // `${name}` of a saved sandbox comes as it is.
    let given = || {
        let text: String = arg(args, "sandbox");
        match names.get(text.trim_start_matches("${").trim_end_matches('}')) {
            Some(Saved::Sandbox(sandbox)) => sandbox.clone(),
            _ => panic!("{text} is no sandbox"),
        }
    };
    match method {
        "create" => {
            let params = create_params(&args["params"]).unwrap_or_else(|error| panic!("{error}"));
            let options = CreateOptions { timeout: arg(args, "timeout"), ..CreateOptions::default() };
            client.create(params, &options).await.map(Outcome::sandbox)
        }
        "get" => client.get(&arg::<String>(args, "sandbox_id_or_name"), None).await.map(Outcome::sandbox),
        "list" => {
            let query = list_query(&args["query"]);
            let mut sandboxes = Vec::new();
            let mut cursor = None;
            loop {
                let page = client.list(&query, cursor.as_deref(), None).await?;
                sandboxes.extend(page.items);
                cursor = page.next_cursor;
                if cursor.is_none() {
                    break;
                }
            }
            let value = sandboxes.iter().map(|sandbox| json!(&*sandbox.data())).collect();
            Ok(Outcome { value, sandboxes, ..Outcome::default() })
        }
        "start" => given().start(None).await.map(Outcome::from),
        "stop" => given().stop(None, false).await.map(Outcome::from),
        "delete" => given().delete(None, false).await.map(Outcome::from),
        _ => panic!("unknown call daytona.{method}"),
    }
}

async fn on_sandbox(method: &str, sandbox: &Sandbox, args: &Value) -> Result<Outcome> {
    let timeout = arg(args, "timeout");
    let flag = |name| arg::<Option<bool>>(args, name).unwrap_or_default();
    match method {
        "refresh_data" => sandbox.refresh_data(None).await.map(Outcome::from),
        "get_work_dir" => sandbox.work_dir().await.map(Outcome::from),
        "get_user_home_dir" => sandbox.user_home_dir().await.map(Outcome::from),
        "start" => sandbox.start(timeout).await.map(Outcome::from),
        "stop" => sandbox.stop(timeout, flag("force")).await.map(Outcome::from),
        "delete" => sandbox.delete(timeout, flag("wait")).await.map(Outcome::from),
        "wait_for_sandbox_start" => sandbox.wait_until_started(timeout).await.map(Outcome::from),
        "wait_for_sandbox_stop" => sandbox.wait_until_stopped(timeout).await.map(Outcome::from),
        "set_labels" => sandbox.set_labels(arg(args, "labels"), None).await.map(Outcome::from),
        "set_autostop_interval" => sandbox.set_autostop_interval(arg(args, "interval"), None).await.map(Outcome::from),
        "set_auto_archive_interval" => {
            sandbox.set_auto_archive_interval(arg(args, "interval"), None).await.map(Outcome::from)
        }
        "set_auto_delete_interval" => {
            sandbox.set_auto_delete_interval(arg(args, "interval"), None).await.map(Outcome::from)
        }
        "set_ttl" => sandbox.set_ttl(arg(args, "ttl_minutes"), None).await.map(Outcome::from),
        "update_network_settings" => {
            let settings = UpdateNetworkSettings {
                network_block_all: arg(args, "network_block_all"),
                network_allow_list: arg(args, "network_allow_list"),
                domain_allow_list: arg(args, "domain_allow_list"),
            };
            sandbox.update_network_settings(&settings, None).await.map(Outcome::from)
        }
        "set_auto_pause_interval" => {
            sandbox.set_auto_pause_interval(arg(args, "interval"), None).await.map(Outcome::from)
        }
        "set_public" => sandbox.set_public(arg(args, "public"), None).await.map(Outcome::from),
        "refresh_activity" => sandbox.refresh_activity(None).await.map(Outcome::from),
        "download_url" => {
            sandbox.download_url(&arg::<String>(args, "path"), arg(args, "ttl_seconds")).await.map(Outcome::from)
        }
        "upload_url" => {
            sandbox.upload_url(&arg::<String>(args, "path"), arg(args, "ttl_seconds")).await.map(Outcome::from)
        }
        "rotate_signing_key" => sandbox.rotate_signing_key().await.map(Outcome::from),
        _ => panic!("unknown call sandbox.{method}"),
    }
}

async fn on_files(method: &str, sandbox: &Sandbox, args: &Value) -> Result<Outcome> {
    let fs = sandbox.fs();
    let path: Option<String> = arg(args, if args.get("remote_path").is_some() { "remote_path" } else { "path" });
    let path = path.as_deref().unwrap_or_default();
    let pattern: Option<String> = arg(args, "pattern");
    let pattern = pattern.unwrap_or_default();
    let options = || Transfer { timeout: arg(args, "timeout"), ..Transfer::default() };
    match method {
        "create_folder" => fs.create_folder(path, &arg::<String>(args, "mode"), None).await.map(Outcome::from),
        "delete_file" => {
            let recursive: Option<bool> = arg(args, "recursive");
            fs.delete_file(path, recursive.unwrap_or_default(), None).await.map(Outcome::from)
        }
        "get_file_info" => fs.get_file_info(path, None).await.map(Outcome::from),
        "list_files" => fs.list_files(path, arg(args, "depth"), None).await.map(Outcome::from),
        "move_files" => {
            let (from, to): (String, String) = (arg(args, "source"), arg(args, "destination"));
            fs.move_files(&from, &to, None).await.map(Outcome::from)
        }
        "set_file_permissions" => {
            let permissions =
                Permissions { mode: arg(args, "mode"), owner: arg(args, "owner"), group: arg(args, "group") };
            fs.set_file_permissions(path, &permissions, None).await.map(Outcome::from)
        }
        "search_files" => fs.search_files(path, &pattern, None).await.map(Outcome::from),
        "find_files" => fs.find_files(path, &pattern, None).await.map(Outcome::from),
        "replace_in_files" => {
            fs.replace_in_files(arg(args, "files"), pattern, arg(args, "new_value"), None).await.map(Outcome::from)
        }
        "upload_file" => fs.upload_file(upload(args), options()).await.map(Outcome::from),
        "upload_files" => {
            let files: Vec<Value> = arg(args, "files");
            fs.upload_files(files.iter().map(upload).collect(), options()).await.map(Outcome::from)
        }
        "download_file" => {
            let content = fs.download_file(path, download_target(&args["local_path"]), options()).await?;
            Ok(Outcome { value: content.map_or(Value::Null, |content| bytes(&content)), ..Outcome::default() })
        }
        "download_files" => download_files(&fs, args).await,
        "upload_file_stream" => {
            let sent = Arc::new(AtomicU64::new(0));
            let seen = Arc::clone(&sent);
            let content = to_bytes(&args["source"]).unwrap_or_default();
            let pieces: Vec<_> = content.chunks(50_000).map(|piece| Ok(piece.to_vec().into())).collect();
            let source = UploadSource::Stream(Box::pin(futures_util::stream::iter(pieces)));
            let progress: daytona_core::Progress = Arc::new(move |now, _| seen.store(now, Ordering::Relaxed));
            let options = Transfer { progress: Some(progress), ..Transfer::default() };
            fs.upload_file(Upload { source, destination: path.to_owned() }, options).await?;
            Ok(json!({ "sent": sent.load(Ordering::Relaxed) }).into())
        }
        "download_file_stream" => {
            let mut stream = fs.download_file_stream(path, Transfer::default()).await?;
            let total = stream.total();
            let mut content = Vec::new();
            while let Some(piece) = stream.next().await? {
                content.extend_from_slice(&piece);
            }
            Ok(json!({ "content": bytes(&content), "received": content.len(), "total": total }).into())
        }
        _ => panic!("unknown call fs.{method}"),
    }
}

async fn download_files(fs: &daytona_core::FileSystem, args: &Value) -> Result<Outcome> {
    let wanted: Vec<Value> = arg(args, "files");
    let files = wanted
        .iter()
        .map(|file| Download { source: arg(file, "source"), target: download_target(&file["destination"]) });
    let done = fs.download_files(files.collect(), Transfer::default()).await?;
    let describe = |(file, wanted): (daytona_core::Downloaded, &Value)| match file.result {
        Ok(Some(content)) => json!({ "source": file.source, "result": bytes(&content) }),
        Ok(None) => json!({ "source": file.source, "result": wanted["destination"] }),
        Err(error) => json!({
            "source": file.source,
            "error": error.message(),
            "errorDetails": { "code": error.code(), "statusCode": error.status() },
        }),
    };
    Ok(done.into_iter().zip(&wanted).map(describe).collect::<Value>().into())
}

fn upload(file: &Value) -> Upload {
    let source = match &file["source"] {
        Value::String(path) => UploadSource::Path(PathBuf::from(path)),
        content => UploadSource::Bytes(to_bytes(content).expect("contents are bytes").into()),
    };
    Upload { source, destination: arg(file, "destination") }
}

fn download_target(local: &Value) -> DownloadTarget {
    local.as_str().map_or(DownloadTarget::Memory, |path| DownloadTarget::File(PathBuf::from(path)))
}

/// Which limits the server says that it enforces, and `isolation`.
pub(crate) async fn limits_that_hold(url: &str, key: &str) -> Vec<String> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().expect("an HTTP client is made");
    let answer = client.get(format!("{url}/config")).bearer_auth(key).send().await.expect("the server answers");
    let config: Value = serde_json::from_slice(&answer.bytes().await.expect("the answer is read")).expect("it is JSON");
    let limits = config["runtime"]["limits"].as_object().expect("the server says which limits hold");
    let enforced = limits.iter().filter(|(_, limit)| limit["state"] == "enforced").map(|(name, _)| name.clone());
    let isolated = (config["runtime"]["isolated"] == true).then(|| "isolation".to_owned());
    let kind = config["runtime"]["kind"].as_str().map(str::to_owned);
    let online = std::env::var_os("DAYTONA_NATIVE_TEST_OFFLINE").is_none_or(|set| set.is_empty());
    enforced.chain(isolated).chain(kind).chain(online.then(|| "internet".to_owned())).collect()
}

/// Plain HTTP without a key.
async fn http(method: &str, args: &Value) -> Value {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().expect("an HTTP client is made");
    let url: String = arg(args, "url");
    let request = if method == "get" {
        client.get(url)
    } else {
        let mut body = b"--part\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n".to_vec();
        body.extend(to_bytes(&args["content"]).unwrap_or_default());
        body.extend(b"\r\n--part--\r\n");
        client.post(url).header("content-type", "multipart/form-data; boundary=part").body(body)
    };
    let headers: Option<std::collections::BTreeMap<String, String>> = arg(args, "headers");
    let request = headers.into_iter().flatten().fold(request, |request, (name, value)| request.header(name, value));
    let answer = request.send().await.expect("the server answers");
    let status = answer.status().as_u16();
    json!({ "status": status, "body": bytes(&answer.bytes().await.expect("the answer is read")) })
}

fn local(method: &str, args: &Value) -> Value {
    let path: PathBuf = arg(args, "path");
    match method {
        "write" => std::fs::write(path, to_bytes(&args["content"]).unwrap_or_default())
            .map_or_else(|error| panic!("{error}"), |()| Value::Null),
        "read" => bytes(&std::fs::read(path).expect("a file is read")),
        _ => {
            let entries = std::fs::read_dir(path).expect("a folder is read").flatten();
            let mut names: Vec<String> =
                entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
            names.sort();
            json!(names)
        }
    }
}
