//! Where each setting comes from: explicit configuration, then the process environment, then
//! `.env.local`, then `.env`. The API URL is never read from a file, so that a checked-out
//! repository cannot send a user's key elsewhere.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::error::{Error, ErrorKind, Result};
use crate::operation::Operation;

const DEFAULT_API_URL: &str = "https://app.daytona.io/api";
const DEFAULT_POOL_SIZE: usize = 250;
/// What an answer that is held in memory may have where nothing is said.
const MAX_RESPONSE_BYTES: u64 = 256 << 20;
const MAX_RESPONSE_BYTES_VARIABLE: &str = "DAYTONA_MAX_RESPONSE_BYTES";
const HAPPY_EYEBALLS: &str = "DAYTONA_HAPPY_EYEBALLS_DELAY";
/// See [`Config::local_runtime`].
const RUNTIME: &str = "DAYTONA_LOCAL_RUNTIME";
const RUNTIMES: [&str; 3] = ["ns", "docker", "process"];
/// The API URL that means: the bundled local server.
const LOCAL: &str = "local";
/// Files whose API URL the official TypeScript client takes for an attempt to redirect the key.
const TYPESCRIPT_ENV_FILES: [&str; 8] = [
    ".env",
    ".env.local",
    ".env.development",
    ".env.development.local",
    ".env.production",
    ".env.production.local",
    ".env.test",
    ".env.test.local",
];

/// The binding that uses the core, as servers see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// A Rust program.
    #[default]
    Rust,
    /// Synchronous Python.
    Python,
    /// Asynchronous Python.
    PythonAsync,
    /// Node.
    Node,
}

impl Source {
    /// The value of `X-Daytona-Source`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rust => "daytona-native-rust",
            Self::Python => "daytona-native-python",
            Self::PythonAsync => "daytona-native-python-async",
            Self::Node => "daytona-native-node",
        }
    }
}

/// Explicit configuration. What is `None` is looked up (see [`Config::resolve`]).
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// API key.
    pub api_key: Option<SecretString>,
    /// JWT, used where there is no API key; needs an organization.
    pub jwt_token: Option<SecretString>,
    /// Organization id, sent with a JWT only.
    pub organization_id: Option<String>,
    /// Base URL of the API, or `local` for the bundled server.
    pub api_url: Option<String>,
    /// Region for new sandboxes.
    pub target: Option<String>,
    /// Requests in flight at once; `Some(None)` is unlimited. Default 250.
    pub connection_pool_maxsize: Option<Option<usize>>,
    /// Time limit of each request that has none of its own; zero is none.
    pub request_timeout: Option<Duration>,
    /// Bytes that an answer may have which is held in memory, a download to memory too; 0 is no limit. Default 256 MiB.
    pub max_response_bytes: Option<u64>,
    /// Wait for states by polling only.
    pub use_deprecated_polling: Option<bool>,
    /// Send OpenTelemetry spans and metrics.
    pub otel_enabled: Option<bool>,
    /// Who asks.
    pub source: Source,
    /// Where to look for the server binary first, before `PATH`.
    pub server_binary: Option<PathBuf>,
    /// Data directory of the local server; the per-user default if `None`.
    pub local_data_dir: Option<PathBuf>,
    /// Use the local server that runs already, and start none: one that is started ends with its last client, and
    /// the sandboxes stop.
    pub local_no_start: bool,
    /// How the local server has to make sandboxes: `ns`, `docker` or `process`. One that is started is started so; one
    /// that runs with another runtime is refused. Any if `None`.
    pub local_runtime: Option<String>,
    /// Stands for the process environment, where the language keeps its own (a Node worker); the
    /// real one if `None`.
    pub environment: Option<BTreeMap<String, SecretString>>,
}

/// Where a setting came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Given by the program.
    Config,
    /// This variable of the process environment.
    Environment(&'static str),
    /// This variable of a file.
    File(PathBuf, &'static str),
    /// Built in.
    Default,
}

/// A value and where it came from.
#[derive(Clone, Debug)]
pub struct Setting<T> {
    /// The value in force.
    pub value: T,
    /// Where it came from.
    pub origin: Origin,
}

/// Something the user should know though nothing failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Deprecated use, or a setting that is not honoured.
    pub kind: WarningKind,
    /// For a person.
    pub message: String,
}

