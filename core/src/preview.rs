//! Preview URLs: what programs in a sandbox serve, from outside.

use daytona_wire::preview::{PortInUse, PortPreviewUrl, SignedPortPreviewUrl};

use crate::error::{Error, Result};
use crate::operation::Operation;
use crate::sandbox::Sandbox;
use crate::transport::{Call, seconds};

impl Sandbox {
    /// Where a port can be reached, and the token that a private sandbox wants for it; the token changes at each
    /// start.
    ///
    /// # Errors
    /// `InvalidArgument` for a port that is not from 1 to 65535; `NotFound`.
    pub async fn get_preview_link(&self, port: i64, timeout: Option<f64>) -> Result<PortPreviewUrl> {
        let operation = Operation::PREVIEW_LINK;
        let work = async {
            let port = check_port(port)?;
            let limit = seconds("request_timeout", timeout)?;
            let link = self.inner.client.link().await?;
            let url = link.url(&["sandbox", self.id(), "ports", &port, "preview-url"])?;
            link.transport.json(Call::get(operation, url).limit(limit)).await
        };
        self.observe(operation, work).await
    }

    /// Whether something in it listens on a port.
    ///
    /// # Errors
    /// `InvalidArgument` for a port that is not from 1 to 65535; as any request to a sandbox.
    pub async fn is_port_in_use(&self, port: i64, timeout: Option<f64>) -> Result<bool> {
        let operation = Operation::PORT_IN_USE;
        let work = async {
            let port = check_port(port)?;
            let limit = seconds("request_timeout", timeout)?;
            let (transport, url) = self.toolbox(&["port", &port, "in-use"]).await?;
            let answer: PortInUse = transport.json(Call::get(operation, url).limit(limit)).await?;
            Ok(answer.is_in_use)
        };
        self.observe(operation, work).await
    }

    /// A URL that leads whoever has it to a port, for `expires_in` seconds: the server's default, 60, where `None`;
    /// at most a day.
    ///
    /// # Errors
    /// `InvalidArgument` for a port that is not from 1 to 65535, or less than a second; the server's refusal.
    pub async fn create_signed_preview_url(
        &self,
        port: i64,
        expires_in: Option<i64>,
        timeout: Option<f64>,
    ) -> Result<SignedPortPreviewUrl> {
        let operation = Operation::SIGNED_PREVIEW_URL;
        let work = async {
            let port = check_port(port)?;
            let limit = seconds("request_timeout", timeout)?;
            let link = self.inner.client.link().await?;
            let mut url = link.url(&["sandbox", self.id(), "ports", &port, "signed-preview-url"])?;
            if let Some(seconds) = expires_in {
                if seconds < 1 {
                    return Err(Error::invalid(format!("expires_in_seconds must be at least 1, not {seconds}")));
                }
                url.query_pairs_mut().append_pair("expiresInSeconds", &seconds.to_string());
            }
            link.transport.json(Call::get(operation, url).limit(limit)).await
        };
        self.observe(operation, work).await
    }

    /// Ends a signed URL before its time.
    ///
    /// # Errors
    /// `InvalidArgument` for a port that is not from 1 to 65535, or a blank token; `NotFound` for a token that has
    /// expired or never was.
    pub async fn expire_signed_preview_url(&self, port: i64, token: &str, timeout: Option<f64>) -> Result<()> {
        let operation = Operation::EXPIRE_PREVIEW_URL;
        let work = async {
            let port = check_port(port)?;
            check_token(token)?;
            let limit = seconds("request_timeout", timeout)?;
            let link = self.inner.client.link().await?;
            let url = link.url(&["sandbox", self.id(), "ports", &port, "signed-preview-url", token, "expire"])?;
            link.transport.empty(Call::post(operation, url).limit(limit)).await
        };
        self.observe(operation, work).await
    }
}

fn check_port(port: i64) -> Result<String> {
    if (1..=65535).contains(&port) {
        return Ok(port.to_string());
    }
    Err(Error::invalid(format!("port must be from 1 to 65535, not {port}")))
}

/// A token is one part of a URL's path.
pub(crate) fn check_token(token: &str) -> Result<()> {
    if token.trim().is_empty() || matches!(token, "." | "..") {
        return Err(Error::invalid("the token is blank"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_tokens_are_checked() {
        assert_eq!(check_port(3000).unwrap(), "3000");
        for bad in [0, -1, 65536] {
            assert!(check_port(bad).is_err(), "{bad}");
        }
        assert!(check_token("abc").is_ok());
        assert!(check_token(" ").is_err());
    }
}
