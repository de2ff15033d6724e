//! Committed blocks in a row, as bytes, for whoever follows this chain.
//!
//! Called by the routes that serve heads and bodies. A run begins at the height asked for and ends
//! with the limit, with the bytes that one reply may have, or with the tip, whichever comes first; the
//! first block is in it whatever its size. Beyond the tip a run is empty.

use lucid_core::record::{Head, encode_body};
use lucid_store::StoreError;
use lucid_store::chain::ChainStore;

/// Bytes of a reply, unless its first block alone has more.
pub const RUN_BYTES_MAX: usize = 4 << 20;

/// Which half of the blocks is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Half {
    /// Their heads ([`Head::encode`]).
    Heads,
    /// Their transactions ([`encode_body`]).
    Bodies,
}

/// Reads a run.
pub fn read_run(
    chain: &dyn ChainStore,
    half: Half,
    from: u64,
    limit: usize,
) -> Result<Vec<Vec<u8>>, StoreError> {
    let (mut run, mut bytes) = (Vec::new(), 0);
    for height in (from..=u64::MAX).take(limit) {
        let item = match half {
            Half::Heads => chain.record(height)?.map(|stored| Head::of(&stored.record).encode()),
            Half::Bodies => chain.body(height)?.map(|body| encode_body(&body)),
        };
        let Some(item) = item else { break };
        bytes += item.len();
        if bytes > RUN_BYTES_MAX && !run.is_empty() {
            break;
        }
        run.push(item);
    }
    Ok(run)
}
