//! A data folder, opened: facts and chunks go in through the committer, and come out checked.
//!
//! A [`Vault`] joins the drawers of one folder. Who writes what into it is its owner's business; that
//! what was acknowledged stays, and that only true bytes come out, is kept here.

use std::sync::Arc;

use lucid_core::digest::{ChunkId, ChunkName};
use lucid_core::wire::{Reader, Writer};
use parking_lot::Mutex;

use crate::codec::{Compression, Packer};
use crate::committer::{Committed, Committer, Done, Fact, Limits, Submission, satisfies};
use crate::crypt::Sealer;
use crate::disk::{self, Disk};
use crate::frame::Sealed;
use crate::index::{self, Changes, Index, Placement, Project, Watermark};
use crate::recovery::{self, Parts};
use crate::segment::Segments;
use crate::{CommitError, Damage, StoreError, log};

/// The file that says how far the log went when the store was last closed in order.
pub const MARK: &str = "CLOSED";

/// The first byte of the facts the vault keeps for itself; owners' facts begin with `0x10` or more.
const QUARANTINE_FACT: u8 = 1;

/// What a vault is made of.
pub struct Drawers {
    /// Where the files are.
    pub disk: Arc<dyn Disk>,
    /// Which store they belong to.
    pub store: [u8; 16],
    /// Seals and opens its records.
    pub sealer: Arc<Sealer>,
    /// Its derived rows.
    pub index: Arc<dyn Index>,
    /// What its owner makes of facts.
    pub project: Arc<dyn Project>,
    /// Whether the loss of acknowledged facts has been accepted.
    pub accept_loss: bool,
    /// Where its files end.
    pub limits: Limits,
}

/// An open store.
pub struct Vault {
    disk: Arc<dyn Disk>,
    sealer: Arc<Sealer>,
    index: Arc<dyn Index>,
    segments: Segments,
    committer: Option<Committer>,
    read_only: Option<String>,
    damage: Mutex<Vec<Damage>>,
    mark: Option<Watermark>,
}

/// The vault's own facts first, everything else to the owner.
struct VaultProject(Arc<dyn Project>);

impl Project for VaultProject {
    fn project(&self, fact: &[u8], changes: &mut Changes<'_>) -> Result<(), StoreError> {
        match fact.split_first() {
            Some((&QUARANTINE_FACT, rest)) => match read_quarantine(rest) {
                Some((name, segment, offset)) => index::quarantine(changes, &name, segment, offset),
                None => Ok(()),
            },
            _ => self.0.project(fact, changes),
        }
    }
}

fn read_quarantine(bytes: &[u8]) -> Option<(ChunkName, u32, u64)> {
    let mut from = Reader::new(bytes);
    let name = ChunkName::new(from.array("name").ok()?);
    Some((name, from.u32("segment").ok()?, from.u64("offset").ok()?))
}

impl Vault {
    /// Recovers what the folder holds and opens it.
    pub fn open(drawers: Drawers) -> Result<Self, StoreError> {
        let Drawers { disk, store, sealer, index, project, accept_loss, limits } = drawers;
        for folder in [log::FOLDER, crate::segment::FOLDER] {
            disk.create_folder(folder).map_err(StoreError::io(format!("making {folder}/")))?;
        }
        let project: Arc<dyn Project> = Arc::new(VaultProject(project));
        let mut damage = Vec::new();
        begin_mark(disk.as_ref())?;
        let mark = read_mark(disk.as_ref(), &mut damage)?;
        let mut recovered = recovery::recover(Parts {
            disk: &disk,
            sealer: &sealer,
            index: index.as_ref(),
            project: project.as_ref(),
            store,
            mark,
            accept_loss,
        })?;
        damage.append(&mut recovered.damage);
        for found in &damage {
            tracing::error!(damage = %found, "damage found while opening");
        }
        let committer = match &recovered.read_only {
            Some(why) => {
                tracing::error!(why, "the store is opened for reading only");
                None
            }
            None => Some(Committer::start(
                disk.clone(),
                store,
                index.clone(),
                project,
                recovered.at,
                limits,
            )?),
        };
        Ok(Self {
            segments: Segments::new(disk.clone()),
            disk,
            sealer,
            index,
            committer,
            read_only: recovered.read_only,
            damage: Mutex::new(damage),
            mark,
        })
    }

    /// The derived rows.
    pub fn index(&self) -> &dyn Index {
        self.index.as_ref()
    }

    /// Where the files are.
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// What seals and opens this store's records.
    pub fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// Damage found since the store was opened, while opening it included.
    pub fn damage(&self) -> Vec<Damage> {
        self.damage.lock().clone()
    }

    /// Why the store cannot be written to, if so.
    pub fn read_only(&self) -> Option<String> {
        self.read_only.clone().or_else(|| self.committer.as_ref()?.broken())
    }

    /// Makes a fact ready to be submitted.
    pub fn fact(&self, packer: &mut Packer, plain: Vec<u8>) -> Result<Fact, StoreError> {
        let sealed = self.sealer.seal_fact(packer, &plain)?;
        Ok(Fact { plain, sealed })
    }

    /// Makes a chunk ready to be submitted.
    pub fn chunk(
        &self,
        packer: &mut Packer,
        compression: Compression,
        encrypt: bool,
        id: &ChunkId,
        plain: &[u8],
    ) -> Result<Sealed, StoreError> {
        self.sealer.seal_chunk(packer, compression, encrypt, id, plain)
    }

    /// Whether a sound copy of a chunk is there, or will be before anything submitted next.
    pub fn knows(&self, id: &ChunkId, encrypted: bool) -> Result<bool, StoreError> {
        let name = self.sealer.chunk_name(id);
        if self.committer.as_ref().is_some_and(|committer| committer.is_pending(&name)) {
            return Ok(true);
        }
        satisfies(self.index.as_ref(), &name, encrypted)
    }

