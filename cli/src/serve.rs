//! `daytona-native serve`: the local server.

use std::fs::OpenOptions;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use clap::{CommandFactory as _, ValueEnum, error::ErrorKind};
use daytona_runtime::RuntimeChoice;
use daytona_server::{
    DEFAULT_PORT, DockerSettings, ImageOptions, Options, Patience, Ready, RegistryCredentials, ServeError,
};
use secrecy::{ExposeSecret as _, SecretString};
use tracing_subscriber::EnvFilter;

use crate::{Cli, fail};

const KEY_VARIABLE: &str = "DAYTONA_NATIVE_API_KEY";

/// The API key is read from a file or the environment, never from the command line, which other
/// users can see.
#[derive(clap::Args)]
#[command(after_help = "The API key is made at the first start and kept in the data directory, \
unless --api-key-file or the environment variable DAYTONA_NATIVE_API_KEY gives one.\n\nWith --json, the address and \
the key come as one line of JSON.\n\nExits with 0 after SIGINT, SIGTERM, SIGHUP and their like, 3 if the data directory is in use by another \
server, 1 for other failures.")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct Serve {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1", value_parser = host)]
    host: IpAddr,
    /// Port to listen on; 0 takes any free one.
    #[arg(long, default_value_t = DEFAULT_PORT)]
    port: u16,
    /// Port for SSH, where an SSH access was made; 0 takes any free one [default: 2222, or any free one].
    #[arg(long, value_name = "PORT")]
    ssh_port: Option<u16>,
    /// Where sandboxes and state are kept [default: $XDG_DATA_HOME/daytona-native or
    /// ~/.local/share/daytona-native].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Take a data directory that is a copy of another, or was restored by copying, for one of its own: it gets a new
    /// identifier. Needed once.
    #[arg(long)]
    adopt_copy: bool,
    /// File that holds the API key.
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// How sandboxes are made: Linux namespaces, plain processes without isolation, or containers of a Docker engine
    /// (`DOCKER_HOST`).
    #[arg(long, value_enum, default_value_t = RuntimeName::Auto)]
    runtime: RuntimeName,
    /// With --runtime docker, the image of sandboxes that are made without one.
    #[arg(long, value_name = "IMAGE", env = "DAYTONA_NATIVE_DOCKER_IMAGE")]
    docker_image: Option<String>,
    /// With --runtime docker, the engine's network for sandboxes [default: bridge].
    #[arg(long, value_name = "NETWORK", env = "DAYTONA_NATIVE_DOCKER_NETWORK")]
    docker_network: Option<String>,
    /// How the log on the standard error is written.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// Run in the background: return once it listens. Ends with `kill PID`.
    #[arg(long, conflicts_with = "embedded")]
    detach: bool,
    /// End when the last client process has ended.
    #[arg(long)]
    embedded: bool,
    /// Allow an address that other machines can reach: the traffic is not encrypted.
    #[arg(long)]
    allow_remote: bool,
    /// Let sandboxes with a network of their own reach services on this machine's loopback addresses, by the name
    /// host.daytona.internal.
    #[arg(long)]
    allow_host_loopback: bool,
    /// What stands in for the base images of sandboxes: `host`, this machine's own programs.
    #[arg(long, value_enum, env = "DAYTONA_NATIVE_IMAGE_FALLBACK", value_name = "WHAT")]
    image_fallback: Option<ImageFallback>,
    /// A registry that is asked for images of Docker Hub before it; can be given several times.
    #[arg(long, value_name = "HOST", env = "DAYTONA_NATIVE_REGISTRY_MIRROR", value_delimiter = ',')]
    registry_mirror: Vec<String>,
    /// File with the credentials of registries, in the form of the Docker client's config.json.
    #[arg(long, value_name = "FILE", env = "DAYTONA_NATIVE_REGISTRY_AUTH_FILE")]
    registry_auth_file: Option<PathBuf>,
    /// Seconds for the head of an HTTP request. For tests, as the next two.
    #[arg(long, hide = true)]
    head_time: Option<u64>,
    /// Seconds for an SSH client to show its token.
    #[arg(long, hide = true)]
    login_time: Option<u64>,
    /// SSH clients at once that have not.
    #[arg(long, hide = true)]
    logins: Option<usize>,
}

