//! The core, as a Rust program would use it.

use bytes::Bytes;
use daytona_core::{
    Config, Daytona, Download, DownloadTarget, ExecOptions, ListQuery, Sandbox, Transfer, Upload, UploadSource,
};
use futures_util::StreamExt as _;
use futures_util::future::try_join_all;

use crate::Result;
use crate::bare::{PIECE, pieces_of};
use crate::plan::{Plan, SMALL, Subject, small};

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
}
