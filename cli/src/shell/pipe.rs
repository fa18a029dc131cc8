//! Without a terminal: a shell that reads its commands from the standard input, as `ssh` does it.

use std::io;

use daytona_core::{ExecOptions, ExecStream, OutputStream, Process};
use tokio::signal::unix::{SignalKind, signal};

use super::{READER_GONE, any, exit_byte, read_stdin, text, write};
use crate::exec::end;

/// Not a login shell on a terminal: no prompt, no echo, and it ends at the end of its input.
const SHELL: &str = "if command -v bash >/dev/null; then exec bash; else exec sh; fi";

pub(super) async fn run(process: &Process, cwd: Option<String>) -> Result<u8, String> {
    let options = ExecOptions { cwd, timeout: Some(0.0), ..ExecOptions::default() };
    let mut endings = Vec::new();
    for kind in [SignalKind::hangup(), SignalKind::interrupt(), SignalKind::quit(), SignalKind::terminate()] {
        let watched = signal(kind).map_err(|error| format!("signals cannot be watched: {error}"))?;
        endings.push((kind.as_raw_value(), watched));
    }
    let stream = process.exec_stream(SHELL, options).await.map_err(text)?;
    let code = tokio::select! {
        code = converse(&stream) => code,
        number = any(&mut endings) => Ok(128 + number),
    };
    end(&stream).await;
    code.map(exit_byte)
}

async fn converse(stream: &ExecStream) -> Result<i32, String> {
    let input = async {
        let mut typed = read_stdin();
        while let Some(bytes) = typed.recv().await {
            // A shell that takes no more has ended, and the output says how.
            if stream.write_stdin(bytes.into()).await.is_err() {
                break;
            }
        }
        let _ = stream.close_stdin().await;
        std::future::pending().await
    };
    let output = async {
        while let Some(chunks) = stream.next().await.map_err(text)? {
            for chunk in chunks {
                let is_read = match chunk.stream {
                    OutputStream::Stdout => write(&mut io::stdout().lock(), &chunk.bytes)?,
                    OutputStream::Stderr => write(&mut io::stderr().lock(), &chunk.bytes)?,
                };
                if !is_read {
                    return Ok(128 + READER_GONE);
                }
            }
        }
        stream.wait().await.map_err(text)
    };
    tokio::select! {
        never = input => never,
        code = output => code,
    }
}
