//! The chain of one machine: numbered files of records and bodies, and a lock.
//!
//! The block-manager opens it in its data folder. `blocks/NNNNNNNN.blocks` holds what is kept for
//! ever, `blocks/NNNNNNNN.bodies` the transactions, in files of their own so that pruning can remove
//! whole ones. Every access goes through [`Disk`]; the rows in the index are derived.
//!
//! Invariant: append body and record, sync both, lock, publish, in this order, one block at a time. A
//! failed append is cut off again before the next one; what cannot be cut off stops all writing.

use std::io;
use std::sync::Arc;

use lucid_core::digest::BlockHash;
use lucid_core::record::{BlockRecord, decode_body, encode_body};
use lucid_core::transaction::{IdDigest, Transaction};
use lucid_core::validate::ValidBlock;
use parking_lot::{Mutex, RwLock};

use super::rows::{self, Part, Row};
use super::tip::{self, End, Lock, Mark, TIP};
use super::walk::Role;
use super::{Appended, ChainStore, FOLDER, Place, StoredRecord, Tip, decide, recovery};
use crate::disk::{Disk, DiskFile};
use crate::frame::{self, Sealed};
use crate::index::{Changes, Index};
use crate::log::FileHeader;
use crate::{CommitError, Damage, StoreError};

/// A file is continued in a new one beyond this size: what pruning removes at once.
pub const FILE_BYTES_MAX: u64 = 64 << 20;

/// What a chain is made of.
#[derive(Clone)]
pub struct ChainParts {
    /// Where the files are.
    pub disk: Arc<dyn Disk>,
    /// Which store they belong to.
    pub store: [u8; 16],
    /// The derived rows.
    pub index: Arc<dyn Index>,
    /// A file is continued in a new one beyond this size ([`FILE_BYTES_MAX`]).
    pub file_bytes_max: u64,
    /// Whether the loss of acknowledged blocks has been accepted.
    pub accept_loss: bool,
}

/// An open file and its durable length: everything behind it is not acknowledged.
struct Tail {
    file: Arc<dyn DiskFile>,
    path: String,
    at: End,
}

impl Tail {
    fn cut(&self) -> io::Result<()> {
        self.file.truncate(self.at.offset)?;
        self.file.sync()
    }
}

/// Two durable records: where they begin, and the lock that will name them.
struct Written {
    mark: Mark,
    record: End,
    body: End,
}

struct Writer {
    parts: ChainParts,
    tip: Option<Mark>,
    blocks: Option<Tail>,
    bodies: Option<Tail>,
    transactions: u64,
    broken: Option<String>,
}

/// An open chain.
pub struct ChainFiles {
    disk: Arc<dyn Disk>,
    index: Arc<dyn Index>,
    writer: Mutex<Writer>,
    /// Moves when a block is locked and published.
    tip: RwLock<Option<Tip>>,
    read_only: Option<String>,
    /// Why writing stopped; beside the writer, so that asking does not wait for it.
    broken: RwLock<Option<String>>,
    ids_unknown: bool,
    damage: Mutex<Vec<Damage>>,
}

impl ChainFiles {
    /// Recovers what the folder holds and opens it.
    pub fn open(parts: ChainParts) -> Result<Self, StoreError> {
        let disk = parts.disk.clone();
        disk.create_folder(FOLDER).map_err(StoreError::io(format!("making {FOLDER}/")))?;
        let recovered = recovery::recover(&parts)?;
        for found in &recovered.damage {
            tracing::error!(damage = %found, "damage found while opening the chain");
        }
        if let Some(why) = &recovered.read_only {
            tracing::error!(why, "the chain is opened for reading only");
        }
        let index = parts.index.clone();
        let tip = recovered.at.map(|at| Tip { height: at.height, hash: at.hash });
        let ids_unknown =
            recovered.read_only.is_some() || rows::unknown_ids(index.as_ref())?.is_some();
        let writer = Writer::open(parts, recovered.at)?;
        Ok(Self {
            disk,
            index,
            writer: Mutex::new(writer),
            tip: RwLock::new(tip),
            read_only: recovered.read_only,
            broken: RwLock::new(None),
            ids_unknown,
            damage: Mutex::new(recovered.damage),
        })
    }

