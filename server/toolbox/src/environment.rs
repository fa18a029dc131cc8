//! The environment that new commands, sessions, terminals and interpreters get.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::State;
use daytona_wire::environment::{UpdateEnvRequest, is_name, too_long};
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::OwnedWriteHalf;

use crate::App;
use crate::body::Json;
use crate::error::{Error, Result};

/// The variables as they are now; clones share them.
#[derive(Clone)]
pub(crate) struct Environment {
    variables: Arc<RwLock<BTreeMap<String, String>>>,
    /// Who keeps them for the next agent. Locked for each change, so that the last one is told last.
    keeper: Arc<tokio::sync::Mutex<Option<OwnedWriteHalf>>>,
}

impl Environment {
    pub(crate) fn new(env: BTreeMap<String, String>, keeper: Option<OwnedWriteHalf>) -> Self {
        Self { variables: Arc::new(RwLock::new(env)), keeper: Arc::new(tokio::sync::Mutex::new(keeper)) }
    }

    pub(crate) fn get(&self) -> BTreeMap<String, String> {
        self.variables.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn change(&self, request: &UpdateEnvRequest) -> BTreeMap<String, String> {
        let mut keeper = self.keeper.lock().await;
        let now = {
            let mut env = self.variables.write().unwrap_or_else(PoisonError::into_inner);
            request.apply(&mut env);
            env.clone()
        };
        if let Some(keeper) = keeper.as_mut() {
            let text = serde_json::to_vec(&now).unwrap_or_default();
            let length = u32::try_from(text.len()).unwrap_or_default().to_le_bytes();
            // Where the keeper is gone there is no next agent.
            let _ = keeper.write_all(&[&length[..], &text].concat()).await;
        }
        now
    }
}

/// Refuses what no environment can hold.
pub(crate) fn check(name: &str, value: &str) -> Result<()> {
    if !is_name(name) {
        return Err(Error::bad_request(format!(
            "{name:?} is no name of an environment variable; \
             use letters, digits and _, not starting with a digit"
        )));
    }
    if value.contains('\0') {
        return Err(Error::bad_request(format!(
            "the value of the environment variable {name} holds a NUL byte; remove it"
        )));
    }
    match too_long(name, value) {
        Some(why) => Err(Error::bad_request(why)),
        None => Ok(()),
    }
}

/// `POST /env`
///
/// What runs keeps what it has.
pub(crate) async fn update(
    State(app): State<App>,
    Json(request): Json<UpdateEnvRequest>,
) -> Result<axum::Json<BTreeMap<String, String>>> {
    request.set.iter().try_for_each(|(name, value)| check(name, value))?;
    request.unset.iter().try_for_each(|name| check(name, ""))?;
    Ok(axum::Json(app.env.change(&request).await))
}
