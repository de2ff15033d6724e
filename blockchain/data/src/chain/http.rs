//! A block-manager behind HTTP, as the chain that documents are taken from.

use lucid_api::client::{BlockManagerClient, ClientError, Retry};
use lucid_api::v1::sync::{BODY_BYTES_MAX, RunQuery};
use lucid_core::record::{Head, RecordFault, decode_body};
use lucid_core::transaction::Transaction;
use lucid_http::config::Outbound;
use lucid_http::serve::Shutdown;

use super::{Chain, ChainError};
use crate::config::client_options;

/// A block-manager at an address.
#[derive(Debug)]
pub struct HttpChain {
    name: String,
    client: BlockManagerClient,
    shutdown: Shutdown,
}

impl HttpChain {
    /// Connects with the first call. Once the shutdown is asked for, it counts as away. `name` is the address as
    /// it may be shown.
    pub fn new(
        url: &str,
        name: String,
        outbound: &Outbound,
        shutdown: Shutdown,
    ) -> Result<Self, ClientError> {
        // The next round asks again.
        let retry = Retry { count: 0, delay: outbound.retry_delay };
        let options = client_options(outbound, retry);
        Ok(Self::over(BlockManagerClient::new(url, options)?, name, shutdown))
    }

    /// The chain of a block-manager that is spoken to so. Once the shutdown is asked for, it counts as away.
    pub fn over(client: BlockManagerClient, name: String, shutdown: Shutdown) -> Self {
        Self { name, client, shutdown }
    }

    fn client(&self) -> Result<&BlockManagerClient, ChainError> {
        match self.shutdown.is_asked() {
            true => Err(ChainError::Unavailable("this service is shutting down".into())),
            false => Ok(&self.client),
        }
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