/// Kinds of [`Warning`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WarningKind {
    /// A name that will go away.
    Deprecation,
    /// A setting that was found and is not used.
    Ignored,
    /// Sandboxes are not isolated.
    Isolation,
}

/// How requests are authorised.
#[derive(Clone, Debug)]
pub(crate) enum Credential {
    ApiKey(SecretString),
    Jwt { token: SecretString, organization: String },
}

impl Credential {
    pub(crate) fn secret(&self) -> &SecretString {
        match self {
            Self::ApiKey(secret) | Self::Jwt { token: secret, .. } => secret,
        }
    }
}

/// Every setting in force. `Debug` shows where each came from and no secret.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Base URL of the API without a slash at its end; `None` is the local server.
    pub api_url: Setting<Option<String>>,
    /// `None` with the local server only, which brings its own key.
    pub(crate) credential: Option<Setting<Credential>>,
    /// Region for new sandboxes.
    pub target: Option<Setting<String>>,
    /// Requests in flight at once; `None` is unlimited.
    pub connection_pool_maxsize: Option<usize>,
    /// See [`Config::request_timeout`].
    pub request_timeout: Option<Duration>,
    /// See [`Config::max_response_bytes`]; `u64::MAX` is no limit.
    pub max_response_bytes: u64,
    /// See [`Config::use_deprecated_polling`].
    pub use_deprecated_polling: bool,
    /// See [`Config::otel_enabled`].
    pub otel_enabled: bool,
    /// To be shown once, in the language's own way.
    pub warnings: Vec<Warning>,
    pub(crate) source: Source,
    pub(crate) server_binary: Option<PathBuf>,
    pub(crate) local_data_dir: Option<PathBuf>,
    pub(crate) local_no_start: bool,
    pub(crate) local_runtime: Option<String>,
}

impl Settings {
    /// Where the API key or the JWT came from; `None` with the local server, which brings its own.
    pub fn credential_origin(&self) -> Option<&Origin> {
        self.credential.as_ref().map(|setting| &setting.origin)
    }
}

impl Config {
    /// Looks up what is not given, in the process environment and in the files of the current
    /// directory.
    ///
    /// # Errors
    /// `Authentication` where no credential is found; `InvalidArgument` for a value out of range.
    pub fn resolve(&self) -> Result<Settings> {
        let directory = std::env::current_dir().unwrap_or_default();
        let process = match &self.environment {
            Some(given) => given.iter().map(|(name, value)| (name.clone(), value.expose_secret().to_owned())).collect(),
            None => std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .filter(|(name, _)| name.starts_with("DAYTONA_"))
                .collect(),
        };
        self.resolve_in(&process, &directory).map_err(|error| error.with_operation(Operation::CONFIGURE))
    }

