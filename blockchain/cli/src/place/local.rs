//! Sessions in a data folder of this process, with the chain that anchors them beside it.
//!
//! `--data` holds two folders, as a running `lucid up` has them: `data-chain` and `block-manager`. The
//! chain is opened only by the verbs that need it.

mod mirror;

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use lucid_api::v1::maintenance::{CollectGarbage, GarbageCollected, Optimised};
use lucid_api::v1::removal::Tombstone;
use lucid_api::v1::scrub::Scrub;
use lucid_api::v1::sessions::{Appended, Session};
use lucid_block_manager::facts::Role;
use lucid_block_manager::given::Refused;
use lucid_block_manager::ops::anchor_proof::anchor_proof;
use lucid_block_manager::ops::seal_block::seal_block;
use lucid_block_manager::ops::submit_transaction::{SubmitError, submit_transaction};
use lucid_block_manager::ops::validate_chain::validate_chain;
use lucid_block_manager::ops::validate_texts::Asked;
use lucid_block_manager::state as manager;
use lucid_core::anchor::SignedAnchor;
use lucid_core::bundle::{Anchored, Producer};
use lucid_core::digest::BlockHash;
use lucid_core::session::SessionId;
use lucid_core::time::Timestamp;
use lucid_core::tombstone::SignedTombstone;
use lucid_core::transaction::Transaction;
use lucid_data_chain::anchoring::{AnchorEngine, Confirmed, EngineError};
use lucid_data_chain::config::SESSION_TIMEOUT_SECONDS;
use lucid_data_chain::jobs::{Jobs, Kind};
use lucid_data_chain::opened::{SERVICE, SIGNING_KEY};
use lucid_data_chain::ops::OpError;
use lucid_data_chain::ops::append_stream::{Piece, append_stream};
use lucid_data_chain::ops::collect_garbage::{GarbageRequest, collect_garbage};
use lucid_data_chain::ops::create_session::{Created, NewSession, create_session};
use lucid_data_chain::ops::deliver_anchors::{anchor_text, deliver_anchors};
use lucid_data_chain::ops::hold_session::{hold_session, release_session};
use lucid_data_chain::ops::list_sessions::{SessionFilter, get_session, list_sessions};
use lucid_data_chain::ops::list_tombstones::list_tombstones;
use lucid_data_chain::ops::optimise::optimise;
use lucid_data_chain::ops::prove_session::{Wanted, prove_session};
use lucid_data_chain::ops::read_session::{SessionSource, StoredSession};
use lucid_data_chain::ops::remove_session::remove_session;
use lucid_data_chain::ops::scrub_store::{begin_round, note_scrub, scrub_state, scrub_stretch};
use lucid_data_chain::ops::seal_session::{SealRequest, seal_session};
use lucid_data_chain::ops::store_chunks::Keeping;
use lucid_data_chain::ops::verify_session::{SessionVerified, verify_session, verify_structure};
use lucid_data_chain::row::SessionName;
use lucid_data_chain::{Opened, reply};
use lucid_store::audit::audit;
use lucid_store::disk::Disk;
use lucid_store::folder::Options;
use lucid_store::{chain, segment};

use super::{Begun, Filling, Findings, Place, Wish};
use crate::cmd::Home;
use crate::ingest::Sink;
use crate::ingest::sink::{CompareSink, StoreSink};

/// The folder of the chain below `--data`.
pub const CHAIN_FOLDER: &str = "block-manager";

/// Bytes that are read again at a time.
const SCRUB_STRETCH: u64 = 4 << 20;
/// How often it is noted how far that has come.
const SCRUB_NOTED: std::time::Duration = std::time::Duration::from_secs(30);

/// An open data folder.
pub struct Local {
    data: Opened,
    home: Home,
    owner: String,
    now: Timestamp,
    encrypt: bool,
}

/// The folder of sessions below `--data`.
pub fn data_folder(home: &Home) -> PathBuf {
    home.data.join(SERVICE)
}

