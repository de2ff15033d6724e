//! A block-manager behind HTTP, as the chain that documents are taken from.

use std::sync::Arc;

use lucid_api::client::{BlockManagerClient, ClientError};
use lucid_api::v1::sync::{BODY_BYTES_MAX, RunQuery};
use lucid_core::record::{Head, RecordFault, decode_body};
use lucid_core::transaction::Transaction;

use super::{Chain, ChainError};
use crate::integrations::{EngineKind, RemoteManager};

/// A block-manager at an address.
#[derive(Debug)]
pub struct HttpChain {
    name: String,
    manager: Arc<RemoteManager>,
}

impl HttpChain {
    /// The chain that it has. Once the service ends, it counts as away.
    pub fn new(manager: Arc<RemoteManager>) -> Self {
        Self { name: manager.url().to_string(), manager }
    }

    fn client(&self) -> Result<&BlockManagerClient, ChainError> {
        match self.manager.kind() {
            Ok(EngineKind::BlockManager) => {}
            Ok(EngineKind::Foreign) => {
                let why = format!("the engine at {} keeps no chain of ours", self.name);
                return Err(ChainError::Unsupported(why));
            }
            Err(error) => return Err(ChainError::Unavailable(error.to_string())),
        }
        self.manager.client().map_err(|why| ChainError::Unavailable(why.to_string()))
    }
}

impl Chain for HttpChain {
    fn name(&self) -> &str {
        &self.name
    }

    fn height(&self) -> Result<Option<u64>, ChainError> {
        let height = self.client()?.chain_height().map_err(|error| explain(&error))?;
        Ok((!height.empty).then_some(height.height))
    }

    fn heads(&self, from: u64, limit: u32) -> Result<Vec<Head>, ChainError> {
        let query = RunQuery { from, limit: Some(limit) };
        let heads = self.client()?.heads(&query).map_err(|error| explain(&error))?;
        read(from, &heads, "head", Head::decode)
    }

    fn bodies(&self, from: u64, limit: u32) -> Result<Vec<Vec<Transaction>>, ChainError> {
        let query = RunQuery { from, limit: Some(limit) };
        let bodies = self.client()?.bodies(&query, BODY_BYTES_MAX as u64);
        let bodies = bodies.map_err(|error| match error.refused() {
            Some(refused) if refused.status == 410 => ChainError::Pruned(from),
            _ => explain(&error),
        })?;
        read(from, &bodies, "body", decode_body)
    }
}

/// Reads what was framed, from a height on.
fn read<T>(
    from: u64,
    items: &[impl AsRef<[u8]>],
    what: &str,
    decode: impl Fn(&[u8]) -> Result<T, RecordFault>,
) -> Result<Vec<T>, ChainError> {
    let read = |(height, bytes): (u64, &_)| {
        decode(AsRef::as_ref(bytes)).map_err(|fault| {
            ChainError::Unreadable(format!("the {what} of block {height}: {fault}"))
        })
    };
    (from..=u64::MAX).zip(items).map(read).collect()
}

fn explain(error: &ClientError) -> ChainError {
    let sentence = error.to_string();
    match error {
        ClientError::Refused(refused) if matches!(refused.status, 404 | 405) => {
            ChainError::Unsupported(sentence)
        }
        ClientError::Unreadable { .. } | ClientError::TooLong { .. } => {
            ChainError::Unreadable(sentence)
        }
        ClientError::Refused(_)
        | ClientError::Unsendable { .. }
        | ClientError::Transport { .. }
        | ClientError::Untrusted { .. } => ChainError::Unavailable(sentence),
    }
}
