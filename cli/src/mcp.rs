//! `daytona-native mcp`: sandboxes for AI agents, over the Model Context Protocol.

mod arguments;
mod capture;
mod command;
mod config;
mod files;
mod http;
mod sandboxes;
mod tools;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use daytona_core::Config;
use rmcp::ServiceExt as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::context::{Context, Failure, Global, Outcome};
use tools::Tools;

/// What the end of a command's process may take when the client has gone.
const LAST_WORD: Duration = Duration::from_secs(5);

/// How to serve.
#[derive(clap::Args, Debug)]
#[command(after_help = "Without a subcommand it serves the standard input and output, as AI agents start it. With \
--local, or DAYTONA_API_URL=local, it uses the local server, and starts one for as long as it runs where there is none.\
\n\nOver HTTP, clients send `Authorization: Bearer TOKEN`: the token is printed at the start, or taken from \
DAYTONA_MCP_TOKEN.")]
pub(crate) struct Mcp {
    /// Serve HTTP on this loopback address instead; port 0 takes any free one.
    #[arg(long, value_name = "ADDRESS:PORT")]
    http: Option<SocketAddr>,
    /// Web page that may use the server over HTTP, such as `http://localhost:6274`; none if not given. May be repeated.
    #[arg(long, value_name = "ORIGIN", requires = "http")]
    allow_origin: Vec<String>,
    #[command(subcommand)]
    command: Option<Action>,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Serve; the same as no subcommand.
    Start,
    /// Add this server to the settings of an AI agent.
    Init {
        /// Which agent.
        agent: Agent,
        #[command(flatten)]
        entry: Entry,
        /// File to write instead of the agent's own.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Print the settings for an agent that `init` does not know.
    Config {
        #[command(flatten)]
        entry: Entry,
    },
}

/// Programs whose settings are known.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Agent {
    /// Claude Desktop.
    Claude,
    Cursor,
    Windsurf,
}

/// What the settings hold.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Entry {
    /// Put the key of `DAYTONA_API_KEY` into the settings: agents do not see the variables of your shell.
    #[arg(long)]
    save_key: bool,
}

pub(crate) fn main(args: &Mcp, global: Global) -> ExitCode {
    let work = async |context: &Context| match &args.command {
        Some(Action::Init { agent, entry, file }) => config::init(context, global, *agent, entry, file.as_deref()),
        Some(Action::Config { entry }) => config::print(context, global, entry),
        None | Some(Action::Start) => serve(context, args).await,
    };
    crate::run(global, async |context: &Context| work(context).await.map(|()| 0), None)
}

async fn serve(context: &Context, args: &Mcp) -> Outcome {
    // A server that is started here lives as long as this one: that is what an agent wants.
    let config = Config { local_no_start: false, ..context.config() };
    let tools = Tools::new(&config);
    match args.http {
        Some(address) => http::serve(context, tools, address, &args.allow_origin).await,
        None => stdio(&tools).await,
    }
}

/// Returns when someone wants the program to end.
async fn ended() -> Outcome {
    let watch = |kind| signal(kind).map_err(|error| Failure::new(format!("signals cannot be watched: {error}")));
    let mut interrupt = watch(SignalKind::interrupt())?;
    let mut terminate = watch(SignalKind::terminate())?;
    let mut hangup = watch(SignalKind::hangup())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    Ok(())
}

async fn stdio(tools: &Tools) -> Outcome {
    let running = tools.clone().serve(rmcp::transport::stdio()).await;
    let service = match running {
        Ok(service) => service,
        Err(error) => return Err(Failure::new(format!("the client did not begin: {error}"))),
    };
    let served = tokio::select! {
        quit = service.waiting() => quit.map(drop).map_err(|error| Failure::new(error.to_string())),
        ended = ended() => ended,
        // Nobody hears an answer any more.
        () = crate::output::reader_gone() => Ok(()),
    };
    tools.close(LAST_WORD).await;
    served
}