/// The folder of the chain below `--data`.
pub fn chain_folder(home: &Home) -> PathBuf {
    home.data.join(CHAIN_FOLDER)
}

/// How the folder of the chain is opened for its keys alone.
pub fn chain_options(home: &Home, owner: &str, now: Timestamp) -> Options {
    Options {
        service: CHAIN_FOLDER,
        signing_key: "block",
        ..options(home, owner, now, false, true)
    }
}

/// How the folder of sessions is opened.
pub fn options(home: &Home, owner: &str, now: Timestamp, create: bool, encrypt: bool) -> Options {
    Options {
        service: SERVICE,
        signing_key: SIGNING_KEY,
        create,
        encrypt,
        root_key_file: home.key_file.clone(),
        passphrase: home.passphrase(),
        owner: owner.to_owned(),
        now: now.to_string(),
    }
}

impl Local {
    /// Opens a store that is there.
    pub fn open(home: &Home, verb: &str, now: Timestamp) -> anyhow::Result<Self> {
        Self::with(home, verb, now, false, true)
    }

    /// Opens a store, and makes it when there is none.
    pub fn create(home: &Home, verb: &str, now: Timestamp, encrypt: bool) -> anyhow::Result<Self> {
        let local = Self::with(home, verb, now, true, encrypt)?;
        anyhow::ensure!(
            !encrypt || local.data.vault.sealer().is_encrypted(),
            "the store in {} was made without encryption: pass --no-encryption, or name another \
             folder with --data",
            home.data.display()
        );
        Ok(local)
    }

    fn with(
        home: &Home,
        verb: &str,
        now: Timestamp,
        create: bool,
        encrypt: bool,
    ) -> anyhow::Result<Self> {
        let owner = format!("`lucid {verb}`");
        let options = options(home, &owner, now, create, encrypt);
        let data = Opened::open(&data_folder(home), &options)?;
        Ok(Self { data, home: home.clone(), owner, now, encrypt })
    }

    fn chain(&self, create: bool) -> anyhow::Result<manager::Opened> {
        let options = manager::Options {
            owner: self.owner.clone(),
            create,
            encrypt: self.encrypt && self.data.vault.sealer().is_encrypted(),
            root_key_file: self.home.key_file.clone(),
            passphrase: self.home.passphrase(),
            ..manager::Options::default()
        };
        Ok(manager::open(&chain_folder(&self.home), &options, self.now)?)
    }

    /// A live stream that took nothing since then is unterminated: a folder has no settings, so this is
    /// as long as a service waits that was told nothing else.
    fn quiet_since(&self) -> Timestamp {
        crate::cmd::now().plus_seconds(-(SESSION_TIMEOUT_SECONDS as i64))
    }

    fn keeping(&self, wish: Wish) -> Keeping {
        let encrypt = wish.encrypt && self.data.vault.sealer().is_encrypted();
        Keeping { compression: wish.compression, encrypt }
    }

    fn verify_folder(
        &self,
        disk: &Arc<dyn Disk>,
        name: &str,
        findings: &mut Findings,
        opened: &FolderFacts<'_>,
        progress: &dyn Fn(u64, u64),
    ) -> anyhow::Result<HashSet<(u32, u64)>> {
        let found = audit(disk, Some(opened.sealer), opened.store, None, progress)?;
        findings.records += found.records;
        findings.bytes += found.plain_bytes;
        let suspects = found
            .damage
            .iter()
            .filter_map(|damage| Some((segment::number_of(&damage.file)?, damage.offset)))
            .collect();
        let mut damage: Vec<String> =
            found.damage.iter().map(|damage| format!("{name}/{damage}")).collect();
        for known in opened.damage {
            let known = format!("{name}/{known}");
            if !damage.contains(&known) {
                damage.push(known);
            }
        }
        findings.damage.extend(damage);
        findings.unknown_files.extend(found.unknown.iter().map(|file| format!("{name}/{file}")));
        findings.not_checked.extend(found.not_checked.iter().map(|what| format!("{name}: {what}")));
        Ok(suspects)
    }
}

