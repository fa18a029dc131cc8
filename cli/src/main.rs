//! The `daytona-native` binary: the command line for sandboxes, the local server, the MCP server, and the hidden role
//! `launcher`.

mod access;
mod context;
mod copy;
mod cost;
mod create;
mod doctor;
mod exec;
mod image;
mod logs;
mod mcp;
mod output;
mod prune;
mod sandbox;
mod secret;
mod serve;
mod shell;
mod snapshot;
mod spin;
mod store;
mod sync;
mod volume;

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory as _, Parser, Subcommand};

use context::{Context, Failure, Global, Outcome};

/// Threads that wait for sockets and signals; what a command does is on the main one.
const WORKERS: usize = 2;
/// How long the end waits until what was called off is deleted.
const LAST_WORK: Duration = Duration::from_secs(3);
/// Of commands whose exit code is that of what they ran.
const NOT_RUN: u8 = 255;

/// Daytona sandboxes from the command line, on Daytona or on this machine.
#[derive(Parser)]
#[command(name = "daytona-native", version, arg_required_else_help = true, after_help = context::HELP)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a sandbox with a git repository in it.
    Spin(Box<spin::Spin>),
    /// Run a command in a sandbox.
    Exec(exec::Exec),
    /// Commit what was changed in a sandbox's repository, and exchange it with the remote.
    Sync(sync::Sync),
    /// List sandboxes.
    #[command(alias = "ls")]
    List(sandbox::List),
    /// Show one sandbox.
    Info(context::Target),
    /// Make a sandbox.
    Create(Box<create::Create>),
    /// Start sandboxes that are stopped, paused or archived.
    Start(sandbox::Change),
    /// Stop sandboxes.
    Stop(sandbox::Stop),
    /// Archive stopped sandboxes.
    Archive(sandbox::Change),
    /// Pause sandboxes; `start` lets them go on.
    Pause(sandbox::Change),
    /// Copy a sandbox as it is now.
    Fork(sandbox::Fork),
    /// Delete sandboxes.
    #[command(alias = "rm")]
    Delete(sandbox::Change),
    /// Open a shell in a sandbox, or attach to a session again.
    Shell(shell::Shell),
    /// Copy files and folders into a sandbox, or out of it.
    Cp(copy::Copy),
    /// Show what a sandbox's entrypoint or a session's command writes.
    Logs(logs::Logs),
    /// Print the URL of a port in a sandbox.
    Preview(access::Preview),
    /// Connect to a sandbox with ssh.
    Ssh(access::Ssh),
    /// Snapshots: what sandboxes are made from.
    #[command(subcommand, arg_required_else_help = true)]
    Snapshots(snapshot::Snapshots),
    /// Images: what snapshots and sandboxes are built from.
    #[command(subcommand, arg_required_else_help = true)]
    Images(image::Images),
    /// Volumes: storage that outlives sandboxes.
    #[command(subcommand, arg_required_else_help = true)]
    Volumes(volume::Volumes),
    /// Secrets: values that sandboxes use without seeing them.
    #[command(subcommand, arg_required_else_help = true)]
    Secrets(secret::Secrets),
    /// What sandboxes cost.
    Cost(cost::Cost),
    /// Look for what could be wrong, and say what to do about it.
    Doctor(doctor::Doctor),
    /// The store of a local server, when it is lost.
    #[command(subcommand, arg_required_else_help = true)]
    Store(store::Store),
    Prune(prune::Prune),
    /// Run the local server.
    Serve(Box<serve::Serve>),
    /// Serve sandboxes to AI agents over the Model Context Protocol.
    Mcp(mcp::Mcp),
    /// Print the completions of a shell: `source <(daytona-native completions bash)`.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// The server's helper that starts the sandboxes; not for use by hand.
    #[command(hide = true)]
    Launcher,
}

