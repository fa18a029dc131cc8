//! What a client and its sandboxes share: settings, and the way to the API.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use daytona_wire::sandbox as wire;
use http::Method;
use reqwest::Url;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;

use crate::config::{Settings, Source, Warning, WarningKind};
use crate::error::{Error, ErrorKind, Result};
use crate::events::Events;
use crate::local::{self, Lease, Wanted};
use crate::operation::Operation;
use crate::telemetry::{self, Observed};
use crate::transport::{Call, Limit, Transport, seconds};
use crate::watch::Rooms;

/// One client.
pub(crate) struct Client {
    settings: Settings,
    link: OnceCell<Link>,
    pub(crate) rooms: Rooms,
    pub(crate) events: Events,
    notices: Mutex<Vec<Warning>>,
}

/// Servers that this process has warned of.
static WARNED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// The API in reach.
pub(crate) struct Link {
    base: String,
    pub(crate) transport: Transport,
    /// For tasks on the background runtime, and only those.
    pub(crate) background: Arc<Transport>,
    /// Keeps the local server running.
    pub(crate) lease: Option<Lease>,
}

impl Client {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            link: OnceCell::new(),
            rooms: Rooms::default(),
            events: Events::default(),
            notices: Mutex::default(),
        }
    }

    /// Notes what the user should know of a local server, once for each.
    fn notice(&self, lease: &Lease) {
        let Some(message) = lease.warning().filter(|_| self.settings.local_runtime.is_none()) else { return };
        if lock(&WARNED).insert(lease.url.clone()) {
            tracing::warn!("{message}");
            lock(&self.notices).push(Warning { kind: WarningKind::Isolation, message });
        }
    }

    /// What the user should know and has not been told; `None` before the API was reached.
    pub(crate) fn take_notices(&self) -> Option<Vec<Warning>> {
        self.link.get().map(|_| std::mem::take(&mut *lock(&self.notices)))
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The API, after the local server has been started if that is what is configured.
    pub(crate) async fn link(&self) -> Result<&Link> {
        self.link
            // Boxed: it is needed once, and every call would carry its size.
            .get_or_try_init(|| {
                Box::pin(async {
                    let (base, credential, lease) = if let Some(url) = &self.settings.api_url.value {
                        (url.clone(), self.settings.credential.clone().map(|setting| setting.value), None)
                    } else {
                        let Settings { server_binary, local_data_dir, local_no_start, local_runtime, .. } =
                            &self.settings;
                        let start = (!local_no_start).then_some(server_binary.as_deref());
                        let wanted = Wanted { data_dir: local_data_dir.as_deref(), runtime: local_runtime.as_deref() };
                        let lease = local::lease(start, wanted)
                            .await
                            .map_err(|error| error.with_operation(Operation::LOCAL))?;
                        self.notice(&lease);
                        (lease.url.clone(), Some(lease.credential()), Some(lease))
                    };
                    let credential = credential
                        .ok_or_else(|| Error::new(ErrorKind::Authentication, "Authentication credentials not found"))?;
                    let transport = Transport::new(
                        &credential,
                        self.settings.source,
                        self.settings.connection_pool_maxsize,
                        self.settings.request_timeout,
                        self.settings.max_response_bytes,
                        self.observed(),
                    )?;
                    let background = Arc::new(transport.for_background());
                    Ok(Link { base, transport, background, lease })
                })
            })
            .await
    }

    /// The same for what comes after a request.
    pub(crate) fn made_link(&self) -> Result<&Link> {
        self.link.get().ok_or_else(|| Error::new(ErrorKind::Connection, "there is no connection to the API"))
    }

    /// Runs a public operation, all of it: its errors name it, and telemetry sees it.
    pub(crate) fn observe<T, F: Future<Output = Result<T>>>(&self, operation: Operation, work: F) -> Observed<F> {
        telemetry::observe(self.observed(), operation, work)
    }

    /// For whom OpenTelemetry gets to see what is done; `None` if nothing of it is wanted.
    fn observed(&self) -> Option<Source> {
        self.settings.otel_enabled.then_some(self.settings.source)
    }

    pub(crate) fn request_timeout(&self) -> Limit {
        self.settings.request_timeout
    }

    /// `GET /sandbox/{idOrName}`
    pub(crate) async fn get(
        &self,
        id_or_name: &str,
        operation: Operation,
        timeout: Option<f64>,
    ) -> Result<wire::Sandbox> {
        if id_or_name.is_empty() {
            return Err(Error::invalid("the id or name of the sandbox is empty"));
        }
        self.ask(operation, Method::GET, &["sandbox", id_or_name], timeout).await
    }

    /// A request to the API without a body, answered in JSON.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        operation: Operation,
        method: Method,
        path: &[&str],
        timeout: Option<f64>,
    ) -> Result<T> {
        let limit = seconds("request_timeout", timeout)?;
        let link = self.link().await?;
        link.transport.json(Call::new(operation, method, link.url(path)?).limit(limit)).await
    }

    /// The same with those parameters of the query that are given.
    pub(crate) async fn ask_with<T: DeserializeOwned>(
        &self,
        operation: Operation,
        path: &[&str],
        query: &[(&str, Option<&str>)],
        timeout: Option<f64>,
    ) -> Result<T> {
        let limit = seconds("request_timeout", timeout)?;
        let link = self.link().await?;
        let mut url = link.url(path)?;
        for (name, value) in query {
            if let Some(value) = value {
                url.query_pairs_mut().append_pair(name, value);
            }
        }
        link.transport.json(Call::get(operation, url).limit(limit)).await
    }

    /// A request to the API with a body, answered in JSON.
    pub(crate) async fn send<T: DeserializeOwned>(
        &self,
        operation: Operation,
        method: Method,
        path: &[&str],
        body: &impl Serialize,
        timeout: Option<f64>,
    ) -> Result<T> {
        let limit = seconds("request_timeout", timeout)?;
        let link = self.link().await?;
        link.transport.json(Call::new(operation, method, link.url(path)?).json(body)?.limit(limit)).await
    }

    /// A request to the API whose answer says nothing more.
    pub(crate) async fn tell_server(
        &self,
        operation: Operation,
        method: Method,
        path: &[&str],
        body: Option<&impl Serialize>,
        timeout: Option<f64>,
    ) -> Result<()> {
        let limit = seconds("request_timeout", timeout)?;
        let link = self.link().await?;
        let mut call = Call::new(operation, method, link.url(path)?).limit(limit);
        if let Some(body) = body {
            call = call.json(body)?;
        }
        link.transport.empty(call).await
    }
}

