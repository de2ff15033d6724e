//! The block-manager service, call by call. Blocks and transactions are handed over as texts.

use std::time::Duration;

use bytes::Bytes;
use lucid_core::digest::BlockHash;
use reqwest::Method;
use serde_json::Value;

use super::breaker::Circuit;
use super::{ClientError, ClientOptions, Connection, Relayed};
use crate::framing::Frames;
use crate::v1::blocks::{Blocks, BlocksQuery, ValidateQuery, Validation, ValidationRules};
use crate::v1::chain::{ChainHeight, ChainInfo, ChainStatus, Maintain, MaintenanceReport};
use crate::v1::service::{Health, Root, Status};
use crate::v1::sync::{
    BODY_BYTES_MAX, HEAD_BYTES_MAX, RUN_BYTES_MAX, RemoveBlockQuery, RemovedBlock, RunQuery,
    SyncReport,
};
use crate::v1::transactions::{TransactionAccepted, TransactionProof, TransactionState};
use crate::v1::validation::{ChainValidation, ValidateChain};
use crate::{headers, paths};

/// What comes before each block of a run, for all of them.
const FRAMES_BYTES: u64 = 64 << 10;
/// What a service says of itself is believed up to here.
const STATUS_BYTES_MAX: u64 = 1 << 20;

/// How long the answer may take while a chain is validated: a day judges some 10^10 transactions.
const VALIDATION_PATIENCE: Duration = Duration::from_secs(86_400);

/// A block-manager service. Cloning shares its connections.
#[derive(Debug, Clone)]
pub struct BlockManagerClient {
    at: Connection,
}

impl BlockManagerClient {
    /// Speaks to the service at `base` (`http://host:port`). Connects with the first call.
    pub fn new(base: &str, options: ClientOptions) -> Result<Self, ClientError> {
        Connection::new(base, options).map(|at| Self { at })
    }

    /// What the service is.
    pub fn root(&self) -> Result<Root, ClientError> {
        self.at.root()
    }

    /// How the service was found to be by the calls before: nothing is asked.
    pub fn circuit(&self) -> Circuit {
        self.at.circuit()
    }

    /// How the service is; bad health is an answer, not an error.
    pub fn health(&self) -> Result<Health, ClientError> {
        self.at.health()
    }

    /// The service's counts.
    pub fn status(&self) -> Result<Status, ClientError> {
        self.at.status()
    }

    /// One page of blocks.
    pub fn blocks(&self, query: &BlocksQuery) -> Result<Blocks, ClientError> {
        self.at.reply(&self.at.get(paths::BLOCKS, &[])?.query_of(query)?)
    }

    /// The block at a height, as its text.
    pub fn block(&self, height: u64) -> Result<String, ClientError> {
        self.at.text(&self.at.get(paths::BLOCK, &[height.to_string().as_bytes()])?)
    }

    /// The newest block, as its text.
    pub fn latest_block(&self) -> Result<String, ClientError> {
        self.at.text(&self.at.get(paths::BLOCK_LATEST, &[])?)
    }

    /// The block of that hash, as its text.
    pub fn block_by_hash(&self, hash: BlockHash) -> Result<String, ClientError> {
        self.at.text(&self.at.get(paths::BLOCK_BY_HASH, &[hash.to_string().as_bytes()])?)
    }

    /// The heads of committed blocks in a row, in bytes.
    pub fn heads(&self, query: &RunQuery) -> Result<Vec<Bytes>, ClientError> {
        self.run(paths::BLOCKS_HEADS, query, HEAD_BYTES_MAX, RUN_BYTES_MAX as u64 + FRAMES_BYTES)
    }

    /// The bodies of committed blocks in a row, in bytes; of a reply with over `bytes_max` nothing is
    /// given.
    pub fn bodies(&self, query: &RunQuery, bytes_max: u64) -> Result<Vec<Bytes>, ClientError> {
        self.run(paths::BLOCKS_BODIES, query, BODY_BYTES_MAX, bytes_max + FRAMES_BYTES)
    }

    fn run(
        &self,
        path: &str,
        query: &RunQuery,
        item_bytes_max: usize,
        bytes_max: u64,
    ) -> Result<Vec<Bytes>, ClientError> {
        let call = self.at.get(path, &[])?.query_of(query)?.accept("application/octet-stream");
        let body = self.at.bytes(&call, bytes_max)?;
        let items = Frames::new(body.into(), item_bytes_max).collect::<Result<Vec<_>, _>>();
        let items = items.map_err(|fault| ClientError::unreadable(fault.to_string()))?;
        match query.limit.is_some_and(|wanted| items.len() > wanted as usize) {
            true => Err(ClientError::unreadable("the reply has more blocks than were asked for")),
            false => Ok(items),
        }
    }

    /// The block at a height, where a service of another kind has it: `path` has one place for the height.
    pub fn block_at(&self, path: &str, height: u64, bytes_max: u64) -> Result<String, ClientError> {
        let call = self.at.get(path, &[height.to_string().as_bytes()])?;
        let body = self.at.bytes(&call, bytes_max)?;
        String::from_utf8(body).map_err(|_| ClientError::unreadable("the block is not UTF-8"))
    }

