//! Chunk records in memory: every write is a unit of its own, as with objects.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lucid_core::digest::ChunkName;
use parking_lot::Mutex;

use crate::contract::blobs::{
    self as contract, Blobs, Contents, Entry, Extent, NewUnit, Origin, Placement, Unit, UnitKind,
    UnitState, Units as _, Written,
};
use crate::contract::fact_log::Place;
use crate::frame::{CipherId, Header, HeadersDigest, Record};
use crate::{CommitError, Damage, StoreError};

/// Records of one unit.
const RECORDS_MAX: usize = 50_000;

/// Bytes of records that are put together into one unit.
const DRAFT_BYTES: u64 = 256 << 20;

/// Set in the numbers of units that are made of others.
const MADE: u32 = 1 << 31;

/// Units behind a lock. Any number of writers share them; clones are the same.
#[derive(Clone, Default)]
pub struct MemoryBlobs {
    units: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    last_written: u32,
    /// The sequence of the next record, whichever unit it is in.
    next_sequence: u64,
    last_made: u32,
    /// Up to where the log was said to have come.
    marked: Option<Place>,
    /// How often that was said.
    marks: u64,
    /// Whether nobody can say it.
    refuses_marks: bool,
    kept: BTreeMap<u32, MemoryUnit>,
}

#[derive(Clone, Default)]
struct MemoryUnit {
    records: Vec<Record>,
    origin: Origin,
}

impl State {
    fn records(&self, unit: u32) -> &[Record] {
        self.kept.get(&unit).map_or(&[], |kept| &kept.records)
    }
}

impl MemoryBlobs {
    /// No units.
    pub fn new() -> Self {
        Self::default()
    }

    /// A copy that has only these units, and gives out the same numbers next.
    pub fn only(&self, units: &BTreeSet<u32>) -> Self {
        let state = self.units.lock();
        let kept = state.kept.iter().filter(|(unit, _)| units.contains(unit));
        let kept = kept.map(|(unit, kept)| (*unit, kept.clone())).collect();
        Self { units: Arc::new(Mutex::new(State { kept, ..*state })) }
    }

    /// How often it was noted how far the log has come.
    pub fn marks(&self) -> u64 {
        self.units.lock().marks
    }

    /// Refuses such notes from now on, or takes them again.
    pub fn refuse_marks(&self, refuses: bool) {
        self.units.lock().refuses_marks = refuses;
    }

    /// How many units there are.
    pub fn units(&self) -> usize {
        self.units.lock().kept.len()
    }
}

fn place(unit: u32, ordinal: u64, header: &Header) -> (ChunkName, Placement) {
    let placement = Placement {
        unit,
        offset: ordinal,
        stored_length: header.stored_length,
        plain_length: header.plain_length,
        encrypted: header.cipher != CipherId::Plain,
    };
    (ChunkName::new(header.name), placement)
}

impl Blobs for MemoryBlobs {
    // There is always some.
    fn room(&self, _: u64) -> Result<(), CommitError> {
        Ok(())
    }

    fn fits(&self, records: &[Record]) -> usize {
        records.len().min(RECORDS_MAX)
    }

    fn write(&self, records: &mut [Record]) -> Result<Written, CommitError> {
        let mut units = self.units.lock();
        units.last_written += 1;
        let unit = units.last_written;
        let mut digest = HeadersDigest::new();
        let mut places = Vec::with_capacity(records.len());
        let first_sequence = units.next_sequence;
        for (ordinal, record) in (0_u64..).zip(records.iter_mut()) {
            record.header.sequence = first_sequence + ordinal;
            digest.add(&record.header);
            places.push(place(unit, ordinal, &record.header));
        }
        let to = records.len() as u64;
        units.next_sequence += to;
        units
            .kept
            .insert(unit, MemoryUnit { records: records.to_vec(), origin: Origin::default() });
        let extent = Extent { unit, from: 0, to, digest: digest.finish(), first_sequence };
        Ok(Written { extent, places })
    }

    fn settle(&self, _written: &Written) -> Result<(), CommitError> {
        Ok(())
    }

    fn take_back(&self, written: &Written) -> Result<(), CommitError> {
        self.units.lock().kept.remove(&written.extent.unit);
        Ok(())
    }

    fn end(&self, _now: bool) -> Result<(), CommitError> {
        Ok(())
    }

    fn places(&self, extent: &Extent) -> Result<Vec<(ChunkName, Placement)>, StoreError> {
        let units = self.units.lock();
        let places = (0..).zip(units.records(extent.unit));
        Ok(places.map(|(ordinal, record)| place(extent.unit, ordinal, &record.header)).collect())
    }

    fn read(
        &self,
        name: &ChunkName,
        placement: &Placement,
    ) -> Result<(Header, Vec<u8>), StoreError> {
        let units = self.units.lock();
        let ordinal = usize::try_from(placement.offset).ok();
        let record = ordinal.and_then(|ordinal| units.records(placement.unit).get(ordinal));
        match record {
            Some(record) if record.header.name == *name.as_bytes() => {
                Ok((record.header.clone(), record.payload.clone()))
            }
            _ => {
                let unit = self.title(placement.unit);
                let why = "the chunk is not where it should be";
                Err(StoreError::Damaged(Damage::new(unit, placement.offset, why)))
            }
        }
    }
    fn title(&self, unit: u32) -> String {
        format!("unit {unit}")
    }

