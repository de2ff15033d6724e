//! The rows that the files keep in an index: how far the rows go.

use lucid_core::wire::{Reader, WireFault, Writer};

use crate::contract::index::{Changes, Index};
use crate::files::log::FILE_MAX;
use crate::files::watermark::Watermark;
use crate::registry::vault::key::{LACKING, NAMED, POSITION};
use crate::{StoreError, frame};

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

/// How far commits name segments, where the log is kept elsewhere: what has to be there is known by it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Named {
    /// The newest segment that a commit names; zero before the first.
    pub segment: u32,
    /// The end of the last chunk in it that a commit names.
    pub end: u64,
    /// The sequence behind that of the last chunk that a commit names.
    pub sequence: u64,
}

impl Named {
    fn decode(bytes: &[u8]) -> Result<Self, WireFault> {
        let mut from = Reader::new(bytes);
        let named = Self {
            segment: from.u32("segment")?,
            end: frame::number(&mut from, "segment end")?,
            sequence: frame::number(&mut from, "sequence")?,
        };
        from.finish()?;
        match named.segment {
            0..=FILE_MAX => Ok(named),
            _ => Err(WireFault::Invalid { what: "segment" }),
        }
    }

    /// How far commits of which the index has the rows name segments.
    pub fn of(index: &dyn Index) -> Result<Self, StoreError> {
        let row = index.get(&[NAMED])?;
        let read = row.map(|bytes| Self::decode(&bytes)).transpose();
        Ok(read
            .map_err(|fault| StoreError::Index(format!("the end of segments: {fault}")))?
            .unwrap_or_default())
    }

    /// Notes it, in the same batch as the rows of the commit that names them.
    pub fn note(&self, changes: &mut Changes<'_>) {
        let mut to = Writer::new();
        to.u32(self.segment).u64(self.end).u64(self.sequence);
        changes.put(vec![NAMED], to.finish());
    }
}