/// What the audit of a folder has to know from whoever opened it.
struct FolderFacts<'a> {
    store: [u8; 16],
    sealer: &'a lucid_store::crypt::Sealer,
    damage: &'a [lucid_store::Damage],
}

/// A store sink as the verbs see it.
impl Filling for StoreSink<'_> {
    fn as_sink(&self) -> &dyn Sink {
        self
    }

    fn totals(&self) -> (u64, u64) {
        use std::sync::atomic::Ordering::Relaxed;
        (self.tally().bytes_new.load(Relaxed), self.tally().bytes_stored.load(Relaxed))
    }
}

impl Filling for CompareSink<'_> {
    fn as_sink(&self) -> &dyn Sink {
        self
    }

    fn totals(&self) -> (u64, u64) {
        (0, 0)
    }
}

fn findings(id: &SessionId, verified: SessionVerified) -> Findings {
    Findings {
        sessions: 1,
        records: verified.chunks_verified,
        bytes: verified.bytes_verified,
        faults: verified.faults.iter().map(|why| format!("session {id}, {why}")).collect(),
        not_checked: verified
            .not_checked
            .iter()
            .map(|what| format!("session {id}: {what}"))
            .collect(),
        ..Findings::default()
    }
}

impl Place for Local {
    fn begin(&self, new: NewSession) -> anyhow::Result<Begun> {
        let Opened { vault, locks, .. } = &self.data;
        Ok(match create_session(vault, locks, new)? {
            Created::Began(row) => Begun::Empty(row.id),
            Created::Existed(row) => Begun::Sealed(row.id),
        })
    }

