//! The calls of the cases that are about a sandbox's life and about snapshots.

use daytona_core::{Daytona, Resources, Result, Sandbox, SnapshotQuery};
use serde_json::Value;

use crate::calls::{Outcome, arg};

pub(crate) const CALLS: [&str; 7] =
    ["pause", "archive", "recover", "resize", "wait_for_resize_complete", "fork", "create_snapshot"];

pub(crate) async fn on_sandbox(method: &str, sandbox: &Sandbox, args: &Value) -> Result<Outcome> {
    let timeout = arg(args, "timeout");
    match method {
        "pause" => sandbox.pause(timeout).await.map(Outcome::from),
        "archive" => sandbox.archive(None).await.map(Outcome::from),
        "recover" => sandbox.recover(timeout).await.map(Outcome::from),
        "resize" => {
            let resources: Resources = arg(args, "resources");
            sandbox.resize(&resources, timeout).await.map(Outcome::from)
        }
        "wait_for_resize_complete" => sandbox.wait_for_resize_complete(timeout).await.map(Outcome::from),
        "fork" => sandbox.fork(arg(args, "name"), timeout).await.map(Outcome::sandbox),
        "create_snapshot" => sandbox.create_snapshot(&arg::<String>(args, "name"), timeout).await.map(Outcome::from),
        _ => panic!("unknown call sandbox.{method}"),
    }
}

pub(crate) async fn on_snapshots(method: &str, client: &Daytona, args: &Value) -> Result<Outcome> {
    let snapshots = client.snapshot();
    let name = || arg::<String>(args, if method == "get" { "name" } else { "snapshot" });
    match method {
        "list" => {
            let query = SnapshotQuery {
                page: arg(args, "page"),
                limit: arg(args, "limit"),
                source_sandbox_id: arg(args, "source_sandbox_id"),
            };
            snapshots.list(&query, None).await.map(Outcome::from)
        }
        "get" => snapshots.get(&name(), None).await.map(Outcome::from),
        "delete" => snapshots.delete(&name(), None).await.map(Outcome::from),
        "activate" => snapshots.activate(&name(), None).await.map(Outcome::from),
        _ => panic!("unknown call snapshot.{method}"),
    }
}