    fn resolve_in(&self, process: &BTreeMap<String, String>, directory: &Path) -> Result<Settings> {
        let environment = Environment::read(process, directory);
        let mut warnings = Vec::new();
        let api_url = self.resolve_api_url(&environment, directory, &mut warnings)?;
        let local_runtime = self.resolve_runtime(&environment, api_url.value.is_none())?;
        let credential = self.resolve_credential(&environment)?;
        if credential.is_none() && api_url.value.is_some() {
            return Err(Error::new(
                ErrorKind::Authentication,
                "Authentication credentials not found. Set DAYTONA_API_KEY, or both DAYTONA_JWT_TOKEN and \
                 DAYTONA_ORGANIZATION_ID. These can also be provided via DaytonaConfig.",
            ));
        }
        let flag = |given: Option<bool>, names: &[&'static str]| {
            given.unwrap_or_else(|| {
                names.iter().any(|name| environment.get(name).is_some_and(|setting| setting.value == "true"))
            })
        };
        if self.source == Source::PythonAsync
            && let Some(delay) = environment.process(HAPPY_EYEBALLS)
        {
            check_happy_eyeballs(&delay.value)?;
            warnings.push(Warning {
                kind: WarningKind::Ignored,
                message: format!("{HAPPY_EYEBALLS} is ignored: the second address is tried after 0.3 s"),
            });
        }
        let use_deprecated_polling = flag(self.use_deprecated_polling, &["DAYTONA_USE_DEPRECATED_POLLING"]);
        if self.connection_pool_maxsize == Some(Some(0)) {
            return Err(Error::invalid("connection_pool_maxsize must be at least 1, or None for no limit"));
        }
        Ok(Settings {
            api_url,
            credential,
            target: explicit(self.target.as_ref()).or_else(|| environment.get("DAYTONA_TARGET")),
            connection_pool_maxsize: self.connection_pool_maxsize.unwrap_or(Some(DEFAULT_POOL_SIZE)),
            request_timeout: self.request_timeout,
            max_response_bytes: self.resolve_max_response_bytes(&environment)?,
            use_deprecated_polling,
            otel_enabled: flag(self.otel_enabled, &["DAYTONA_OTEL_ENABLED", "DAYTONA_EXPERIMENTAL_OTEL_ENABLED"]),
            warnings,
            source: self.source,
            server_binary: self.server_binary.clone(),
            local_data_dir: self.local_data_dir.clone(),
            local_no_start: self.local_no_start,
            local_runtime,
        })
    }

    fn resolve_api_url(
        &self,
        environment: &Environment,
        directory: &Path,
        warnings: &mut Vec<Warning>,
    ) -> Result<Setting<Option<String>>> {
        const NAMES: [&str; 2] = ["DAYTONA_API_URL", "DAYTONA_SERVER_URL"];
        let from_process = NAMES.iter().find_map(|name| environment.process(name));
        if self.api_url.is_none() && from_process.as_ref().is_some_and(|setting| is_variable(setting, NAMES[1])) {
            warnings.push(Warning {
                kind: WarningKind::Deprecation,
                message: "DAYTONA_SERVER_URL is deprecated; set DAYTONA_API_URL instead".into(),
            });
        }
        if self.source == Source::Node && self.api_url.is_none() && from_process.is_some() {
            refuse_redirecting_files(directory, &NAMES)?;
        }
        let chosen = explicit(self.api_url.as_ref())
            .or(from_process)
            .unwrap_or(Setting { value: DEFAULT_API_URL.to_owned(), origin: Origin::Default });
        let url = chosen.value.trim_end_matches('/').to_owned();
        for ignored in NAMES.iter().filter_map(|name| environment.file(name)) {
            if let Origin::File(path, name) = &ignored.origin
                && ignored.value.trim_end_matches('/') != url
            {
                warnings.push(Warning {
                    kind: WarningKind::Ignored,
                    message: format!(
                        "{name} in {} is ignored: the API URL is not read from files. Set it in the process \
                         environment or in DaytonaConfig to use it",
                        path.display()
                    ),
                });
            }
        }
        if url == LOCAL {
            return Ok(Setting { value: None, origin: chosen.origin });
        }
        let parsed = reqwest::Url::parse(&url)
            .map_err(|error| Error::invalid(format!("the API URL {url:?} is not a URL: {error}")))?;
        if !matches!(parsed.scheme(), "http" | "https") || parsed.host_str().is_none() {
            return Err(Error::invalid(format!(
                "the API URL {url:?} must start with http:// or https://, or be {LOCAL:?} for the bundled server"
            )));
        }
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(Error::invalid("the API URL must not hold a user name or password; set the API key instead"));
        }
        Ok(Setting { value: Some(url), origin: chosen.origin })
    }

    fn resolve_runtime(&self, environment: &Environment, is_local: bool) -> Result<Option<String>> {
        let given = explicit(self.local_runtime.as_ref());
        if given.is_some() && !is_local {
            return Err(Error::invalid(
                "runtime is for the local server only. Leave it out, or set the API URL to local",
            ));
        }
        let Some(runtime) = given.or_else(|| environment.process(RUNTIME).filter(|_| is_local)) else {
            return Ok(None);
        };
        let name = if runtime.origin == Origin::Config { "runtime" } else { RUNTIME };
        if !RUNTIMES.contains(&&*runtime.value) {
            let all = RUNTIMES.join(", ");
            return Err(Error::invalid(format!("{name} must be one of {all}, not {:?}", runtime.value)));
        }
        Ok(Some(runtime.value))
    }

    fn resolve_max_response_bytes(&self, environment: &Environment) -> Result<u64> {
        let limit = match (self.max_response_bytes, environment.get(MAX_RESPONSE_BYTES_VARIABLE)) {
            (Some(given), _) => given,
            (None, None) => MAX_RESPONSE_BYTES,
            (None, Some(setting)) => setting.value.trim().parse().map_err(|_| {
                let value = setting.value;
                Error::invalid(format!("{MAX_RESPONSE_BYTES_VARIABLE} must be a whole number of bytes, not {value:?}"))
            })?,
        };
        Ok(if limit == 0 { u64::MAX } else { limit })
    }

    fn resolve_credential(&self, environment: &Environment) -> Result<Option<Setting<Credential>>> {
        let given = |secret: &SecretString| Setting { value: secret.clone(), origin: Origin::Config };
        let secret = |setting: Setting<String>| Setting { value: setting.value.into(), origin: setting.origin };
        let api_key = self
            .api_key
            .as_ref()
            .map(given)
            .or_else(|| self.jwt_token.is_none().then(|| environment.get("DAYTONA_API_KEY").map(secret)).flatten());
        if let Some(key) = api_key {
            return Ok(Some(Setting { value: Credential::ApiKey(key.value), origin: key.origin }));
        }
        let token = self.jwt_token.as_ref().map(given).or_else(|| environment.get("DAYTONA_JWT_TOKEN").map(secret));
        let Some(token) = token else { return Ok(None) };
        let organization = explicit(self.organization_id.as_ref())
            .or_else(|| environment.get("DAYTONA_ORGANIZATION_ID"))
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::Authentication,
                    "DAYTONA_ORGANIZATION_ID is required when authenticating with DAYTONA_JWT_TOKEN. It can also be \
                     provided via DaytonaConfig.",
                )
            })?;
        let value = Credential::Jwt { token: token.value, organization: organization.value };
        Ok(Some(Setting { value, origin: token.origin }))
    }
}

