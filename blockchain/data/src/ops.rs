//! The verbs of a data-chain, one a file. An op is a function whose parameters are the parts of a
//! store that it needs; it blocks, and knows nothing of HTTP.

pub mod audit;
pub mod chunks;
pub mod documents;
pub mod error;
mod look_again;
pub mod proofs;
pub mod sessions;
pub mod sight;
pub mod upkeep;

pub use error::{Clash, OpError};

use lucid_store::codec::Packer;
use lucid_store::vault::Vault;
use lucid_store::vault::committer;

use crate::fact::Fact;

/// Makes facts ready to be committed together.
fn fact_records(
    vault: &Vault,
    facts: impl IntoIterator<Item = Fact>,
) -> Result<Vec<committer::Fact>, OpError> {
    let mut packer = Packer::new();
    let records = facts.into_iter().map(|fact| vault.fact(&mut packer, fact.encode()));
    Ok(records.collect::<Result<_, _>>()?)
}
