//! The calls of the cases that are about a sandbox's life and about snapshots.

use daytona_core::{
    CreateSnapshotOptions, CreateSnapshotParams, Daytona, Dialect, Image, ImageSource, Resources, Result, RunCommand,
    Sandbox, SnapshotQuery, Step,
};
use serde_json::Value;

use crate::calls::{Outcome, arg};

pub(crate) const CALLS: [&str; 7] =
    ["pause", "archive", "recover", "resize", "wait_for_resize_complete", "fork", "create_snapshot"];

pub(crate) async fn on_sandbox(method: &str, sandbox: &Sandbox, args: &Value) -> Result<Outcome> {
    let timeout = arg(args, "timeout");
    match method {
        "pause" => sandbox.pause(timeout).await.map(Outcome::from),
        "archive" => sandbox.archive(None).await.map(Outcome::from),
        "recover" => sandbox
            .recover(timeout, arg::<Option<bool>>(args, "accept_loss").unwrap_or_default())
            .await
            .map(Outcome::from),
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
        "create" => {
            let params = CreateSnapshotParams {
                name: arg(args, "name"),
                image: Some(image(&args["image"])),
                entrypoint: arg(args, "entrypoint"),
                ..CreateSnapshotParams::default()
            };
            let options = CreateSnapshotOptions { timeout: arg(args, "timeout"), ..CreateSnapshotOptions::default() };
            snapshots.create(params, &options).await.map(Outcome::from)
        }
        "deactivate" => snapshots.deactivate(&name(), None).await.map(Outcome::from),
        "get" => snapshots.get(&name(), None).await.map(Outcome::from),
        "delete" => snapshots.delete(&name(), None).await.map(Outcome::from),
        "activate" => snapshots.activate(&name(), None).await.map(Outcome::from),
        _ => panic!("unknown call snapshot.{method}"),
    }
}

/// An image by its name, or by the calls that build it.
pub(crate) fn image(given: &Value) -> ImageSource {
    let Some(calls) = given.as_array() else { return given.as_str().expect("an image").into() };
    let mut image = Image::default();
    for call in calls {
        let words: Vec<String> = serde_json::from_value(call.clone()).expect("a call of the builder");
        let (name, args) = words.split_first().expect("its name");
        let step = match name.as_str() {
            "base" => Step::Base { image: args[0].clone() },
            "run_commands" => Step::RunCommands { commands: args.iter().cloned().map(RunCommand::Shell).collect() },
            "workdir" => Step::Workdir { path: args[0].clone() },
            "add_local_file" => Step::AddLocalFile { path: args[0].as_str().into(), remote_path: args[1].clone() },
            "add_local_dir" => Step::AddLocalDir { path: args[0].as_str().into(), remote_path: args[1].clone() },
            _ => panic!("the runner does not know the builder's {name}"),
        };
        image.apply(Dialect::Python, &step).expect("the image can be built");
    }
    image.into()
}