fn main() -> ExitCode {
    let Cli { global, command } = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return explain(&error),
    };
    match command {
        Command::Launcher => daytona_runtime::launcher_main(),
        Command::Serve(args) => serve::run(*args, global.json),
        Command::Completions { shell } => completions(shell),
        Command::Shell(args) => shell::main(&args, &Context::new(global)),
        Command::Mcp(args) => mcp::main(&args, global),
        Command::Doctor(args) => {
            // First of all, so that it has no threads and nothing secret.
            let launcher = std::env::current_exe().and_then(|exe| daytona_runtime::spawn_launcher(&exe));
            run(global, async move |context: &Context| doctor::run(context, &args, launcher).await.map(|()| 0), None)
        }
        Command::Exec(args) => run(global, async |context: &Context| exec::run(context, &args).await, Some(NOT_RUN)),
        Command::Ssh(args) => run(global, async |context: &Context| access::ssh(context, &args).await, Some(NOT_RUN)),
        Command::Spin(args) => run(global, async |context: &Context| Box::pin(spin::run(context, &args)).await, None),
        command => run(global, async |context: &Context| Box::pin(dispatch(context, &command)).await.map(|()| 0), None),
    }
}

async fn dispatch(context: &Context, command: &Command) -> Outcome {
    use sandbox::Verb;
    match command {
        Command::Sync(args) => sync::run(context, args).await,
        Command::List(args) => sandbox::list(context, args).await,
        Command::Info(args) => sandbox::info(context, args).await,
        Command::Create(args) => Box::pin(create::run(context, args)).await,
        Command::Start(args) => sandbox::change(context, args, Verb::Start).await,
        Command::Stop(args) => sandbox::stop(context, args).await,
        Command::Archive(args) => sandbox::change(context, args, Verb::Archive).await,
        Command::Pause(args) => sandbox::change(context, args, Verb::Pause).await,
        Command::Fork(args) => interruptible(sandbox::fork(context, args)).await,
        Command::Delete(args) => sandbox::change(context, args, Verb::Delete).await,
        Command::Cp(args) => copy::run(context, args).await,
        Command::Logs(args) => logs::run(context, args).await,
        Command::Preview(args) => access::preview(context, args).await,
        Command::Snapshots(args) => interruptible(snapshot::run(context, args)).await,
        Command::Images(args) => interruptible(image::run(context, args)).await,
        Command::Volumes(args) => interruptible(volume::run(context, args)).await,
        Command::Secrets(args) => interruptible(secret::run(context, args)).await,
        Command::Cost(args) => cost::run(context, args).await,
        Command::Store(args) => store::run(context, args).await,
        Command::Prune(args) => prune::run(context, args),
        Command::Launcher
        | Command::Serve(_)
        | Command::Completions { .. }
        | Command::Shell(_)
        | Command::Mcp(_)
        | Command::Doctor(_)
        | Command::Exec(_)
        | Command::Ssh(_)
        | Command::Spin(_) => unreachable!("run by main"),
    }
}

/// Lets Ctrl-C end a command that makes something: what it has made by then is deleted.
async fn interruptible(work: impl Future<Output = Outcome>) -> Outcome {
    tokio::select! {
        done = work => done,
        _ = tokio::signal::ctrl_c() => Err(Failure::Silent(context::INTERRUPTED)),
    }
}

/// Runs a command to its exit code; `failed` is the code where it could not, whatever the reason.
fn run(global: Global, work: impl AsyncFnOnce(&Context) -> Outcome<u8>, failed: Option<u8>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("threads cannot be started: {error}"), failed.unwrap_or(1)),
    };
    let context = Context::new(global);
    let ended = runtime.block_on(async {
        let ended = work(&context).await;
        if daytona_core::work_is_left() {
            let _ = tokio::time::timeout(LAST_WORK, daytona_core::finish_work()).await;
        }
        ended
    });
    // What still reads the standard input waits for nobody.
    runtime.shutdown_background();
    ended.map_or_else(|failure: Failure| failure.report(global.json, failed), ExitCode::from)
}

fn completions(shell: clap_complete::Shell) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "daytona-native", &mut script);
    let mut stdout = io::stdout().lock();
    match stdout.write_all(&script).and_then(|()| stdout.flush()) {
        Err(error) => output::closed(error).report(false, None),
        Ok(()) => ExitCode::SUCCESS,
    }
}

/// What is wrong with the command line; or its help, or the version, which were asked for.
fn explain(error: &clap::Error) -> ExitCode {
    match error.print() {
        Err(failed) if !error.use_stderr() => output::closed(failed).report(false, None),
        _ => ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1)),
    }
}

fn fail(message: &str, code: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "daytona-native: {message}");
    ExitCode::from(code)
}
