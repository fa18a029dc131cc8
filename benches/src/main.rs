//! What the bench needs in Rust: a stub server, a bare client, the core, and sandbox starts.
//!
//! `run.py` runs it; every role prints one line of JSON.

mod bare;
mod measure;
mod own;
mod plan;
mod sockets;
mod start;
mod stub;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Any failure ends the role: a bench has nobody to hand it to.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Serve canned answers until standard input ends.
    Stub,
    /// Follow a plan with nothing but reqwest.
    Bare { plan: String },
    /// Follow a plan with the core.
    Core { plan: String },
    /// Start sandboxes one after another, beside plain processes and bubblewrap.
    Start(start::Options),
    /// Create sandboxes, say so, and keep them until standard input ends.
    Hold(start::HoldOptions),
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = runtime.map_err(Into::into).and_then(|runtime| {
        runtime.block_on(async {
            match Cli::parse().role {
                Role::Stub => stub::serve().await,
                Role::Bare { plan } => plan::follow(&plan, bare::Bare::new).await,
                Role::Core { plan } => plan::follow(&plan, own::Own::new).await,
                Role::Start(options) => start::run(&options).await,
                Role::Hold(options) => start::hold(&options).await,
            }
        })
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("daytona-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