    fn row(&self, height: u64) -> Result<Option<Row>, StoreError> {
        let Some(tip) = *self.tip.read() else { return Ok(None) };
        if height > tip.height {
            return Ok(None);
        }
        rows::row(self.index.as_ref(), height)?.map(Some).ok_or_else(|| {
            let why = format!("block {height} was committed and is not there any more");
            StoreError::Damaged(Damage::new(FOLDER, 0, why))
        })
    }

    /// Reads a record's payload: that of this height, under this name, or damage.
    fn read(&self, role: Role, height: u64, row: &Row) -> Result<Vec<u8>, StoreError> {
        let part = if role == Role::Blocks { &row.record } else { &row.body };
        let (number, offset) = match part {
            Part::At { file, offset } => (*file, *offset),
            Part::Lost(damage) => return Err(StoreError::Damaged(damage.clone())),
        };
        let path = role.path(number);
        let damaged = |why: &str| self.name(Damage::new(path.as_str(), offset, why));
        let opened = self.disk.open(&path).map_err(StoreError::io(format!("opening {path}")))?;
        let Some(file) = opened else { return Err(damaged("the file is missing")) };
        let header = match frame::read_header(file.as_ref(), &path, offset)? {
            Some(Ok(header)) => header,
            Some(Err(why)) => return Err(damaged(why)),
            None => return Err(damaged("the file ends early")),
        };
        if header.kind != role.kind()
            || header.sequence != height + 1
            || header.name != *row.hash.as_bytes()
        {
            return Err(damaged("another record is in this place"));
        }
        let payload = frame::read_payload(file.as_ref(), &path, offset, &header)?;
        if !header.matches(&payload) {
            return Err(damaged("the record does not match its digest"));
        }
        Ok(payload)
    }

    fn name(&self, damage: Damage) -> StoreError {
        let mut listed = self.damage.lock();
        if !listed.contains(&damage) {
            tracing::error!(%damage, "a block is damaged");
            listed.push(damage.clone());
        }
        StoreError::Damaged(damage)
    }

    /// Absence may only be said where every id is known.
    fn absent<T>(&self) -> Result<Option<T>, StoreError> {
        if !self.ids_unknown {
            return Ok(None);
        }
        let why = "blocks may be lost, so it is not known whether the chain has this one";
        Err(StoreError::Damaged(Damage::new(FOLDER, 0, why)))
    }
}

impl ChainStore for ChainFiles {
    fn tip(&self) -> Result<Option<Tip>, StoreError> {
        Ok(*self.tip.read())
    }

    fn append(&self, block: &ValidBlock) -> Result<Appended, CommitError> {
        if let Some(why) = &self.read_only {
            return Err(CommitError::Failed(why.clone()));
        }
        let mut writer = self.writer.lock();
        if let Some(why) = &writer.broken {
            return Err(CommitError::Broken(why.clone()));
        }
        let taken = rows::row(self.index.as_ref(), block.index);
        let taken = taken.map_err(|error| CommitError::Failed(error.to_string()))?;
        let tip = *self.tip.read();
        if let Some(outcome) = decide(block, tip, taken.map(|row| row.hash)) {
            return Ok(outcome);
        }
        let outcome = writer.append(block);
        self.broken.write().clone_from(&writer.broken);
        outcome?;
        *self.tip.write() = Some(Tip { height: block.index, hash: block.hash });
        Ok(Appended::Stored)
    }

    fn record(&self, height: u64) -> Result<Option<StoredRecord>, StoreError> {
        let Some(row) = self.row(height)? else { return Ok(None) };
        let payload = self.read(Role::Blocks, height, &row)?;
        let record = BlockRecord::decode(&payload).map_err(|fault| {
            self.name(Damage::new(FOLDER, 0, format!("the record of block {height}: {fault}")))
        })?;
        let (size_bytes, transactions_before) = (row.size_bytes, row.transactions_before);
        Ok(Some(StoredRecord { record, size_bytes, transactions_before }))
    }

    fn body(&self, height: u64) -> Result<Option<Vec<Transaction>>, StoreError> {
        let Some(row) = self.row(height)? else { return Ok(None) };
        let payload = self.read(Role::Bodies, height, &row)?;
        decode_body(&payload).map(Some).map_err(|fault| {
            self.name(Damage::new(FOLDER, 0, format!("the body of block {height}: {fault}")))
        })
    }

    fn height_of(&self, hash: &BlockHash) -> Result<Option<u64>, StoreError> {
        match rows::height_of(self.index.as_ref(), hash)? {
            Some(height) => Ok(Some(height)),
            None => self.absent(),
        }
    }

