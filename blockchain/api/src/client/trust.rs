//! By what a server is believed that speaks TLS.

use std::path::PathBuf;

use reqwest::Certificate;
use reqwest::blocking::{Client, ClientBuilder};

use super::ClientError;
use crate::tls::ServerKey;

/// By what a server is believed that speaks TLS: by the system's authorities, unless this says more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    /// A file with more authorities, in PEM.
    pub authorities: Option<PathBuf>,
    /// The key that it has, and nothing else.
    pub pin: Option<ServerKey>,
}

impl Trust {
    /// Why the file with authorities cannot be used, if so.
    pub fn fault(&self) -> Option<String> {
        self.apply(Client::builder()).err().map(|error| error.to_string())
    }

    pub(super) fn apply(&self, builder: ClientBuilder) -> Result<ClientBuilder, ClientError> {
        if let Some(pin) = self.pin.clone() {
            let config = pin.client(rustls::crypto::ring::default_provider());
            let config = config.map_err(|error| ClientError::unsendable(error.to_string()))?;
            return Ok(builder.tls_backend_preconfigured(config));
        }
        let Some(path) = &self.authorities else { return Ok(builder) };
        let wrong = |why: &dyn std::fmt::Display| {
            ClientError::unsendable(format!("authorities in {}: {why}", path.display()))
        };
        let text = std::fs::read(path).map_err(|error| wrong(&error))?;
        let found = Certificate::from_pem_bundle(&text).map_err(|error| wrong(&error))?;
        if found.is_empty() {
            return Err(wrong(&"there is no certificate in it"));
        }
        Ok(builder.tls_certs_merge(found))
    }
}
