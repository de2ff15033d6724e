//! How far the blocks have been looked through, so that a restart does not begin at the genesis again.

use lucid_core::wire::Reader;
use lucid_store::StoreError;
use lucid_store::index::{Changes, Index};

use super::{FIXED, fault};

const CURSOR_KEY: [u8; 2] = [FIXED, 3];

pub(super) fn project(next: u64, changes: &mut Changes<'_>) {
    changes.put(CURSOR_KEY.to_vec(), next.to_le_bytes().to_vec());
}

/// The height at which looking through the blocks goes on.
pub fn cursor(index: &dyn Index) -> Result<u64, StoreError> {
    let Some(value) = index.get(&CURSOR_KEY)? else { return Ok(0) };
    Reader::new(&value).u64("height").map_err(fault("how far the blocks were looked through"))
}
