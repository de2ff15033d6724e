//! Reads stored records again, one after the other, and names what is damaged.
//!
//! A chunk that is damaged where it is in use is quarantined, so that the same content sent again
//! replaces it; if the store has another sound copy of the record, that takes its place at the end of
//! the round. Copies are looked for once, for all damaged chunks together: it takes a look at every unit.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use lucid_core::digest::ChunkName;

use crate::codec::Packer;
use crate::contract::blobs::{Contents, Missed, Placement, UnitKind};
use crate::contract::fact_log::Reread;
use crate::crypt::Unopened;
use crate::frame::{self, Header, Record, RecordKind};
use crate::vault::committer::Submission;
use crate::vault::{Vault, chunk_rows, unit_rows};
use crate::{Damage, StoreError};

/// Where a round of reading is: the log first, then chunks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// Whether the log has been read.
    pub chunks: bool,
    /// The part of the log, or the unit.
    pub number: u32,
    /// Everything before this has been read.
    pub offset: u64,
}

/// Something that is damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where, and why.
    pub damage: Damage,
    /// Which chunk it was, if that is known.
    pub chunk: Option<ChunkName>,
}

/// What a stretch of reading came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// Bytes that were read.
    pub bytes: u64,
    /// Records among them.
    pub records: u64,
    /// What was damaged.
    pub findings: Vec<Finding>,
    /// Where to go on; `None` at the end.
    pub next: Option<Cursor>,
}

/// What a damaged chunk's place means now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The chunk is needed from there, and cannot be read.
    Quarantined,
    /// A sound copy is elsewhere.
    Healed,
    /// Nothing refers to it.
    Unused,
}

/// Damaged chunks for which another copy is looked for at the end of a round; the next round takes more.
const UNHEALED_MAX: usize = 100_000;

/// Reads records of one file until so many bytes are read.
struct Reader<'a> {
    vault: &'a Vault,
    packer: Packer,
    room: Vec<u8>,
    limit: u64,
    stretch: Scrubbed,
}

impl Vault {
    /// How many bytes a whole round reads, if every chunk is read.
    pub fn scrub_bytes(&self) -> Result<u64, StoreError> {
        self.stored_bytes()
    }

    /// Reads on from a place, until at least so many bytes are read. Of the chunks only those are read
    /// that `wanted` names; all of the log is.
    pub fn scrub(
        &self,
        from: Cursor,
        limit: u64,
        wanted: &dyn Fn(&ChunkName) -> bool,
    ) -> Result<Scrubbed, StoreError> {
        let (packer, room) = (Packer::new(), Vec::new());
        let mut reader = Reader { vault: self, packer, room, limit, stretch: Scrubbed::default() };
        let mut at = Some(from);
        if from == Cursor::default() {
            self.unhealed().lock().clear();
        }
        while let Some(cursor) = at {
            at = match cursor.chunks {
                true => reader.unit(cursor, wanted)?,
                false => Some(reader.log(cursor)?),
            };
            if reader.is_full() {
                break;
            }
        }
        if at.is_none() {
            reader.heal()?;
        }
        reader.stretch.next = at;
        Ok(reader.stretch)
    }

    /// What became of a damaged chunk since it was found at this place.
    pub fn standing(&self, chunk: &ChunkName, damage: &Damage) -> Result<Standing, StoreError> {
        let place = self.blobs().place_of(damage);
        Ok(match chunk_rows::placement(self.index(), chunk)? {
            None => Standing::Unused,
            Some(now) if Some(now.place()) == place => Standing::Quarantined,
            Some(_) => Standing::Healed,
        })
    }
}

