//! The rows that the files keep in an index: how far the rows go.

use crate::StoreError;
use crate::contract::index::{Changes, Index};
use crate::files::watermark::Watermark;
use crate::registry::vault::key::{LACKING, POSITION};

/// Notes that chunks may be there whose commits are not, and that the watermark is not behind them: the next
/// start takes them in, should this one not come to that.
pub fn note_commits_missing(changes: &mut Changes<'_>) {
    changes.put(vec![LACKING], Vec::new());
}

/// Takes back [`note_commits_missing`].
pub fn forget_commits_missing(changes: &mut Changes<'_>) {
    changes.remove(vec![LACKING]);
}

/// Whether [`note_commits_missing`] holds.
pub fn are_commits_missing(index: &dyn Index) -> Result<bool, StoreError> {
    Ok(index.get(&[LACKING])?.is_some())
}

/// How far the index has come.
pub fn watermark(index: &dyn Index) -> Result<Watermark, StoreError> {
    match index.get(&[POSITION])? {
        None => Ok(Watermark::START),
        Some(value) => Watermark::decode(&value)
            .map_err(|fault| StoreError::Index(format!("the watermark: {fault}"))),
    }
}

/// Notes how far the index has come, in the same batch as the rows that brought it there.
pub fn set_watermark(changes: &mut Changes<'_>, mark: &Watermark) {
    changes.put(vec![POSITION], mark.encode());
}
