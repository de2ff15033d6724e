//! The half of a store that is not on the disk: what it had at every moment is known, so that it can be given to a
//! store that is opened again.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use lucid_core::digest::ChunkName;
use lucid_store::contract::blobs::{
    Blobs, Contents, Entry, Extent, NewUnit, Origin, Placement, UnitKind, UnitState, Units, Written,
};
use lucid_store::contract::fact_log::{
    Appended, Condensed, Condensing, FactLog, Following, Passed, Place, Position, Replayed, Reread,
    Unsettled,
};
use lucid_store::files::disk::simulated::SimulatedDisk;
use lucid_store::frame::{Header, Record};
use lucid_store::memory::blobs::MemoryBlobs;
use lucid_store::memory::fact_log::{Ending, MemoryLog};
use lucid_store::{CommitError, Damage, StoreError};
use parking_lot::Mutex;

/// A commit of a log that is kept elsewhere.
#[derive(Clone)]
pub struct Made {
    /// Behind so many calls of the disk it was made.
    pub calls: usize,
    facts: Vec<Record>,
    chunks: Option<Written>,
}

/// A log that is kept elsewhere, beside a disk whose calls tell the time.
pub struct LogAside {
    inner: MemoryLog,
    disk: SimulatedDisk,
    end: Mutex<Position>,
    made: Mutex<Vec<Made>>,
    /// Commits that nobody heard of again, with how many commits were before each.
    lost: Mutex<Vec<(usize, Made)>>,
    /// How the next commits end.
    endings: Mutex<VecDeque<Ending>>,
    /// A commit that is on its way: it comes before the next one.
    on_its_way: Mutex<Option<Made>>,
}

impl LogAside {
    /// With the commits that were made already.
    pub fn with(made: Vec<Made>, disk: &SimulatedDisk) -> Arc<Self> {
        let log = Self {
            inner: MemoryLog::new(),
            disk: disk.clone(),
            end: Mutex::new(MemoryLog::start()),
            made: Mutex::default(),
            lost: Mutex::default(),
            endings: Mutex::default(),
            on_its_way: Mutex::default(),
        };
        made.into_iter().for_each(|made| log.append(made));
        Arc::new(log)
    }

    fn append(&self, made: Made) {
        let (mut facts, mut end) = (made.facts.clone(), self.end.lock());
        let nothing = MemoryBlobs::new();
        let unsettled = made.chunks.as_ref().map(|written| Unsettled { blobs: &nothing, written });
        match self.inner.commit(&end, &mut facts, unsettled).unwrap() {
            Appended::Here(at) => *end = at,
            Appended::Overtaken => panic!("nobody else writes"),
        }
        self.made.lock().push(made);
    }

    /// All of its commits.
    pub fn made(&self) -> Vec<Made> {
        self.made.lock().clone()
    }

    /// Its commits that nobody heard of again, with how many commits were before each.
    pub fn lost(&self) -> Vec<(usize, Made)> {
        self.lost.lock().clone()
    }

    pub fn end_next(&self, ending: Ending) {
        self.endings.lock().push_back(ending);
    }

    /// Has a commit of another time come before the next one.
    pub fn come_late(&self, made: Made) {
        *self.on_its_way.lock() = Some(made);
    }
}

impl FactLog for LogAside {
    fn ready(&self) -> Result<(), CommitError> {
        Ok(())
    }

    fn room(&self, _: u64) -> Result<(), CommitError> {
        Ok(())
    }

    fn commit(
        &self,
        after: &Position,
        facts: &mut [Record],
        chunks: Option<Unsettled<'_>>,
    ) -> Result<Appended, CommitError> {
        if let Some(chunks) = chunks {
            chunks.settle()?;
        }
        if let Some(late) = self.on_its_way.lock().take() {
            self.append(late);
        }
        if *after != *self.end.lock() {
            return Ok(Appended::Overtaken);
        }
        let chunks = chunks.map(|chunks| chunks.written.clone());
        let made = Made { calls: self.disk.calls(), facts: facts.to_vec(), chunks };
        match self.endings.lock().pop_front() {
            None => {
                self.append(made);
                Ok(Appended::Here(self.end.lock().clone()))
            }
            Some(Ending::Refused) => Err(CommitError::Failed("it was refused".into())),
            Some(Ending::Lost) => {
                self.lost.lock().push((self.inner.commits(), made));
                Err(CommitError::Maybe("no answer came".into()))
            }
            Some(Ending::Unheard) => {
                self.append(made);
                Err(CommitError::Maybe("no answer came".into()))
            }
        }
    }

    fn begin_part(&self) -> Result<(), CommitError> {
        Ok(())
    }

    fn replay(
        &self,
        after: Option<&Position>,
        each: &mut dyn FnMut(Replayed, Passed) -> Result<bool, StoreError>,
    ) -> Result<bool, StoreError> {
        self.inner.replay(after, each)
    }