    fn fill<'a>(&'a self, id: &SessionId, wish: Wish) -> anyhow::Result<Box<dyn Filling + 'a>> {
        let session = get_session(&self.data.vault, id)?;
        Ok(Box::new(StoreSink::new(&self.data, session, self.keeping(wish))))
    }

    fn compare<'a>(&'a self, id: &SessionId) -> anyhow::Result<Box<dyn Filling + 'a>> {
        Ok(Box::new(CompareSink::new(&self.data, id.clone())))
    }

    fn stream(&self, new: NewSession) -> anyhow::Result<Session> {
        let Opened { vault, locks, key, .. } = &self.data;
        let row = match create_session(vault, locks, new)? {
            Created::Began(row) | Created::Existed(row) => row,
        };
        Ok(reply::session(vault, &key.public(), &row, self.quiet_since())?)
    }

    fn append(&self, id: &SessionId, piece: Piece<'_>, wish: Wish) -> anyhow::Result<Appended> {
        let Opened { vault, locks, .. } = &self.data;
        let appended =
            append_stream(vault, locks, self.keeping(wish), crate::cmd::now(), id, piece)?;
        Ok(Appended {
            offset: appended.offset,
            root: appended.root,
            root_offset: appended.root_offset,
            chunk_count: appended.chunk_count,
        })
    }

    fn seal(&self, id: &SessionId, request: &SealRequest) -> anyhow::Result<()> {
        let Opened { vault, locks, key, .. } = &self.data;
        let wish = Wish { compression: Default::default(), encrypt: true };
        seal_session(vault, locks, key, self.keeping(wish), crate::cmd::now(), id, request)?;
        Ok(())
    }

    fn anchor(&self, id: &SessionId) -> anyhow::Result<Session> {
        let chain = self
            .chain(true)
            .with_context(|| format!("session {id} is sealed, but not anchored yet"))?;
        let delivered = deliver_anchors(&self.data.vault, &Embedded { chain: &chain })?;
        for (failed, why) in &delivered.failed {
            tracing::warn!(session = %failed, %why, "the anchor was not delivered");
        }
        chain.close()?;
        if let Some((_, why)) = delivered.failed.iter().find(|(failed, _)| failed == id) {
            anyhow::bail!("session {id} is sealed, but not anchored yet: {why}");
        }
        self.session(id)
    }

    fn session(&self, id: &SessionId) -> anyhow::Result<Session> {
        let Opened { vault, key, .. } = &self.data;
        Ok(reply::session(vault, &key.public(), &get_session(vault, id)?, self.quiet_since())?)
    }

    fn sessions(
        &self,
        filter: &SessionFilter,
        visit: &mut dyn FnMut(Session) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        const PAGE: usize = 256;
        let Opened { vault, key, .. } = &self.data;
        let mut cursor = None;
        loop {
            let page = list_sessions(vault, filter, PAGE, cursor.as_deref())?;
            for row in &page.sessions {
                visit(reply::session(vault, &key.public(), row, self.quiet_since())?)?;
            }
            match page.next {
                Some(next) => cursor = Some(next),
                None => return Ok(()),
            }
        }
    }

    fn remove(&self, id: &SessionId, reason: &str) -> anyhow::Result<Tombstone> {
        let Opened { vault, locks, key, .. } = &self.data;
        let row = remove_session(vault, locks, key, crate::cmd::now(), id, reason)?;
        Ok(reply::tombstone(&row))
    }

    fn chain_tombstones(&self) -> anyhow::Result<()> {
        let chain = self.chain(true)?;
        let delivered = deliver_anchors(&self.data.vault, &Embedded { chain: &chain })?;
        chain.close()?;
        match delivered.failed.first() {
            Some((id, why)) => anyhow::bail!("session {id}: {why}"),
            None => Ok(()),
        }
    }

    fn tombstone(&self, id: &SessionId) -> anyhow::Result<Option<Tombstone>> {
        match get_session(&self.data.vault, id) {
            Err(OpError::Removed(row)) => Ok(Some(reply::tombstone(&row))),
            Err(error) => Err(error.into()),
            Ok(_) => Ok(None),
        }
    }

    fn tombstones(
        &self,
        visit: &mut dyn FnMut(Tombstone) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        const PAGE: usize = 256;
        let mut cursor = None;
        loop {
            let page = list_tombstones(&self.data.vault, PAGE, cursor.as_deref())?;
            for row in &page.tombstones {
                visit(reply::tombstone(row))?;
            }
            match page.next {
                Some(next) => cursor = Some(next),
                None => return Ok(()),
            }
        }
    }

    fn collect_garbage(
        &self,
        wanted: &CollectGarbage,
        progress: &(dyn Fn(&str, u64, u64) + Sync),
    ) -> anyhow::Result<GarbageCollected> {
        let Opened { vault, locks, key, .. } = &self.data;
        let request = GarbageRequest {
            keep_days: wanted.keep_days.unwrap_or(0),
            dry_run: wanted.dry_run,
            confirm: wanted.confirm,
        };
        let garbage =
            collect_garbage(vault, locks, key, self.now, &request, &mut |stage, done, total| {
                progress(stage.as_str(), done, total);
                true
            })?;
        Ok(reply::garbage(&garbage, wanted.dry_run))
    }

    fn optimise(
        &self,
        level: u8,
        progress: &(dyn Fn(&str, u64, u64) + Sync),
    ) -> anyhow::Result<Optimised> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let collected = optimise(&self.data.vault, level, threads, true, &mut |done, total| {
            progress("rewriting", done, total);
            true
        })?;
        Ok(reply::optimised(&collected, level))
    }

    fn scrub(&self) -> anyhow::Result<Scrub> {
        let vault = &self.data.vault;
        // Nobody else has the folder, so nobody reads at this moment.
        let progress = Jobs::default().show(Kind::Scrub);
        Ok(reply::scrub(vault, &scrub_state(vault)?, progress)?)
    }

    fn scrub_now(&self, progress: &(dyn Fn(&str, u64, u64) + Sync)) -> anyhow::Result<Scrub> {
        let vault = &self.data.vault;
        let mut state = scrub_state(vault)?;
        begin_round(&mut state, self.now);
        let total = vault.scrub_bytes()?;
        let mut noted = std::time::Instant::now();
        while scrub_stretch(vault, &mut state, crate::cmd::now(), 100, SCRUB_STRETCH)? {
            progress("scrubbing", state.bytes, total);
            // What comes after a kill goes on from here.
            if noted.elapsed() >= SCRUB_NOTED {
                note_scrub(vault, &state)?;
                noted = std::time::Instant::now();
            }
        }
        note_scrub(vault, &state)?;
        self.scrub()
    }

    fn hold(&self, id: &SessionId, reason: &str) -> anyhow::Result<Session> {
        let Opened { vault, locks, key, .. } = &self.data;
        let row = hold_session(vault, locks, crate::cmd::now(), id, reason)?;
        Ok(reply::session(vault, &key.public(), &row, self.quiet_since())?)
    }

    fn release(&self, id: &SessionId) -> anyhow::Result<Session> {
        let Opened { vault, locks, key, .. } = &self.data;
        let row = release_session(vault, locks, id)?;
        Ok(reply::session(vault, &key.public(), &row, self.quiet_since())?)
    }

    fn source<'a>(&'a self, id: &SessionId) -> anyhow::Result<Box<dyn SessionSource + 'a>> {
        Ok(Box::new(StoredSession::open_live(&self.data.vault, &self.data.locks, id)?))
    }

    fn prove(&self, id: &SessionId, wanted: &Wanted) -> anyhow::Result<Vec<u8>> {
        Ok(prove_session(&self.data.vault, id, wanted)?)
    }

    fn verify_session(
        &self,
        id: &SessionId,
        progress: &(dyn Fn(u64) + Sync),
    ) -> anyhow::Result<Findings> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let verified = verify_session(&self.data.vault, id, threads, progress)?;
        let mut findings = findings(id, verified);
        if let Ok(chain) = self.chain(false) {
            self.verify_anchor(&chain, id, &mut findings)?;
            chain.close()?;
        } else {
            findings.not_checked.push(format!("session {id}: the chain is not at hand"));
        }
        Ok(findings)
    }

    fn verify_all(&self, progress: &(dyn Fn(u64, u64) + Sync)) -> anyhow::Result<Findings> {
        let mut all = Findings::default();
        let disk: Arc<dyn Disk> = self.data.folder.disk.clone();
        let facts = FolderFacts {
            store: self.data.folder.store,
            sealer: self.data.vault.sealer(),
            damage: &self.data.damage(),
        };
        let suspects = self.verify_folder(&disk, SERVICE, &mut all, &facts, progress)?;
        let mut ids = Vec::new();
        let mut recorded_here = 0;
        self.sessions(&SessionFilter::default(), &mut |session| {
            let id = session.session_id.parse::<SessionId>()?;
            recorded_here += usize::from(!self.is_from_elsewhere(&id)?);
            ids.push(id);
            Ok(())
        })?;
        let is_mirror = recorded_here == 0 && !ids.is_empty() && !chain_folder(&self.home).exists();
        let chain = self.chain(false).map_err(|error| match is_mirror {
            true => {
                all.not_checked.push("the chain: it is where the sessions were recorded".into())
            }
            false => all.faults.push(format!("the chain cannot be opened: {error:#}")),
        });
        if let Ok(chain) = &chain {
            self.verify_chain(chain, &mut all)?;
        }
        for id in &ids {
            let found = findings(id, verify_structure(&self.data.vault, id, &suspects)?);
            all.sessions += 1;
            all.faults.extend(found.faults);
            all.not_checked.extend(found.not_checked);
            if let Ok(chain) = &chain {
                self.verify_anchor(chain, id, &mut all)?;
            }
        }
        self.tombstones(&mut |tombstone| {
            all.faults.extend(tombstone_fault(&tombstone, chain.as_ref().ok()));
            Ok(())
        })?;
        if let Ok(chain) = chain {
            chain.close()?;
        }
        Ok(all)
    }

    fn damage(&self) -> Vec<String> {
        self.data.damage().iter().map(|damage| format!("{SERVICE}/{damage}")).collect()
    }

    fn loss(&self) -> Option<String> {
        self.data.vault.read_only()
    }

    fn own_folder(&self) -> Option<PathBuf> {
        Some(self.home.data.clone())
    }

    fn close(self: Box<Self>) -> anyhow::Result<()> {
        Ok(self.data.close()?)
    }
}

