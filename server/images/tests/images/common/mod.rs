//! What tests of several files share.

pub(crate) mod proxy;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use daytona_images::{BuildOptions, Image, LogSink, Plan, Result, RunStep, Runner, Store, StoreOptions, build};
use sha2::{Digest as _, Sha256};

pub(crate) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{:x}", Sha256::digest(bytes))
}

/// A store that unpacks as the user of the test may.
pub(crate) fn store(dir: &Path) -> Store {
    Store::open(dir, options()).unwrap()
}

pub(crate) fn options() -> StoreOptions {
    let root = rustix::process::geteuid().is_root();
    StoreOptions { user_xattr: !root, keep_owners: root, ..StoreOptions::default() }
}

/// Makes tars.
pub(crate) struct Tar(tar::Builder<Vec<u8>>);

impl Tar {
    pub(crate) fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    fn header(kind: tar::EntryType, mode: u32, size: usize) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size as u64);
        header.set_mtime(1_700_000_000);
        header.set_uid(0);
        header.set_gid(0);
        header
    }

    /// Names are taken as they are: what `tar` would refuse to write is what must be tried.
    fn named(mut header: tar::Header, name: &str) -> tar::Header {
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        header
    }

    pub(crate) fn file(mut self, name: &str, content: &[u8]) -> Self {
        let header = Self::named(Self::header(tar::EntryType::Regular, 0o644, content.len()), name);
        self.0.append(&header, content).unwrap();
        self
    }

    pub(crate) fn mode(mut self, name: &str, content: &[u8], mode: u32) -> Self {
        let header = Self::named(Self::header(tar::EntryType::Regular, mode, content.len()), name);
        self.0.append(&header, content).unwrap();
        self
    }

    pub(crate) fn folder(mut self, name: &str, mode: u32) -> Self {
        let header = Self::named(Self::header(tar::EntryType::Directory, mode, 0), name);
        self.0.append(&header, &b""[..]).unwrap();
        self
    }

    pub(crate) fn link(mut self, kind: tar::EntryType, name: &str, target: &str) -> Self {
        let mut header = Self::header(kind, 0o777, 0);
        header.as_gnu_mut().unwrap().linkname[..target.len()].copy_from_slice(target.as_bytes());
        self.0.append(&Self::named(header, name), &b""[..]).unwrap();
        self
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.link(tar::EntryType::Symlink, name, target)
    }

    pub(crate) fn hard_link(self, name: &str, target: &str) -> Self {
        self.link(tar::EntryType::Link, name, target)
    }

    pub(crate) fn device(mut self, name: &str) -> Self {
        let mut header = Self::header(tar::EntryType::Block, 0o666, 0);
        header.set_device_major(8).unwrap();
        header.set_device_minor(0).unwrap();
        self.0.append(&Self::named(header, name), &b""[..]).unwrap();
        self
    }

    /// A name of any length.
    pub(crate) fn long(mut self, name: &str, content: &[u8]) -> Self {
        let mut header = Self::header(tar::EntryType::Regular, 0o644, content.len());
        self.0.append_data(&mut header, name, content).unwrap();
        self
    }

    pub(crate) fn owned(mut self, name: &str, user: u64, group: u64) -> Self {
        let mut header = Self::header(tar::EntryType::Regular, 0o644, 0);
        header.set_uid(user);
        header.set_gid(group);
        self.0.append(&Self::named(header, name), &b""[..]).unwrap();
        self
    }

    pub(crate) fn xattr(mut self, name: &str, pairs: &[(&str, &[u8])]) -> Self {
        let names: Vec<_> = pairs.iter().map(|(name, _)| format!("SCHILY.xattr.{name}")).collect();
        let pairs = names.iter().zip(pairs).map(|(name, (_, value))| (name.as_str(), *value));
        self.0.append_pax_extensions(pairs).unwrap();
        self.file(name, b"")
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }

    pub(crate) fn write(self, path: &Path) -> PathBuf {
        std::fs::write(path, self.bytes()).unwrap();
        path.to_owned()
    }
}