    fn reread(
        &self,
        from: (u32, u64),
        each: &mut dyn FnMut(Reread<'_>) -> Result<bool, StoreError>,
    ) -> Result<Option<(u32, u64)>, StoreError> {
        self.inner.reread(from, each)
    }

    // It has no places, or commits that are made once more would not have the same: it has one history alone.
    fn following(&self, at: &Position) -> Result<Following, StoreError> {
        self.inner.following(at)
    }

    fn is_start(&self, at: &Position) -> Result<bool, StoreError> {
        self.inner.is_start(at)
    }

    fn bytes(&self) -> Result<u64, StoreError> {
        self.inner.bytes()
    }

    fn condense(&self, how: &mut Condensing<'_>) -> Result<Condensed, StoreError> {
        self.inner.condense(how)
    }

    fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Chunks that are kept elsewhere, beside a disk whose calls tell the time.
pub struct ChunksAside {
    inner: MemoryBlobs,
    disk: SimulatedDisk,
    /// Which units were put, and when.
    put: Mutex<Vec<(usize, u32)>>,
    /// Which of them were taken back, and when. They stay, so that an earlier moment has them.
    taken_back: Mutex<Vec<(usize, u32)>>,
    /// When the last unit was written that is not put yet.
    written_at: Mutex<usize>,
    /// So many of the next puts fail.
    failing: Mutex<usize>,
}

impl ChunksAside {
    pub fn new(disk: &SimulatedDisk) -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryBlobs::new(),
            disk: disk.clone(),
            put: Mutex::default(),
            taken_back: Mutex::default(),
            written_at: Mutex::default(),
            failing: Mutex::default(),
        })
    }

    /// The same, beside another disk.
    pub fn beside(&self, disk: &SimulatedDisk) -> Arc<Self> {
        Arc::new(Self {
            inner: self.inner.clone(),
            disk: disk.clone(),
            put: Mutex::new(self.put.lock().clone()),
            taken_back: Mutex::new(self.taken_back.lock().clone()),
            written_at: Mutex::default(),
            failing: Mutex::default(),
        })
    }

    /// What was there before this call of the disk.
    pub fn before(&self, calls: usize) -> MemoryBlobs {
        let units = |of: &Mutex<Vec<(usize, u32)>>| -> BTreeSet<u32> {
            of.lock().iter().filter(|(at, _)| *at < calls).map(|(_, unit)| *unit).collect()
        };
        let there = &units(&self.put) - &units(&self.taken_back);
        self.inner.only(&there)
    }

    pub fn fail_next(&self, puts: usize) {
        *self.failing.lock() = puts;
    }
}

impl Units for ChunksAside {
    fn kind(&self, unit: u32) -> Option<UnitKind> {
        self.inner.kind(unit)
    }

    fn entries(&self, unit: u32) -> Result<Option<Vec<Entry>>, StoreError> {
        self.inner.entries(unit)
    }

    fn sequence(&self, name: &ChunkName, at: &Placement) -> Result<Option<u64>, StoreError> {
        self.inner.sequence(name, at)
    }
}

impl Blobs for ChunksAside {
    fn fits(&self, records: &[Record]) -> usize {
        // So that some batches are several commits.
        self.inner.fits(records).min(2)
    }

    fn room(&self, bytes: u64) -> Result<(), CommitError> {
        self.inner.room(bytes)
    }

    fn write(&self, records: &mut [Record]) -> Result<Written, CommitError> {
        *self.written_at.lock() = self.disk.calls();
        self.inner.write(records)
    }

    fn settle(&self, written: &Written) -> Result<(), CommitError> {
        let calls = self.disk.calls();
        assert_eq!(calls, *self.written_at.lock(), "its commit was written before it was put");
        let mut failing = self.failing.lock();
        if *failing > 0 {
            *failing -= 1;
            return Err(CommitError::Failed("the put failed".into()));
        }
        self.put.lock().push((calls, written.extent.unit));
        Ok(())
    }

    fn take_back(&self, written: &Written) -> Result<(), CommitError> {
        self.taken_back.lock().push((self.disk.calls(), written.extent.unit));
        Ok(())
    }

    fn end(&self, now: bool) -> Result<(), CommitError> {
        self.inner.end(now)
    }

    fn places(&self, extent: &Extent) -> Result<Vec<(ChunkName, Placement)>, StoreError> {
        panic!("the log says where the chunks of {extent:?} are")
    }

    fn read(
        &self,
        name: &ChunkName,
        placement: &Placement,
    ) -> Result<(Header, Vec<u8>), StoreError> {
        self.inner.read(name, placement)
    }

    fn title(&self, unit: u32) -> String {
        self.inner.title(unit)
    }

    fn place_of(&self, damage: &Damage) -> Option<(u32, u64)> {
        self.inner.place_of(damage)
    }

    fn open_unit(&self) -> Result<Option<(u32, u64)>, StoreError> {
        self.inner.open_unit()
    }

    fn numbers(&self) -> Result<Vec<u32>, StoreError> {
        self.inner.numbers()
    }

    fn begun(&self) -> u32 {
        self.inner.begun()
    }

    fn bytes(&self) -> Result<u64, StoreError> {
        self.inner.bytes()
    }

    fn records_max(&self) -> usize {
        self.inner.records_max()
    }

    fn draft_bytes(&self) -> u64 {
        self.inner.draft_bytes()
    }

    fn state(&self, unit: u32) -> Result<UnitState, StoreError> {
        self.inner.state(unit)
    }

    fn origin(&self, unit: u32) -> Result<Result<Origin, Damage>, StoreError> {
        self.inner.origin(unit)
    }

    fn contents(&self, unit: u32, from: u64) -> Result<Result<Contents, Damage>, StoreError> {
        self.inner.contents(unit, from)
    }

    fn begin(&self, behind: u32, origin: Origin) -> Result<Box<dyn NewUnit>, StoreError> {
        self.inner.begin(behind, origin)
    }

    fn mark(&self, place: &Place) -> Result<(), StoreError> {
        self.inner.mark(place)
    }

    fn marked(&self) -> Result<Option<Place>, StoreError> {
        self.inner.marked()
    }

    fn is_shared(&self) -> bool {
        self.inner.is_shared()
    }

    fn taken(&self) -> Result<u32, StoreError> {
        self.inner.taken()
    }

    fn rise(&self, line: u32) {
        self.inner.rise(line);
    }

    fn is_above(&self, unit: u32, line: u32) -> bool {
        self.inner.is_above(unit, line)
    }

    fn remove(&self, units: &[u32]) -> Result<(), StoreError> {
        self.inner.remove(units)
    }
}
