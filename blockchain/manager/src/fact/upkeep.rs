//! How far the blocks have been looked through, so that a restart does not begin at the genesis again, and
//! which of them break a rule, so that it does not forget them.

use lucid_core::wire::{Reader, WireFault, Writer};
use lucid_store::StoreError;
use lucid_store::contract::index::{Changes, Index};

use super::{FIXED, fault};

const CURSOR_KEY: [u8; 2] = [FIXED, 3];
const SUSPECTS_KEY: [u8; 2] = [FIXED, 4];

pub(super) fn project(next: u64, changes: &mut Changes<'_>) {
    changes.put(CURSOR_KEY.to_vec(), next.to_le_bytes().to_vec());
}

/// The height at which looking through the blocks goes on.
pub fn cursor(index: &dyn Index) -> Result<u64, StoreError> {
    let Some(value) = index.get(&CURSOR_KEY)? else { return Ok(0) };
    Reader::new(&value).u64("height").map_err(fault("how far the blocks were looked through"))
}

pub(super) fn write(suspects: &[(u64, String)], to: &mut Writer) {
    for (height, why) in suspects {
        to.u64(*height).text(why);
    }
}

pub(super) fn read(from: &mut Reader<'_>) -> Result<Vec<(u64, String)>, WireFault> {
    let mut suspects = Vec::new();
    while !from.is_empty() {
        suspects.push((from.u64("height")?, from.text("why")?.to_owned()));
    }
    Ok(suspects)
}

pub(super) fn project_suspects(suspects: &[(u64, String)], changes: &mut Changes<'_>) {
    let mut value = Writer::new();
    write(suspects, &mut value);
    changes.put(SUSPECTS_KEY.to_vec(), value.finish());
}

/// The blocks that were found to break a rule, and not found to be well since: height and why.
pub fn suspects(index: &dyn Index) -> Result<Vec<(u64, String)>, StoreError> {
    let Some(value) = index.get(&SUSPECTS_KEY)? else { return Ok(Vec::new()) };
    read(&mut Reader::new(&value)).map_err(fault("the blocks that break a rule"))
}
