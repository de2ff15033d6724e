//! The workers of an audit: each takes a stretch of records, reads it in one piece, and opens them.
//!
//! The walk runs ahead by a few stretches and no more, so memory is bounded by the number of cores.
//! Buffers and decompression contexts are kept from stretch to stretch.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use parking_lot::Mutex;

use crate::codec::Packer;
use crate::crypt::{Cipher, Unopened};
use crate::damage::DamageList;
use crate::files::disk::DiskFile;
use crate::frame::{HEADER_BYTES, Header};
use crate::{Damage, StoreError};

/// A stretch is handed over when it is this large: large enough that handing over costs nothing, small
/// enough that it is still in the processor's cache when it is opened.
const STRETCH_BYTES: u64 = 1 << 20;

/// Neighbouring records of one file.
struct Neighbours {
    file: Arc<dyn DiskFile>,
    path: Arc<str>,
    from: u64,
    to: u64,
    records: Vec<(u64, Header)>,
}

/// What the workers found.
#[derive(Default)]
pub(super) struct Checked {
    pub opened: u64,
    pub plain_bytes: u64,
    pub damage: Vec<Damage>,
    /// Records that no key here opens.
    pub unopened: DamageList,
    /// Why something could not be read, if that says nothing about what is stored.
    pub failed: Option<StoreError>,
    pub bytes: u64,
}

/// The walk's end of the pool.
pub(super) struct Work<'a> {
    jobs: Option<SyncSender<Neighbours>>,
    results: Receiver<Checked>,
    sum: Checked,
    open: Option<Neighbours>,
    total: u64,
    progress: &'a dyn Fn(u64, u64),
}

/// Runs `walk` with a pool beside it.
pub(super) fn with_workers<T>(
    cipher: Option<&Cipher>,
    total: u64,
    progress: &dyn Fn(u64, u64),
    walk: impl FnOnce(&mut Work<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let (jobs, taken) = sync_channel::<Neighbours>(count * 2);
        let (results, heard) = channel();
        let taken = Arc::new(Mutex::new(taken));
        for number in 0..count {
            let (taken, results) = (taken.clone(), results.clone());
            std::thread::Builder::new()
                .name(format!("audit {number}"))
                .spawn_scoped(scope, move || work(cipher, &taken, &results))
                .map_err(StoreError::io("starting the audit"))?;
        }
        drop((results, taken));
        let mut work = Work {
            jobs: Some(jobs),
            results: heard,
            sum: Checked::default(),
            open: None,
            total,
            progress,
        };
        walk(&mut work)
    })
}

impl Work<'_> {
    /// Hands over a record to be opened.
    pub fn add(&mut self, file: &Arc<dyn DiskFile>, path: &Arc<str>, offset: u64, header: Header) {
        let end = offset + header.record_bytes();
        let joins = self.open.as_ref().is_some_and(|open| {
            Arc::ptr_eq(&open.path, path)
                && open.to == offset
                && open.to - open.from < STRETCH_BYTES
        });
        if !joins {
            self.send();
        }
        let open = self.open.get_or_insert_with(|| Neighbours {
            file: file.clone(),
            path: path.clone(),
            from: offset,
            to: offset,
            records: Vec::new(),
        });
        open.records.push((offset, header));
        open.to = end;
    }

    /// Counts bytes that the walk read itself.
    pub fn passed(&mut self, bytes: u64) {
        self.sum.bytes += bytes;
    }

    fn send(&mut self) {
        if let (Some(stretch), Some(jobs)) = (self.open.take(), &self.jobs) {
            // Workers outlive the walk, so there is always one to take it.
            let _ = jobs.send(stretch);
        }
        while let Ok(checked) = self.results.try_recv() {
            self.take(checked);
        }
    }

    /// Adds what was found.
    pub fn take(&mut self, checked: Checked) {
        self.sum.opened += checked.opened;
        self.sum.plain_bytes += checked.plain_bytes;
        self.sum.bytes += checked.bytes;
        self.sum.damage.extend(checked.damage);
        self.sum.unopened.append(checked.unopened);
        self.sum.failed = self.sum.failed.take().or(checked.failed);
        (self.progress)(self.sum.bytes.min(self.total), self.total);
    }

    /// Waits until everything handed over has been opened.
    pub fn finish(&mut self) -> Checked {
        self.send();
        self.jobs = None;
        while let Ok(checked) = self.results.recv() {
            self.take(checked);
        }
        (self.progress)(self.total, self.total);
        std::mem::take(&mut self.sum)
    }
}

