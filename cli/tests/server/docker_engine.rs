//! A Docker engine for the tests: the one that answers, or one of their own; and the smallest image of this machine.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::support::Server;

/// What the image has of this machine's programs.
const PROGRAMS: [&str; 12] = ["bash", "sh", "cat", "ls", "id", "sleep", "touch", "mkdir", "env", "ln", "nproc", "rm"];

/// An engine that answers.
pub(crate) struct Engine {
    host: String,
    pub(crate) network: &'static str,
}

impl Engine {
    /// The engine of this machine, or one that ends with the tests; why there is none is said once.
    pub(crate) fn get() -> Option<&'static Self> {
        static ENGINE: OnceLock<Option<Engine>> = OnceLock::new();
        let engine = ENGINE.get_or_init(|| {
            if !agent().is_file() {
                eprintln!("skipped: {} is not there: build it with scripts/agent", agent().display());
                return None;
            }
            let given = std::env::var("DOCKER_HOST").ok();
            let given = given.unwrap_or_else(|| "unix:///var/run/docker.sock".to_owned());
            match Self::at(given).map_or_else(|why| Self::own().map_err(|own| format!("{why}; {own}")), Ok) {
                Ok(engine) => Some(engine),
                Err(why) => {
                    eprintln!("skipped: no Docker engine: {why}");
                    None
                }
            }
        });
        engine.as_ref()
    }

    fn at(host: String) -> Result<Self, String> {
        let mut engine = Self { host, network: "none" };
        engine.docker(&["version"])?;
        if engine.docker(&["network", "inspect", "bridge"]).is_ok() {
            engine.network = "bridge";
        }
        Ok(engine)
    }

    /// An engine below the folder for temporary files, which ends with this process.
    fn own() -> Result<Self, String> {
        let text = |error: std::io::Error| error.to_string();
        let dir = tempfile::Builder::new().prefix("dk").tempdir().map_err(text)?.keep();
        let mut engine = Command::new("python3")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/images/engine.py"))
            .arg(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C is for the tests; the engine ends after them.
            .process_group(0)
            .spawn()
            .map_err(text)?;
        let mut line = String::new();
        BufReader::new(engine.stdout.take().unwrap()).read_line(&mut line).map_err(text)?;
        if line.trim() != "ready" {
            let output = engine.wait_with_output().map_err(text)?;
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        // Open until this process ends.
        std::mem::forget(engine.stdin.take());
        Self::at(format!("unix://{}/docker.sock", dir.display()))
    }

    /// What the client of the engine says.
    pub(crate) fn docker(&self, args: &[&str]) -> Result<String, String> {
        let output = Command::new("docker").env("DOCKER_HOST", &self.host).args(args).stdin(Stdio::null()).output();
        let output = output.map_err(|error| format!("docker: {error}"))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// An image of a shell and a few programs of this machine, with the users `root` and `daytona`.
    pub(crate) fn image(&self) -> &'static str {
        static MADE: OnceLock<()> = OnceLock::new();
        MADE.get_or_init(|| {
            let dir = tempfile::tempdir().unwrap();
            let root = dir.path();
            for folder in ["bin", "etc", "tmp", "root", "home/daytona"] {
                std::fs::create_dir_all(root.join(folder)).unwrap();
            }
            for program in PROGRAMS {
                let found =
                    ["/usr/bin", "/bin"].iter().map(|dir| Path::new(dir).join(program)).find(|path| path.exists());
                copy_program(&found.unwrap(), &root.join("bin").join(program), root);
            }
            let passwd = "root:x:0:0::/root:/bin/bash\ndaytona:x:1000:1000::/home/daytona:/bin/bash\n";
            std::fs::write(root.join("etc/passwd"), passwd).unwrap();
            std::os::unix::fs::chown(root.join("home/daytona"), Some(1000), Some(1000)).unwrap();
            self.import(root, "daytona-native-tests/base:1", "USER daytona");
        });
        "daytona-native-tests/base:1"
    }

    /// An image without any program.
    pub(crate) fn bare_image(&self) -> &'static str {
        static MADE: OnceLock<()> = OnceLock::new();
        MADE.get_or_init(|| {
            let dir = tempfile::tempdir().unwrap();
            std::fs::create_dir(dir.path().join("tmp")).unwrap();
            self.import(dir.path(), "daytona-native-tests/bare:1", "WORKDIR /tmp");
        });
        "daytona-native-tests/bare:1"
    }

    fn import(&self, root: &Path, name: &str, change: &str) {
        let tar = root.with_extension("tar");
        let packed = Command::new("tar").arg("-C").arg(root).arg("-cf").arg(&tar).arg(".").status().unwrap();
        assert!(packed.success());
        self.docker(&["import", "--change", change, &tar.to_string_lossy(), name]).unwrap();
        std::fs::remove_file(tar).unwrap();
    }

    /// A server with this engine.
    pub(crate) async fn server(&self, dir: &Path, options: &[&str]) -> Server {
        let agent = agent();
        let variables = [("DOCKER_HOST", self.host.as_str()), ("DAYTONA_NATIVE_AGENT", agent.to_str().unwrap())];
        let mut all = vec!["--runtime", "docker", "--docker-network", self.network];
        all.extend(options);
        Server::open_with(dir, &all, &variables).await
    }

    /// The containers of a sandbox, running ones or all.
    pub(crate) fn containers(&self, sandbox: &str, all: bool) -> Vec<String> {
        let filter = format!("label=daytona-native.sandbox={sandbox}");
        let mut args = vec!["ps", "-q", "--no-trunc", "--filter", filter.as_str()];
        args.extend(all.then_some("-a"));
        self.docker(&args).unwrap().lines().map(str::to_owned).collect()
    }
}

fn agent() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_daytona-native")).with_file_name("daytona-agent")
}

/// A program and the libraries it is linked with.
fn copy_program(from: &Path, to: &Path, root: &Path) {
    std::fs::copy(from, to).unwrap();
    let linked = Command::new("ldd").arg(from).output().unwrap();
    for library in String::from_utf8_lossy(&linked.stdout).split_whitespace().filter(|word| word.starts_with('/')) {
        let place = root.join(library.trim_start_matches('/'));
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::copy(library, place).unwrap();
    }
}
