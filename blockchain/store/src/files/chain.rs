//! The chain of one machine: numbered files of records and bodies, and a tip mark.
//!
//! The block-manager opens it in its data folder. `blocks/NNNNNNNN.blocks` holds what is kept for
//! ever, `blocks/NNNNNNNN.bodies` the transactions, in files of their own so that pruning can remove
//! whole ones. Every access goes through [`Disk`]; the rows in the index are derived.
//!
//! [`writer`] appends, [`stretch`] reads many blocks at once, [`prune`] removes bodies.

pub mod audit;
pub mod elsewhere;
mod prune;
mod recovery;
pub(crate) mod rows;
pub mod scan;
mod stretch;
mod tip;
mod walk;
mod writer;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod damage_tests;

use std::sync::Arc;

use lucid_core::digest::BlockHash;
use lucid_core::record::{BlockRecord, decode_body};
use lucid_core::transaction::IdDigest;
use lucid_core::validate::ValidBlock;
use parking_lot::{Mutex, RwLock};

use crate::contract::chain::{
    AppendedBlock, Body, ChainStore, Pruning, StoredRecord, StoredRun, Stretch, Tip,
    TransactionPlace, decide,
};
use crate::contract::index::Index;
use crate::damage::DamageList;
use crate::files::chain::rows::{Part, Row};
use crate::files::chain::tip::Pruned;
use crate::files::chain::walk::{FileRole, split_record};
use crate::files::disk::lengths::Lengths;
use crate::files::disk::{self, Disk};
use crate::files::room::Room;
use crate::frame;
use crate::{CommitError, Damage, StoreError};
pub use tip::TIP;
use writer::Writer;

/// The folder of records and bodies.
pub const FOLDER: &str = "blocks";

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

/// An open chain.
pub struct ChainFiles {
    disk: Arc<dyn Disk>,
    index: Arc<dyn Index>,
    writer: Mutex<Writer>,
    /// Moves when a block is marked and published.
    tip: RwLock<Option<Tip>>,
    /// Moves when bodies are about to go.
    pruned: RwLock<Pruned>,
    read_only: Option<String>,
    /// Why writing stopped; beside the writer, so that asking does not wait for it.
    broken: RwLock<Option<String>>,
    ids_unknown: bool,
    lengths: Lengths,
    room: Room,
    damage: Mutex<DamageList>,
}