    /// Where a chunk is, unless it is unknown.
    pub fn placement(&self, id: &ChunkId) -> Result<Option<Placement>, StoreError> {
        index::placement(self.index.as_ref(), &self.sealer.chunk_name(id))
    }

    fn committer(&self) -> Result<&Committer, CommitError> {
        self.committer.as_ref().ok_or_else(|| {
            CommitError::Failed(self.read_only.clone().unwrap_or_else(|| "it is closed".into()))
        })
    }

    /// Hands over a submission without waiting for its commit.
    pub fn submit(&self, submission: Submission, done: Done) {
        match self.committer() {
            Ok(committer) => committer.submit(submission, done),
            Err(error) => done(Err(error)),
        }
    }

    /// Hands over a submission and waits until it is durable, or surely is not.
    pub fn commit(&self, submission: Submission) -> Result<Committed, CommitError> {
        self.committer()?.commit(submission)
    }

    /// A chunk's bytes, checked against its id. `Ok(None)` when it is unknown. A damaged record is
    /// named, and quarantined so that the same content uploaded again replaces it.
    pub fn read_chunk(
        &self,
        packer: &mut Packer,
        id: &ChunkId,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let name = self.sealer.chunk_name(id);
        let Some(placement) = index::placement(self.index.as_ref(), &name)? else {
            return Ok(None);
        };
        let read = self.segments.read(&name, &placement).and_then(|(header, payload)| {
            self.sealer.open(packer, &header, payload).map_err(|why| {
                let path = crate::segment::path(placement.segment);
                StoreError::Damaged(Damage::new(path, placement.offset, why))
            })
        });
        match read {
            Ok(plain) => Ok(Some(plain)),
            Err(StoreError::Damaged(damage)) => {
                self.quarantine(packer, &name, &placement, &damage);
                Err(StoreError::Damaged(damage))
            }
            Err(error) => Err(error),
        }
    }

    fn quarantine(
        &self,
        packer: &mut Packer,
        name: &ChunkName,
        placement: &Placement,
        damage: &Damage,
    ) {
        let known = index::is_quarantined(self.index.as_ref(), name).unwrap_or(false);
        let mut listed = self.damage.lock();
        if !listed.contains(damage) {
            tracing::error!(%damage, "a chunk is damaged");
            listed.push(damage.clone());
        }
        drop(listed);
        if known {
            return;
        }
        let mut to = Writer::new();
        to.u8(QUARANTINE_FACT).raw(name.as_bytes()).u32(placement.segment).u64(placement.offset);
        match self.fact(packer, to.finish()) {
            Ok(fact) => self.submit(
                Submission { facts: vec![fact], ..Submission::default() },
                Box::new(|outcome| {
                    if let Err(error) = outcome {
                        tracing::warn!(%error, "the quarantine of a damaged chunk was not kept");
                    }
                }),
            ),
            Err(error) => tracing::warn!(%error, "the quarantine of a damaged chunk was not kept"),
        }
    }

    /// Ends writing in order and notes how far the log goes, so that the next start can tell a torn
    /// tail from damage.
    pub fn close(&self) -> Result<(), StoreError> {
        let Some(at) = self.committer.as_ref().and_then(Committer::close) else { return Ok(()) };
        self.index.flush()?;
        if self.mark == Some(at) || at.commit == 0 {
            return Ok(());
        }
        write_mark(self.disk.as_ref(), &at)
    }
}

impl Drop for Vault {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "the store was not closed in order; the next start recovers it");
        }
    }
}

const MARK_MAGIC: &[u8; 8] = b"LCDRmark";

fn write_mark(disk: &dyn Disk, at: &Watermark) -> Result<(), StoreError> {
    let mut to = Writer::new();
    to.raw(MARK_MAGIC).raw(&at.encode());
    let covered = to.finish();
    let bytes = [covered.as_slice(), blake3::hash(&covered).as_bytes()].concat();
    disk::replace(disk, "", MARK, &bytes).map_err(StoreError::io(format!("writing {MARK}")))
}

/// Makes the mark before the first log file, so that a store with a log and without a mark has lost it.
fn begin_mark(disk: &dyn Disk) -> Result<(), StoreError> {
    let there = disk.open(MARK).map_err(StoreError::io(format!("reading {MARK}")))?.is_some();
    if there || has_log(disk)? { Ok(()) } else { write_mark(disk, &Watermark::START) }
}

fn has_log(disk: &dyn Disk) -> Result<bool, StoreError> {
    let names = disk.list(log::FOLDER).map_err(StoreError::io(format!("listing {}/", log::FOLDER)));
    Ok(names?.iter().any(|name| log::number_of(name, "log").is_some()))
}

/// Reads the clean-close mark. A damaged or missing one is named and then does not count.
pub fn read_mark(
    disk: &dyn Disk,
    damage: &mut Vec<Damage>,
) -> Result<Option<Watermark>, StoreError> {
    let read = disk::read_all(disk, MARK).map_err(StoreError::io(format!("reading {MARK}")))?;
    let Some(bytes) = read else {
        if has_log(disk)? {
            damage.push(Damage::new(MARK, 0, "the file is missing"));
        }
        return Ok(None);
    };
    let mark = bytes.split_last_chunk::<32>().and_then(|(covered, digest)| {
        let sound = blake3::hash(covered) == blake3::Hash::from(*digest);
        let rest = covered.strip_prefix(MARK_MAGIC).filter(|_| sound)?;
        Watermark::decode(rest).ok()
    });
    if mark.is_none() {
        damage.push(Damage::new(MARK, 0, "the mark does not match its digest"));
    }
    Ok(mark)
}