fn check_happy_eyeballs(delay: &str) -> Result<()> {
    let seconds = delay.trim().parse::<f64>().is_ok_and(|seconds| seconds.is_finite() && seconds >= 0.0);
    if seconds || delay.trim().eq_ignore_ascii_case("none") {
        return Ok(());
    }
    Err(Error::invalid(format!("{HAPPY_EYEBALLS} must be a number of seconds or \"none\", not {delay:?}")))
}

fn explicit(value: Option<&String>) -> Option<Setting<String>> {
    value.filter(|value| !value.is_empty()).map(|value| Setting { value: value.clone(), origin: Origin::Config })
}

fn is_variable(setting: &Setting<String>, wanted: &str) -> bool {
    matches!(setting.origin, Origin::Environment(name) if name == wanted)
}

fn refuse_redirecting_files(directory: &Path, names: &[&str]) -> Result<()> {
    for file in TYPESCRIPT_ENV_FILES {
        let values = read_file(&directory.join(file));
        if let Some(name) = names.iter().find(|name| values.contains_key(**name)) {
            return Err(Error::invalid(format!(
                "{name} is set in the process environment and also in {file}. Remove it from {file}, or pass apiUrl in \
                 the configuration"
            )));
        }
    }
    Ok(())
}

/// The variables whose names begin with `DAYTONA_`, by where they come from, first wins.
struct Environment<'a> {
    process: &'a BTreeMap<String, String>,
    files: Vec<(PathBuf, BTreeMap<String, String>)>,
}

impl<'a> Environment<'a> {
    fn read(process: &'a BTreeMap<String, String>, directory: &Path) -> Self {
        let files = [".env.local", ".env"].map(|name| directory.join(name));
        Self { process, files: files.into_iter().map(|path| (path.clone(), read_file(&path))).collect() }
    }

    fn get(&self, name: &'static str) -> Option<Setting<String>> {
        self.process(name).or_else(|| self.file(name))
    }

