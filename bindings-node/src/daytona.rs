//! The client.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use daytona_core::{
    Config, CreateOptions, CreateParams, Daytona, Error, ListQuery, Result, Source, Warning, WarningKind,
};
use napi::bindgen_prelude::Either;
use napi_derive::napi;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::completion::{Calls, NativeCalls, Outcome};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Settings {
    api_key: Option<String>,
    jwt_token: Option<String>,
    organization_id: Option<String>,
    api_url: Option<String>,
    target: Option<String>,
    otel_enabled: Option<bool>,
    use_deprecated_polling: Option<bool>,
    request_timeout_ms: Option<f64>,
    max_response_bytes: Option<u64>,
    connection_pool_maxsize: Option<usize>,
    data_dir: Option<PathBuf>,
    runtime: Option<String>,
    server_binary: Option<PathBuf>,
    environment: BTreeMap<String, String>,
}

impl Settings {
    fn read(text: impl AsRef<str>) -> Result<Self> {
        parse(text.as_ref())
    }

    fn into_config(self) -> Result<Config> {
        let request_timeout = self
            .request_timeout_ms
            .map(|limit| {
                Duration::try_from_secs_f64(limit / 1000.0).map_err(|_| {
                    Error::invalid(format!("requestTimeoutMs must be a finite number of at least 0, not {limit}"))
                })
            })
            .transpose()?;
        Ok(Config {
            api_key: self.api_key.map(Into::into),
            jwt_token: self.jwt_token.map(Into::into),
            organization_id: self.organization_id,
            api_url: self.api_url,
            target: self.target,
            connection_pool_maxsize: self.connection_pool_maxsize.map(Some),
            request_timeout,
            max_response_bytes: self.max_response_bytes,
            use_deprecated_polling: self.use_deprecated_polling,
            otel_enabled: self.otel_enabled,
            source: Source::Node,
            server_binary: self.server_binary,
            local_data_dir: self.data_dir,
            local_no_start: false,
            local_runtime: self.runtime,
            environment: Some(self.environment.into_iter().map(|(name, value)| (name, value.into())).collect()),
        })
    }
}

/// A page of sandboxes for JavaScript.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Page<'a> {
    items: Vec<&'a daytona_core::wire::sandbox::Sandbox>,
    next_cursor: Option<&'a str>,
}

/// Reads an argument that JavaScript handed over as JSON.
pub(crate) fn parse<T: DeserializeOwned>(text: &str) -> Result<T> {
    let mut reader = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let reason = error.into_inner().to_string();
        // Where in the JSON says nothing to somebody who wrote none.
        let reason = reason.split(" at line ").next().unwrap_or_default();
        Error::invalid(if path == "." { reason.to_owned() } else { format!("{path}: {reason}") })
    })
}

/// Settings that JavaScript handed over as JSON.
pub(crate) fn read_config(settings: &str) -> Result<Config> {
    Settings::read(settings)?.into_config()
}

/// A result as JSON.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<Outcome> {
    serde_json::to_string(value).map(Outcome::Json).map_err(|error| Error::caller(error.to_string()))
}

/// A client.
#[napi]
pub struct NativeClient {
    pub(crate) calls: Calls,
    pub(crate) daytona: Daytona,
}

/// What the user should know.
#[napi(object)]
pub struct NativeWarning {
    /// A name that will go away.
    pub deprecation: bool,
    /// For a person.
    pub message: String,
}

fn native(warning: &Warning) -> NativeWarning {
    NativeWarning { deprecation: warning.kind == WarningKind::Deprecation, message: warning.message.clone() }
}

/// Makes a client from settings in JSON; an error is returned, as JSON.
#[napi]
pub fn new_client(calls: &NativeCalls, settings: String) -> Either<NativeClient, String> {
    match Settings::read(settings).and_then(Settings::into_config).and_then(|config| Daytona::new(&config)) {
        Ok(daytona) => Either::A(NativeClient { calls: calls.calls(), daytona }),
        Err(error) => Either::B(crate::error::json(&error)),
    }
}

#[napi]
impl NativeClient {
    /// What the user should know of the settings.
    #[napi]
    pub fn warnings(&self) -> Vec<NativeWarning> {
        self.daytona.settings().warnings.iter().map(native).collect()
    }

    /// What the user should know of the server, once that was reached.
    #[napi]
    pub fn notices(&self) -> Option<Vec<NativeWarning>> {
        self.daytona.notices().map(|notices| notices.iter().map(native).collect())
    }

    /// How the local server makes sandboxes.
    #[napi]
    pub fn runtime(&self, id: u32) {
        let daytona = self.daytona.clone();
        self.calls.spawn(id, async move { json(&daytona.runtime().await?) });
    }

    /// Creates a sandbox.
    #[napi]
    pub fn create(&self, id: u32, params: String, timeout: Option<f64>, progress: bool) {
        let daytona = self.daytona.clone();
        let progress = progress.then(|| self.calls.progress(id));
        self.calls.spawn(id, async move {
            let params: CreateParams = parse(&params)?;
            let options = CreateOptions { timeout, progress, logs: false };
            Ok(Outcome::Created(daytona.make(params, &options).await?))
        });
    }

    /// Finds a sandbox.
    #[napi]
    pub fn get(&self, id: u32, id_or_name: String, timeout: Option<f64>) {
        let daytona = self.daytona.clone();
        self.calls.spawn(id, async move { Ok(Outcome::Sandbox(daytona.get(&id_or_name, timeout).await?)) });
    }

    /// One operation of a service; `args` is JSON, as is what it gives.
    #[napi]
    pub fn service(&self, id: u32, name: String, args: String, timeout: Option<f64>) {
        let daytona = self.daytona.clone();
        self.calls.spawn(id, async move {
            let args: serde_json::Value = parse(&args)?;
            let made = daytona.service(&name, &args, timeout).await?;
            Ok(Outcome::Kept(made.map(|value| Ok(value.to_string()))?))
        });
    }

    /// One page of sandboxes.
    #[napi]
    pub fn list(&self, id: u32, query: String, cursor: Option<String>, timeout: Option<f64>) {
        let daytona = self.daytona.clone();
        self.calls.spawn(id, async move {
            let query: ListQuery = parse(&query)?;
            let page = daytona.list(&query, cursor.as_deref(), timeout).await?;
            let items: Vec<_> = page.items.iter().map(daytona_core::Sandbox::data).collect();
            let items = items.iter().map(AsRef::as_ref).collect();
            let data = serde_json::to_string(&Page { items, next_cursor: page.next_cursor.as_deref() })
                .map_err(|error| Error::caller(error.to_string()))?;
            Ok(Outcome::Page(page.items, data))
        });
    }
}
