//! The environment that new commands, sessions, terminals and interpreters get.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::State;
use daytona_wire::environment::{UpdateEnvRequest, is_name, too_long};

use crate::App;
use crate::body::Json;
use crate::error::{Error, Result};

/// The variables as they are now; clones share them.
#[derive(Clone)]
pub(crate) struct Environment(Arc<RwLock<BTreeMap<String, String>>>);

impl Environment {
    pub(crate) fn new(env: BTreeMap<String, String>) -> Self {
        Self(Arc::new(RwLock::new(env)))
    }

    pub(crate) fn get(&self) -> BTreeMap<String, String> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
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
    let mut env = app.env.0.write().unwrap_or_else(PoisonError::into_inner);
    request.apply(&mut env);
    Ok(axum::Json(env.clone()))
}
