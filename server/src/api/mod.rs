//! The control plane's routes.

mod admin;
mod config;
mod create;
mod dialect;
mod extract;
mod images;
mod lifecycle;
mod list;
mod metrics;
mod network;
mod object_storage;
mod paginated;
mod preview;
mod sandbox;
mod secret;
mod settings;
mod snapshot;
mod snapshot_create;
mod ssh;
mod unimplemented;
mod volume;
mod warm_pool;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, delete, get, patch, post, put};

pub(crate) use self::create::{new_id, no_randomness, record as new_record};
pub(crate) use self::extract::Base;
use crate::App;
use crate::api_key::{forbidden, needed};
use crate::body::Draining;
use crate::error::{ApiError, code};
use crate::object_storage::BUCKET;

/// The largest JSON body.
const BODY_LIMIT: usize = 10 << 20;
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// What whoever makes or starts a sandbox should know: that it is not isolated.
const WARNING: HeaderName = HeaderName::from_static("x-daytona-native-warning");

/// Everything the port serves.
pub(crate) fn router(app: Arc<App>) -> Router {
    let sandbox = Router::new()
        .route("/", get(sandbox::get).delete(sandbox::delete))
        .route("/start", post(sandbox::start))
        .route("/stop", post(sandbox::stop))
        .route("/pause", post(lifecycle::pause))
        .route("/archive", post(lifecycle::archive))
        .route("/backup", post(lifecycle::backup))
        .route("/recover", post(lifecycle::recover))
        .route("/resize", post(lifecycle::resize))
        .route("/fork", post(lifecycle::fork))
        .route("/forks", get(lifecycle::forks))
        .route("/parent", get(lifecycle::parent))
        .route("/ancestors", get(lifecycle::ancestors))
        .route("/snapshot", post(lifecycle::snapshot))
        .route("/build-logs", get(sandbox::build_logs))
        .route("/build-logs-url", get(sandbox::build_logs_url))
        .route("/toolbox-proxy-url", get(sandbox::toolbox_proxy_url))
        .route("/ports/{port}/preview-url", get(preview::preview_url))
        .route("/ports/{port}/signed-preview-url", get(preview::signed_preview_url))
        .route("/ports/{port}/signed-preview-url/{token}/expire", post(preview::expire_signed_preview_url))
        .route("/ssh-access", post(ssh::create).delete(ssh::revoke))
        .route("/labels", put(settings::labels))
        .route("/public/{value}", post(settings::public))
        .route("/secrets", put(secret::attach))
        .route("/telemetry/metrics", get(metrics::history))
        .route("/clone", post(dialect::clone))
        .route("/exec", post(dialect::exec))
        .route("/autostop/{value}", post(settings::auto_stop))
        .route("/autopause/{value}", post(settings::auto_pause))
        .route("/autoarchive/{value}", post(settings::auto_archive))
        .route("/autodelete/{value}", post(settings::auto_delete))
        .route("/ttl/{value}", post(settings::ttl))
        .route("/network-settings", post(network::update))
        .route("/last-activity", post(settings::last_activity))
        .route("/signing-key", get(settings::signing_key))
        .route("/signing-key/rotate", post(settings::rotate_signing_key));
    let api = Router::new()
        .route("/sandbox", get(list::list).post(create::create))
        .nest("/sandbox/{id}", sandbox)
        .route("/sandbox/ssh-access/validate", get(ssh::validate))
        .route("/snapshots", get(snapshot::list).post(snapshot_create::create))
        .route("/snapshots/{id}", get(snapshot::get).delete(snapshot::delete))
        .route("/snapshots/{id}/build-logs", get(snapshot_create::build_logs))
        .route("/snapshots/{id}/build-logs-url", get(snapshot_create::build_logs_url))
        .route("/snapshots/{id}/activate", post(snapshot::activate))
        .route("/snapshots/{id}/deactivate", post(snapshot::deactivate))
        .route("/preview/{id}/access", get(preview::access))
        .route("/preview/{id}/signing-key", get(settings::signing_key))
        .route("/volumes", get(volume::list).post(volume::create))
        .route("/volumes/by-name/{name}", get(volume::by_name))
        .route("/volumes/{id}", get(volume::get).delete(volume::delete))
        .route("/secret", get(secret::all).post(secret::create))
        .route("/secret/paginated", get(secret::list))
        .route("/secret/{id}", get(secret::get).patch(secret::update).delete(secret::delete))
        .route("/warm-pools", get(warm_pool::list).post(warm_pool::create))
        .route("/warm-pools/{id}", patch(warm_pool::update).delete(warm_pool::delete))
        .route("/api-keys", get(admin::list_api_keys).post(admin::create_api_key))
        .route("/api-keys/current", get(admin::current_api_key))
        .route("/api-keys/{name}", get(admin::get_api_key).delete(admin::delete_api_key))
        .route("/api-keys/{user}/{name}", delete(admin::delete_users_api_key))
        .route("/organizations", get(admin::list_organizations))
        .route("/organizations/{id}", get(admin::get_organization))
        .route("/organizations/{id}/usage", get(admin::usage))
        .route("/organizations/{id}/default-region", patch(admin::default_region))
        .route("/regions", get(admin::list_regions))
        .route("/regions/{id}", get(admin::get_region))
        .route("/shared-regions", get(admin::list_regions))
        .route("/workspace", post(dialect::create))
        .route("/workspace/{id}", get(dialect::get).delete(dialect::delete))
        .route("/object-storage/push-access", get(object_storage::push_access))
        .route("/images", get(images::list))
        .route("/images/prune", post(images::prune))
        .route("/config", get(config::config))
        .route("/health", get(config::health))
        .route("/health/ready", get(config::health));
    Router::new()
        .nest("/api", api)
        // Not names of sandboxes.
        .route("/api/sandbox/paginated", get(paginated::list))
        .route("/api/sandbox/for-runner", any(unimplemented::answer))
        .fallback(unimplemented::answer)
        .method_not_allowed_fallback(unimplemented::wrong_method)
        .layer(from_fn_with_state(Arc::clone(&app), authenticate))
        // These check their callers themselves: the key comes in a packet, signed URLs come without it.
        .route("/api/socket.io/", any(crate::events::connect))
        .route(&format!("/{BUCKET}"), any(object_storage::bucket))
        .route(&format!("/{BUCKET}/"), any(object_storage::bucket))
        .route(&format!("/{BUCKET}/{{*key}}"), any(object_storage::bucket))
        .route("/toolbox/{*rest}", any(crate::proxy::handle))
        .route("/api/toolbox/{id}/toolbox", any(crate::proxy::handle))
        .route("/api/toolbox/{id}/toolbox/{*rest}", any(crate::proxy::handle))
        .route("/preview/{target}", any(crate::preview::by_path))
        .route("/preview/{target}/", any(crate::preview::by_path))
        .route("/preview/{target}/{*rest}", any(crate::preview::by_path))
        // A proxy of one's own asks these for somebody who has no key: the ids and tokens cannot be guessed.
        .route("/api/preview/{id}/public", get(preview::public))
        .route("/api/preview/{id}/preview-warning", get(preview::warning))
        .route("/api/preview/{id}/validate/{token}", get(preview::validate))
        .route("/api/preview/{id}/{port}/sandbox-id", get(preview::sandbox_id))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(from_fn_with_state(Arc::clone(&app), crate::preview::by_host))
        .layer(from_fn_with_state(Arc::clone(&app), finish))
        .with_state(app)
}