impl Serve {
    fn patience(&self) -> Patience {
        let usual = Patience::default();
        Patience {
            head: self.head_time.map_or(usual.head, Duration::from_secs),
            login: self.login_time.map_or(usual.login, Duration::from_secs),
            logins: self.logins.unwrap_or(usual.logins),
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum ImageFallback {
    Host,
}

#[derive(Clone, Copy, ValueEnum)]
enum RuntimeName {
    Auto,
    Ns,
    Process,
    Docker,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

fn host(text: &str) -> Result<IpAddr, String> {
    if text == "localhost" {
        return Ok(IpAddr::from([127, 0, 0, 1]));
    }
    text.parse().map_err(|_| "use an IP address or localhost".to_owned())
}

pub(crate) fn run(serve: Serve, json: bool) -> ExitCode {
    if !serve.host.is_loopback() && !serve.allow_remote {
        Cli::command()
            .error(
                ErrorKind::ValueValidation,
                format!(
                    "{} can be reached from other machines, and the traffic is not encrypted: use \
                     a loopback address, or --allow-remote",
                    serve.host
                ),
            )
            .exit();
    }
    if serve.detach {
        return detach(&serve, json).unwrap_or_else(|message| fail(&message, 1));
    }
    let patience = serve.patience();
    // First of all, so that the launcher has no threads and nothing secret.
    let launcher = std::env::current_exe().and_then(|exe| daytona_runtime::spawn_launcher(&exe));
    log_to_stderr(serve.log_format);
    let launcher = match launcher {
        Ok(launcher) => launcher,
        Err(error) => return fail(&format!("the launcher cannot be started: {error}"), 1),
    };
    let api_key = match api_key(serve.api_key_file.as_ref()) {
        Ok(api_key) => api_key,
        Err(message) => return fail(&message, 1),
    };
    let credentials = serve.registry_auth_file.as_ref().map(|path| RegistryCredentials::read(path)).transpose();
    let images = match credentials {
        Ok(credentials) => ImageOptions {
            host_fallback: serve.image_fallback.is_some(),
            mirrors: serve.registry_mirror,
            credentials: credentials.unwrap_or_default(),
        },
        Err(message) => return fail(&format!("--registry-auth-file {message}"), 1),
    };
    let options = Options {
        host: serve.host,
        port: serve.port,
        ssh_port: serve.ssh_port,
        data_dir: serve.data_dir,
        adopt_copy: serve.adopt_copy,
        api_key,
        runtime: match serve.runtime {
            RuntimeName::Auto => RuntimeChoice::Auto,
            RuntimeName::Ns => RuntimeChoice::Ns,
            RuntimeName::Process => RuntimeChoice::Process,
            RuntimeName::Docker => RuntimeChoice::Docker,
        },
        docker: DockerSettings {
            image: serve.docker_image.filter(|image| !image.is_empty()),
            network: serve.docker_network.filter(|network| !network.is_empty()),
            ..DockerSettings::default()
        },
        embedded: serve.embedded,
        allow_host_loopback: serve.allow_host_loopback,
        images,
        patience,
    };
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers.clamp(2, 8)).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("threads cannot be started: {error}"), 1),
    };
    let announce = move |ready: &Ready| print_ready(ready, json);
    let result = runtime.block_on(daytona_server::serve(options, launcher, Box::new(announce)));
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ ServeError::InUse { .. }) => fail(&error.to_string(), 3),
        Err(error) => fail(&error.to_string(), 1),
    }
}

