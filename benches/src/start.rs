//! How long a sandbox takes to be ready, beside the least a process can take.

use std::process::{Command, Stdio};
use std::time::Instant;

use clap::Args;
use daytona_core::{CreateOptions, CreateParams, Daytona, ExecOptions};
use futures_util::{StreamExt as _, stream};
use serde_json::json;
use tokio::io::AsyncReadExt as _;

use crate::Result;
use crate::measure::median;
use crate::own::client;

/// Creations in flight at once while sandboxes are only to be there.
const HOLD_IN_FLIGHT: usize = 4;

/// Which server; the key comes from the environment, as `DAYTONA_API_KEY`.
#[derive(Args)]
pub(crate) struct Options {
    api_url: String,
    #[arg(default_value_t = 100)]
    count: usize,
}

#[derive(Args)]
pub(crate) struct HoldOptions {
    api_url: String,
    count: usize,
}

fn connect(api_url: &str) -> Result<Daytona> {
    client(api_url, &std::env::var("DAYTONA_API_KEY")?)
}

/// Sandboxes and processes in turn, medians in milliseconds.
pub(crate) async fn run(options: &Options) -> Result<()> {
    let daytona = connect(&options.api_url)?;
    let bubblewrap = is_there("bwrap");
    let (mut create_times, mut ready, mut execs, mut delete_times) = (vec![], vec![], vec![], vec![]);
    let (mut plain, mut wrapped) = (vec![], vec![]);
    for round in 0..=options.count {
        let begin = Instant::now();
        let sandbox = daytona.create(CreateParams::default(), &CreateOptions::default()).await?;
        let created = millis(begin);
        let answer = sandbox.process().exec("echo hi", ExecOptions::default()).await?;
        let first = millis(begin);
        if answer.result != "hi\n" {
            return Err(format!("the first command answered {:?}", answer.result).into());
        }
        let begin = Instant::now();
        sandbox.process().exec("echo hi", ExecOptions::default()).await?;
        let second = millis(begin);
        let begin = Instant::now();
        sandbox.delete(None, true).await?;
        let deleted = millis(begin);
        let echo = time(&mut Command::new("/bin/echo"))?;
        let wrap = if bubblewrap { Some(time(&mut bwrap())?) } else { None };
        if round > 0 {
            create_times.push(created);
            ready.push(first);
            execs.push(second);
            delete_times.push(deleted);
            plain.push(echo);
            wrapped.extend(wrap);
        }
    }
    ready.sort_by(f64::total_cmp);
    let p95 = ready.get(ready.len() * 95 / 100).copied();
    println!(
        "{}",
        json!({
            "count": options.count,
            "create": median(create_times), "ready": median(ready), "ready_p95": p95, "second_exec": median(execs),
            "delete": median(delete_times), "echo": median(plain),
            "bwrap": (!wrapped.is_empty()).then(|| median(wrapped)),
        })
    );
    Ok(())
}

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

fn is_there(program: &str) -> bool {
    let outcome = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    outcome.is_ok_and(|status| status.success())
}

fn time(command: &mut Command) -> Result<f64> {
    let begin = Instant::now();
    let output = command.arg("hi").output()?;
    let taken = millis(begin);
    if output.stdout == b"hi\n" {
        Ok(taken)
    } else {
        Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into())
    }
}

fn bwrap() -> Command {
    let mut command = Command::new("bwrap");
    command.args(["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp"]);
    command.args(["--unshare-all", "--die-with-parent", "/bin/echo"]);
    command
}

/// Creates sandboxes, prints a line when all have started, and waits.
pub(crate) async fn hold(options: &HoldOptions) -> Result<()> {
    let daytona = connect(&options.api_url)?;
    let begin = Instant::now();
    let create = |_| {
        let params = CreateParams { auto_stop_interval: Some(0), ..CreateParams::default() };
        let daytona = daytona.clone();
        async move { daytona.create(params, &CreateOptions { timeout: Some(0.0), ..CreateOptions::default() }).await }
    };
    let mut creations = stream::iter(0..options.count).map(create).buffer_unordered(HOLD_IN_FLIGHT);
    let mut last = None;
    while let Some(sandbox) = creations.next().await {
        last = Some(sandbox?);
    }
    let taken = begin.elapsed().as_secs_f64();
    let mut execs = Vec::new();
    for _ in 0..20 {
        let Some(sandbox) = &last else { break };
        let begin = Instant::now();
        sandbox.process().exec("echo hi", ExecOptions::default()).await?;
        execs.push(millis(begin));
    }
    println!("{}", json!({ "count": options.count, "seconds": taken, "exec": median(execs) }));
    let mut byte = [0];
    while tokio::io::stdin().read(&mut byte).await? > 0 {}
    std::process::exit(0);
}