    fn find(&self, id: &IdDigest) -> Result<Option<Place>, StoreError> {
        match rows::place(self.index.as_ref(), id)? {
            Some(place) => Ok(Some(place)),
            None => self.absent(),
        }
    }

    fn read_only(&self) -> Option<String> {
        self.read_only.clone().or_else(|| self.broken.read().clone())
    }

    fn damage(&self) -> Vec<Damage> {
        self.damage.lock().clone()
    }
}

/// Why a write failed, and whether the file may be written to again.
struct Failure {
    why: String,
    full: bool,
    at_sync: bool,
}

impl Failure {
    fn at(context: &str, at_sync: bool) -> impl FnOnce(io::Error) -> Self {
        let context = context.to_owned();
        move |error| Self {
            full: matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded),
            why: format!("{context}: {error}"),
            at_sync,
        }
    }
}

impl Writer {
    fn open(parts: ChainParts, tip: Option<Mark>) -> Result<Self, StoreError> {
        let mut writer =
            Self { parts, tip, blocks: None, bodies: None, transactions: 0, broken: None };
        let Some(mark) = tip else { return Ok(writer) };
        if let Some(row) = rows::row(writer.parts.index.as_ref(), mark.height)? {
            writer.transactions = row.transactions_before + u64::from(row.transactions);
        }
        for role in Role::BOTH {
            let at = if role == Role::Blocks { mark.blocks } else { mark.bodies };
            let path = role.path(at.file);
            let context = StoreError::io(format!("opening {path}"));
            let file = writer.parts.disk.open(&path).map_err(context)?;
            *writer.tail(role) = file.map(|file| Tail { file, path, at });
        }
        Ok(writer)
    }

    fn tail(&mut self, role: Role) -> &mut Option<Tail> {
        match role {
            Role::Blocks => &mut self.blocks,
            Role::Bodies => &mut self.bodies,
        }
    }

    fn append(&mut self, block: &ValidBlock) -> Result<(), CommitError> {
        let record = BlockRecord::of(block);
        let name = *block.hash.as_bytes();
        let seal = |role: Role, payload| {
            let mut sealed = Sealed::plain(role.kind(), name, payload);
            sealed.header.sequence = block.index + 1;
            sealed
        };
        let body = seal(Role::Bodies, encode_body(&block.transactions));
        let kept = seal(Role::Blocks, record.encode());
        let written = match self.write(block, &kept, &body) {
            Ok(written) => written,
            Err(failure) => return Err(self.undo(failure)),
        };
        self.lock(&written.mark)?;
        self.publish(block, &record, &written)
    }

    /// Appends and syncs both records.
    fn write(
        &mut self,
        block: &ValidBlock,
        kept: &Sealed,
        body: &Sealed,
    ) -> Result<Written, Failure> {
        self.begin_if_needed(Role::Blocks, block)?;
        self.begin_if_needed(Role::Bodies, block)?;
        let missing = || Failure { why: "no file is open".into(), full: false, at_sync: false };
        let blocks = self.blocks.as_ref().ok_or_else(missing)?;
        let bodies = self.bodies.as_ref().ok_or_else(missing)?;
        for (tail, sealed) in [(bodies, body), (blocks, kept)] {
            let parts: [&[u8]; 2] = [&sealed.header.encode(), &sealed.payload];
            tail.file.append(&parts).map_err(Failure::at(&tail.path, false))?;
        }
        sync_both(blocks, bodies)?;
        let end = |at: End, sealed: &Sealed| End {
            file: at.file,
            offset: at.offset + sealed.record_bytes(),
        };
        let mark = Mark {
            height: block.index,
            hash: block.hash,
            blocks: end(blocks.at, kept),
            bodies: end(bodies.at, body),
        };
        Ok(Written { mark, record: blocks.at, body: bodies.at })
    }

