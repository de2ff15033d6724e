//! Which store a folder is expected to hold.
//!
//! The folder of a disk that is not mounted is an empty one, and an empty one becomes a new store: a service would
//! start, and everything that was stored would seem to be gone. A start that knows which store belongs there is
//! refused instead, before anything is made.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use crate::StoreError;

/// What tells a store from every other, as its file `STORE` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreId(pub [u8; 16]);

/// A text that is no store's id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the id of a store is wanted: 32 hexadecimal digits, as `lucid init` and the file STORE say them"
)]
pub struct StoreIdFault;

impl FromStr for StoreId {
    type Err = StoreIdFault;

    fn from_str(text: &str) -> Result<Self, StoreIdFault> {
        let mut id = [0; 16];
        hex::decode_to_slice(text, &mut id).map_err(|_| StoreIdFault)?;
        Ok(Self(id))
    }
}

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// The only store that a folder may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Which one it is.
    pub id: StoreId,
    /// What says so, to be named where it is otherwise: the variable.
    pub said_by: String,
}

impl Expected {
    /// Why a folder without a store may not become one.
    pub(super) fn missing(&self, root: &Path) -> StoreError {
        let (root, Self { id, said_by }) = (root.display(), self);
        StoreError::Folder(format!(
            "{root} holds no store, and {said_by} says that store {id} is there: mount the disk that has it, or \
             unset {said_by} to begin a new store"
        ))
    }

    /// Refuses another store than this one.
    pub(super) fn is_it(&self, root: &Path, found: [u8; 16]) -> Result<(), StoreError> {
        let (root, found, Self { id, said_by }) = (root.display(), StoreId(found), self);
        match found == *id {
            true => Ok(()),
            false => Err(StoreError::Folder(format!(
                "{root} holds store {found}, and {said_by} says that store {id} is there: mount the disk that has \
                 it, or set {said_by} to {found} if this store is meant"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_length_and_one_meaning() {
        let text = "00112233445566778899aabbccddeeff";
        let id: StoreId = text.parse().unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!(text.to_uppercase().parse(), Ok(id));
        for wrong in ["", "00", &text[1..], &format!("{text}0"), &text.replace('0', "g")] {
            assert_eq!(wrong.parse::<StoreId>(), Err(StoreIdFault), "{wrong}");
        }
    }
}
