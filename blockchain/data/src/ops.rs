//! The verbs of a data-chain, one a file. An op is a function whose parameters are the drawers it
//! opens; it blocks, and knows nothing of HTTP.

pub mod add_references;
pub mod append_stream;
pub mod build_tree;
pub mod chosen;
pub mod collect_garbage;
pub(crate) mod count_age;
pub mod count_sessions;
pub mod create_session;
pub mod delete_chunk;
pub mod deliver_anchors;
pub mod error;
pub mod expire_sessions;
pub mod expire_uploads;
pub mod export_session;
pub mod find_chunk;
pub mod hold_session;
pub mod import_session;
pub mod list_sessions;
pub mod list_tombstones;
pub mod live_chunks;
mod look_again;
pub(crate) mod make_timeline;
pub mod missing_chunks;
pub mod optimise;
pub mod prove_chunk;
pub mod prove_session;
pub mod put_chunk;
pub(crate) mod read_chunk;
pub mod read_session;
pub mod read_timeline;
pub mod recognise_chain;
pub mod remove_session;
pub mod scrub_store;
pub mod seal_session;
pub mod store_chunks;
pub mod verify_chunk;
pub mod verify_session;
pub mod weigh_facts;
pub mod write_tar;

pub use error::{Clash, OpError};

use lucid_store::codec::Packer;
use lucid_store::vault::Vault;
use lucid_store::vault::committer;

use crate::fact::Fact;

/// Makes facts ready to be committed together.
fn seal_facts(
    vault: &Vault,
    facts: impl IntoIterator<Item = Fact>,
) -> Result<Vec<committer::Fact>, OpError> {
    let mut packer = Packer::new();
    let sealed = facts.into_iter().map(|fact| vault.fact(&mut packer, fact.encode()));
    Ok(sealed.collect::<Result<_, _>>()?)
}