impl Link {
    /// The base URL.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Whether it is the local server of this machine, which notices when a client goes.
    pub(crate) fn is_local(&self) -> bool {
        self.lease.is_some()
    }

    /// The URL of an API path whose parts are given unescaped.
    pub(crate) fn url(&self, parts: &[&str]) -> Result<Url> {
        join(&self.base, parts)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Refuses a page that leads to itself: who follows it would never come to an end.
pub(crate) fn check_cursor(asked: Option<&str>, next: Option<&str>) -> Result<()> {
    match next {
        Some(next) if !next.is_empty() && asked == Some(next) => {
            let text = "the list does not end: the server's next page is the one that it has just answered with";
            Err(Error::new(ErrorKind::Other, text).with_hint("Report it to whoever runs the server"))
        }
        _ => Ok(()),
    }
}

/// A base URL and path parts, each escaped.
pub(crate) fn join(base: &str, parts: &[&str]) -> Result<Url> {
    let mut url = Url::parse(base).map_err(|error| Error::invalid(format!("{base:?} is not a URL: {error}")))?;
    url.path_segments_mut()
        .map_err(|()| Error::invalid(format!("{base:?} is not an http URL")))?
        .pop_if_empty()
        .extend(parts);
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_urls_are_escaped() {
        let url = join("http://h/api", &["sandbox", "a/b ?ü"]).unwrap();
        assert_eq!(url.as_str(), "http://h/api/sandbox/a%2Fb%20%3F%C3%BC");
        assert_eq!(join("http://h/api/", &["socket.io", ""]).unwrap().as_str(), "http://h/api/socket.io/");
    }
}
