//! The private bridge `daytona_native._native`.
//!
//! Each method borrows its arguments, converts them, calls one function of the core and converts
//! what comes back. What a client is for decides how a call is waited for ([`call::Mode`]): the same
//! method returns the value to a synchronous client and an awaitable to an asynchronous one.

mod access;
mod call;
mod completion;
mod convert;
mod daytona;
mod error;
mod exec_stream;
mod files;
mod git;
mod host;
mod image;
mod interpreter;
mod lsp;
mod output;
mod process;
mod pty;
mod runtime;
mod sandbox;
mod sandbox_provider;
mod session;
mod snapshot;
mod telemetry;
mod terminal_backend;
mod transfer;

use pyo3::prelude::*;

#[pymodule]
mod _native {
    #[pymodule_export]
    use super::completion::{Awaitable, Completions, Waiter};
    #[pymodule_export]
    use super::daytona::{Daytona, settle};
    #[pymodule_export]
    use super::error::error_table;
    #[pymodule_export]
    use super::exec_stream::ExecStream;
    #[pymodule_export]
    use super::files::FileSystem;
    #[pymodule_export]
    use super::git::Git;
    #[pymodule_export]
    use super::image::{BuildLog, SandboxCreation, SnapshotCreation, image_step};
    #[pymodule_export]
    use super::interpreter::{CodeInterpreter, CodeRun};
    #[pymodule_export]
    use super::lsp::LspServer;
    #[pymodule_export]
    use super::output::OutputChunk;
    #[pymodule_export]
    use super::process::Process;
    #[pymodule_export]
    use super::pty::Pty;
    #[pymodule_export]
    use super::sandbox::Sandbox;
    #[pymodule_export]
    use super::sandbox_provider::{SandboxProvider, provider_profile};
    #[pymodule_export]
    use super::session::LogStream;
    #[pymodule_export]
    use super::snapshot::SnapshotService;
    #[pymodule_export]
    use super::terminal_backend::{TerminalBackend, terminal_images};
    #[pymodule_export]
    use super::transfer::DownloadStream;
    use super::{Bound, PyAnyMethods, PyModule, PyResult, wrap_pyfunction};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        daytona_core::set_background(super::runtime::background);
        let ending = wrap_pyfunction!(super::runtime::interpreter_ends, module)?;
        module.py().import("atexit")?.call_method1("register", (ending,))?;
        Ok(())
    }
}