impl ChainFiles {
    /// Recovers what the folder holds and opens it.
    pub fn open(parts: ChainParts) -> Result<Self, StoreError> {
        let disk = parts.disk.clone();
        disk.create_folder(FOLDER).map_err(StoreError::io(format!("making {FOLDER}/")))?;
        let recovered = recovery::recover(&parts)?;
        for found in recovered.damage.iter() {
            tracing::error!(damage = %found, "damage found while opening the chain");
        }
        if let Some(why) = &recovered.read_only {
            tracing::error!(why, "the chain is opened for reading only");
        }
        let index = parts.index.clone();
        if parts.accept_loss && recovered.read_only.is_none() && disk.only_read().is_none() {
            rows::accept_unknown_ids(index.as_ref())?;
        }
        let tip = recovered.at.map(|at| Tip { height: at.height, hash: at.hash });
        let ids_unknown =
            recovered.read_only.is_some() || rows::unknown_ids(index.as_ref())?.is_some();
        let writer = Writer::open(parts, recovered.at)?;
        Ok(Self {
            room: Room::new(disk.clone(), FOLDER),
            disk,
            index,
            writer: Mutex::new(writer),
            tip: RwLock::new(tip),
            pruned: RwLock::new(recovered.at.map(|at| at.pruned).unwrap_or_default()),
            read_only: recovered.read_only,
            broken: RwLock::new(None),
            ids_unknown,
            lengths: Lengths::default(),
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

    /// Reads a record's payload: that of this height, under this name, or damage. A body may be pruned.
    fn read(&self, role: FileRole, height: u64, row: &Row) -> Result<Body<Vec<u8>>, StoreError> {
        let part = if role == FileRole::Blocks { &row.record } else { &row.body };
        let (number, offset) = match part {
            Part::At { file, offset } => (*file, *offset),
            Part::Lost(damage) => return Err(StoreError::Damaged(damage.clone())),
            Part::Pruned => return Ok(Body::Pruned),
        };
        let path = role.path(number);
        let damaged = |why: &str| self.name(Damage::new(path.as_str(), offset, why));
        let file = match disk::find(self.disk.as_ref(), &path)? {
            Ok(file) => file,
            Err(_) if role == FileRole::Bodies && self.pruned.read().covers(number) => {
                return Ok(Body::Pruned);
            }
            Err(damage) => return Err(damaged(&damage.why)),
        };
        let header = match frame::read_header(file.as_ref(), &path, offset)? {
            Some(Ok(header)) => header,
            Some(Err(frame::NEWER_RECORD)) => {
                return Err(frame::unread(&path, offset, frame::NEWER_RECORD));
            }
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
        payload.map(Body::Here).map_err(damaged)
    }

    fn name(&self, damage: Damage) -> StoreError {
        if self.damage.lock().note(damage.clone()) {
            tracing::error!(%damage, "a block is damaged");
        }
        StoreError::Damaged(damage)
    }

    fn stored(&self, height: u64, row: &Row, payload: &[u8]) -> Result<StoredRecord, StoreError> {
        let fault = |fault: &dyn std::fmt::Display| {
            self.name(Damage::new(FOLDER, 0, format!("the record of block {height}: {fault}")))
        };
        let (size_bytes, bytes) = split_record(payload).map_err(|why| fault(&why))?;
        let record = BlockRecord::decode(bytes).map_err(|why| fault(&why))?;
        Ok(StoredRecord {
            record,
            size_bytes,
            transactions_before: row.before.transactions,
            bytes_before: row.before.bytes,
        })
    }

    /// Absence may only be said where every id is known.
    fn absent<T>(&self) -> Result<Option<T>, StoreError> {
        if !self.ids_unknown {
            return Ok(None);
        }
        Err(StoreError::Damaged(Damage::new(FOLDER, 0, IDS_UNKNOWN)))
    }

    /// What is decided about a block before anything is written.
    fn decide(&self, block: &ValidBlock) -> Result<Option<AppendedBlock>, CommitError> {
        let tip = *self.tip.read();
        let taken = match tip {
            Some(tip) if block.index <= tip.height => {
                rows::row(self.index.as_ref(), block.index)
                    .map_err(|error| CommitError::Failed(error.to_string()))?
            }
            _ => None,
        };
        Ok(decide(block, tip, taken.map(|row| row.hash)))
    }
}

const IDS_UNKNOWN: &str = "blocks may be lost, so it is not known whether the chain has this one; put the \
                           file back from a copy, or run `lucid reindex --accept-loss` to go on without it";

/// Whether it is damage of the chain as a whole: of no id that it does not find is it known that it is not
/// there.
pub fn is_of_every_id(damage: &Damage) -> bool {
    damage.file == FOLDER && damage.why == IDS_UNKNOWN
}

impl ChainStore for ChainFiles {
    fn tip(&self) -> Result<Option<Tip>, StoreError> {
        Ok(*self.tip.read())
    }

    fn room(&self, bytes: u64) -> Result<(), CommitError> {
        self.room.ask(bytes)
    }

    fn append_run(&self, blocks: &[ValidBlock]) -> Result<StoredRun, CommitError> {
        if let Some(why) = self.read_only.clone().or_else(|| self.disk.only_read()) {
            return Err(CommitError::Failed(why));
        }
        let mut writer = self.writer.lock();
        if let Some(why) = writer.broken() {
            return Err(CommitError::Broken(why.to_owned()));
        }
        let mut rest = blocks;
        while let Some((block, behind)) = rest.split_first() {
            match self.decide(block)? {
                None => break,
                Some(AppendedBlock::Known) => rest = behind,
                stopped => return Ok(StoredRun { stored: 0, stopped }),
            }
        }
        let follows = |(below, block): &(&ValidBlock, &ValidBlock)| {
            block.index == below.index + 1 && block.previous_hash == below.hash
        };
        let links = rest.iter().zip(rest.iter().skip(1)).take_while(follows).count();
        // A tip mark that is missing tells a chain that never began from one that lost it, if all that
        // may be there without one is the genesis.
        let run = if self.tip.read().is_some() { links + 1 } else { 1 };
        let (run, behind) = rest.split_at(rest.len().min(run));
        let Some(last) = run.last() else { return Ok(StoredRun { stored: 0, stopped: None }) };
        let outcome = writer.append(run);
        *self.broken.write() = writer.broken().map(str::to_owned);
        outcome?;
        *self.tip.write() = Some(Tip { height: last.index, hash: last.hash });
        drop(writer);
        let more = self.append_run(behind)?;
        Ok(StoredRun { stored: run.len() + more.stored, ..more })
    }

    fn record(&self, height: u64) -> Result<Option<StoredRecord>, StoreError> {
        let Some(row) = self.row(height)? else { return Ok(None) };
        let payload = self.read(FileRole::Blocks, height, &row)?;
        payload.here().map(|payload| self.stored(height, &row, &payload)).transpose()
    }

    fn body(&self, height: u64) -> Result<Option<Body>, StoreError> {
        let Some(row) = self.row(height)? else { return Ok(None) };
        let payload = match self.read(FileRole::Bodies, height, &row)? {
            Body::Here(payload) => payload,
            Body::Pruned => return Ok(Some(Body::Pruned)),
        };
        decode_body(&payload).map(|body| Some(Body::Here(body))).map_err(|fault| {
            self.name(Damage::new(FOLDER, 0, format!("the body of block {height}: {fault}")))
        })
    }

    fn records(&self, stretch: Stretch) -> Result<Vec<StoredRecord>, StoreError> {
        self.stretch_of_records(stretch)
    }

    fn record_bytes(&self, stretch: Stretch) -> Result<Vec<Vec<u8>>, StoreError> {
        self.stretch_of_record_bytes(stretch)
    }

    fn body_bytes(&self, stretch: Stretch) -> Result<Vec<Body<Vec<u8>>>, StoreError> {
        self.stretch_of_bodies(stretch)
    }

    fn prune(&self, keep_from: u64) -> Result<Pruning, CommitError> {
        self.remove_bodies(keep_from)
    }

    fn pruned_below(&self) -> u64 {
        self.pruned.read().below
    }

    fn stored_bytes(&self) -> Result<u64, StoreError> {
        let measured = self.lengths.total(self.disk.as_ref(), &[FOLDER]);
        measured.map_err(StoreError::io(format!("measuring {FOLDER}/")))
    }

    fn height_of(&self, hash: &BlockHash) -> Result<Option<u64>, StoreError> {
        match rows::height_of(self.index.as_ref(), hash)? {
            Some(height) => Ok(Some(height)),
            None => self.absent(),
        }
    }

    fn find(&self, id: &IdDigest) -> Result<Option<TransactionPlace>, StoreError> {
        match rows::place(self.index.as_ref(), id)? {
            Some(place) => Ok(Some(place)),
            None => self.absent(),
        }
    }

    fn anchors_of(
        &self,
        session: &str,
        behind: Option<TransactionPlace>,
    ) -> Result<Vec<TransactionPlace>, StoreError> {
        let places = rows::anchors_of(self.index.as_ref(), session, behind)?;
        if places.is_empty() {
            self.absent::<()>()?;
        }
        Ok(places)
    }

    fn read_only(&self) -> Option<String> {
        let broken = || self.broken.read().clone();
        self.read_only.clone().or_else(broken).or_else(|| self.disk.only_read())
    }

    fn damage(&self) -> Vec<Damage> {
        self.damage.lock().clone().into()
    }
}
