//! The images of the local server, which the API of the cloud does not know.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::extract::Json;
use crate::App;
use crate::error::{ApiError, ApiResult, code};
use crate::time::rfc3339;

/// One layer of an image.
#[derive(Serialize)]
struct Layer {
    id: String,
    /// Bytes.
    size: u64,
}

/// One image of the store.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Image {
    digest: String,
    names: Vec<String>,
    /// Bytes of its layers; images share layers.
    size: u64,
    /// From the lowest up.
    layers: Vec<Layer>,
    created_at: String,
    /// Ids of the sandboxes that are made of it.
    sandboxes: Vec<String>,
    /// Names of the snapshots that are.
    snapshots: Vec<String>,
}

pub(super) async fn list(State(app): State<Arc<App>>) -> axum::Json<Vec<Image>> {
    let images = app.images.store().map(daytona_images::Store::images).unwrap_or_default();
    let mut sandboxes: Vec<_> = app.sandboxes.all();
    sandboxes.sort_by(|one, other| one.id.cmp(&other.id));
    let snapshots = app.snapshots.all();
    let shown = images.into_iter().map(|image| Image {
        sandboxes: sandboxes
            .iter()
            .filter(|one| one.record().image.as_ref().and_then(|root| root.image.as_ref()) == Some(&image.digest))
            .map(|one| one.id.clone())
            .collect(),
        snapshots: snapshots
            .iter()
            .filter(|one| one.image.as_ref().and_then(|root| root.image.as_ref()) == Some(&image.digest))
            .map(|one| one.name.clone())
            .collect(),
        digest: image.digest,
        names: image.names,
        size: image.size,
        layers: image.layers.into_iter().map(|(id, size)| Layer { id, size }).collect(),
        created_at: rfc3339(i64::try_from(image.created).unwrap_or_default() * 1000),
    });
    axum::Json(shown.collect())
}

/// What is to go.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Prune {
    /// Also pulled images that nothing is made of, and layers that only a next build could use.
    all: bool,
}

/// What went.
#[derive(Serialize)]
pub(super) struct Pruned {
    images: usize,
    layers: usize,
    /// Of the layers.
    bytes: u64,
}

pub(super) async fn prune(
    State(app): State<Arc<App>>,
    Json(Prune { all }): Json<Prune>,
) -> ApiResult<axum::Json<Pruned>> {
    let failed = |why: String| ApiError::new(axum::http::StatusCode::INTERNAL_SERVER_ERROR, code::STORAGE_FAILED, why);
    let freed = tokio::task::spawn_blocking(move || {
        app.storage.clean();
        app.prune_images(all)
    })
    .await
    .map_err(|error| failed(error.to_string()))?
    .map_err(failed)?;
    Ok(axum::Json(Pruned { images: freed.images, layers: freed.layers, bytes: freed.bytes }))
}
