//! The facts of the queue of the index: items came, were indexed, could not be, or are to be tried again.

use lucid_core::time::Timestamp;
use lucid_core::wire::{Reader, WireFault, Writer};
use lucid_store::registry::data_chain::fact::INDEXING;

use super::read_number;
use crate::document::DocumentKind;

/// What became of items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Indexing {
    /// They wait, each under the next number.
    Queued {
        /// When they came.
        at: Timestamp,
        /// What each is about, and its text.
        items: Vec<(DocumentKind, String)>,
    },
    /// Items that waited were indexed: what stands in the index of them, and of what is in them.
    Indexed {
        /// When.
        at: Timestamp,
        /// Their numbers.
        numbers: Vec<u64>,
        /// What is about what, under which id: the text of each entry.
        entries: Vec<(DocumentKind, String, String)>,
    },
    /// An item that waited cannot be indexed.
    Buried {
        /// When that was known.
        at: Timestamp,
        /// Its number.
        number: u64,
        /// Why.
        why: String,
    },
    /// An item that could not be indexed waits again, under a new number.
    Revived {
        /// Since when.
        at: Timestamp,
        /// Its number until then.
        number: u64,
    },
}

impl Indexing {
    pub(super) fn write(&self, to: &mut Writer) {
        to.u8(INDEXING);
        match self {
            Self::Queued { at, items } => {
                to.u8(0).i64(at.as_micros()).count(items.len());
                for (kind, text) in items {
                    to.u8(kind.code()).text(text);
                }
            }
            Self::Indexed { at, numbers, entries } => {
                to.u8(1).i64(at.as_micros()).count(numbers.len());
                for number in numbers {
                    to.u64(*number);
                }
                to.count(entries.len());
                for (kind, id, text) in entries {
                    to.u8(kind.code()).text(id).text(text);
                }
            }
            Self::Buried { at, number, why } => {
                to.u8(2).i64(at.as_micros()).u64(*number).text(why);
            }
            Self::Revived { at, number } => {
                to.u8(3).i64(at.as_micros()).u64(*number);
            }
        }
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Result<Self, WireFault> {
        let invalid = |what| WireFault::Invalid { what };
        let kind = |from: &mut Reader<'_>| {
            DocumentKind::from_code(from.u8("an item's kind")?)
                .ok_or_else(|| invalid("an item's kind"))
        };
        let what = from.u8("what became of items")?;
        let at = from.time("a time")?;
        Ok(match what {
            0 => {
                let mut items = Vec::new();
                for _ in 0..from.u32("a count of items")? {
                    items.push((kind(from)?, from.text("an item")?.to_owned()));
                }
                Self::Queued { at, items }
            }
            1 => {
                let (mut numbers, mut entries) = (Vec::new(), Vec::new());
                for _ in 0..from.u32("a count of numbers")? {
                    numbers.push(read_number(from, "an item's number")?);
                }
                for _ in 0..from.u32("a count of entries")? {
                    let kind = kind(from)?;
                    let id = from.text("an id")?.to_owned();
                    entries.push((kind, id, from.text("an entry")?.to_owned()));
                }
                Self::Indexed { at, numbers, entries }
            }
            2 => Self::Buried {
                at,
                number: read_number(from, "an item's number")?,
                why: from.text("why an item is none")?.to_owned(),
            },
            3 => Self::Revived { at, number: read_number(from, "an item's number")? },
            _ => return Err(invalid("what became of items")),
        })
    }
}