/// A log that is kept.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl LogSink for Log {
    fn write(&self, text: &[u8]) {
        self.0.lock().unwrap().extend_from_slice(text);
    }
}

/// A runner that does not run: a function puts files into the upper folder and answers the exit code.
pub(crate) struct Fake<F>(pub(crate) F);

#[async_trait::async_trait]
impl<F: Fn(&RunStep<'_>) -> i32 + Send + Sync> Runner for Fake<F> {
    async fn run(&self, step: RunStep<'_>, log: &dyn LogSink) -> Result<i32> {
        log.write(format!("+ {}\n", step.argv.last().unwrap()).as_bytes());
        Ok((self.0)(&step))
    }
}

/// Debian's registry on a loopback port. None, said aloud, where it is not installed.
pub(crate) struct Registry {
    child: Child,
    pub(crate) host: String,
    pub(crate) dir: tempfile::TempDir,
    http: reqwest::Client,
    login: Option<(&'static str, &'static str)>,
}

/// `secret`, as bcrypt has it.
const HTPASSWD: &str = "user:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";

impl Registry {
    pub(crate) fn start(login: bool) -> Option<Self> {
        let program = ["/usr/bin/docker-registry", "/usr/local/bin/docker-registry"];
        let Some(program) = program.into_iter().find(|path| Path::new(path).exists()) else {
            eprintln!("SKIPPED: docker-registry is not installed");
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().display();
        std::fs::write(dir.path().join("htpasswd"), HTPASSWD).unwrap();
        let auth =
            if login { format!("auth: {{htpasswd: {{realm: test, path: {path}/htpasswd}}}}\n") } else { String::new() };
        let config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {path}/data}}}}\n\
             http: {{addr: '127.0.0.1:0'}}\n{auth}"
        );
        std::fs::write(dir.path().join("config.yml"), config).unwrap();
        let mut child = Command::new(program)
            .arg("serve")
            .arg(dir.path().join("config.yml"))
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let host = loop {
            let line = lines.next().expect("the registry has ended").unwrap();
            if let Some((_, rest)) = line.split_once("listening on ") {
                break rest.split(['"', ' ', ',']).next().unwrap().to_owned();
            }
        };
        std::thread::spawn(move || lines.for_each(drop));
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Some(Self { child, host, dir, http, login: login.then_some(("user", "secret")) })
    }

    fn request(&self, method: reqwest::Method, url: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, url);
        match self.login {
            Some((user, password)) => request.basic_auth(user, Some(password)),
            None => request,
        }
    }

    pub(crate) async fn push_blob(&self, repository: &str, bytes: &[u8]) -> serde_json::Value {
        let digest = digest(bytes);
        let url = format!("http://{}/v2/{repository}/blobs/uploads/", self.host);
        let begun = self.request(reqwest::Method::POST, &url).send().await.unwrap().error_for_status().unwrap();
        let location = begun.headers()["location"].to_str().unwrap();
        let url = format!("{location}{}digest={digest}", if location.contains('?') { '&' } else { '?' });
        let put = self.request(reqwest::Method::PUT, &url).body(bytes.to_vec());
        put.send().await.unwrap().error_for_status().unwrap();
        serde_json::json!({"digest": digest, "size": bytes.len()})
    }

    pub(crate) async fn push_manifest(&self, repository: &str, tag: &str, manifest: &serde_json::Value) -> String {
        let bytes = serde_json::to_vec(manifest).unwrap();
        let url = format!("http://{}/v2/{repository}/manifests/{tag}", self.host);
        let put = self.request(reqwest::Method::PUT, &url);
        let put = put.header("content-type", manifest["mediaType"].as_str().unwrap()).body(bytes.clone());
        put.send().await.unwrap().error_for_status().unwrap();
        digest(&bytes)
    }

    /// Pushes an image of layers, each with its packed form; answers the digest of its manifest.
    pub(crate) async fn push_image(&self, repository: &str, tag: &str, layers: &[(Vec<u8>, Packing)]) -> String {
        self.push_config(repository, tag, layers, serde_json::json!({"Env": ["A=b"], "Cmd": ["sh"], "Labels": null}))
            .await
    }

    pub(crate) async fn push_config(
        &self,
        repository: &str,
        tag: &str,
        layers: &[(Vec<u8>, Packing)],
        config: serde_json::Value,
    ) -> String {
        let mut descriptors = Vec::new();
        let mut diff_ids = Vec::new();
        for (bytes, packing) in layers {
            diff_ids.push(digest(bytes));
            let mut descriptor = self.push_blob(repository, &packing.pack(bytes)).await;
            descriptor["mediaType"] = packing.media_type().into();
            descriptors.push(descriptor);
        }
        let config = serde_json::json!({
            "architecture": "amd64", "os": "linux", "config": config,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let mut config = self.push_blob(repository, &serde_json::to_vec(&config).unwrap()).await;
        config["mediaType"] = "application/vnd.oci.image.config.v1+json".into();
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config, "layers": descriptors,
        });
        self.push_manifest(repository, tag, &manifest).await
    }

    /// File of a blob in the registry's own store.
    pub(crate) fn blob_file(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").unwrap();
        let blobs = self.dir.path().join("data/docker/registry/v2/blobs/sha256");
        blobs.join(&hex[..2]).join(hex).join("data")
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Packing {
    Plain,
    Gzip,
    Zstd,
    Docker,
}

impl Packing {
    pub(crate) fn pack(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Plain => bytes.to_vec(),
            Self::Zstd => zstd::encode_all(bytes, 1).unwrap(),
            Self::Gzip | Self::Docker => {
                let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                packed.write_all(bytes).unwrap();
                packed.finish().unwrap()
            }
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Plain => "application/vnd.oci.image.layer.v1.tar",
            Self::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
            Self::Docker => "application/vnd.docker.image.rootfs.diff.tar.gzip",
        }
    }
}

