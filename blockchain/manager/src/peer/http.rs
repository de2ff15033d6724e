//! A peer behind HTTP: another block-manager, or an engine that gives one block at a time.
//!
//! The field names of the documented engine are understood; which of its spellings of a path it has is
//! found out once and remembered.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use lucid_api::client::{BlockManagerClient, ClientError, ClientOptions, Retry, service_url};
use lucid_api::v1::sync::RunQuery;
use lucid_core::record::Head;
use serde_json::Value;

use super::{ENGINE_BLOCK_BYTES_MAX, Greeting, Peer, PeerError, Speaks};

/// Where an engine says how far it is, in the order of asking.
const STATUS_PATHS: [&str; 4] = [
    "/api/v1/blockchain/status",
    "/api/v1/chain/status",
    "/api/v1/chain/info",
    "/api/v1/chain/height",
];
/// What it calls that.
const HEIGHT_FIELDS: [&str; 3] = ["chain_height", "current_height", "height"];
/// Where it has a block.
const BLOCK_PATHS: [&str; 2] = ["/api/v1/blocks/{height}", "/api/v1/blocks/height/{height}"];

/// A service at an address.
#[derive(Debug)]
pub struct HttpPeer {
    name: String,
    client: BlockManagerClient,
    /// Which of [`BLOCK_PATHS`] answered last.
    path: AtomicUsize,
}

impl HttpPeer {
    /// Connects with the first call. Each answer must come within the timeout, or at a bearable pace.
    pub fn new(url: &str, options: ClientOptions) -> Result<Self, ClientError> {
        let retry = Retry { count: 2, delay: Duration::from_millis(250) };
        Self::with(url, ClientOptions { retry, ..options })
    }

    /// Connects with the first call, as it is told to.
    pub fn with(url: &str, options: ClientOptions) -> Result<Self, ClientError> {
        let client = BlockManagerClient::new(url, options)?;
        // What it is called in logs and replies has no password in it.
        let mut named = service_url(url)?;
        let _stripped = (named.set_username(""), named.set_password(None));
        let name = named.as_str().trim_end_matches('/').to_owned();
        Ok(Self { name, client, path: AtomicUsize::new(0) })
    }

    /// The typed calls.
    pub fn client(&self) -> &BlockManagerClient {
        &self.client
    }

    fn engine_height(&self) -> Result<Option<u64>, PeerError> {
        let mut refused = PeerError::Refused("it has no status".to_owned());
        for path in STATUS_PATHS {
            match self.client.json_at(path) {
                Ok(status) => {
                    if let Some(height) = height_in(&status) {
                        return Ok(Some(height));
                    }
                    let sentence = format!("{path} names no height");
                    refused = PeerError::Unreadable(sentence);
                }
                Err(error) => match explain(error) {
                    error @ PeerError::Refused(_) => refused = error,
                    other => return Err(other),
                },
            }
        }
        Err(refused)
    }
}

/// The height that a status names, wherever it stands.
fn height_in(status: &Value) -> Option<u64> {
    let named = |object: &Value| {
        HEIGHT_FIELDS.iter().find_map(|field| object.get(field).and_then(Value::as_u64))
    };
    named(status).or_else(|| status.get("data").and_then(named))
}

impl Peer for HttpPeer {
    fn name(&self) -> &str {
        &self.name
    }

    fn greet(&self) -> Result<Greeting, PeerError> {
        // Only a block-manager answers this with framed heads: an engine has no such path, or takes the
        // word for the name of a block.
        let speaks = match self.client.heads(&RunQuery { from: 0, limit: Some(1) }) {
            Ok(heads) if heads.iter().all(|head| Head::decode(head).is_ok()) => Speaks::Runs,
            Ok(_) | Err(ClientError::Unreadable { .. } | ClientError::TooLong { .. }) => {
                Speaks::Blocks
            }
            Err(error) => match explain(error) {
                PeerError::Refused(_) => Speaks::Blocks,
                other => return Err(other),
            },
        };
        let height = match speaks {
            Speaks::Runs => {
                let height = self.client.chain_height().map_err(explain)?;
                (!height.empty).then_some(height.height)
            }
            // Height 0 may mean one block or none.
            Speaks::Blocks => match self.engine_height()? {
                Some(0) if self.block(0, ENGINE_BLOCK_BYTES_MAX)?.is_none() => None,
                height => height,
            },
        };
        Ok(Greeting { speaks, height })
    }

