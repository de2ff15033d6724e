//! How far the stored bytes have been read again, and what was found.

use lucid_core::digest::ChunkName;
use lucid_core::time::Timestamp;
use lucid_core::wire::{Reader, WireFault, Writer};
use lucid_store::Damage;
use lucid_store::registry::data_chain::fact::SCRUBBED;
use lucid_store::vault::scrub::{Cursor, Finding};

/// Everything that is known of reading again; each fact takes the place of the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scrubbed {
    /// Which round it is, from 1.
    pub round: u64,
    /// When the round began.
    pub began_at: Timestamp,
    /// Where it goes on; without it the round is at its end.
    pub next: Option<Cursor>,
    /// Bytes that the round has read.
    pub bytes: u64,
    /// Records among them.
    pub records: u64,
    /// When a round last came to its end.
    pub ended_at: Option<Timestamp>,
    /// What was damaged when it was last read, with the round that found it.
    pub findings: Vec<(u64, Finding)>,
}

impl Default for Scrubbed {
    /// Nothing was read yet.
    fn default() -> Self {
        let (began_at, findings) = (Timestamp::from_micros(0), Vec::new());
        Self { round: 0, began_at, next: None, bytes: 0, records: 0, ended_at: None, findings }
    }
}

impl Scrubbed {
    /// The fact's bytes, and those of its row.
    pub fn write(&self, to: &mut Writer) {
        to.u8(SCRUBBED).u64(self.round).i64(self.began_at.as_micros());
        to.option(self.next, |to, next| {
            to.u8(u8::from(next.chunks)).u32(next.number).u64(next.offset);
        });
        to.u64(self.bytes).u64(self.records);
        to.option(self.ended_at, |to, at| {
            to.i64(at.as_micros());
        });
        to.count(self.findings.len());
        for (round, finding) in &self.findings {
            let Finding { damage, chunk } = finding;
            to.u64(*round).text(&damage.file).u64(damage.offset).text(&damage.why);
            to.option(chunk.as_ref(), |to, chunk| {
                to.raw(chunk.as_bytes());
            });
        }
    }

    /// Reads [`Scrubbed::write`], behind the kind.
    pub(super) fn read(from: &mut Reader<'_>) -> Result<Self, WireFault> {
        let time = |from: &mut Reader<'_>| from.time("a time");
        let mut scrubbed = Self {
            round: from.u64("a round")?,
            began_at: time(from)?,
            next: from.option("a place", |from| {
                let chunks = match from.u8("a part")? {
                    0 => false,
                    1 => true,
                    _ => return Err(WireFault::Invalid { what: "a part" }),
                };
                Ok(Cursor { chunks, number: from.u32("a file")?, offset: from.u64("a place")? })
            })?,
            bytes: from.u64("bytes")?,
            records: from.u64("records")?,
            ended_at: from.option("an end", time)?,
            findings: Vec::new(),
        };
        for _ in 0..from.u32("a count of findings")? {
            let round = from.u64("a round")?;
            let (file, offset) = (from.text("a file")?.to_owned(), from.u64("a place")?);
            let damage = Damage::new(file, offset, from.text("a reason")?);
            let chunk = from.option("a chunk", |from| from.array("a chunk's name"))?;
            scrubbed.findings.push((round, Finding { damage, chunk: chunk.map(ChunkName::new) }));
        }
        Ok(scrubbed)
    }
}
