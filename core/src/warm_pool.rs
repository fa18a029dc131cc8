//! Warm pools: started sandboxes that wait for who creates one.

use std::sync::Arc;

use daytona_wire::warm_pool::{CreateWarmPool, UpdateWarmPool, WarmPool};
use http::Method;

use crate::claim::{self, Made};
use crate::client::Client;
use crate::error::{Error, Result};
use crate::operation::Operation;
use crate::session::check_id;

/// The warm pools of an organization.
#[derive(Clone)]
pub struct WarmPoolService {
    pub(crate) client: Arc<Client>,
}

impl WarmPoolService {
    /// All warm pools.
    ///
    /// # Errors
    /// The server's refusal.
    pub async fn list(&self, timeout: Option<f64>) -> Result<Vec<WarmPool>> {
        let operation = Operation::LIST_WARM_POOLS;
        self.client.observe(operation, self.client.ask(operation, Method::GET, &["warm-pools"], timeout)).await
    }

    /// Creates a warm pool; it fills in the background. If this is dropped before, the pool is deleted.
    ///
    /// # Errors
    /// `Conflict` if there is one for this snapshot and region; `InvalidArgument` for a negative size.
    pub async fn create(&self, params: &CreateWarmPool, timeout: Option<f64>) -> Result<WarmPool> {
        self.make(params, timeout).await?.keep()
    }

    pub(crate) async fn make(&self, params: &CreateWarmPool, timeout: Option<f64>) -> Result<Made<WarmPool>> {
        let operation = Operation::CREATE_WARM_POOL;
        let work = async {
            check_size(params.pool)?;
            if params.snapshot.is_empty() {
                return Err(Error::invalid("the snapshot of the warm pool is empty"));
            }
            let made_at = |made: &WarmPool| vec!["warm-pools".to_owned(), made.id.clone()];
            claim::make_at(&self.client, operation, &["warm-pools"], params, timeout, made_at).await
        };
        self.client.observe(operation, work).await
    }

    /// Changes how many sandboxes are to wait; 0 empties the pool.
    ///
    /// # Errors
    /// `NotFound`; `InvalidArgument` for a negative size.
    pub async fn update(&self, id: &str, pool: i64, timeout: Option<f64>) -> Result<WarmPool> {
        let operation = Operation::UPDATE_WARM_POOL;
        let work = async {
            check_id("warm pool", id)?;
            check_size(pool)?;
            self.client.send(operation, Method::PATCH, &["warm-pools", id], &UpdateWarmPool { pool }, timeout).await
        };
        self.client.observe(operation, work).await
    }

    /// Deletes a warm pool and the sandboxes that wait in it.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn delete(&self, id: &str, timeout: Option<f64>) -> Result<()> {
        let operation = Operation::DELETE_WARM_POOL;
        let work = async {
            check_id("warm pool", id)?;
            self.client.tell_server(operation, Method::DELETE, &["warm-pools", id], None::<&()>, timeout).await
        };
        self.client.observe(operation, work).await
    }
}

fn check_size(pool: i64) -> Result<()> {
    if pool < 0 { Err(Error::invalid("pool must be a non-negative integer")) } else { Ok(()) }
}
