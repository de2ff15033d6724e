//! What the service calls elsewhere, and the one place that owns the clients for it.
//!
//! There is one integration: a block-manager, or an engine of another kind in its place, which is told apart by what it
//! answers. It anchors sessions, and has the blocks that are taken in as documents. Both go through one client, so that
//! what one of them finds out counts for the other: how often it is tried again, and when it is left alone
//! ([`lucid_api::client::Breaking`]).
//!
//! Invariant: nothing is connected, nor a file of certificates looked at, before the first call, and a service starts
//! and serves whatever an integration does.

use std::sync::{Arc, OnceLock};

use lucid_api::address::Address;
use lucid_api::client::{BlockManagerClient, Circuit, ClientError, ClientOptions, GivenUp};
use lucid_api::paths;
use lucid_http::config::Outbound;
use lucid_http::serve::Shutdown;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::anchoring::http::HttpEngine;
use crate::anchoring::{AnchorEngine, EngineError};
use crate::chain::Chain;
use crate::chain::http::HttpChain;

/// Everything that is called elsewhere.
#[derive(Debug, Default)]
pub struct Integrations {
    manager: Option<Arc<RemoteManager>>,
}

impl Integrations {
    /// The block-manager at this address, if there is one, called as the settings say. `may_be_foreign`: it may be an
    /// engine of another kind, too.
    pub fn new(
        manager: Option<&Address>,
        may_be_foreign: bool,
        outbound: &Outbound,
        shutdown: &Shutdown,
    ) -> Self {
        let manager = manager.map(|url| {
            let ending = shutdown.clone();
            let options = outbound.options(GivenUp::when(move || ending.is_asked()));
            Arc::new(RemoteManager {
                url: url.clone(),
                options,
                client: OnceLock::new(),
                may_be_foreign,
                found: Mutex::default(),
                shutdown: shutdown.clone(),
            })
        });
        Self { manager }
    }

    /// What anchors sessions, if anything does.
    pub fn engine(&self) -> Option<Arc<dyn AnchorEngine>> {
        let manager = self.manager.clone()?;
        Some(Arc::new(HttpEngine::new(manager)))
    }

    /// The chain that documents are taken from, if there is one.
    pub fn chain(&self) -> Option<Arc<dyn Chain>> {
        let manager = self.manager.clone()?;
        Some(Arc::new(HttpChain::new(manager)))
    }

    /// How each of them was found to be by the calls before: nothing is asked.
    pub fn health(&self) -> Value {
        let manager = self.manager.as_ref().map(|manager| {
            let (circuit, again) = match manager.client.get().map(BlockManagerClient::circuit) {
                None | Some(Circuit::Closed) => ("closed", None),
                Some(Circuit::HalfOpen) => ("half-open", None),
                Some(Circuit::Open(left)) => ("open", Some(left.as_secs().saturating_add(1))),
            };
            json!({
                "url": manager.url.to_string(),
                "kind": manager.found().map(EngineKind::as_str),
                "circuit": circuit,
                "asked_again_in_seconds": again,
            })
        });
        json!({ "block_manager": manager })
    }
}

/// What answers at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineKind {
    /// A block-manager.
    BlockManager,
    /// An engine that keeps no chain of ours, and only says that it anchors.
    Foreign,
}

impl EngineKind {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BlockManager => "block-manager",
            Self::Foreign => "engine",
        }
    }
}

/// How an engine of another kind says how its anchoring goes: its documented route, which a block-manager has not.
const FOREIGN_STATUS: &str = "/api/v1/anchoring/status";

/// A block-manager at an address, or an engine in its place.
#[derive(Debug)]
pub struct RemoteManager {
    url: Address,
    options: ClientOptions,
    client: OnceLock<BlockManagerClient>,
    may_be_foreign: bool,
    /// What it last was found to be, where that is asked.
    found: Mutex<Option<EngineKind>>,
    shutdown: Shutdown,
}

/// Why a block-manager is not called.
#[derive(Debug, thiserror::Error)]
pub enum NotCalled {
    /// Nobody waits for it at the end.
    #[error("this service is shutting down")]
    Ending,
    /// It cannot be called as the settings say.
    #[error(transparent)]
    Client(#[from] ClientError),
}

impl RemoteManager {
    /// One that is spoken to by this client.
    pub fn over(client: BlockManagerClient, url: Address) -> Self {
        let (options, shutdown) = (ClientOptions::default(), Shutdown::new());
        let found = Mutex::default();
        Self { url, options, client: client.into(), may_be_foreign: false, found, shutdown }
    }

    /// What it was found to be; a block-manager, where it may be nothing else.
    pub fn found(&self) -> Option<EngineKind> {
        match self.may_be_foreign {
            true => *self.found.lock(),
            false => Some(EngineKind::BlockManager),
        }
    }

    /// What it is. It is asked where that was not found out yet.
    pub fn kind(&self) -> Result<EngineKind, EngineError> {
        self.found().map_or_else(|| self.find_out(), Ok)
    }

    /// Finds out what it is, by its answers: a block-manager says of its chain what no other engine knows
    /// (`pruned_below`), and any other engine how its anchoring goes. What does neither is nothing that can be used.
    pub fn find_out(&self) -> Result<EngineKind, EngineError> {
        if !self.may_be_foreign {
            return Ok(EngineKind::BlockManager);
        }
        let unavailable = |why: &dyn std::fmt::Display| EngineError::Unavailable(why.to_string());
        let client = self.client().map_err(|why| unavailable(&why))?;
        let kind = match client.json_at(paths::CHAIN_INFO) {
            Ok(info) if info.get("pruned_below").is_some() => EngineKind::BlockManager,
            Err(error) if !is_without(&error) => return Err(unavailable(&error)),
            _ => match client.json_at(FOREIGN_STATUS) {
                Ok(status) if status.is_object() => EngineKind::Foreign,
                Err(error) if !is_without(&error) => return Err(unavailable(&error)),
                _ => {
                    return Err(EngineError::Elsewhere(format!(
                        "what answers at {} is neither a block-manager nor an engine that anchors sessions: correct \
                         BLOCKCHAIN_ENGINE_URL",
                        self.url
                    )));
                }
            },
        };
        *self.found.lock() = Some(kind);
        Ok(kind)
    }

    /// Its address, which shows itself without credentials.
    pub fn url(&self) -> &Address {
        &self.url
    }

    /// What calls it.
    pub fn client(&self) -> Result<&BlockManagerClient, NotCalled> {
        if self.shutdown.is_asked() {
            return Err(NotCalled::Ending);
        }
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let made = BlockManagerClient::new(self.url.expose(), self.options.clone())?;
        Ok(self.client.get_or_init(|| made))
    }
}

/// Whether a service answered and has no such route, or has something else there.
fn is_without(error: &ClientError) -> bool {
    match error {
        ClientError::Refused(refused) => matches!(refused.status, 404 | 405 | 501),
        ClientError::Unreadable { .. } => true,
        _ => false,
    }
}
