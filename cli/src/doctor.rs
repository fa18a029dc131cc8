//! `doctor`: looks for what could be wrong, and says what to do about it.

use std::path::{Path, PathBuf};

use daytona_core::{Daytona, Error, ErrorKind, ListQuery, Origin, PROTOCOL_VERSION};
use daytona_runtime::{Enforcement, Probe, Runtime, RuntimeChoice};
use serde::Serialize;
use serde_json::json;

use crate::context::{Context, Failure, Outcome};
use crate::output::{Tone, ago, printable};
use crate::prune::size;

/// Seconds that a server may take to answer.
const LIMIT: f64 = 10.0;

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    state: State,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Warning,
    Failed,
}

fn ok(name: &'static str, found: impl Into<String>) -> Check {
    Check { name, state: State::Ok, found: found.into(), remedy: None }
}

fn bad(name: &'static str, state: State, found: impl Into<String>, remedy: impl Into<String>) -> Check {
    Check { name, state, found: found.into(), remedy: Some(remedy.into()) }
}

/// What to look at.
#[derive(clap::Args, Debug)]
pub(crate) struct Doctor {
    /// Where a local server keeps its sandboxes [default: $XDG_DATA_HOME/daytona-native or
    /// ~/.local/share/daytona-native].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// `launcher` was started before anything else ran, as it has to be.
pub(crate) async fn run(
    context: &Context,
    args: &Doctor,
    launcher: std::io::Result<daytona_runtime::Launcher>,
) -> Outcome {
    let mut checks = vec![ok("version", format!("{}, protocol {PROTOCOL_VERSION}", env!("CARGO_PKG_VERSION")))];
    match Daytona::new(&context.config()) {
        Ok(client) => {
            checks.extend(settings(&client));
            let reached = reach(&client).await;
            let answers = reached.state == State::Ok;
            checks.push(reached);
            if answers {
                checks.extend(server_version(&client).await);
            }
        }
        Err(error) => {
            let failure = Failure::from(error);
            checks.push(bad("settings", State::Failed, failure.message(), "Set what the message names"));
        }
    }
    checks.extend(probe(launcher).await);
    checks.extend(left_groups());
    checks.extend(args.data_dir.clone().or_else(daytona_server::default_dir).and_then(|dir| lost_found(&dir)));
    checks.extend(programs());
    report(context, &checks)
}

fn origin(origin: &Origin) -> String {
    match origin {
        Origin::Config => "--local".to_owned(),
        Origin::Environment(name) => format!("from {name}"),
        Origin::File(path, name) => format!("from {name} in {}", path.display()),
        Origin::Default => "the default".to_owned(),
    }
}

fn settings(client: &Daytona) -> Vec<Check> {
    let settings = client.settings();
    let url = settings.api_url.value.as_deref().unwrap_or("the local server");
    let mut checks = vec![ok("server", format!("{url}, {}", origin(&settings.api_url.origin)))];
    checks.push(match settings.credential_origin() {
        Some(place) => ok("key", format!("set, {}", origin(place))),
        None => ok("key", "that of the local server"),
    });
    if let Some(target) = &settings.target {
        checks.push(ok("region", format!("{}, {}", target.value, origin(&target.origin))));
    }
    for warning in &settings.warnings {
        checks.push(bad("setting", State::Warning, warning.message.clone(), "Remove it, or set it where it counts"));
    }
    checks
}

async fn reach(client: &Daytona) -> Check {
    let begun = std::time::Instant::now();
    let query = ListQuery { limit: Some(1), ..ListQuery::default() };
    match client.list(&query, None, Some(LIMIT)).await {
        Ok(_) => {
            let url = client.api_url().await.unwrap_or_default();
            ok("reachable", format!("{url} answered in {} ms", begun.elapsed().as_millis()))
        }
        Err(error) => bad("reachable", State::Failed, error.to_string(), remedy(client, &error)),
    }
}

/// That of the server, where it tells one.
async fn server_version(client: &Daytona) -> Option<Check> {
    let config = client.api().request("GET", "/config", &[], None, Some(LIMIT)).await.ok()?;
    let theirs = config.get("version")?.as_str()?;
    let (name, ours) = ("server version", env!("CARGO_PKG_VERSION"));
    // A local server is this same program.
    if client.settings().api_url.value.is_none() && theirs != ours {
        let remedy = "End the server and start `daytona-native serve` again, so that it is of this version too";
        return Some(bad(name, State::Warning, format!("{theirs}, and this is {ours}"), remedy));
    }
    Some(ok(name, theirs))
}

fn remedy(client: &Daytona, error: &Error) -> String {
    let is = |kind| error.kind().is(kind);
    let local = client.settings().api_url.value.is_none();
    if is(ErrorKind::Authentication) {
        "The server does not take this key: make a new one at https://app.daytona.io/dashboard/keys, and see that it is \
         for the server above"
            .to_owned()
    } else if is(ErrorKind::Forbidden) {
        "The key may not list sandboxes: make one with that permission".to_owned()
    } else if local {
        "Run `daytona-native serve` in another terminal, or `daytona-native serve --detach`".to_owned()
    } else if is(ErrorKind::Connection) {
        "See that DAYTONA_API_URL is right, that this machine is online, and what HTTPS_PROXY says".to_owned()
    } else if is(ErrorKind::NotFound) {
        "There is no Daytona API at this URL: it ends with /api as a rule".to_owned()
    } else {
        "See https://status.daytona.io, and try again".to_owned()
    }
}

/// What sandboxes of a local server would be like on this machine.
async fn probe(launcher: std::io::Result<daytona_runtime::Launcher>) -> Vec<Check> {
    let failed = |found: String| {
        vec![bad(
            "runtime",
            State::Warning,
            found,
            "Only `daytona-native serve` needs it; other servers are not affected",
        )]
    };
    let launcher = match launcher {
        Ok(launcher) => launcher,
        Err(error) => return failed(format!("the launcher cannot be started: {error}")),
    };
    let dir = match tempfile::tempdir() {
        Ok(dir) => dir,
        Err(error) => return failed(format!("no directory to try it in: {error}")),
    };
    match Runtime::start(launcher, RuntimeChoice::Auto, dir.path(), None).await {
        Ok((runtime, _exits)) => {
            let checks = outcome(runtime.probe());
            runtime.shutdown().await;
            checks
        }
        Err(error) => failed(error.to_string()),
    }
}

/// What servers have left in the kernel that were killed with all that would have cleaned up after them.
fn left_groups() -> Option<Check> {
    let left = daytona_runtime::left_groups();
    let first = left.first()?;
    let found = format!("{} of servers that are gone, such as {}", left.len(), first.display());
    let remedy = "Start a server on its data directory again, which removes them; or remove each with rmdir, what is \
                  below it first";
    Some(bad("cgroups", State::Warning, found, remedy))
}

/// What a local server has found and nobody has asked for yet.
fn lost_found(dir: &Path) -> Option<Check> {
    if !dir.is_dir() {
        return None;
    }
    let all = daytona_server::lost(dir);
    let Some(oldest) = all.first() else {
        return Some(ok("lost+found", format!("nothing in {}", dir.display())));
    };
    let bytes: u64 = all.iter().map(daytona_server::Lost::bytes).sum();
    let things = if all.len() == 1 { "thing" } else { "things" };
    let found = format!(
        "{} {things} in {}, {}, the oldest from {}",
        all.len(),
        dir.join("lost+found").display(),
        size(bytes),
        ago(Some(&oldest.moved_at))
    );
    let days = daytona_server::LOST_KEPT.as_secs() / 86_400;
    let remedy = format!(
        "Look at them with `daytona-native prune {}`, delete them with --yes; what lies there for {days} days is deleted",
        dir.display()
    );
    Some(bad("lost+found", State::Warning, found, remedy))
}

fn outcome(probe: &Probe) -> Vec<Check> {
    let mut checks = vec![if probe.isolated {
        ok("runtime", probe.summary.clone())
    } else {
        bad(
            "runtime",
            State::Warning,
            probe.summary.clone(),
            "Local sandboxes are plain processes: allow unprivileged user namespaces, or run as root, to isolate them",
        )
    }];
    let limits = [
        ("cpu limit", &probe.limits.cpu),
        ("memory limit", &probe.limits.memory),
        ("process limit", &probe.limits.pids),
        ("pause", &probe.limits.freeze),
        ("network limit", &probe.limits.network),
    ];
    for (name, limit) in limits {
        checks.push(match limit {
            Enforcement::Enforced { by } => ok(name, format!("holds ({by})")),
            Enforcement::NotEnforced { reason } => {
                bad(name, State::Warning, reason.clone(), "docs/server.md says what each limit needs")
            }
        });
    }
    checks
}

/// Programs that some commands run.
fn programs() -> Vec<Check> {
    let search = std::env::var_os("PATH").unwrap_or_default();
    let on_path = |name: &str| -> Option<PathBuf> {
        std::env::split_paths(&search).map(|folder| folder.join(name)).find(|path| is_program(path))
    };
    let mut checks = Vec::new();
    checks.push(match on_path("ssh") {
        Some(path) => ok("ssh", path.display().to_string()),
        None => bad("ssh", State::Warning, "not on PATH", "Install an OpenSSH client for `daytona-native ssh`"),
    });
    checks.push(if let Some(path) = on_path("daytona-native") {
        ok("on PATH", path.display().to_string())
    } else {
        let own = std::env::current_exe().ok();
        let folder = own.as_deref().and_then(Path::parent).map(|path| path.display().to_string());
        let remedy = format!("Add its folder to PATH: {}", folder.unwrap_or_default());
        bad("on PATH", State::Warning, "daytona-native is not on PATH", remedy)
    });
    checks
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

fn report(context: &Context, checks: &[Check]) -> Outcome {
    let failed = checks.iter().filter(|check| check.state == State::Failed).count();
    if context.out.json {
        context.out.json(&json!({ "ok": failed == 0, "checks": checks }))?;
    } else {
        let width = checks.iter().map(|check| check.name.len()).max().unwrap_or_default();
        for check in checks {
            let (sign, tone) = match check.state {
                State::Ok => ("✓", Tone::Good),
                State::Warning => ("!", Tone::Busy),
                State::Failed => ("✗", Tone::Bad),
            };
            let sign = context.out.paint(tone, sign);
            context.out.line(format!("{sign} {:width$}  {}", check.name, printable(&check.found)))?;
            if let Some(remedy) = &check.remedy {
                context.out.line(context.out.paint(Tone::Dim, &format!("  {:width$}  → {remedy}", "")))?;
            }
        }
    }
    if failed == 0 { Ok(()) } else { Err(Failure::Silent(1)) }
}