impl Local {
    /// Reads every byte of the chain's folder, and validates every block by the six rules.
    fn verify_chain(&self, opened: &manager::Opened, all: &mut Findings) -> anyhow::Result<()> {
        let disk: Arc<dyn Disk> =
            Arc::new(lucid_store::disk::real::RealDisk::new(chain_folder(&self.home)));
        let facts = FolderFacts {
            store: opened.store,
            sealer: opened.vault.sealer(),
            damage: &opened.damage(),
        };
        self.verify_folder(&disk, CHAIN_FOLDER, all, &facts, &|_, _| {})?;
        for damage in chain::audit::audit(disk.as_ref(), opened.store)? {
            let damage = format!("{CHAIN_FOLDER}/{damage}");
            if !all.damage.contains(&damage) {
                all.damage.push(damage);
            }
        }
        // The chain's own report says more of what it leaves open than a store's owner asks here.
        let asked = Asked::default();
        let report = validate_chain(opened.chain.as_ref(), self.now, &asked, false, |_| {
            ControlFlow::Continue(())
        })?;
        all.blocks += report.blocks;
        all.faults.extend(report.missing.iter().map(|height| format!("block {height} is missing")));
        all.faults.extend(report.refused.iter().map(Refused::sentence));
        if let Some(more) = report.refused_count.checked_sub(report.refused.len() as u64)
            && more > 0
        {
            all.faults.push(format!("{more} more blocks break rules"));
        }
        Ok(())
    }

