//! The row that says that a move into a store is not at its end.

use crate::StoreError;
use crate::contract::index::{Changes, Index};
use crate::registry::vault::key::MOVING;

const ROW: [u8; 1] = [MOVING];

/// Notes that a move has begun, of what is there up to this place of another log.
pub(in crate::vault) fn begin(changes: &mut Changes<'_>, at: Vec<u8>) {
    changes.put(ROW.to_vec(), at);
}

/// Notes that it is at its end.
pub(in crate::vault) fn end(changes: &mut Changes<'_>) {
    changes.remove(ROW.to_vec());
}

/// Whether a move is not at its end.
pub(in crate::vault) fn is_going_on(index: &dyn Index) -> Result<bool, StoreError> {
    Ok(index.get(&ROW)?.is_some())
}