fn work(cipher: Option<&Cipher>, taken: &Mutex<Receiver<Neighbours>>, results: &Sender<Checked>) {
    let mut bench = Bench::default();
    loop {
        let next = taken.lock().recv();
        let Ok(stretch) = next else { return };
        if results.send(bench.check(cipher, &stretch)).is_err() {
            return;
        }
    }
}

/// What one worker keeps.
#[derive(Default)]
pub(super) struct Bench {
    packer: Packer,
    bytes: Vec<u8>,
    room: Vec<u8>,
}

impl Bench {
    fn check(&mut self, cipher: Option<&Cipher>, stretch: &Neighbours) -> Checked {
        let mut checked = Checked { bytes: stretch.to - stretch.from, ..Checked::default() };
        let length = usize::try_from(stretch.to - stretch.from).unwrap_or(usize::MAX);
        if self.bytes.len() < length {
            self.bytes.resize(length, 0);
        }
        let all = self.bytes.get_mut(..length).unwrap_or_default();
        let whole = stretch.file.read_at(stretch.from, all);
        for (offset, header) in &stretch.records {
            let at = usize::try_from(offset - stretch.from).unwrap_or(usize::MAX) + HEADER_BYTES;
            let payload = all.get_mut(at..at + header.stored_length as usize).unwrap_or_default();
            if whole.is_err() {
                // One unreadable sector must not cost its neighbours: read the records one by one.
                let alone = stretch.file.read_at(offset + HEADER_BYTES as u64, payload);
                match alone.map_err(StoreError::reading(&stretch.path, *offset)) {
                    Ok(_) => {}
                    Err(StoreError::Damaged(damage)) => {
                        checked.damage.push(damage);
                        continue;
                    }
                    Err(ours) => {
                        checked.failed.get_or_insert(ours);
                        continue;
                    }
                }
            }
            let (packer, room) = (&mut self.packer, &mut self.room);
            let outcome = opened(cipher, packer, room, header, payload);
            note(&mut checked, outcome, (&stretch.path, *offset), header);
        }
        checked
    }

    /// Opens a record that is in memory.
    pub fn check_one(
        &mut self,
        cipher: Option<&Cipher>,
        header: &Header,
        payload: &mut [u8],
        place: (&str, u64),
        checked: &mut Checked,
    ) {
        let outcome = opened(cipher, &mut self.packer, &mut self.room, header, payload);
        note(checked, outcome, place, header);
    }
}

/// Opens a record; without keys its payload is compared with its digest only, which is `Ok(false)`.
fn opened(
    cipher: Option<&Cipher>,
    packer: &mut Packer,
    room: &mut Vec<u8>,
    header: &Header,
    payload: &mut [u8],
) -> Result<bool, Unopened> {
    match cipher {
        Some(cipher) => cipher.check(packer, header, payload, room).map(|()| true),
        None if header.matches(payload) => Ok(false),
        None => Err("the record's payload does not match its digest".into()),
    }
}

fn note(
    checked: &mut Checked,
    outcome: Result<bool, Unopened>,
    (file, offset): (&str, u64),
    header: &Header,
) {
    match outcome {
        Ok(true) => {
            checked.opened += 1;
            checked.plain_bytes += u64::from(header.plain_length);
        }
        Ok(false) => {}
        Err(why) => {
            let place = Damage::new(file, offset, &why);
            match why {
                Unopened::Damaged(_) => checked.damage.push(place),
                Unopened::NoKey(_) => checked.unopened.push(place),
            }
        }
    }
}