    fn process(&self, name: &'static str) -> Option<Setting<String>> {
        let value = self.process.get(name).filter(|value| !value.is_empty())?;
        Some(Setting { value: value.clone(), origin: Origin::Environment(name) })
    }

    fn file(&self, name: &'static str) -> Option<Setting<String>> {
        self.files.iter().find_map(|(path, values)| {
            let value = values.get(name).filter(|value| !value.is_empty())?;
            Some(Setting { value: value.clone(), origin: Origin::File(path.clone(), name) })
        })
    }
}

fn read_file(path: &Path) -> BTreeMap<String, String> {
    let Ok(text) = crate::small_file::read(path) else { return BTreeMap::new() };
    // Lines that are no assignments are passed over. All is in memory, so no error comes again for ever.
    let entries = dotenvy::from_read_iter(text.as_bytes()).filter_map(Result::ok);
    entries.filter(|(name, _)| name.starts_with("DAYTONA_")).collect()
}

#[cfg(test)]
mod tests {

    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn key(settings: &Settings) -> (&str, &Origin) {
        let credential = settings.credential.as_ref().unwrap();
        (credential.value.secret().expose_secret(), &credential.origin)
    }

    #[test]
    fn config_beats_environment_beats_local_file_beats_file() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(".env"), "DAYTONA_API_KEY=file\nDAYTONA_TARGET=eu\n").unwrap();
        let process = environment(&[]);
        let resolve = |config: &Config, process| config.resolve_in(process, directory.path()).unwrap();

        let settings = resolve(&Config::default(), &process);
        assert_eq!(key(&settings).0, "file");
        assert_eq!(settings.target.unwrap().value, "eu");

        std::fs::write(directory.path().join(".env.local"), "DAYTONA_API_KEY=\"local file\"\n").unwrap();
        assert_eq!(key(&resolve(&Config::default(), &process)).0, "local file");

        let process = environment(&[("DAYTONA_API_KEY", "process")]);
        let settings = resolve(&Config::default(), &process);
        assert_eq!(key(&settings), ("process", &Origin::Environment("DAYTONA_API_KEY")));

        let config = Config { api_key: Some("given".into()), ..Config::default() };
        assert_eq!(key(&resolve(&config, &process)), ("given", &Origin::Config));
    }

    #[test]
    fn the_url_is_never_read_from_a_file() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(".env"), "DAYTONA_API_URL=https://evil.example/api\n").unwrap();
        let process = environment(&[("DAYTONA_API_KEY", "k")]);
        let settings = Config::default().resolve_in(&process, directory.path()).unwrap();
        assert_eq!(settings.api_url.value.as_deref(), Some(DEFAULT_API_URL));
        assert_eq!(settings.warnings.len(), 1);
        assert_eq!(settings.warnings[0].kind, WarningKind::Ignored);

        let process = environment(&[("DAYTONA_API_KEY", "k"), ("DAYTONA_API_URL", "https://a.example/api/")]);
        let settings = Config::default().resolve_in(&process, directory.path()).unwrap();
        assert_eq!(settings.api_url.value.as_deref(), Some("https://a.example/api"));
        let node = Config { source: Source::Node, ..Config::default() };
        let error = node.resolve_in(&process, directory.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }

    #[test]
    fn no_credential_is_an_authentication_error_except_for_local() {
        let directory = tempfile::tempdir().unwrap();
        let error = Config::default().resolve_in(&environment(&[]), directory.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Authentication);
        assert!(error.message().starts_with("Authentication credentials not found. Set DAYTONA_API_KEY"));

        let local = environment(&[("DAYTONA_API_URL", "local")]);
        let settings = Config::default().resolve_in(&local, directory.path()).unwrap();
        assert!(settings.api_url.value.is_none());
    }

    /// Each of these blocked for ever or kept a processor busy.
    #[test]
    fn only_regular_files_of_a_sane_size_are_read() {
        let read = |prepare: &dyn Fn(&Path)| {
            let directory = tempfile::tempdir().unwrap();
            prepare(&directory.path().join(".env"));
            read_file(&directory.path().join(".env"))
        };
        let link = |to: &'static str| move |path: &Path| std::os::unix::fs::symlink(to, path).unwrap();
        let fifo = |path: &Path| {
            let made = std::process::Command::new("mkfifo").arg(path).status().unwrap();
            assert!(made.success());
        };
        assert!(read(&|path| std::fs::create_dir(path).unwrap()).is_empty());
        assert!(read(&link("/")).is_empty());
        assert!(read(&link("/dev/zero")).is_empty());
        assert!(read(&link("nowhere")).is_empty());
        assert!(read(&fifo).is_empty());
        let long = format!("DAYTONA_TARGET=eu\n# {}\n", "x".repeat(2 << 20));
        assert!(read(&|path| std::fs::write(path, &long).unwrap()).is_empty());
        let write = |bytes: &'static [u8]| move |path: &Path| std::fs::write(path, bytes).unwrap();
        let plain = read(&write("\u{feff}DAYTONA_TARGET=eu\nno assignment\nDAYTONA_API_KEY=k\n".as_bytes()));
        assert_eq!(plain, environment(&[("DAYTONA_TARGET", "eu"), ("DAYTONA_API_KEY", "k")]));
        let binary = read(&write(b"DAYTONA_TARGET=eu\n\xff\xfe=x\nDAYTONA_API_KEY=k\n"));
        assert_eq!(binary, environment(&[("DAYTONA_TARGET", "eu"), ("DAYTONA_API_KEY", "k")]));
    }

    #[test]
    fn a_jwt_needs_an_organization_and_hides_the_environments_key() {
        let directory = tempfile::tempdir().unwrap();
        let process = environment(&[("DAYTONA_API_KEY", "k")]);
        let config = Config { jwt_token: Some("jwt".into()), ..Config::default() };
        let error = config.resolve_in(&process, directory.path()).unwrap_err();
        assert!(error.message().starts_with("DAYTONA_ORGANIZATION_ID is required"));

        let config = Config { organization_id: Some("org".into()), ..config };
        let settings = config.resolve_in(&process, directory.path()).unwrap();
        assert!(
            matches!(settings.credential.unwrap().value, Credential::Jwt { organization, .. } if organization == "org")
        );
    }

    #[test]
    fn a_bad_happy_eyeballs_delay_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let config = Config { api_key: Some("k".into()), source: Source::PythonAsync, ..Config::default() };
        let resolve = |delay| config.resolve_in(&environment(&[(HAPPY_EYEBALLS, delay)]), directory.path());
        assert_eq!(resolve("soon").unwrap_err().kind(), ErrorKind::InvalidArgument);
        assert_eq!(resolve("none").unwrap().warnings.len(), 1);
        assert_eq!(resolve("0.25").unwrap().warnings[0].kind, WarningKind::Ignored);
    }

    #[test]
    fn the_limit_of_answers_is_given_or_in_the_environment() {
        let directory = tempfile::tempdir().unwrap();
        let resolve = |given, process: &[(&str, &str)]| {
            let config = Config { api_key: Some("k".into()), max_response_bytes: given, ..Config::default() };
            config.resolve_in(&environment(process), directory.path()).map(|settings| settings.max_response_bytes)
        };
        let set = |value| [(MAX_RESPONSE_BYTES_VARIABLE, value)];
        assert_eq!(resolve(None, &[]).unwrap(), 256 << 20);
        assert_eq!(resolve(None, &set("1000")).unwrap(), 1000);
        assert_eq!(resolve(Some(7), &set("1000")).unwrap(), 7);
        assert_eq!((resolve(Some(0), &[]).unwrap(), resolve(None, &set("0")).unwrap()), (u64::MAX, u64::MAX));
        for bad in ["-1", "1.5", "256 MiB"] {
            assert!(resolve(None, &set(bad)).unwrap_err().message().contains("whole number of bytes"), "{bad}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let directory = tempfile::tempdir().unwrap();
        let config = Config { api_key: Some("dtn_verysecret".into()), ..Config::default() };
        let settings = config.resolve_in(&environment(&[]), directory.path()).unwrap();
        assert!(!format!("{config:?} {settings:?}").contains("verysecret"));
    }
}
