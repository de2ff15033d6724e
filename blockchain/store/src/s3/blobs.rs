//! The chunks of a store in a bucket.

use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fmt, io};

use lucid_core::digest::ChunkName;
use parking_lot::Mutex;

use super::bucket::Bucket;
use super::failure::Kind;
use super::numbers::{self, MADE, Numbers};
use super::object::{Draft, Drafted, FOLDER, Head};
use super::reached::Notes;
use super::shared::{Known, Shared, Stage, State, double, missing};
use super::unit::{Listed, number_of, title};
use crate::contract::blobs::{
    Blobs, Contents, Entry, Extent, Missed, NewUnit, Origin, Placement, Unit, UnitKind, UnitState,
    Units, Written,
};
use crate::contract::fact_log::Place;
use crate::frame::{Header, Record};
use crate::{CommitError, Damage, StoreError};

/// Records of one unit.
pub const RECORDS_MAX: usize = 50_000;

/// Bytes of records that are put together into one unit that is made of others.
pub const DRAFT_BYTES: u64 = 64 << 20;

/// Records of one unit have sequences of its own, in the order of numbers: so many for each.
const SEQUENCES: u32 = 31;

/// An object that is not there is damage once it was missed twice, so far apart.
const MISSED_FOR: Duration = Duration::from_secs(2 * 60 * 60);

/// A store's units in a bucket; clones are the same.
#[derive(Clone)]
pub struct S3Blobs {
    shared: Arc<Shared>,
}

impl S3Blobs {
    /// What is in a bucket.
    pub(super) fn over(bucket: Bucket, store: [u8; 16]) -> Result<Self, StoreError> {
        Self::missing_twice_in(bucket, store, MISSED_FOR)
    }

    /// What is in a bucket; an object that is missed twice so far apart is damaged.
    pub(super) fn missing_twice_in(
        bucket: Bucket,
        store: [u8; 16],
        missed_for: Duration,
    ) -> Result<Self, StoreError> {
        let (state, behind) = listed(&bucket)?;
        let numbers = Numbers::open(&bucket, store, behind)?;
        let units = Mutex::new(state);
        let notes = Notes::default();
        Ok(Self { shared: Arc::new(Shared { bucket, store, numbers, notes, units, missed_for }) })
    }

    /// What is in a bucket, for a reader: no number is taken.
    pub(super) fn to_read(bucket: Bucket, store: [u8; 16]) -> Result<Self, StoreError> {
        let (state, behind) = listed(&bucket)?;
        let numbers = Numbers::to_read(&bucket, store, behind)?;
        let (notes, units, missed_for) = (Notes::default(), Mutex::new(state), MISSED_FOR);
        Ok(Self { shared: Arc::new(Shared { bucket, store, numbers, notes, units, missed_for }) })
    }
}

/// The units that the bucket lists, and the last number that one of them has.
fn listed(bucket: &Bucket) -> Result<(State, u32), StoreError> {
    let listed = bucket.list(FOLDER, None).map_err(|failure| {
        StoreError::io(format!("listing {FOLDER}/ in {}", bucket.title))(failure.into_io())
    })?;
    let mut state = State::default();
    listed.iter().for_each(|(name, length)| state.add(name, *length));
    let behind = state.known.keys().map(|unit| unit & !MADE).max().unwrap_or(0);
    Ok((state, behind))
}

impl fmt::Debug for S3Blobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S3Blobs({})", self.shared.bucket.title)
    }
}

fn unmade(error: StoreError) -> CommitError {
    CommitError::Failed(error.to_string())
}

impl Blobs for S3Blobs {
    fn fits(&self, records: &[Record]) -> usize {
        records.len().min(RECORDS_MAX)
    }

    /// How much there is, nobody says; when there is none, a put says so.
    fn room(&self, _: u64) -> Result<(), CommitError> {
        Ok(())
    }

    fn write(&self, records: &mut [Record]) -> Result<Written, CommitError> {
        let Shared { bucket, numbers, units, .. } = self.shared.as_ref();
        let unit = numbers.next(bucket, 0).map_err(unmade)?;
        let mut draft = self.shared.draft(unit, Origin::default()).map_err(unmade)?;
        draft.reserve(records.iter().map(Record::record_bytes).sum());
        let first_sequence = u64::from(unit) << SEQUENCES;
        for (ordinal, record) in (0..).zip(records.iter_mut()) {
            record.header.sequence = first_sequence + ordinal;
            draft.add(&record.header, &record.payload);
        }
        let Drafted { bytes, from, to, footer } = draft.finish().map_err(unmade)?;
        let places = footer.entries.iter().map(|entry| (entry.name, entry.placement)).collect();
        let known = Known {
            stage: Stage::Drafted(bytes.clone()),
            is_ours: true,
            ..Known::listed(footer.key, bytes.len() as u64)
        };
        let mut units = units.lock();
        units.known.insert(unit, known);
        units.undecided.insert(unit);
        Ok(Written {
            extent: Extent { unit, from, to, digest: footer.digest, first_sequence },
            places,
        })
    }