    fn heads(&self, from: u64, limit: u32) -> Result<Vec<Head>, PeerError> {
        let heads = self.client.heads(&RunQuery { from, limit: Some(limit) }).map_err(explain)?;
        let read = |(height, bytes): (u64, &Bytes)| {
            Head::decode(bytes).map_err(|fault| {
                PeerError::Unreadable(format!("the head of block {height}: {fault}"))
            })
        };
        (from..=u64::MAX).zip(&heads).map(read).collect()
    }

    fn bodies(&self, from: u64, limit: u32, bytes_max: u64) -> Result<Vec<Bytes>, PeerError> {
        let query = RunQuery { from, limit: Some(limit) };
        self.client.bodies(&query, bytes_max).map_err(|error| match error.refused() {
            Some(refused) if refused.status == 410 => PeerError::Pruned(from),
            _ => explain(error),
        })
    }

    fn block(&self, height: u64, bytes_max: u64) -> Result<Option<String>, PeerError> {
        let first = self.path.load(Ordering::Relaxed);
        for choice in [first, 1 - first.min(1)] {
            let Some(path) = BLOCK_PATHS.get(choice) else { continue };
            match self.client.block_at(path, height, bytes_max) {
                Ok(text) => {
                    self.path.store(choice, Ordering::Relaxed);
                    return Ok(Some(text));
                }
                Err(error) if error.refused().is_some_and(|refused| refused.status == 410) => {
                    return Err(PeerError::Pruned(height));
                }
                Err(error) if error.refused().is_some_and(|refused| is_absent(refused.status)) => {}
                Err(error) => return Err(explain(error)),
            }
        }
        Ok(None)
    }
}

/// Whether a status says that there is no such path or block.
fn is_absent(status: u16) -> bool {
    matches!(status, 400 | 404 | 405 | 422)
}

fn explain(error: ClientError) -> PeerError {
    let sentence = error.to_string();
    // It may be healed there.
    if error.is_damage() {
        return PeerError::Unreachable(sentence);
    }
    match error {
        ClientError::Refused(refused) if refused.status == 429 || refused.status >= 500 => {
            PeerError::Unreachable(sentence)
        }
        ClientError::Refused(_) | ClientError::Unsendable { .. } => PeerError::Refused(sentence),
        ClientError::Transport { .. } | ClientError::Untrusted { .. } => {
            PeerError::Unreachable(sentence)
        }
        ClientError::Unreadable { .. } => PeerError::Unreadable(sentence),
        ClientError::TooLong { limit } => PeerError::TooLong { limit },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_the_address_is_not_shown() {
        let peer =
            HttpPeer::new("http://user:secret@127.0.0.1:8086", ClientOptions::default()).unwrap();
        assert_eq!(peer.name(), "http://127.0.0.1:8086");
    }

    #[test]
    fn a_height_is_found_under_each_of_its_names() {
        for (text, height) in [
            (r#"{"chain_height": 7, "height": 3}"#, Some(7)),
            (r#"{"current_height": 7}"#, Some(7)),
            (r#"{"height": 7}"#, Some(7)),
            (r#"{"data": {"height": 7}}"#, Some(7)),
            (r#"{"height": "7"}"#, None),
            (r#"{"height": -1}"#, None),
            (r#"[7]"#, None),
        ] {
            assert_eq!(height_in(&serde_json::from_str(text).unwrap()), height, "{text}");
        }
    }
}
