//! The digest of all rows that follow from a log, whichever copy has them.

use std::collections::BTreeSet;

use lucid_core::digest::ChunkName;

use crate::StoreError;
use crate::contract::index::Index;
use crate::crypt::Cipher;
use crate::registry::vault::key;
use crate::vault::projection::Projection;
use crate::vault::{chunk_rows, unit_rows};

/// Rows read at once.
const PAGE: usize = 4_096;

/// BLAKE3 of every row in the order of keys, each the length of its key, the key, the length of its value in the clear,
/// and that; but for rows that are of one copy alone (where it stands, which kinds of facts it was ever shown, how its
/// values are encrypted, what it could not read, how far its own files are named), for what is said of units that others
/// stand for, and for what the owner says is of a log's history.
pub(super) fn digest(
    index: &dyn Index,
    cipher: &Cipher,
    projection: &Projection,
) -> Result<[u8; 32], StoreError> {
    let (mut hasher, mut from) = (blake3::Hasher::new(), vec![0]);
    let retired = unit_rows::retired(index)?;
    loop {
        let page = index.scan(&from, &[0xff], PAGE, false)?;
        let is_last = page.len() < PAGE;
        if let Some((last, _)) = page.last() {
            from.clone_from(last);
            from.push(0);
        }
        for (key, value) in page {
            if projection.is_of_history(&key) || !is_of_all(index, &key, &retired)? {
                continue;
            }
            // Encrypted values differ from copy to copy, and what is in the clear opens as nothing.
            let plain = cipher.decrypt_value(&key, value.clone()).unwrap_or(value);
            for part in [&key, &plain] {
                hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
            }
        }
        if is_last {
            return Ok(*hasher.finalize().as_bytes());
        }
    }
}

fn is_of_all(index: &dyn Index, key: &[u8], retired: &BTreeSet<u32>) -> Result<bool, StoreError> {
    let Some((first, rest)) = key.split_first() else { return Ok(true) };
    Ok(match *first {
        key::BOUND | key::KINDS | key::LACKING | key::NAMED | key::POSITION | key::UNREAD => false,
        key::REWRITTEN => {
            let unit = rest.first_chunk().map(|unit| u32::from_be_bytes(*unit));
            unit.is_none_or(|unit| !retired.contains(&unit))
        }
        // A place in such a unit is none.
        key::CHUNK | key::QUARANTINE if !retired.is_empty() => {
            let name = rest.first_chunk().map(|name| ChunkName::new(*name));
            let at = name.map(|name| chunk_rows::placement(index, &name)).transpose()?.flatten();
            at.is_none_or(|at| !retired.contains(&at.unit))
        }
        _ => true,
    })
}