    /// Whether another recorder sealed a session, so that it came here by mirroring.
    fn is_from_elsewhere(&self, id: &SessionId) -> anyhow::Result<bool> {
        let text = anchor_text(&self.data.vault, &SessionName::of(self.data.vault.sealer(), id))?;
        let signed = Transaction::parse(text.as_bytes())
            .ok()
            .and_then(|transaction| SignedAnchor::parse(&transaction).ok());
        Ok(signed.is_some_and(|signed| signed.key != self.data.key.public()))
    }

    /// Whether the block that a session says it is anchored in is in the chain.
    fn verify_anchor(
        &self,
        opened: &manager::Opened,
        id: &SessionId,
        findings: &mut Findings,
    ) -> anyhow::Result<()> {
        let session = get_session(&self.data.vault, id)?;
        let Some((index, hash)) = session.anchored else { return Ok(()) };
        if self.is_from_elsewhere(id)? {
            let where_it_is =
                format!("session {id}: its block is in the chain where it was recorded");
            findings.not_checked.push(where_it_is);
            return Ok(());
        }
        let fault = block_fault(opened, index, hash);
        let said = |fault| format!("session {id} is anchored in block {index}: {fault}");
        findings.faults.extend(fault.map(said));
        Ok(())
    }
}

/// Why a block that something is said to be in is not in the chain.
fn block_fault(opened: &manager::Opened, index: u64, hash: BlockHash) -> Option<String> {
    match opened.chain.record(index) {
        Ok(Some(stored)) if stored.record.entry.hash == hash => None,
        Ok(Some(_)) => Some("the chain has another block in its place".to_owned()),
        Ok(None) => Some("the chain does not have it".to_owned()),
        Err(error) => Some(error.to_string()),
    }
}