    /// Puts the object. A put that failed in the end may have happened, but nothing names the object, nor ever will.
    fn settle(&self, written: &Written) -> Result<(), CommitError> {
        let unit = written.extent.unit;
        let Some(Known { key, stage: Stage::Drafted(bytes), .. }) = self.shared.find(unit) else {
            return Ok(());
        };
        self.shared.put(unit, key, bytes).map_err(|failure| {
            let what = format!("{FOLDER}/{key} in {}: {failure}", self.shared.bucket.title);
            match failure.kind {
                Kind::Full => CommitError::Full(what),
                _ => CommitError::Failed(what),
            }
        })
    }

    /// From here on nobody finds it. That its object is deleted is tried once: one that stays is named by nothing.
    fn take_back(&self, written: &Written) -> Result<(), CommitError> {
        let unit = written.extent.unit;
        let known = {
            let mut units = self.shared.units.lock();
            units.gone.insert(unit);
            units.undecided.remove(&unit);
            units.known.remove(&unit)
        };
        if let Some(known) = known
            && let Err(failure) = self.shared.bucket.delete_once(FOLDER, &known.key.to_string())
        {
            tracing::warn!(%failure, key = %known.key, "an object that nothing names may stay");
        }
        Ok(())
    }

    /// Every write is a unit of its own. The committer calls this once its commit is known.
    fn end(&self, _now: bool) -> Result<(), CommitError> {
        self.shared.units.lock().undecided.clear();
        Ok(())
    }

    fn places(&self, extent: &Extent) -> Result<Vec<(ChunkName, Placement)>, StoreError> {
        let Some(listed) = self.shared.listed(extent.unit)? else { return Ok(Vec::new()) };
        if listed.digest.is_some_and(|digest| digest != extent.digest) {
            let unit = title(extent.unit);
            tracing::error!(unit, "the object has other records than its commit names");
            return Ok(Vec::new());
        }
        let within = |place: &Placement| (extent.from..extent.to).contains(&place.offset);
        let places = listed.entries.into_iter().map(|entry| (entry.name, entry.placement));
        Ok(places.filter(|(_, place)| within(place)).collect())
    }

    fn read(
        &self,
        name: &ChunkName,
        placement: &Placement,
    ) -> Result<(Header, Vec<u8>), StoreError> {
        let known = self.shared.demand(placement.unit, placement.offset)?;
        self.shared.object(placement.unit, &known).read(name, placement)
    }

    fn title(&self, unit: u32) -> String {
        title(unit)
    }

    fn place_of(&self, damage: &Damage) -> Option<(u32, u64)> {
        Some((number_of(&damage.file)?, damage.offset))
    }

    fn open_unit(&self) -> Result<Option<(u32, u64)>, StoreError> {
        Ok(None)
    }

    fn numbers(&self) -> Result<Vec<u32>, StoreError> {
        let units = self.shared.units.lock();
        Ok(units
            .known
            .iter()
            .filter(|(_, known)| known.is_there())
            .map(|(unit, _)| *unit)
            .collect())
    }

    /// What is taken back leaves a gap, and so does every opening.
    fn begun(&self) -> u32 {
        0
    }

    fn look_again(&self, unit: u32) -> Result<Missed, StoreError> {
        self.shared.look_again(unit)
    }

    fn bytes(&self) -> Result<u64, StoreError> {
        let units = self.shared.units.lock();
        Ok(units.known.values().filter(|known| known.is_there()).map(|known| known.length).sum())
    }

    fn records_max(&self) -> usize {
        RECORDS_MAX
    }

    fn draft_bytes(&self) -> u64 {
        DRAFT_BYTES
    }

    fn state(&self, unit: u32) -> Result<UnitState, StoreError> {
        let (known, is_undecided) = {
            let units = self.shared.units.lock();
            (units.known.get(&unit).cloned(), units.undecided.contains(&unit))
        };
        let Some(known) = known else { return Ok(UnitState::Damaged) };
        if is_undecided || !known.is_there() {
            return Ok(UnitState::Open);
        }
        Ok(match self.shared.listed(unit)? {
            Some(Listed { entries, damage, .. }) if damage.is_empty() => {
                let records = entries.iter().map(|entry| entry.placement.record_bytes());
                let records_bytes = records.sum();
                UnitState::Ended(Unit { bytes: known.length, records_bytes, entries })
            }
            _ => UnitState::Damaged,
        })
    }

    fn origin(&self, unit: u32) -> Result<Result<Origin, Damage>, StoreError> {
        let Some(known) = self.shared.find(unit) else { return Ok(Err(missing(unit, 0))) };
        if known.is_double {
            return Ok(Err(double(unit, 0)));
        }
        if let Some(damage) = self.shared.foreign(unit, &known)? {
            return Ok(Err(damage));
        }
        let head = self.shared.object(unit, &known).head()?;
        Ok(head.map(|Head { replaces, level, .. }| Origin { replaces, level }))
    }

