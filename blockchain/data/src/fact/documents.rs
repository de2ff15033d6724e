//! The fact that a document was stored.

use lucid_core::time::Timestamp;
use lucid_core::wire::{Reader, WireFault, Writer};
use lucid_store::registry::data_chain::fact::STORED;

use crate::document::{DocumentKind, Source};

/// Bytes of a document's text in one fact, and in one row: a longer one takes several, in one commit.
pub const PART_BYTES: usize = 1 << 20;

/// A part of a document's text. With the last one the document is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// What the document is about.
    pub kind: DocumentKind,
    /// Who says so.
    pub source: Source,
    /// When it came.
    pub at: Timestamp,
    /// The document's id.
    pub id: String,
    /// Which part this is.
    pub part: u32,
    /// How many there are.
    pub parts: u32,
    /// Its bytes: the text is cut anywhere.
    pub bytes: Vec<u8>,
}

impl Stored {
    /// A document's text, in as many facts as it takes.
    pub fn of(
        kind: DocumentKind,
        source: Source,
        at: Timestamp,
        id: &str,
        text: &str,
    ) -> Vec<Self> {
        let pieces: Vec<&[u8]> = text.as_bytes().chunks(PART_BYTES).collect();
        let parts = pieces.len() as u32;
        let stored = |(part, bytes): (u32, &[u8])| Self {
            kind,
            source,
            at,
            id: id.to_owned(),
            part,
            parts,
            bytes: bytes.to_vec(),
        };
        (0..).zip(pieces).map(stored).collect()
    }

    pub(super) fn write(&self, to: &mut Writer) {
        let source = match self.source {
            Source::Submitted => 0,
            Source::Synchronised => 1,
            Source::Kept => 2,
        };
        to.u8(STORED).u8(self.kind.code()).u8(source).i64(self.at.as_micros());
        to.text(&self.id).u32(self.part).u32(self.parts).bytes(&self.bytes);
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Result<Self, WireFault> {
        let invalid = |what| WireFault::Invalid { what };
        let kind = DocumentKind::from_code(from.u8("a document's kind")?)
            .ok_or_else(|| invalid("a document's kind"))?;
        let source = match from.u8("a document's source")? {
            0 => Source::Submitted,
            1 => Source::Synchronised,
            // A session of this store has facts of its own.
            _ => return Err(invalid("a document's source")),
        };
        let stored = Self {
            kind,
            source,
            at: from.time("a document's time")?,
            id: from.text("a document's id")?.to_owned(),
            part: from.u32("a part")?,
            parts: from.u32("a count of parts")?,
            bytes: from.bytes("a document's text")?.to_vec(),
        };
        match stored.part < stored.parts {
            true => Ok(stored),
            false => Err(invalid("a part")),
        }
    }
}