async fn authenticate(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let Some(caller) = app.key.caller(request.headers()) else {
        return ApiError::unauthorized().into_response();
    };
    if let Some(permission) = needed(request.method(), request.uri().path())
        && !caller.may(permission)
    {
        return forbidden(permission).into_response();
    }
    request.extensions_mut().insert(caller);
    next.run(request).await
}

/// Numbers the requests, renders the errors, writes the log. Queries are not logged: they may
/// carry signatures; so may paths.
async fn finish(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let begin = Instant::now();
    let id = app.request_ids.next();
    request.headers_mut().insert(REQUEST_ID, id.clone());
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let mut response = next.run(request.map(Draining::wrap)).await;
    let mut cause = None;
    if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        response = error.render(method.as_str(), &path);
        cause = Some(error.message);
    }
    response.headers_mut().insert(REQUEST_ID, id.clone());
    let status = response.status();
    if method == Method::POST
        && status.is_success()
        && path.starts_with("/api/sandbox")
        && !app.runtime.probe().isolated
    {
        let warning = app.runtime.probe().warnings.first().and_then(|warning| HeaderValue::from_str(warning).ok());
        response.headers_mut().extend(warning.map(|warning| (WARNING, warning)));
    }
    let path = without_secrets(&path);
    if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED {
        tracing::warn!(%method, path, status = status.as_u16(), ?id, cause, "failed");
    } else {
        let ms = begin.elapsed().as_millis();
        tracing::debug!(%method, path, status = status.as_u16(), ?id, ms, cause, "answered");
    }
    response
}

/// A path for the log: the tokens of previews stand in some.
fn without_secrets(path: &str) -> &str {
    let places = ["/preview/", "/api/preview/", "/signed-preview-url/"];
    let end = places.iter().find_map(|place| path.find(place).map(|at| at + place.len()));
    end.map_or(path, |end| &path[..end])
}

/// Makes request ids: unique over restarts, cheap.
pub(crate) struct RequestIds {
    prefix: u32,
    next: AtomicU64,
}

impl RequestIds {
    pub(crate) fn new() -> Result<Self, getrandom::Error> {
        Ok(Self { prefix: getrandom::u32()?, next: AtomicU64::new(1) })
    }

    /// Names this server among the proxies of a request.
    pub(crate) fn instance(&self) -> String {
        format!("daytona-native-{:08x}", self.prefix)
    }

    fn next(&self) -> HeaderValue {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        HeaderValue::from_str(&format!("{:08x}-{number:08x}", self.prefix)).unwrap_or(HeaderValue::from_static("0"))
    }
}

/// What is nowhere: neither here nor in the API's description.
fn unknown_path(path: &str) -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        code::NOT_FOUND,
        format!("Cannot find {path}: the API is at /api, the toolboxes are at /toolbox/{{id}}"),
    )
}