    /// What a service of another kind says of itself.
    pub fn json_at(&self, path: &str) -> Result<Value, ClientError> {
        let body = self.at.bytes(&self.at.get(path, &[])?, STATUS_BYTES_MAX)?;
        serde_json::from_slice(&body).map_err(|error| ClientError::unreadable(error.to_string()))
    }

    /// Posts a document to a service of another kind, once, and reads what it answers.
    pub fn post_json_at(&self, path: &str, body: &Value) -> Result<Value, ClientError> {
        let body = self.at.bytes(&self.at.post(path, &[], body)?, STATUS_BYTES_MAX)?;
        serde_json::from_slice(&body).map_err(|error| ClientError::unreadable(error.to_string()))
    }

    /// Hands a request on as it came, once, and gives the answer as it comes, whatever its status: posts a
    /// body in JSON, or asks where there is none. `value` stands in the one place of the path, `hops` says
    /// how often the request was handed on.
    pub fn relay(
        &self,
        path: &str,
        value: &str,
        query: &str,
        body: Option<String>,
        hops: u32,
    ) -> Result<Relayed, ClientError> {
        let method = if body.is_some() { Method::POST } else { Method::GET };
        let mut call = self.at.call(method, path, &[value.as_bytes()])?.query(query);
        if let Some(body) = body {
            call = call.body("application/json", body.into());
        }
        self.at.relay(call.header(headers::HOPS, &hops.to_string())?)
    }

    /// Looks after the chain now: at its next blocks, or at every one.
    pub fn maintain_chain(&self, full: bool) -> Result<MaintenanceReport, ClientError> {
        self.at.reply(&self.at.post(paths::CHAIN_MAINTENANCE, &[], &Maintain { full })?)
    }

    /// Asks a follower to ask its peer.
    pub fn sync(&self) -> Result<SyncReport, ClientError> {
        self.at.reply(&self.at.call(Method::POST, paths::CHAIN_SYNC, &[])?)
    }

    /// Removes the newest tentative block, if it has this hash.
    pub fn remove_block(
        &self,
        height: u64,
        confirm: BlockHash,
    ) -> Result<RemovedBlock, ClientError> {
        let call = self.at.call(Method::DELETE, paths::BLOCK, &[height.to_string().as_bytes()])?;
        self.at.reply(&call.query_of(&RemoveBlockQuery { confirm: Some(confirm) })?)
    }

    /// Judges a block's text without storing it.
    pub fn validate_block(
        &self,
        block: &str,
        query: &ValidateQuery,
    ) -> Result<Validation, ClientError> {
        let call = self.at.call(Method::POST, paths::BLOCKS_VALIDATE, &[])?.query_of(query)?;
        let body = block.as_bytes().to_vec().into();
        self.at.reply(&call.body("application/json", body).idempotent())
    }

    /// Judges stored blocks. A long chain takes its time, and so does the answer.
    pub fn validate_chain(&self, request: &ValidateChain) -> Result<ChainValidation, ClientError> {
        let call = self.at.post(paths::VALIDATION_CHAIN, &[], request)?;
        self.at.reply(&call.patient(VALIDATION_PATIENCE))
    }

    /// The rules blocks are judged by.
    pub fn validation_rules(&self) -> Result<ValidationRules, ClientError> {
        self.at.reply(&self.at.get(paths::VALIDATION_RULES, &[])?)
    }

    /// What the chain is.
    pub fn chain_info(&self) -> Result<ChainInfo, ClientError> {
        self.at.reply(&self.at.get(paths::CHAIN_INFO, &[])?)
    }

    /// How the chain is, and how synchronisation.
    pub fn chain_status(&self) -> Result<ChainStatus, ClientError> {
        self.at.reply(&self.at.get(paths::CHAIN_STATUS, &[])?)
    }

    /// How far the chain is.
    pub fn chain_height(&self) -> Result<ChainHeight, ClientError> {
        self.at.reply(&self.at.get(paths::CHAIN_HEIGHT, &[])?)
    }

    /// Submits a transaction's text. The same text again finds the first one, so it is repeated
    /// until it is answered.
    pub fn submit_transaction(&self, text: &str) -> Result<TransactionAccepted, ClientError> {
        let call = self.at.call(Method::POST, paths::TRANSACTIONS, &[])?;
        let body = text.as_bytes().to_vec().into();
        self.at.reply(&call.body("application/json", body).idempotent())
    }

    /// Where a transaction is.
    pub fn transaction(&self, tx_id: &str) -> Result<TransactionState, ClientError> {
        self.at.reply(&self.at.get(paths::TRANSACTION, &[tx_id.as_bytes()])?)
    }

    /// The way from a committed transaction into its block.
    pub fn transaction_proof(&self, tx_id: &str) -> Result<TransactionProof, ClientError> {
        self.at.reply(&self.at.get(paths::TRANSACTION_PROOF, &[tx_id.as_bytes()])?)
    }
}