/// What is wrong with what is left of a removed session.
fn tombstone_fault(tombstone: &Tombstone, opened: Option<&manager::Opened>) -> Option<String> {
    let id = &tombstone.session_id;
    let signed = Transaction::parse(tombstone.transaction.as_bytes())
        .map_err(|fault| fault.to_string())
        .and_then(|tx| SignedTombstone::parse(&tx).map_err(|fault| fault.to_string()));
    match signed {
        Err(fault) => return Some(format!("the tombstone of session {id}: {fault}")),
        Ok(signed) if signed.tombstone.session_id.as_str() != id => {
            return Some(format!("the tombstone of session {id} is another session's"));
        }
        Ok(_) => {}
    }
    let (index, hash) = tombstone.block_index.zip(tombstone.block_hash)?;
    let fault = block_fault(opened?, index, hash)?;
    Some(format!("the tombstone of session {id} is in block {index}: {fault}"))
}

/// The chain of this process as what anchors sessions.
struct Embedded<'a> {
    chain: &'a manager::Opened,
}

fn unavailable(error: impl std::fmt::Display) -> EngineError {
    EngineError::Unavailable(error.to_string())
}

impl AnchorEngine for Embedded<'_> {
    fn submit(&self, text: &str) -> Result<(), EngineError> {
        let manager::Opened { vault, chain, key, admissions, sealing, role, .. } = self.chain;
        if *role == Role::Follower {
            return Err(unavailable(
                "the chain in the folder follows another one, so its blocks are made elsewhere: \
                 archive through a data-chain service, or make the chain an authority's with \
                 `lucid chain promote`",
            ));
        }
        let now = crate::cmd::now();
        let submitted = submit_transaction(vault, chain.as_ref(), admissions, now, text.as_bytes());
        submitted.map_err(|error| match error {
            SubmitError::Admission(_) | SubmitError::Conflict { .. } => {
                EngineError::Refused(error.to_string())
            }
            _ => unavailable(error),
        })?;
        // Nobody else fills the pool, so there is nothing to wait for.
        while seal_block(vault, chain.as_ref(), sealing, key, now).map_err(unavailable)?.left > 0 {}
        Ok(())
    }

    fn confirmed(&self, transaction_id: &str) -> Result<Option<Confirmed>, EngineError> {
        let proof = anchor_proof(self.chain.chain.as_ref(), transaction_id).map_err(unavailable)?;
        Ok(proof.map(|proof| Confirmed {
            block_index: proof.block_index,
            block_hash: proof.block_hash,
            proof: Anchored {
                transaction: proof.transaction.text().to_owned(),
                position: proof.position,
                count: proof.count,
                path: proof.path,
                entry: proof.entry.text(),
                producer: proof
                    .producer
                    .zip(proof.signature)
                    .map(|(key, signature)| Producer { key, signature }),
            },
        }))
    }
}

/// Rebuilds the indexes of both folders; says what damage was found on the way. `progress` hears how many
/// bytes of the data-chain's log, of how many, are read.
pub fn reindex(
    home: &Home,
    now: Timestamp,
    accept_loss: bool,
    progress: &dyn Fn(u64, u64),
) -> anyhow::Result<Vec<String>> {
    let owner = "`lucid reindex`";
    let options = options(home, owner, now, false, true);
    let data = Opened::reindex(&data_folder(home), &options, accept_loss, progress)?;
    let mut damage: Vec<String> =
        data.damage().iter().map(|damage| format!("{SERVICE}/{damage}")).collect();
    data.close()?;
    let folder = chain_folder(home);
    if folder.exists() {
        let options = manager::Options {
            owner: owner.to_owned(),
            create: false,
            root_key_file: home.key_file.clone(),
            passphrase: home.passphrase(),
            accept_loss,
            ..manager::Options::default()
        };
        let chain = manager::reindex(&folder, &options, now)?;
        damage.extend(chain.damage().iter().map(|damage| format!("{CHAIN_FOLDER}/{damage}")));
        chain.close()?;
    }
    Ok(damage)
}