    /// As its footer lists them, or as they lie in it.
    fn contents(&self, unit: u32, _from: u64) -> Result<Result<Contents, Damage>, StoreError> {
        let Some(known) = self.shared.find(unit) else { return Ok(Err(missing(unit, 0))) };
        if known.is_double {
            return Ok(Err(double(unit, 0)));
        }
        let looked = self.shared.foreign(unit, &known).and_then(|foreign| match foreign {
            Some(damage) => Ok(Contents { chunks: Vec::new(), damage: vec![damage] }),
            None => self.shared.object(unit, &known).list().map(Contents::from),
        });
        let is_missed = is_absent(&looked);
        let since = {
            let mut units = self.shared.units.lock();
            let missed = units.known.get_mut(&unit).map(|known| &mut known.missed);
            missed.and_then(|missed| match is_missed {
                true => Some(*missed.get_or_insert_with(Instant::now)),
                false => missed.take().and(None),
            })
        };
        match since
            .filter(|since| known.missed.is_some() && since.elapsed() >= self.shared.missed_for)
        {
            Some(_) => Ok(Err(missing(unit, 0))),
            None => looked.map(Ok),
        }
    }

    fn begin(&self, behind: u32, origin: Origin) -> Result<Box<dyn NewUnit>, StoreError> {
        let number = self.shared.numbers.next(&self.shared.bucket, behind)? | MADE;
        let draft = self.shared.draft(number, origin)?;
        Ok(Box::new(Making { number, draft, shared: self.shared.clone() }))
    }

    fn mark(&self, place: &Place) -> Result<(), StoreError> {
        self.shared.notes.put(&self.shared.bucket, self.shared.store, place)
    }

    fn marked(&self) -> Result<Option<Place>, StoreError> {
        self.shared.notes.highest(&self.shared.bucket, &self.shared.store)
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn taken(&self) -> Result<u32, StoreError> {
        self.shared.numbers.taken(&self.shared.bucket)
    }

    fn rise(&self, line: u32) {
        self.shared.numbers.rise(line);
    }

    fn is_above(&self, unit: u32, line: u32) -> bool {
        unit & !MADE > line
    }

    fn remove(&self, units: &[u32]) -> Result<(), StoreError> {
        for unit in units {
            let Some(known) = self.shared.find(*unit) else { continue };
            let name = known.key.to_string();
            let stays = known.is_double
                || (known.is_there() && is_foreign(self.shared.foreign(*unit, &known))?);
            if stays {
                tracing::error!(name, "an object that may be another's is not removed");
                continue;
            }
            let context = || format!("removing {FOLDER}/{name} in {}", self.shared.bucket.title);
            let deleted = self.shared.bucket.delete(FOLDER, &name);
            deleted.map_err(|failure| StoreError::io(context())(failure.into_io()))?;
            let mut state = self.shared.units.lock();
            state.known.remove(unit);
            state.undecided.remove(unit);
            state.gone.insert(*unit);
        }
        Ok(())
    }
}

impl From<Listed> for Contents {
    fn from(Listed { entries, unlisted, mut damage, .. }: Listed) -> Self {
        damage.extend(unlisted);
        let chunks = entries.into_iter().map(|entry| (entry.name, entry.placement)).collect();
        Self { chunks, damage }
    }
}

fn is_absent<T>(read: &Result<T, StoreError>) -> bool {
    matches!(read, Err(StoreError::Io { kind: io::ErrorKind::NotFound, .. }))
}

/// One that is not there is nobody's.
fn is_foreign(foreign: Result<Option<Damage>, StoreError>) -> Result<bool, StoreError> {
    if is_absent(&foreign) {
        return Ok(false);
    }
    foreign.map(|foreign| foreign.is_some())
}

impl Units for S3Blobs {
    fn kind(&self, unit: u32) -> Option<UnitKind> {
        numbers::kind(unit)
    }

    fn entries(&self, unit: u32) -> Result<Option<Vec<Entry>>, StoreError> {
        Ok(self.shared.listed(unit)?.map(|listed| listed.entries))
    }

    fn sequence(&self, name: &ChunkName, at: &Placement) -> Result<Option<u64>, StoreError> {
        match self.shared.find(at.unit).filter(|known| !known.is_double) {
            Some(known) => self.shared.object(at.unit, &known).sequence(name, at.offset),
            None => Ok(None),
        }
    }
}

/// A unit that is put together in memory and put in one piece.
struct Making {
    number: u32,
    draft: Draft,
    shared: Arc<Shared>,
}

impl NewUnit for Making {
    fn number(&self) -> u32 {
        self.number
    }

    fn add(&mut self, header: &Header, payload: &[u8]) -> Result<(), StoreError> {
        self.draft.add(header, payload);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<u64, StoreError> {
        let Self { number, draft, shared } = *self;
        let Drafted { bytes, footer, .. } = draft.finish()?;
        let (key, length) = (footer.key, bytes.len() as u64);
        let known = Known { stage: Stage::Unsure, is_ours: true, ..Known::listed(key, length) };
        shared.units.lock().known.insert(number, known);
        let context = || format!("putting {FOLDER}/{key} in {}", shared.bucket.title);
        let put = shared.put(number, key, bytes);
        put.map_err(|failure| StoreError::io(context())(failure.into_io()))?;
        Ok(length)
    }
}
