//! The facts of the queue of the index: items came, were indexed, could not be, or are to be tried again.
//!
//! Each fact says which items it is about by names that need no counter, so that one that is lost to damage costs its
//! own items alone.

use std::fmt;
use std::str::FromStr;

use lucid_core::time::Timestamp;
use lucid_core::wire::{Reader, WireFault, Writer};
use lucid_store::registry::data_chain::fact::INDEXING;

use crate::document::DocumentKind;
use crate::row::ordered;

/// What an item is called: when it came, which request brought it, and which of that it was. So names sort as items
/// came, as far as clocks tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemName(pub [u8; 16]);

impl ItemName {
    /// The name of the item at a place in a request; `request` is random.
    pub fn new(at: Timestamp, request: [u8; 4], place: u32) -> Self {
        let [a, b, c, d, e, f, g, h] = ordered(at);
        let ([i, j, k, l], [m, n, o, p]) = (request, place.to_be_bytes());
        Self([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p])
    }
}

impl fmt::Display for ItemName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl FromStr for ItemName {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut name = [0; 16];
        hex::decode_to_slice(text, &mut name)?;
        Ok(Self(name))
    }
}

/// What became of items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Indexing {
    /// They wait.
    Queued {
        /// When they came.
        at: Timestamp,
        /// What each is called, what it is about, and its text.
        items: Vec<(ItemName, DocumentKind, String)>,
    },
    /// Items that waited were indexed: what stands in the index of them, and of what is in them.
    Indexed {
        /// When.
        at: Timestamp,
        /// Which.
        names: Vec<ItemName>,
        /// What is about what, under which id: the text of each entry.
        entries: Vec<(DocumentKind, String, String)>,
    },
    /// An item that waited cannot be indexed.
    Buried {
        /// When that was known.
        at: Timestamp,
        /// Which.
        name: ItemName,
        /// Why.
        why: String,
    },
    /// An item that could not be indexed waits again.
    Revived {
        /// Since when.
        at: Timestamp,
        /// Which.
        name: ItemName,
    },
}

impl Indexing {
    pub(super) fn write(&self, to: &mut Writer) {
        to.u8(INDEXING);
        match self {
            Self::Queued { at, items } => {
                to.u8(0).i64(at.as_micros()).count(items.len());
                for (name, kind, text) in items {
                    to.raw(&name.0).u8(kind.code()).text(text);
                }
            }
            Self::Indexed { at, names, entries } => {
                to.u8(1).i64(at.as_micros()).count(names.len());
                for name in names {
                    to.raw(&name.0);
                }
                to.count(entries.len());
                for (kind, id, text) in entries {
                    to.u8(kind.code()).text(id).text(text);
                }
            }
            Self::Buried { at, name, why } => {
                to.u8(2).i64(at.as_micros()).raw(&name.0).text(why);
            }
            Self::Revived { at, name } => {
                to.u8(3).i64(at.as_micros()).raw(&name.0);
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
                    let name = ItemName(from.array("an item's name")?);
                    items.push((name, kind(from)?, from.text("an item")?.to_owned()));
                }
                Self::Queued { at, items }
            }
            1 => {
                let (mut names, mut entries) = (Vec::new(), Vec::new());
                for _ in 0..from.u32("a count of items")? {
                    names.push(ItemName(from.array("an item's name")?));
                }
                for _ in 0..from.u32("a count of entries")? {
                    let kind = kind(from)?;
                    let id = from.text("an id")?.to_owned();
                    entries.push((kind, id, from.text("an entry")?.to_owned()));
                }
                Self::Indexed { at, names, entries }
            }
            2 => Self::Buried {
                at,
                name: ItemName(from.array("an item's name")?),
                why: from.text("why an item is none")?.to_owned(),
            },
            3 => Self::Revived { at, name: ItemName(from.array("an item's name")?) },
            _ => return Err(invalid("what became of items")),
        })
    }
}
