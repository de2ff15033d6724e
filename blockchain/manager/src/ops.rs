//! What a block-manager does, one verb a file.
//!
//! Each op is a function whose parameters are the parts of a store that it needs, and blocks until it is done.
//! `routes` and `workers` call them from a service, `lucid archive` without one. They know no wire and
//! read no clock.

pub mod anchor_proof;
pub mod anchor_session;
pub(crate) mod block_stats;
pub mod chain_info;
pub mod check_integrity;
pub mod get_block;
pub mod get_transaction;
pub mod list_blocks;
pub(crate) mod list_pending;
pub mod maintain_chain;
pub mod produce_block;
pub(crate) mod propose_block;
pub(crate) mod prove_transaction;
pub mod read_run;
pub mod remove_block;
pub(crate) mod settle_pool;
pub(crate) mod submit_block;
pub mod submit_transaction;
pub mod sync_chain;
pub mod take_blocks;
pub mod validate_block;
pub mod validate_chain;
pub mod validate_texts;