    /// Goes on in a new file when there is none, or the last one is full.
    fn begin_if_needed(&mut self, role: Role, block: &ValidBlock) -> Result<(), Failure> {
        let full = self.parts.file_bytes_max;
        if self.tail(role).as_ref().is_some_and(|tail| tail.at.offset < full) {
            return Ok(());
        }
        let ended = self.tip.map_or(End::START, |tip| match role {
            Role::Blocks => tip.blocks,
            Role::Bodies => tip.bodies,
        });
        let number = ended.file + 1;
        let path = role.path(number);
        let header = FileHeader {
            store: self.parts.store,
            role: role.name(),
            number,
            previous: *block.previous_hash.as_bytes(),
        };
        let sealed = header.seal(block.index + 1);
        let disk = self.parts.disk.clone();
        let failed = || Failure::at(&path, false);
        // A crash may have left a file that never held a block: nothing in it counts.
        disk.unlink(&path).map_err(failed())?;
        let file = disk.create(&path).map_err(failed())?;
        file.append(&[&sealed.header.encode(), &sealed.payload])
            .and_then(|()| file.sync())
            .and_then(|()| disk.sync_folder(FOLDER))
            .map_err(failed())?;
        let at = End { file: number, offset: sealed.record_bytes() };
        *self.tail(role) = Some(Tail { file, path, at });
        Ok(())
    }

    /// Names the block in `TIP`: from here on it is final.
    fn lock(&mut self, mark: &Mark) -> Result<(), CommitError> {
        let disk = self.parts.disk.clone();
        let Err(error) = tip::write(disk.as_ref(), mark) else {
            self.tip = Some(*mark);
            for (tail, end) in [(&mut self.blocks, mark.blocks), (&mut self.bodies, mark.bodies)] {
                if let Some(tail) = tail {
                    tail.at = end;
                }
            }
            return Ok(());
        };
        let failure = Failure::at(&format!("writing {TIP}"), false)(error);
        let still = match tip::read(disk.as_ref()) {
            Ok(Lock::At(found)) => self.tip == Some(found),
            Ok(Lock::Absent) => self.tip.is_none(),
            _ => false,
        };
        if still {
            // The old lock stands, so the block can be taken back.
            return Err(self.undo(failure));
        }
        self.broken = Some(failure.why.clone());
        Err(CommitError::Broken(failure.why))
    }

    fn publish(
        &mut self,
        block: &ValidBlock,
        record: &BlockRecord,
        written: &Written,
    ) -> Result<(), CommitError> {
        let index = self.parts.index.clone();
        let mut changes = Changes::new(index.as_ref());
        let count = u32::try_from(block.transactions.len()).unwrap_or(u32::MAX);
        let at = |start: End| Part::At { file: start.file, offset: start.offset };
        let row = Row {
            hash: block.hash,
            record: at(written.record),
            body: at(written.body),
            size_bytes: block.size_bytes() as u64,
            transactions_before: self.transactions,
            transactions: count,
        };
        let ids: Vec<IdDigest> = record.transactions.iter().map(|digests| digests.id).collect();
        rows::publish(&mut changes, block.index, &row, Some(&ids));
        rows::set_watermark(&mut changes, &written.mark);
        if let Err(error) = changes.write() {
            // Committed, but not findable until a restart: stop before anyone is told wrong.
            let why = format!("the index could not follow: {error}");
            self.broken = Some(why.clone());
            return Err(CommitError::Broken(why));
        }
        self.transactions += u64::from(count);
        Ok(())
    }

    /// Takes back a block that failed: durably cuts off what was written of it.
    fn undo(&mut self, failure: Failure) -> CommitError {
        let cut = [&self.blocks, &self.bodies].into_iter().flatten().try_for_each(Tail::cut);
        if let Err(error) = cut {
            let why =
                format!("{}, and what was written could not be cut off: {error}", failure.why);
            tracing::error!(why, "the chain stopped writing");
            self.broken = Some(why.clone());
            return CommitError::Broken(why);
        }
        if failure.at_sync {
            // What a file says after a failed sync is not to be trusted: go on in new ones.
            (self.blocks, self.bodies) = (None, None);
        }
        tracing::error!(why = failure.why, "a block could not be written and was taken back");
        if failure.full { CommitError::Full(failure.why) } else { CommitError::Failed(failure.why) }
    }
}

/// Syncs both files at once.
fn sync_both(blocks: &Tail, bodies: &Tail) -> Result<(), Failure> {
    let (first, second) = std::thread::scope(|scope| {
        let other = scope.spawn(|| bodies.file.sync());
        let first = blocks.file.sync();
        let panicked = |_| Err(io::Error::other("the syncing thread panicked"));
        (first, other.join().unwrap_or_else(panicked))
    });
    second.map_err(Failure::at(&format!("syncing {}", bodies.path), true))?;
    first.map_err(Failure::at(&format!("syncing {}", blocks.path), true))
}
