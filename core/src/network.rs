//! What a sandbox may reach.

use daytona_wire::network::UpdateNetworkSettings;
use daytona_wire::sandbox as wire;

use crate::error::{Error, Result};
use crate::operation::Operation;
use crate::sandbox::Sandbox;
use crate::transport::{Call, seconds};

impl Sandbox {
    /// Changes what it may reach; connections that are no longer allowed end.
    ///
    /// # Errors
    /// `InvalidArgument` if nothing is given; `BadRequest` for a list with an entry that is no network or domain, and
    /// where the server's runtime cannot limit a network.
    pub async fn update_network_settings(&self, settings: &UpdateNetworkSettings, timeout: Option<f64>) -> Result<()> {
        let operation = Operation::UPDATE_NETWORK_SETTINGS;
        let work = async {
            if *settings == UpdateNetworkSettings::default() {
                return Err(Error::invalid(
                    "at least one of network_block_all, network_allow_list and domain_allow_list has to be given",
                ));
            }
            let limit = seconds("request_timeout", timeout)?;
            let link = self.inner.client.link().await?;
            let url = link.url(&["sandbox", self.id(), "network-settings"])?;
            let answer: wire::Sandbox =
                link.transport.json(Call::post(operation, url).json(settings)?.limit(limit)).await?;
            self.set(wire::Sandbox {
                network_block_all: answer.network_block_all,
                network_allow_list: answer.network_allow_list,
                domain_allow_list: answer.domain_allow_list,
                ..wire::Sandbox::clone(&self.data())
            });
            Ok(())
        };
        self.observe(operation, work).await
    }
}
