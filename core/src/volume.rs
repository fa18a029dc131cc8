//! Volumes: storage that sandboxes share and that outlives them.

use std::sync::Arc;

use daytona_wire::volume::{CreateVolume, Volume};
use http::Method;

use crate::claim::{self, Made};
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::operation::Operation;

/// The volumes of an organization.
#[derive(Clone)]
pub struct VolumeService {
    pub(crate) client: Arc<Client>,
}

impl VolumeService {
    /// All volumes.
    ///
    /// # Errors
    /// The server's refusal.
    pub async fn list(&self, timeout: Option<f64>) -> Result<Vec<Volume>> {
        let operation = Operation::LIST_VOLUMES;
        self.client.observe(operation, self.client.ask(operation, Method::GET, &["volumes"], timeout)).await
    }

    /// A volume by its name; one that is not there is created if `create` is true.
    ///
    /// # Errors
    /// `NotFound`; `InvalidArgument` for an empty name.
    pub async fn get(&self, name: &str, create: bool, timeout: Option<f64>) -> Result<Volume> {
        self.get_or_make(name, create, timeout).await?.keep()
    }

    pub(crate) async fn get_or_make(&self, name: &str, create: bool, timeout: Option<f64>) -> Result<Made<Volume>> {
        let operation = Operation::GET_VOLUME;
        let by_name = || async {
            self.client.ask(operation, Method::GET, &["volumes", "by-name", check_name(name)?], timeout).await
        };
        let work = async {
            match by_name().await {
                Err(error) if create && error.kind() == ErrorKind::NotFound => {}
                found => return found.map(|found| Made::new(found, None)),
            }
            match self.make_as(operation, name, timeout).await {
                // Somebody else was quicker.
                Err(error) if error.kind() == ErrorKind::Conflict => {
                    by_name().await.map(|found| Made::new(found, None))
                }
                made => made,
            }
        };
        self.client.observe(operation, work).await
    }

    /// Creates a volume. If this is dropped before, the volume is deleted.
    ///
    /// # Errors
    /// `Conflict` if the name is taken; `InvalidArgument` for an empty name.
    pub async fn create(&self, name: &str, timeout: Option<f64>) -> Result<Volume> {
        self.make(name, timeout).await?.keep()
    }

    pub(crate) async fn make(&self, name: &str, timeout: Option<f64>) -> Result<Made<Volume>> {
        let operation = Operation::CREATE_VOLUME;
        self.client.observe(operation, self.make_as(operation, name, timeout)).await
    }

    /// Deletes a volume and all in it.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` while a sandbox has it, a stopped one too.
    pub async fn delete(&self, id: &str, timeout: Option<f64>) -> Result<()> {
        let operation = Operation::DELETE_VOLUME;
        let work = async {
            crate::session::check_id("volume", id)?;
            self.client.tell_server(operation, Method::DELETE, &["volumes", id], None::<&()>, timeout).await
        };
        self.client.observe(operation, work).await
    }

    async fn make_as(&self, operation: Operation, name: &str, timeout: Option<f64>) -> Result<Made<Volume>> {
        let body = CreateVolume { name: check_name(name)?.to_owned() };
        let made_at = |made: &Volume| vec!["volumes".to_owned(), made.id.clone()];
        claim::make_at(&self.client, operation, &["volumes"], &body, timeout, made_at).await
    }
}

fn check_name(name: &str) -> Result<&str> {
    match name {
        "" => Err(Error::invalid("the name of the volume is empty")),
        "." | ".." => Err(Error::invalid(format!("{name:?} cannot be the name of a volume"))),
        name => Ok(name),
    }
}