fn api_key(file: Option<&PathBuf>) -> Result<Option<SecretString>, String> {
    if let Some(path) = file {
        let text = daytona_core::read_small_file(path);
        let text = text.map_err(|error| format!("--api-key-file {}: {error}", path.display()))?;
        return Ok(Some(SecretString::from(text.trim())));
    }
    match std::env::var(KEY_VARIABLE) {
        Ok(text) => Ok(Some(SecretString::from(text))),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(error) => Err(format!("{KEY_VARIABLE}: {error}")),
    }
}

fn print_ready(ready: &Ready, json: bool) -> io::Result<()> {
    let key = ready.api_key.expose_secret();
    let text = if json {
        let line = serde_json::json!({
            "url": ready.url,
            "apiKey": key,
            "pid": ready.pid,
            "dataDir": ready.data_dir,
            "runtime": ready.runtime,
            "version": ready.version,
        });
        format!("{line}\n")
    } else {
        format!(
            "daytona-native {} (runtime {})\n\nexport DAYTONA_API_URL={}\nexport \
             DAYTONA_API_KEY={key}\n",
            ready.version, ready.runtime, ready.url
        )
    };
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

fn log_to_stderr(format: LogFormat) {
    let filter = EnvFilter::try_from_env("DAYTONA_NATIVE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).log_internal_errors(false);
    match format {
        LogFormat::Text => builder.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).init(),
        LogFormat::Json => builder.json().init(),
    }
}

/// Starts the same server again as a process of its own, and tells what it says.
fn detach(serve: &Serve, json: bool) -> Result<ExitCode, String> {
    let dir = serve.data_dir.clone().or_else(daytona_server::default_dir);
    let dir = dir.ok_or("neither XDG_DATA_HOME nor HOME is set: pass --data-dir")?;
    let cannot = |what: &str, error: io::Error| format!("{what}: {error}");
    let shown = dir.display().to_string();
    // Before anything is made in it.
    daytona_server::check_data_dir(&dir, serve.adopt_copy).map_err(|error| error.to_string())?;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(|error| cannot(&shown, error))?;
    let log = dir.join("server.log");
    // Appended to: the server that runs already, if one does, writes there too.
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&log);
    let file = file.map_err(|error| cannot(&log.display().to_string(), error))?;
    let exe = std::env::current_exe().map_err(|error| cannot("the program's own file", error))?;
    let mut server = Command::new(exe)
        .args(std::env::args_os().skip(1).filter(|word| word != "--detach" && word != "--json"))
        .arg("--json")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(file)
        .process_group(0)
        .spawn()
        .map_err(|error| cannot("the server", error))?;
    let mut line = String::new();
    let output = server.stdout.take().expect("stdout is piped");
    if BufReader::new(output).read_line(&mut line).is_err() || !line.ends_with('\n') {
        let code = server.wait().ok().and_then(|status| status.code());
        let why = match code {
            Some(3) => "a server runs on this data directory already: `daytona-native --local` uses it".to_owned(),
            _ => format!("the server has ended before it listened; see {}", log.display()),
        };
        return Ok(fail(&why, code.and_then(|code| u8::try_from(code).ok()).filter(|&code| code != 0).unwrap_or(1)));
    }
    let text = if json {
        line
    } else {
        let ready: serde_json::Value = serde_json::from_str(&line).map_err(|error| error.to_string())?;
        let value = |name: &str| ready[name].as_str().unwrap_or_default().to_owned();
        format!(
            "daytona-native {} (runtime {}) runs in the background; end it with `kill {}`\n\nexport \
             DAYTONA_API_URL={}\nexport DAYTONA_API_KEY={}\n",
            value("version"),
            value("runtime"),
            ready["pid"],
            value("url"),
            value("apiKey"),
        )
    };
    let mut stdout = io::stdout().lock();
    if let Err(error) = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        // Nobody would know how to reach it, or which process to end.
        let pid = i32::try_from(server.id()).ok().and_then(rustix::process::Pid::from_raw);
        let _ = pid.map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::TERM));
        let _ = server.wait();
        return Err(cannot("the server has ended: its address cannot be written to the standard output", error));
    }
    Ok(ExitCode::SUCCESS)
}
