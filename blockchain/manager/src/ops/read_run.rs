//! Committed blocks in a row, as bytes, for the followers of this chain.
//!
//! Called by the routes that serve heads and bodies. A run begins at the height asked for and ends
//! with the limit, with about the bytes that one reply may have, or with the tip, whichever comes first;
//! the first block is in it regardless of its size. Beyond the tip a run is empty.

use lucid_api::v1::sync::RUN_BYTES_MAX;
use lucid_core::record::Head;
use lucid_store::StoreError;
use lucid_store::contract::chain::{Body, ChainStore, Stretch};

/// Which half of the blocks is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Half {
    /// Their heads ([`Head::encode`]).
    Heads,
    /// Their transactions ([`encode_body`](lucid_core::record::encode_body)).
    Bodies,
}

/// Reads a run. One of bodies ends before those that were pruned, and is [`Body::Pruned`] when its first
/// one was.
pub fn read_run(
    chain: &dyn ChainStore,
    half: Half,
    from: u64,
    limit: usize,
) -> Result<Body<Vec<Vec<u8>>>, StoreError> {
    let stretch = Stretch { from, blocks: limit, bytes: RUN_BYTES_MAX };
    let mut run: Vec<Vec<u8>> = match half {
        Half::Heads => {
            let records = chain.records(stretch)?;
            records.iter().map(|stored| Head::of(&stored.record).encode()).collect()
        }
        Half::Bodies => {
            let bodies = chain.body_bytes(stretch)?;
            if bodies.first() == Some(&Body::Pruned) {
                return Ok(Body::Pruned);
            }
            bodies.into_iter().map_while(Body::here).collect()
        }
    };
    // A stretch may have one block more than fits.
    let mut bytes: usize = run.iter().map(Vec::len).sum();
    while bytes > RUN_BYTES_MAX && run.len() > 1 {
        bytes -= run.pop().map_or(0, |last| last.len());
    }
    Ok(Body::Here(run))
}
