//! What the server says of itself.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::extract::Base;
use super::settings::MAX_AUTO_ARCHIVE;
use crate::App;
use crate::record::toolbox_url;
use crate::snapshot;

pub(super) async fn config(State(app): State<Arc<App>>, Base(base): Base) -> Json<Value> {
    Json(json!({
        "version": crate::VERSION,
        "oidc": { "issuer": "", "clientId": "", "audience": "", "provider": "" },
        "linkedAccountsEnabled": false,
        "announcements": {},
        "proxyTemplateUrl": "",
        "proxyToolboxUrl": toolbox_url(&base),
        "defaultSnapshot": snapshot::DEFAULT,
        "dashboardUrl": "",
        "maxAutoArchiveInterval": MAX_AUTO_ARCHIVE,
        "maintananceMode": false,
        "environment": "local",
        // Beyond the API's description: how sandboxes are made here, and which limits hold.
        "runtime": app.runtime.probe(),
    }))
}

pub(super) async fn health() -> Json<Value> {
    Json(json!({
        "status": "ok",
        "info": { "store": { "status": "up" } },
        "error": {},
        "details": { "store": { "status": "up" } },
    }))
}