impl Reader<'_> {
    fn is_full(&self) -> bool {
        self.stretch.bytes >= self.limit
    }

    fn found(&mut self, damage: Damage, chunk: Option<ChunkName>) {
        self.stretch.findings.push(Finding { damage, chunk });
    }

    /// Reads the log on, and says where the round goes on.
    fn log(&mut self, cursor: Cursor) -> Result<Cursor, StoreError> {
        let stopped_at = self.vault.log().reread((cursor.number, cursor.offset), &mut |found| {
            match found {
                Reread::Damaged(damage) => self.found(damage, None),
                Reread::Record { header, payload, file, offset } => {
                    self.stretch.records += 1;
                    self.stretch.bytes += header.record_bytes();
                    let fault = match payload {
                        Ok(payload) => self.fault(&header, payload)?,
                        Err(why) => Some(why.to_owned()),
                    };
                    if let Some(why) = fault {
                        self.found(Damage::new(file, offset, why), None);
                    }
                }
            }
            Ok(!self.is_full())
        })?;
        Ok(match stopped_at {
            Some((number, offset)) => Cursor { chunks: false, number, offset },
            None => Cursor { chunks: true, number: 0, offset: 0 },
        })
    }

    /// What is wrong with a record, if anything is.
    fn fault(
        &mut self,
        header: &Header,
        mut payload: Vec<u8>,
    ) -> Result<Option<String>, StoreError> {
        if !header.matches(&payload) {
            return Ok(Some(frame::UNSOUND.into()));
        }
        if !matches!(header.kind, RecordKind::Fact | RecordKind::Chunk) {
            return Ok(None);
        }
        let cipher = self.vault.cipher();
        match cipher.check(&mut self.packer, header, &mut payload, &mut self.room) {
            Ok(()) => Ok(None),
            Err(Unopened::Damaged(why)) => Ok(Some(why)),
            Err(why @ Unopened::NoKey(_)) => Err(StoreError::Key(why.to_string())),
        }
    }

    /// The units that are part of the store: not those that are only being made.
    fn numbers(&self) -> Result<Vec<u32>, StoreError> {
        let blobs = self.vault.blobs();
        let mut numbers = blobs.numbers()?;
        let rewritten = unit_rows::rewritten(self.vault.index())?;
        numbers.retain(|number| match blobs.kind(*number) {
            Some(UnitKind::Made) => rewritten.contains(number),
            _ => true,
        });
        Ok(numbers)
    }

    /// Names the units from one number up to the next that is there, or to the end: those that should be
    /// there, and whose loss nobody has accepted. Returns the first of them that is there after all.
    fn name_gap(
        &mut self,
        from: u32,
        next: Option<u32>,
        rewritten: &[u32],
    ) -> Result<Option<u32>, StoreError> {
        let blobs = self.vault.blobs();
        let before = |last: u32| next.map_or(last, |next| last.min(next.saturating_sub(1)));
        let skipped = rewritten.iter().filter(|number| (from..=before(u32::MAX)).contains(number));
        let mut made: Vec<_> = skipped.map(|number| *number..=*number).collect();
        self.keep_lost(&mut made)?;
        let (mut lost, mut back) = (vec![from.max(1)..=before(blobs.begun())], None);
        for number in made.into_iter().flatten() {
            match blobs.look_again(number)? {
                Missed::Lost => lost.push(number..=number),
                Missed::NotNow => {
                    let unit = blobs.title(number);
                    tracing::warn!(unit, "a unit is not found, and will be looked for again");
                }
                Missed::There => {
                    back = Some(number);
                    break;
                }
            }
        }
        // Those behind it have their turn when the round is there.
        if let Some(back) = back {
            lost.retain_mut(|gap| {
                *gap = *gap.start()..=(*gap.end()).min(back.saturating_sub(1));
                !gap.is_empty()
            });
        }
        self.keep_lost(&mut lost)?;
        for numbers in lost {
            self.found(Damage::missing(numbers, |unit| blobs.title(unit)), None);
        }
        Ok(back)
    }

    /// Of units that are not there, keeps those that are lost.
    fn keep_lost(&self, missing: &mut Vec<RangeInclusive<u32>>) -> Result<(), StoreError> {
        unit_rows::keep_lost(self.vault.index(), missing)?;
        unit_rows::leave_accepted(self.vault.unread(), missing);
        Ok(())
    }

    /// Reads a unit on, and says where the round goes on.
    fn unit(
        &mut self,
        cursor: Cursor,
        wanted: &dyn Fn(&ChunkName) -> bool,
    ) -> Result<Option<Cursor>, StoreError> {
        let blobs = self.vault.blobs();
        // Asked for before units are listed, and what was replaced after: none is away only for a while.
        let known = unit_rows::rewritten(self.vault.index())?;
        let numbers = self.numbers()?;
        let number = numbers.into_iter().filter(|number| *number >= cursor.number).min();
        let back = self.name_gap(cursor.number, number, &known)?;
        let Some(number) = back.or(number) else { return Ok(None) };
        let from = if number == cursor.number { cursor.offset } else { 0 };
        let next = number.checked_add(1).map(|number| Cursor { chunks: true, number, offset: 0 });
        let mut chunks = match blobs.contents(number, from)? {
            Ok(Contents { chunks, damage }) => {
                damage.into_iter().for_each(|damage| self.found(damage, None));
                chunks
            }
            // It may have been made anew, and removed, since it was listed.
            Err(damage) => {
                if self.numbers()?.contains(&number) {
                    self.found(damage, None);
                }
                return Ok(next);
            }
        };
        chunks.sort_by_key(|(_, placement)| placement.offset);
        for (name, placement) in chunks {
            if placement.offset < from || !wanted(&name) {
                continue;
            }
            self.stretch.records += 1;
            self.stretch.bytes += placement.record_bytes();
            let fault = match blobs.read(&name, &placement) {
                Ok((header, payload)) => self
                    .fault(&header, payload)?
                    .map(|why| Damage::new(blobs.title(number), placement.offset, why)),
                Err(StoreError::Damaged(damage)) => Some(damage),
                Err(error) => return Err(error),
            };
            if let Some(damage) = fault {
                self.damaged(&name, &placement, damage)?;
            }
            if self.is_full() {
                let offset = placement.offset + placement.record_bytes();
                return Ok(Some(Cursor { chunks: true, number, offset }));
            }
        }
        Ok(next)
    }

    fn damaged(
        &mut self,
        name: &ChunkName,
        placement: &Placement,
        damage: Damage,
    ) -> Result<(), StoreError> {
        let now = chunk_rows::placement(self.vault.index(), name)?;
        // Another copy is in use, or none; or the file was replaced while it was read.
        if now.is_some_and(|now| now.place() == placement.place()) {
            self.vault.quarantine(&mut self.packer, name, placement, &damage);
            let mut unhealed = self.vault.unhealed().lock();
            if unhealed.len() < UNHEALED_MAX {
                unhealed.insert(*name, *placement);
            }
        }
        self.found(damage, Some(*name));
        Ok(())
    }

    /// Puts sound copies in the place of the chunks that this round found damaged, where there are any.
    fn heal(&mut self) -> Result<(), StoreError> {
        let mut left = std::mem::take(&mut *self.vault.unhealed().lock());
        if left.is_empty() {
            return Ok(());
        }
        let healed = self.heal_each(&mut left);
        if healed.is_err() {
            // The end of the round is tried again, and takes what is left.
            self.vault.unhealed().lock().append(&mut left);
        }
        healed
    }

    fn heal_each(&mut self, left: &mut BTreeMap<ChunkName, Placement>) -> Result<(), StoreError> {
        let blobs = self.vault.blobs();
        for number in self.numbers()? {
            // What is wrong with the units themselves has been named by the round.
            let Ok(contents) = blobs.contents(number, 0)? else { continue };
            for (name, placement) in contents.chunks {
                let Some(bad) = left.get(&name) else { continue };
                if placement.place() == bad.place() || placement.encrypted != bad.encrypted {
                    continue;
                }
                let read = match blobs.read(&name, &placement) {
                    Err(StoreError::Damaged(_)) => continue,
                    read => read?,
                };
                let (header, payload) = read;
                if self.fault(&header, payload.clone())?.is_none() {
                    self.replace(Record { header, payload })?;
                    left.remove(&name);
                }
            }
            if left.is_empty() {
                break;
            }
        }
        Ok(())
    }

    fn replace(&self, copy: Record) -> Result<(), StoreError> {
        let failed = || StoreError::commit("healing a chunk");
        // Once this is answered the quarantine is in force, and the copy is not taken for known.
        self.vault.commit(Submission::default()).map_err(failed())?;
        let chunks = vec![copy];
        self.vault.commit(Submission { chunks, ..Submission::upkeep() }).map_err(failed())?;
        Ok(())
    }
}