    fn place_of(&self, damage: &Damage) -> Option<(u32, u64)> {
        Some((damage.file.strip_prefix("unit ")?.parse().ok()?, damage.offset))
    }

    fn open_unit(&self) -> Result<Option<(u32, u64)>, StoreError> {
        Ok(None)
    }

    fn numbers(&self) -> Result<Vec<u32>, StoreError> {
        Ok(self.units.lock().kept.keys().copied().collect())
    }

    /// What is taken back leaves a gap.
    fn begun(&self) -> u32 {
        0
    }

    fn bytes(&self) -> Result<u64, StoreError> {
        let units = self.units.lock();
        Ok(units.kept.values().map(|kept| bytes_of(&kept.records)).sum())
    }

    fn records_max(&self) -> usize {
        RECORDS_MAX
    }

    fn draft_bytes(&self) -> u64 {
        DRAFT_BYTES
    }

    fn state(&self, unit: u32) -> Result<UnitState, StoreError> {
        let Some(entries) = self.entries(unit)? else { return Ok(UnitState::Damaged) };
        let bytes = bytes_of(self.units.lock().records(unit));
        Ok(UnitState::Ended(Unit { bytes, records_bytes: bytes, entries }))
    }

    fn origin(&self, unit: u32) -> Result<Result<Origin, Damage>, StoreError> {
        let units = self.units.lock();
        let missing = || Damage::new(self.title(unit), 0, "the unit is missing");
        Ok(units.kept.get(&unit).map(|kept| kept.origin.clone()).ok_or_else(missing))
    }

    fn contents(&self, unit: u32, _from: u64) -> Result<Result<Contents, Damage>, StoreError> {
        let chunks = self.entries(unit)?.map(|entries| {
            entries.into_iter().map(|entry| (entry.name, entry.placement)).collect()
        });
        let missing = || Damage::new(self.title(unit), 0, "the unit is missing");
        Ok(chunks.map(|chunks| Contents { chunks, damage: Vec::new() }).ok_or_else(missing))
    }

    fn begin(&self, behind: u32, origin: Origin) -> Result<Box<dyn NewUnit>, StoreError> {
        let mut units = self.units.lock();
        units.last_made = units.last_made.max(behind & !MADE) + 1;
        let number = units.last_made | MADE;
        Ok(Box::new(Making {
            number,
            kept: MemoryUnit { records: Vec::new(), origin },
            of: self.clone(),
        }))
    }

    fn mark(&self, place: &Place) -> Result<(), StoreError> {
        let mut units = self.units.lock();
        if units.refuses_marks {
            return Err(StoreError::Folder("notes are refused, as the test says".into()));
        }
        units.marks += 1;
        units.marked = Place::higher(units.marked, Some(*place));
        Ok(())
    }

    fn marked(&self) -> Result<Option<Place>, StoreError> {
        Ok(self.units.lock().marked)
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn taken(&self) -> Result<u32, StoreError> {
        let units = self.units.lock();
        Ok(units.last_written.max(units.last_made))
    }

    fn rise(&self, line: u32) {
        let mut units = self.units.lock();
        units.last_written = units.last_written.max(line);
        units.last_made = units.last_made.max(line);
    }

    fn is_above(&self, unit: u32, line: u32) -> bool {
        unit & !MADE > line
    }

    fn remove(&self, units: &[u32]) -> Result<(), StoreError> {
        self.units.lock().kept.retain(|unit, _| !units.contains(unit));
        Ok(())
    }
}

impl contract::Units for MemoryBlobs {
    fn kind(&self, unit: u32) -> Option<UnitKind> {
        match (unit & MADE, unit & !MADE) {
            (_, 0) => None,
            (0, _) => Some(UnitKind::Written),
            _ => Some(UnitKind::Made),
        }
    }

    fn entries(&self, unit: u32) -> Result<Option<Vec<Entry>>, StoreError> {
        let units = self.units.lock();
        let entries = units.kept.get(&unit).map(|kept| {
            let entry = |(ordinal, record): (u64, &Record)| {
                let (name, placement) = place(unit, ordinal, &record.header);
                Entry { name, sequence: record.header.sequence, placement }
            };
            (0..).zip(&kept.records).map(entry).collect()
        });
        Ok(entries)
    }

    fn sequence(&self, name: &ChunkName, at: &Placement) -> Result<Option<u64>, StoreError> {
        Ok(self.read(name, at).ok().map(|(header, _)| header.sequence))
    }
}

fn bytes_of(records: &[Record]) -> u64 {
    records.iter().map(Record::record_bytes).sum()
}

/// A unit that is there once it is whole.
struct Making {
    number: u32,
    kept: MemoryUnit,
    of: MemoryBlobs,
}

impl NewUnit for Making {
    fn number(&self) -> u32 {
        self.number
    }

    fn add(&mut self, header: &Header, payload: &[u8]) -> Result<(), StoreError> {
        self.kept.records.push(Record { header: header.clone(), payload: payload.to_vec() });
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<u64, StoreError> {
        let bytes = bytes_of(&self.kept.records);
        self.of.units.lock().kept.insert(self.number, self.kept);
        Ok(bytes)
    }
}
