//! The calls of the cases that are about repositories and language servers.

use daytona_core::wire::lsp::LspPosition;
use daytona_core::{LspServer, Result, Sandbox};
use serde_json::{Value, json};

use crate::calls::{Outcome, arg};

pub(crate) async fn on_git(method: &str, sandbox: &Sandbox, args: &Value) -> Result<Outcome> {
    let git = sandbox.git();
    let text = |name| arg::<Option<String>>(args, name);
    let path = text("path");
    let folder = path.as_deref().unwrap_or_default();
    let name = text("name").unwrap_or_default();
    // Requests are the arguments themselves.
    let request = args.clone();
    macro_rules! request {
        () => {
            serde_json::from_value(request).unwrap_or_else(|error| panic!("git.{method}: {error}"))
        };
    }
    match method {
        "add" => git.add(folder, arg(args, "files"), None).await.map(Outcome::from),
        "branches" => git.branches(folder, None).await.map(Outcome::from),
        "clone" => git.clone_repository(request!(), None).await.map(Outcome::from),
        "commit" => git.commit(request!(), None).await.map(|done| json!({ "sha": done.hash }).into()),
        "push" => git.push(request!(), None).await.map(Outcome::from),
        "pull" => git.pull(request!(), None).await.map(Outcome::from),
        "status" => git.status(folder, None).await.map(Outcome::from),
        "checkout_branch" => {
            git.checkout_branch(folder, &text("branch").unwrap_or_default(), None).await.map(Outcome::from)
        }
        "create_branch" => git.create_branch(folder, &name, None).await.map(Outcome::from),
        "delete_branch" => git.delete_branch(folder, &name, None).await.map(Outcome::from),
        "init" => git.init(request!(), None).await.map(Outcome::from),
        "reset" => git.reset(request!(), None).await.map(Outcome::from),
        "restore" => git.restore(request!(), None).await.map(Outcome::from),
        "remote_add" => git.remote_add(request!(), None).await.map(Outcome::from),
        "remotes" => git.remotes(folder, None).await.map(Outcome::from),
        "remote_get" => git.remote_get(folder, &name, None).await.map(Outcome::from),
        "set_config" => git.set_config(request!(), None).await.map(Outcome::from),
        "get_config" => {
            let (key, scope) = (text("key").unwrap_or_default(), text("scope"));
            git.get_config(&key, scope.as_deref(), path.as_deref(), None).await.map(Outcome::from)
        }
        "configure_user" => git.configure_user(request!(), None).await.map(Outcome::from),
        "dangerously_authenticate" => git.dangerously_authenticate(request!(), None).await.map(Outcome::from),
        _ => panic!("unknown call git.{method}"),
    }
}

pub(crate) async fn on_lsp(method: &str, server: &LspServer, args: &Value) -> Result<Outcome> {
    let text = |name| arg::<Option<String>>(args, name).unwrap_or_default();
    match method {
        "start" => server.start(None).await.map(Outcome::from),
        "stop" => server.stop(None).await.map(Outcome::from),
        "did_open" => server.did_open(&text("path"), None).await.map(Outcome::from),
        "did_close" => server.did_close(&text("path"), None).await.map(Outcome::from),
        "document_symbols" => server.document_symbols(&text("path"), None).await.map(Outcome::from),
        "sandbox_symbols" => server.sandbox_symbols(&text("query"), None).await.map(Outcome::from),
        "completions" => {
            let position = LspPosition { line: arg(args, "line"), character: arg(args, "character") };
            server.completions(&text("path"), position, None).await.map(Outcome::from)
        }
        _ => panic!("unknown call lsp.{method}"),
    }
}
