//! Access to a sandbox over SSH.

use daytona_wire::ssh::{SshAccess, SshAccessValidation};
use http::Method;

use crate::error::{Error, Result};
use crate::operation::Operation;
use crate::preview::check_token;
use crate::sandbox::Sandbox;
use crate::transport::{Call, seconds};

impl Sandbox {
    /// Makes a token that lets its holder in over SSH for `expires_in` minutes, the server's default, 60, where
    /// `None`. The token made before lets nobody in any more.
    ///
    /// # Errors
    /// `InvalidArgument` for less than a minute; the server's refusal.
    pub async fn create_ssh_access(&self, expires_in: Option<i64>, timeout: Option<f64>) -> Result<SshAccess> {
        let operation = Operation::CREATE_SSH_ACCESS;
        let work = async {
            let limit = seconds("request_timeout", timeout)?;
            let link = self.inner.client.link().await?;
            let mut url = link.url(&["sandbox", self.id(), "ssh-access"])?;
            if let Some(minutes) = expires_in {
                if minutes < 1 {
                    return Err(Error::invalid(format!("expires_in_minutes must be at least 1, not {minutes}")));
                }
                url.query_pairs_mut().append_pair("expiresInMinutes", &minutes.to_string());
            }
            link.transport.json(Call::post(operation, url).limit(limit)).await
        };
        self.observe(operation, work).await
    }

    /// Takes a token back, and ends what its holder does.
    ///
    /// # Errors
    /// `InvalidArgument` for a blank token; the server's refusal.
    pub async fn revoke_ssh_access(&self, token: &str, timeout: Option<f64>) -> Result<()> {
        let operation = Operation::REVOKE_SSH_ACCESS;
        let work = async {
            check_token(token)?;
            let limit = seconds("request_timeout", timeout)?;
            let link = self.inner.client.link().await?;
            let mut url = link.url(&["sandbox", self.id(), "ssh-access"])?;
            url.query_pairs_mut().append_pair("token", token);
            link.transport.empty(Call::new(operation, Method::DELETE, url).limit(limit)).await
        };
        self.observe(operation, work).await
    }

    /// Whether a token lets its holder in, and into which sandbox.
    ///
    /// # Errors
    /// `InvalidArgument` for a blank token.
    pub async fn validate_ssh_access(&self, token: &str, timeout: Option<f64>) -> Result<SshAccessValidation> {
        let operation = Operation::VALIDATE_SSH_ACCESS;
        let work = async {
            check_token(token)?;
            let limit = seconds("request_timeout", timeout)?;
            let link = self.inner.client.link().await?;
            let mut url = link.url(&["sandbox", "ssh-access", "validate"])?;
            url.query_pairs_mut().append_pair("token", token);
            link.transport.json(Call::get(operation, url).limit(limit)).await
        };
        self.observe(operation, work).await
    }
}
