//! The block-manager service, call by call. Blocks and transactions are handed over as texts.

use bytes::Bytes;
use lucid_core::digest::BlockHash;
use reqwest::Method;

use super::{ClientError, ClientOptions, Connection};
use crate::framing::Frames;
use crate::paths;
use crate::v1::blocks::{Blocks, BlocksQuery, ValidateQuery, Validation, ValidationRules};
use crate::v1::chain::{ChainHeight, ChainInfo};
use crate::v1::service::{Health, Root, Status};
use crate::v1::sync::{BODY_BYTES_MAX, HEAD_BYTES_MAX, RunQuery};
use crate::v1::transactions::{TransactionAccepted, TransactionProof, TransactionState};

/// A run of blocks is believed up to here: one body of the longest, and what comes before each.
const RUN_BYTES_MAX: u64 = BODY_BYTES_MAX as u64 + (64 << 10);

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
        self.run(paths::BLOCKS_HEADS, query, HEAD_BYTES_MAX)
    }

    /// The bodies of committed blocks in a row, in bytes.
    pub fn bodies(&self, query: &RunQuery) -> Result<Vec<Bytes>, ClientError> {
        self.run(paths::BLOCKS_BODIES, query, BODY_BYTES_MAX)
    }

    fn run(&self, path: &str, query: &RunQuery, limit: usize) -> Result<Vec<Bytes>, ClientError> {
        let call = self.at.get(path, &[])?.query_of(query)?.accept("application/octet-stream");
        let body = self.at.bytes(&call, RUN_BYTES_MAX)?;
        let items = Frames::new(body.into(), limit).collect::<Result<Vec<_>, _>>();
        let items = items.map_err(|fault| ClientError::unreadable(fault.to_string()))?;
        match query.limit.is_some_and(|wanted| items.len() > wanted as usize) {
            true => Err(ClientError::unreadable("the reply has more blocks than were asked for")),
            false => Ok(items),
        }
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

    /// The rules blocks are judged by.
    pub fn validation_rules(&self) -> Result<ValidationRules, ClientError> {
        self.at.reply(&self.at.get(paths::VALIDATION_RULES, &[])?)
    }

    /// What the chain is.
    pub fn chain_info(&self) -> Result<ChainInfo, ClientError> {
        self.at.reply(&self.at.get(paths::CHAIN_INFO, &[])?)
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