/// Bytes that do not pack.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// All paths below a folder, relative to it.
pub(crate) fn tree(folder: &Path) -> Vec<String> {
    let entries = walkdir::WalkDir::new(folder).min_depth(1).sort_by_file_name().into_iter();
    entries.map(|entry| entry.unwrap().path().strip_prefix(folder).unwrap().display().to_string()).collect()
}

/// A store and all that a build needs.
pub(crate) struct Bench {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) store: Store,
    pub(crate) log: Log,
    pub(crate) options: BuildOptions,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir.path().join("store"));
        Self { dir, store, log: Log::default(), options: BuildOptions::default() }
    }

    pub(crate) async fn build(&self, text: &str, context: Option<Tar>, runner: &dyn Runner) -> Result<Image> {
        let plan = Plan::parse(text)?;
        let contexts: Vec<_> = context.map(|tar| tar.write(&self.dir.path().join("context.tar"))).into_iter().collect();
        build(&self.store, &plan, &contexts, runner, &self.log, &self.options).await
    }
}

/// Runs nothing, with success.
pub(crate) fn idle() -> Fake<fn(&RunStep<'_>) -> i32> {
    Fake(|_| 0)
}

/// What an overlay of the layers would show, for layers without whiteouts.
pub(crate) fn read(image: &Image, path: &str) -> Option<String> {
    image.lowerdirs().iter().find_map(|layer| std::fs::read_to_string(layer.join(path)).ok())
}

/// All paths of an image.
pub(crate) fn names(image: &Image) -> Vec<String> {
    let mut names: Vec<_> = image.layers.iter().flat_map(|layer| tree(&layer.path)).collect();
    names.sort();
    names.dedup();
    names
}
