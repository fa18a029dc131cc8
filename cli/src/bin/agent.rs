//! The agent for containers: a program of its own, linked statically so that it runs in any image.
//!
//! `scripts/agent` builds it.

fn main() -> std::process::ExitCode {
    daytona_toolbox::container::main()
}
