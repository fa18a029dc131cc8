//! The core, as a Rust program would use it.

use bytes::Bytes;
use daytona_core::wire::interpreter::RunMessage;
use daytona_core::wire::session::SessionExecuteRequest;
use daytona_core::{
    Config, Daytona, Download, DownloadTarget, ErrorKind, ExecOptions, ListQuery, PtyOptions, RunCodeOptions, Sandbox,
    Transfer, Upload, UploadSource,
};
use futures_util::StreamExt as _;
use futures_util::future::try_join_all;

use crate::Result;
use crate::bare::{PIECE, pieces_of};
use crate::plan::{Log, Plan, SMALL, Subject, small};
use crate::sockets::{ECHO_READY, ECHO_SETUP};

/// The core and one sandbox.
pub(crate) struct Own {
    plan: Plan,
    sandbox: Sandbox,
}

/// A client of the core.
pub(crate) fn client(api_url: &str, key: &str) -> Result<Daytona> {
    let config =
        Config { api_url: Some(api_url.to_owned()), api_key: Some(key.to_owned().into()), ..Config::default() };
    Ok(Daytona::new(&config)?)
}

impl Own {
    pub(crate) async fn new(plan: Plan) -> Result<Self> {
        let sandbox = client(&plan.api_url, &plan.key)?.get(&plan.sandbox, None).await?;
        Ok(Self { plan, sandbox })
    }

    async fn upload(&self, source: UploadSource) -> Result<()> {
        let file = Upload { source, destination: self.plan.large() };
        Ok(self.sandbox.fs().upload_file(file, Transfer::default()).await?)
    }

    async fn download(&self, target: DownloadTarget) -> Result<()> {
        let files = vec![Download { source: self.plan.large(), target }];
        for file in self.sandbox.fs().download_files(files, Transfer::default()).await? {
            file.result?;
        }
        Ok(())
    }
}

impl Subject for Own {
    async fn exec(&self) -> Result<()> {
        let answer = self.sandbox.process().exec("echo hi", ExecOptions::default()).await?;
        if answer.exit_code == 0 { Ok(()) } else { Err(answer.result.into()) }
    }

    async fn burst(&self, count: usize) -> Result<()> {
        try_join_all((0..count).map(|_| self.exec())).await.map(drop)
    }

    async fn upload_small(&self, count: usize) -> Result<()> {
        let content = Bytes::from(vec![7; SMALL]);
        let file = |index| Upload { source: UploadSource::Bytes(content.clone()), destination: small(index) };
        Ok(self.sandbox.fs().upload_files((0..count).map(file).collect(), Transfer::default()).await?)
    }

    async fn download_small(&self, count: usize) -> Result<()> {
        let file = |index| Download { source: small(index), target: DownloadTarget::Memory };
        let files = self.sandbox.fs().download_files((0..count).map(file).collect(), Transfer::default()).await?;
        for file in files {
            let length = file.result?.map_or(0, |content| content.len());
            if length != SMALL {
                return Err(format!("{} has {length} bytes", file.source).into());
            }
        }
        Ok(())
    }

    async fn list(&self, count: usize) -> Result<()> {
        let daytona = client(&self.plan.list_url(count), &self.plan.key)?;
        let (mut cursor, mut seen) = (None, 0);
        loop {
            let page = daytona.list(&ListQuery::default(), cursor.as_deref(), None).await?;
            seen += page.items.len();
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        if seen == count { Ok(()) } else { Err(format!("{seen} sandboxes of {count}").into()) }
    }

    async fn upload_file(&self) -> Result<()> {
        self.upload(UploadSource::Path(self.plan.local.clone())).await
    }

    async fn upload_stream(&self) -> Result<()> {
        let pieces =
            pieces_of(&self.plan.local, PIECE).await?.map(|piece| Ok(piece.expect("the local file can be read")));
        self.upload(UploadSource::Stream(pieces.boxed())).await
    }

    async fn download_file(&self) -> Result<()> {
        self.download(DownloadTarget::File(self.plan.target.clone())).await
    }

    async fn download_memory(&self) -> Result<()> {
        self.download(DownloadTarget::Memory).await
    }

    async fn download_stream(&self) -> Result<()> {
        let mut stream = self.sandbox.fs().download_file_stream(&self.plan.large(), Transfer::default()).await?;
        let mut length = 0;
        while let Some(piece) = stream.next().await? {
            length += piece.len() as u64;
        }
        if length == self.plan.bytes { Ok(()) } else { Err(format!("{length} bytes").into()) }
    }

    async fn log(&self, command: Log, mb: usize) -> Result<()> {
        let process = self.sandbox.process();
        let session = format!("core-{}", std::process::id());
        // Another round may have made it.
        let _ = process.create_session(&session, None).await;
        let request = SessionExecuteRequest {
            command: command.command(mb),
            run_async: Some(true),
            ..SessionExecuteRequest::default()
        };
        let command = process.execute_session_command(&session, request, None).await?.cmd_id;
        let stream = process.follow_session_command_logs(&session, &command).await?;
        let mut length = 0;
        while let Some(chunks) = stream.next().await? {
            length += chunks.iter().map(|chunk| chunk.text.len()).sum::<usize>();
        }
        if length == mb * 1_000_000 { Ok(()) } else { Err(format!("{length} bytes").into()) }
    }

    async fn pty_output(&self, mb: usize) -> Result<()> {
        let id = format!("output-{mb}");
        let pty = self.sandbox.process().create_pty_session(&id, PtyOptions::default()).await?;
        pty.send_input("go\n".into()).await?;
        let mut length = 0;
        while let Some(shown) = pty.next().await? {
            length += shown.len();
        }
        if length == mb * 1_000_000 { Ok(()) } else { Err(format!("{length} bytes").into()) }
    }

    async fn pty_echo(&self, count: usize) -> Result<()> {
        let pty = self
            .sandbox
            .process()
            .create_pty_session(&format!("echo-{}", std::process::id()), PtyOptions::default())
            .await?;
        pty.send_input(ECHO_SETUP.into()).await?;
        let mut shown = Vec::new();
        while !shown.ends_with(ECHO_READY.as_bytes()) {
            shown.extend_from_slice(&pty.next().await?.ok_or("it is not connected")?);
        }
        for _ in 0..count {
            pty.send_input("k".into()).await?;
            pty.next().await?.ok_or("no echo")?;
        }
        pty.kill().await.or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })?;
        pty.disconnect();
        Ok(())
    }

    async fn interpret(&self) -> Result<()> {
        let run = self.sandbox.code_interpreter().run_code("print('hi')", RunCodeOptions::default()).await?;
        let mut shown = String::new();
        while let Some(messages) = run.next().await? {
            for message in messages {
                if let RunMessage::Stdout { text } = message {
                    shown.push_str(&text);
                }
            }
        }
        if shown == "hi\n" { Ok(()) } else { Err(shown.into()) }
    }
}
