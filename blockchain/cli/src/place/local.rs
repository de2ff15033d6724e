//! Sessions in a data folder of this process, with the chain that anchors them beside it.
//!
//! `--data` holds two folders, as a running `lucid up` has them: `data-chain` and `block-manager`. The
//! chain is opened only by the verbs that need it.

mod mirror;

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use lucid_api::v1::maintenance::{CollectGarbage, GarbageCollected, Optimised};
use lucid_api::v1::removal::Tombstone;
use lucid_api::v1::scrub::Scrub;
use lucid_api::v1::sessions::{Appended, Session};
use lucid_block_manager::facts::{Role, genesis};
use lucid_block_manager::given::RefusedBlock;
use lucid_block_manager::ops::anchor_proof::anchor_proof;
use lucid_block_manager::ops::anchor_session::anchored_by;
use lucid_block_manager::ops::get_transaction::{TransactionStage, get_transaction};
use lucid_block_manager::ops::seal_block::seal_block;
use lucid_block_manager::ops::submit_transaction::{SubmitError, submit_transaction};
use lucid_block_manager::ops::validate_chain::validate_chain;
use lucid_block_manager::ops::validate_texts::ValidationRequest;
use lucid_block_manager::state as manager;
use lucid_core::anchor::Anchor;
use lucid_core::bundle::{AnchorInclusion, Producer};
use lucid_core::claim::Signed;
use lucid_core::digest::BlockHash;
use lucid_core::json::Json;
use lucid_core::session::SessionId;
use lucid_core::sign::PublicKey;
use lucid_core::time::Timestamp;
use lucid_core::tombstone;
use lucid_core::transaction::Transaction;
use lucid_core::words::many_do;
use lucid_data_chain::anchoring::{AnchorEngine, Confirmed, EngineError};
use lucid_data_chain::config::SESSION_TIMEOUT_SECONDS;
use lucid_data_chain::fact::KnownChain;
use lucid_data_chain::jobs::{JobKind, Jobs};
use lucid_data_chain::opened::{SERVICE, SIGNING_KEY};
use lucid_data_chain::ops::OpError;
use lucid_data_chain::ops::chunks::store_chunks::Keeping;
use lucid_data_chain::ops::proofs::deliver_anchors::{anchor_text, deliver_anchors};
use lucid_data_chain::ops::proofs::prove_session::{WantedProof, freely, prove_session};
use lucid_data_chain::ops::proofs::recognise_chain::{
    accept_other_chain, difference, known_chain, recognise_chain,
};
use lucid_data_chain::ops::proofs::verify_session::{
    SessionVerified, verify_session, verify_structure,
};
use lucid_data_chain::ops::sessions::append_stream::{StreamPiece, append_stream};
use lucid_data_chain::ops::sessions::create_session::{Created, NewSession, create_session};
use lucid_data_chain::ops::sessions::hold_session::{hold_session, release_session};
use lucid_data_chain::ops::sessions::list_sessions::{SessionFilter, get_session, list_sessions};
use lucid_data_chain::ops::sessions::list_tombstones::list_tombstones;
use lucid_data_chain::ops::sessions::read_session::{SessionSource, StoredSession};
use lucid_data_chain::ops::sessions::remove_session::remove_session;
use lucid_data_chain::ops::sessions::seal_session::{SealRequest, seal_session};
use lucid_data_chain::ops::upkeep::collect_garbage::{
    GarbageRequest, GarbageStage, collect_garbage,
};
use lucid_data_chain::ops::upkeep::optimise::optimise;
use lucid_data_chain::ops::upkeep::scrub_store::{
    begin_round, note_scrub, scrub_state, scrub_stretch,
};
use lucid_data_chain::row::SessionName;
use lucid_data_chain::{Opened, reply};
use lucid_store::StoreError;
use lucid_store::contract::chain::{ChainStore, Stretch};
use lucid_store::files::audit::audit;
use lucid_store::files::chain;
use lucid_store::files::chain::is_of_every_id;
use lucid_store::files::disk::Disk;
use lucid_store::files::folder::{
    OnlyRead, Options, STORE, STORE_TITLE, copy_name, is_store, parse_label,
};
use lucid_store::vault::Vault;
use parking_lot::Mutex;

use super::{Begun, Filling, Findings, KeptPart, Place, Wish, reading};
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
    /// Why anchors were not delivered, by session.
    undelivered: Mutex<BTreeMap<SessionId, String>>,
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
    let (root_key_file, passphrase) = home.given_to(&chain_folder(home));
    Options {
        service: CHAIN_FOLDER,
        signing_key: "block",
        root_key_file,
        passphrase,
        ..options(home, owner, now, false, true)
    }
}

/// How a folder of the chain is opened, whoever opens it.
pub fn manager_options(home: &Home, owner: &str, folder: &Path) -> manager::Options {
    let (root_key_file, passphrase) = home.given_to(folder);
    manager::Options {
        owner: owner.to_owned(),
        create: false,
        root_key_file,
        passphrase,
        blocks: home.blocks.clone(),
        ..manager::Options::default()
    }
}

/// How the folder of sessions is opened.
pub fn options(home: &Home, owner: &str, now: Timestamp, create: bool, encrypt: bool) -> Options {
    let (root_key_file, passphrase) = home.given_to(&data_folder(home));
    Options {
        service: SERVICE,
        signing_key: SIGNING_KEY,
        create,
        encrypt,
        root_key_file,
        passphrase,
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
        let (root, options) = (data_folder(home), options(home, &owner, now, create, encrypt));
        let data = reading::open(
            home.reading,
            || Opened::open(&root, &options),
            |to_read| Opened::read(&root, &options, to_read),
            |error| Some(error),
        )?;
        let undelivered = Mutex::default();
        Ok(Self { data, home: home.clone(), owner, now, encrypt, undelivered })
    }

    fn chain(&self, create: bool) -> anyhow::Result<manager::Opened> {
        if create {
            self.chain_is_at_hand()?;
        }
        let folder = chain_folder(&self.home);
        let options = manager::Options {
            create,
            encrypt: self.encrypt && self.data.vault.sealer().is_encrypted(),
            ..manager_options(&self.home, &self.owner, &folder)
        };
        Ok(reading::open(
            self.home.reading,
            || manager::open(&folder, &options, self.now),
            |to_read| manager::read(&folder, &options, self.now, to_read),
            manager::OpenError::store,
        )?)
    }

    /// Whether a chain may be made if there is none: not where this store's anchors are in one already.
    pub fn chain_is_at_hand(&self) -> anyhow::Result<()> {
        let folder = chain_folder(&self.home);
        if is_store(&folder)? {
            return Ok(());
        }
        let Opened { vault, key, .. } = &self.data;
        match known_chain(vault, &key.public())? {
            None => Ok(()),
            Some(known) => {
                anyhow::bail!(
                    "{} is no block-manager's: {}",
                    folder.display(),
                    difference(&known, None)
                )
            }
        }
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
        let found = audit(disk, Some(opened.vault.sealer()), opened.store, None, progress)?;
        findings.records += found.records;
        findings.bytes += found.plain_bytes;
        let suspects =
            found.damage.iter().filter_map(|damage| opened.vault.place_of(damage)).collect();
        let mut damage: Vec<String> =
            found.damage.iter().map(|damage| format!("{name}/{damage}")).collect();
        for known in opened.damage {
            let known = format!("{name}/{known}");
            if !damage.contains(&known) {
                damage.push(known);
            }
        }
        findings.damage.extend(damage);
        findings.faults.extend(found.unopened.iter().map(|record| format!("{name}/{record}")));
        findings.unknown_files.extend(found.unknown.iter().map(|file| format!("{name}/{file}")));
        findings.not_checked.extend(found.not_checked.iter().map(|what| format!("{name}: {what}")));
        Ok(suspects)
    }
}

/// What the audit of a folder has to know from whoever opened it.
struct FolderFacts<'a> {
    store: [u8; 16],
    vault: &'a Vault,
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

    fn append(
        &self,
        id: &SessionId,
        piece: StreamPiece<'_>,
        wish: Wish,
    ) -> anyhow::Result<Appended> {
        let Opened { vault, locks, .. } = &self.data;
        let appended =
            append_stream(vault, locks, self.keeping(wish), crate::cmd::moment(), id, piece)?;
        Ok(Appended {
            offset: appended.offset,
            root: appended.root,
            root_offset: appended.root_offset,
            chunk_count: appended.chunk_count,
        })
    }

    fn kept(
        &self,
        id: &SessionId,
        visit: &mut dyn FnMut(KeptPart<'_>) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        const PAGE: usize = 1_000;
        let source = StoredSession::open_live(&self.data.vault, &self.data.locks, id)?;
        let content = source.shape().content_bytes;
        let mut next = 0;
        loop {
            let references = source.references(next, PAGE)?;
            let Some(last) = references.last() else { break };
            next = last.index + 1;
            // Behind the content stand pages.
            for reference in references.iter().filter(|reference| reference.offset < content) {
                if !visit(KeptPart::Chunk(reference.chunk, u64::from(reference.length)))? {
                    return Ok(());
                }
            }
        }
        let tail = source.tail(0..source.tail_bytes())?;
        if !tail.is_empty() {
            visit(KeptPart::Bytes(&tail))?;
        }
        Ok(())
    }

    fn store(&self) -> anyhow::Result<Option<String>> {
        Ok(Some(self.data.store_id()))
    }

    fn seal(&self, id: &SessionId, request: &SealRequest) -> anyhow::Result<()> {
        let Opened { vault, locks, key, .. } = &self.data;
        let wish = Wish { compression: Default::default(), encrypt: true };
        seal_session(vault, locks, key, self.keeping(wish), crate::cmd::moment(), id, request)?;
        Ok(())
    }

    fn may_anchor(&self, new: Option<&SessionId>) -> anyhow::Result<()> {
        self.chain_is_at_hand()?;
        let is_there = is_store(&chain_folder(&self.home))?;
        let Some(id) = new.filter(|_| is_there) else { return Ok(()) };
        let is_sealed = match get_session(&self.data.vault, id) {
            Ok(session) => session.sealed.is_some(),
            Err(OpError::NoSession(_)) => false,
            // Whoever begins it is told.
            Err(_) => return Ok(()),
        };
        if is_sealed {
            return Ok(());
        }
        let chain = self.chain(false)?;
        let own = self.data.key.public();
        let taken = anchored_by(chain.chain.as_ref(), id, &own)?;
        chain.close()?;
        match taken {
            None => Ok(()),
            Some(taken) => anyhow::bail!(
                "session {id} is anchored in block {} already, with the root {}, by this store, which \
                 does not have it any more: data-chain/ is an older copy, so put the newer one back, or \
                 choose another id",
                taken.height,
                taken.root
            ),
        }
    }

    fn anchor(&self, id: &SessionId) -> anyhow::Result<Session> {
        let chain = self
            .chain(true)
            .with_context(|| format!("session {id} is sealed, but not anchored yet"))?;
        let Opened { vault, key, .. } = &self.data;
        let delivered = deliver_anchors(vault, &key.public(), &Embedded { chain: &chain })?;
        // Of the session itself it is the error.
        let others = delivered.failed.iter().filter(|(failed, _)| failed != id);
        *self.undelivered.lock() =
            others.map(|(failed, why)| (failed.clone(), why.to_string())).collect();
        chain.close()?;
        let session = self.session(id)?;
        let is_anchored = session.anchor.as_ref().is_some_and(|at| at.block_index.is_some());
        // One that failed before its turn came may have kept it from being delivered.
        let why = delivered.failed.iter().find(|(failed, _)| failed == id);
        let why = why.or(delivered.failed.last()).filter(|_| !is_anchored);
        match why {
            Some((_, why)) => anyhow::bail!("session {id} is sealed, but not anchored yet: {why}"),
            None => Ok(session),
        }
    }

    fn undelivered(&self) -> Vec<String> {
        let failed = std::mem::take(&mut *self.undelivered.lock());
        let said = |(id, why)| format!("session {id} is sealed, but not anchored yet: {why}");
        failed.into_iter().map(said).collect()
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
        let Opened { vault, key, .. } = &self.data;
        let delivered = deliver_anchors(vault, &key.public(), &Embedded { chain: &chain })?;
        chain.close()?;
        // An anchor that waits for itself alone says nothing of tombstones.
        let is_left = |(id, why): &&(SessionId, EngineError)| {
            !why.is_of_one() || matches!(get_session(vault, id), Err(OpError::Removed(_)))
        };
        match delivered.failed.iter().find(is_left) {
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
        // Only ages are asked of the chain.
        let chain = (request.keep_days > 0 && !request.dry_run)
            .then(|| self.chain(true))
            .transpose()
            .context(
                "sessions have the age that the chain gives them, and that cannot be opened",
            )?;
        let engine = chain.as_ref().map(|chain| Embedded { chain });
        let engine = engine.as_ref().map(|engine| engine as &dyn AnchorEngine);
        let mut watch = |stage: GarbageStage, done, total| {
            progress(stage.as_str(), done, total);
            true
        };
        let garbage = collect_garbage(vault, locks, key, self.now, engine, &request, &mut watch)?;
        if let Some(chain) = chain {
            chain.close()?;
        }
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
        let progress = Jobs::default().show(JobKind::Scrub);
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

    fn prove(&self, id: &SessionId, wanted: &WantedProof) -> anyhow::Result<Vec<u8>> {
        Ok(prove_session(&self.data.vault, id, wanted, &freely)?)
    }

    fn verify_session(
        &self,
        id: &SessionId,
        progress: &(dyn Fn(u64) + Sync),
    ) -> anyhow::Result<Findings> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let verified = verify_session(&self.data.vault, id, threads, &|done| {
            progress(done);
            true
        })?;
        let mut findings = findings(id, verified);
        if self.is_from_elsewhere(id)? {
            findings.not_checked.push(in_another_chain(id));
        } else if let Some(chain) = self.chain_to_verify(false, &mut findings)? {
            let earlier = self.earlier_chains(&mut findings)?;
            let chains = Chains { newest: Some(&chain), earlier };
            self.verify_anchor(&chains, id, &mut findings)?;
            chains.close_earlier()?;
            chain.close()?;
        }
        Ok(findings)
    }

    fn verify_all(&self, progress: &(dyn Fn(u64, u64) + Sync)) -> anyhow::Result<Findings> {
        let mut all = Findings::default();
        let disk: Arc<dyn Disk> = self.data.folder.disk.clone();
        let facts = FolderFacts {
            store: self.data.folder.store,
            vault: &self.data.vault,
            damage: &self.data.damage(),
        };
        let suspects = self.verify_folder(&disk, SERVICE, &mut all, &facts, progress)?;
        let mut ids = Vec::new();
        let mut recorded_here = 0;
        // One list or session that cannot be read does not keep the rest from being looked at.
        let listed = self.sessions(&SessionFilter::default(), &mut |session| {
            let id = session.session_id.parse::<SessionId>()?;
            recorded_here += usize::from(!self.is_from_elsewhere(&id).unwrap_or(false));
            ids.push(id);
            Ok(())
        });
        if let Err(error) = listed {
            all.faults.push(format!("not every session could be found: {error:#}"));
        }
        let chain = self.chain_to_verify(recorded_here < ids.len(), &mut all)?;
        if let Some(chain) = &chain {
            self.verify_chain(CHAIN_FOLDER, chain, self.now, &mut all)?;
        }
        let chains = Chains { earlier: self.earlier_chains(&mut all)?, newest: chain.as_ref() };
        for (folder, earlier) in &chains.earlier {
            self.verify_earlier(folder, earlier, &mut all)?;
        }
        for id in &ids {
            all.sessions += 1;
            let mut checked = || {
                let found = findings(id, verify_structure(&self.data.vault, id, &suspects)?);
                all.faults.extend(found.faults);
                all.not_checked.extend(found.not_checked);
                self.verify_anchor(&chains, id, &mut all)
            };
            if let Err(error) = checked() {
                all.faults.push(format!("session {id} could not be checked: {error:#}"));
            }
        }
        let listed = self.tombstones(&mut |tombstone| {
            all.faults.extend(tombstone_fault(&tombstone, &chains));
            Ok(())
        });
        if let Err(error) = listed {
            all.faults.push(format!("not every tombstone could be found: {error:#}"));
        }
        chains.close_earlier()?;
        if let Some(chain) = chain {
            self.verify_copies(&chain, &mut all)?;
            chain.close()?;
        }
        Ok(all)
    }

    fn damage(&self) -> Vec<String> {
        self.data.damage().iter().map(|damage| format!("{SERVICE}/{damage}")).collect()
    }

    fn loss(&self) -> Option<String> {
        self.data.vault.loss()
    }

    fn only_read(&self) -> Option<&OnlyRead> {
        self.data.folder.only_read()
    }

    fn own_folder(&self) -> Option<PathBuf> {
        Some(self.home.data.clone())
    }

    fn close(self: Box<Self>) -> anyhow::Result<()> {
        Ok(self.data.close()?)
    }
}

impl Local {
    /// The chain, where there is one. That there is none is a fault only if something here is in one.
    fn chain_to_verify(
        &self,
        has_mirrored: bool,
        all: &mut Findings,
    ) -> anyhow::Result<Option<manager::Opened>> {
        let folder = chain_folder(&self.home);
        // An empty folder is where a disk is to be mounted.
        let is_empty = std::fs::read_dir(&folder).map_or(true, |mut found| found.next().is_none());
        if is_empty && !is_store(&folder)? {
            match self.chain_is_at_hand() {
                Err(error) => all.faults.push(format!("{error:#}")),
                Ok(()) if has_mirrored => {
                    all.not_checked
                        .push("the chain: it is where the sessions were recorded".into());
                }
                Ok(()) => all.not_checked.push("the chain: nothing here was anchored yet".into()),
            }
            return Ok(None);
        }
        match self.chain(false) {
            Ok(chain) => Ok(Some(chain)),
            Err(error) => {
                all.faults.push(format!("the chain cannot be opened: {error:#}"));
                Ok(None)
            }
        }
    }

    /// The chains that the one in place took the place of, by their folders.
    fn earlier_chains(
        &self,
        all: &mut Findings,
    ) -> anyhow::Result<Vec<(PathBuf, manager::Opened)>> {
        let mut earlier = Vec::new();
        for folder in lucid_block_manager::anew::earlier(&chain_folder(&self.home))? {
            let options = manager::Options {
                create: false,
                blocks: None,
                ..manager_options(&self.home, &self.owner, &folder)
            };
            let opened = reading::open(
                self.home.reading,
                || manager::open(&folder, &options, self.now),
                |to_read| manager::read(&folder, &options, self.now, to_read),
                manager::OpenError::store,
            );
            match opened {
                Ok(opened) => earlier.push((folder, opened)),
                Err(error) => all
                    .faults
                    .push(format!("the chain in {} cannot be opened: {error:#}", folder.display())),
            }
        }
        Ok(earlier)
    }

    /// Verifies a chain that ended like the one in place. It ended where its clock was ahead, so it is judged
    /// by that.
    fn verify_earlier(
        &self,
        folder: &Path,
        opened: &manager::Opened,
        all: &mut Findings,
    ) -> anyhow::Result<()> {
        let ended = match opened.chain.tip()? {
            Some(tip) => opened.chain.record(tip.height).ok().flatten(),
            None => None,
        };
        let ended = ended.and_then(|stored| stored.record.entry.time().ok());
        let now = ended.map_or(self.now, |ended| ended.max(self.now));
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        self.verify_chain(&name, opened, now, all)
    }

    /// Whether the two folders are of one time. A copy of either that was put back beside the newer other
    /// one is sound in itself; what the other one knows of it tells.
    fn verify_copies(&self, opened: &manager::Opened, all: &mut Findings) -> anyhow::Result<()> {
        let Opened { vault, key, .. } = &self.data;
        let own = key.public();
        if let Err(error) = recognise_chain(vault, &own, &Embedded { chain: opened })? {
            all.faults.push(error.to_string());
        }
        let mut older = OlderCopy::default();
        every_kept(opened.chain.as_ref(), &mut |height, transaction| {
            if !is_signed_by(transaction, &own) {
                return Ok(());
            }
            if let Ok(signed) = Signed::<Anchor>::parse(transaction) {
                let (id, root) = (&signed.claim.session_id, signed.claim.merkle_root);
                older.note(match get_session(vault, id) {
                    Ok(session) => match session.sealed {
                        Some(sealed) if sealed.root == root => None,
                        Some(sealed) => Some(format!(
                            "session {id} has two roots: block {height} anchors it with {root}, and \
                             data-chain/ has it with {}",
                            sealed.root
                        )),
                        None => Some(format!(
                            "block {height} anchors session {id} with the root {root}, and in \
                             data-chain/ it is not sealed"
                        )),
                    },
                    Err(OpError::Removed(tombstone)) if tombstone.root == root => None,
                    Err(OpError::Removed(tombstone)) => Some(format!(
                        "session {id} has two roots: block {height} anchors it with {root}, and \
                         data-chain/ removed it with {}",
                        tombstone.root
                    )),
                    Err(OpError::NoSession(_)) => Some(format!(
                        "block {height} anchors session {id} with the root {root}, and data-chain/ does \
                         not have it"
                    )),
                    Err(error) => return Err(error.into()),
                });
            } else if let Ok(signed) = Signed::<tombstone::Tombstone>::parse(transaction) {
                let id = &signed.claim.session_id;
                older.note(match get_session(vault, id) {
                    Ok(_) | Err(OpError::NoSession(_)) => Some(format!(
                        "block {height} says that session {id} was removed, and data-chain/ does not \
                         know of it"
                    )),
                    Err(OpError::Removed(_)) => None,
                    Err(error) => return Err(error.into()),
                });
            }
            Ok(())
        })?;
        older.report(all);
        Ok(())
    }

    /// Reads every byte of the chain's folder, and validates every block by the six rules.
    fn verify_chain(
        &self,
        folder: &str,
        opened: &manager::Opened,
        now: Timestamp,
        all: &mut Findings,
    ) -> anyhow::Result<()> {
        let facts =
            FolderFacts { store: opened.store, vault: &opened.vault, damage: &opened.damage() };
        self.verify_folder(&opened.disk, folder, all, &facts, &|_, _| {})?;
        for damage in chain::audit::audit(opened.disk.as_ref(), opened.store)? {
            let damage = format!("{folder}/{damage}");
            if !all.damage.contains(&damage) {
                all.damage.push(damage);
            }
        }
        // The chain's own report says more of what it leaves open than a store's owner asks here.
        let asked = ValidationRequest::default();
        let report = validate_chain(opened.chain.as_ref(), now, &asked, false, |_| {
            ControlFlow::Continue(())
        })?;
        all.blocks += report.blocks;
        all.faults.extend(report.missing.iter().map(|height| format!("block {height} is missing")));
        all.faults.extend(report.refused.iter().map(RefusedBlock::sentence));
        if let Some(more) = report.refused_count.checked_sub(report.refused.len() as u64)
            && more > 0
        {
            all.faults.push(many_do(more, "more block", "breaks rules", "break rules"));
        }
        Ok(())
    }

    /// Whether another recorder sealed a session, so that it came here by mirroring.
    fn is_from_elsewhere(&self, id: &SessionId) -> anyhow::Result<bool> {
        let text = anchor_text(&self.data.vault, &SessionName::of(self.data.vault.sealer(), id))?;
        let signed = Transaction::parse(text.as_bytes())
            .ok()
            .and_then(|transaction| Signed::<Anchor>::parse(&transaction).ok());
        Ok(signed.is_some_and(|signed| signed.key != self.data.key.public()))
    }

    /// Whether the block that a session says it is anchored in is in the chain.
    fn verify_anchor(
        &self,
        chains: &Chains<'_>,
        id: &SessionId,
        findings: &mut Findings,
    ) -> anyhow::Result<()> {
        if chains.newest.is_none() {
            return Ok(());
        }
        let session = get_session(&self.data.vault, id)?;
        let Some((index, hash)) = session.anchored else { return Ok(()) };
        if self.is_from_elsewhere(id)? {
            findings.not_checked.push(in_another_chain(id));
            return Ok(());
        }
        let fault = chains.block_fault(index, hash);
        let said = |fault| format!("session {id} is anchored in block {index}: {fault}");
        findings.faults.extend(fault.map(said));
        Ok(())
    }
}

fn in_another_chain(id: &SessionId) -> String {
    format!("session {id}: its block is in the chain where it was recorded")
}

/// What the chain knows of sessions that data-chain does not.
#[derive(Default)]
struct OlderCopy {
    found: Vec<String>,
    more: u64,
}

impl OlderCopy {
    /// So many are told one by one.
    const TOLD: usize = 100;

    fn note(&mut self, found: Option<String>) {
        match found {
            Some(found) if self.found.len() < Self::TOLD => self.found.push(found),
            Some(_) => self.more += 1,
            None => {}
        }
    }

    fn report(self, all: &mut Findings) {
        if !self.found.is_empty() {
            all.faults.push(
                "data-chain/ is an older copy than the chain beside it, which this store itself wrote: \
                 put the newer one back"
                    .into(),
            );
        }
        all.faults.extend(self.found);
        if self.more > 0 {
            all.faults.push(format!("{} more of these", self.more));
        }
    }
}

/// Every transaction that is kept for ever, anchors and tombstones, with its height. What cannot be read
/// was named by whoever judged the blocks.
fn every_kept(
    chain: &dyn ChainStore,
    visit: &mut dyn FnMut(u64, &Transaction) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    const STRETCH: (usize, usize) = (1_024, 8 << 20);
    let Some(tip) = chain.tip()? else { return Ok(()) };
    let mut from = 0;
    while from <= tip.height {
        let stretch = Stretch { from, blocks: STRETCH.0, bytes: STRETCH.1 };
        let records = match chain.records(stretch) {
            Ok(records) => records,
            Err(StoreError::Damaged(_)) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        for stored in &records {
            for kept in &stored.record.anchors {
                visit(stored.record.entry.index, &kept.transaction)?;
            }
        }
        from += (records.len() as u64).max(1);
    }
    Ok(())
}

/// Whether a transaction names this key; its signature was looked at with its block.
fn is_signed_by(transaction: &Transaction, key: &PublicKey) -> bool {
    let named = transaction.to_json();
    named.get("public_key").and_then(Json::as_text) == Some(key.to_string().as_str())
}

/// The chain of a store, and those whose place it took.
struct Chains<'a> {
    newest: Option<&'a manager::Opened>,
    earlier: Vec<(PathBuf, manager::Opened)>,
}

impl Chains<'_> {
    /// Why a block that something is said to be in is in none of them.
    fn block_fault(&self, index: u64, hash: BlockHash) -> Option<String> {
        let fault = block_fault(self.newest?, index, hash)?;
        let is_in = |chain| block_fault(chain, index, hash).is_none();
        (!self.earlier.iter().any(|(_, chain)| is_in(chain))).then_some(fault)
    }

    fn close_earlier(self) -> Result<(), StoreError> {
        self.earlier.into_iter().try_for_each(|(_, chain)| chain.close())
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
fn tombstone_fault(tombstone: &Tombstone, chains: &Chains<'_>) -> Option<String> {
    let id = &tombstone.session_id;
    let signed = Transaction::parse(tombstone.transaction.as_bytes())
        .map_err(|fault| fault.to_string())
        .and_then(|tx| {
            Signed::<tombstone::Tombstone>::parse(&tx).map_err(|fault| fault.to_string())
        });
    match signed {
        Err(fault) => return Some(format!("the tombstone of session {id}: {fault}")),
        Ok(signed) if signed.claim.session_id.as_str() != id => {
            return Some(format!("the tombstone of session {id} is another session's"));
        }
        Ok(_) => {}
    }
    let (index, hash) = tombstone.block_index.zip(tombstone.block_hash)?;
    let fault = chains.block_fault(index, hash)?;
    Some(format!("the tombstone of session {id} is in block {index}: {fault}"))
}

/// The chain of this process as what anchors sessions.
struct Embedded<'a> {
    chain: &'a manager::Opened,
}

fn unavailable(error: impl std::fmt::Display) -> EngineError {
    EngineError::Unavailable(error.to_string())
}

/// What cannot be read of one anchor's block is damage of that one.
fn unread(error: StoreError) -> EngineError {
    match error {
        StoreError::Damaged(damage) if !is_of_every_id(&damage) => {
            EngineError::Damaged(damage.to_string())
        }
        error => unavailable(error),
    }
}

impl AnchorEngine for Embedded<'_> {
    fn submit(&self, text: &str) -> Result<(), EngineError> {
        let manager::Opened { vault, chain, key, admissions, sealing, role, .. } = self.chain;
        if self.chain.role_is_lost {
            return Err(unavailable(manager::OpenError::RoleLost));
        }
        if *role == Role::Follower {
            return Err(unavailable(
                "the chain in the folder follows another one, so its blocks are made elsewhere: \
                 archive through a data-chain service, or make the chain an authority's with \
                 `lucid chain promote`",
            ));
        }
        let now = crate::cmd::now();
        let submitted = submit_transaction(vault, chain.as_ref(), admissions, now, text.as_bytes());
        let submitted = submitted.map_err(|error| match error {
            SubmitError::Admission(_)
            | SubmitError::Conflict { .. }
            | SubmitError::OtherRoot { .. } => EngineError::Refused(error.to_string()),
            SubmitError::Store(error) => unread(error),
            _ => unavailable(error),
        })?;
        // Nobody else fills the pool, so there is nothing to wait for.
        while seal_block(vault, chain.as_ref(), sealing, key, now).map_err(unavailable)?.left > 0 {}
        let found = get_transaction(vault, chain.as_ref(), &submitted.found.id);
        match found.map_err(unread)?.map(|found| found.status) {
            Some(TransactionStage::Failed { reason, .. }) => Err(EngineError::Refused(format!(
                "transaction {} failed: {reason}",
                submitted.found.id
            ))),
            _ => Ok(()),
        }
    }

    fn keeps(&self, known: &KnownChain) -> Result<bool, EngineError> {
        // Its hash is all that is needed: the block itself may be damaged.
        let height = self.chain.chain.height_of(&known.block_hash).map_err(unavailable)?;
        Ok(height == Some(known.block_index))
    }

    fn genesis(&self) -> Result<Option<BlockHash>, EngineError> {
        // Known without reading the block, but for a chain whose first block was made just now.
        if let Some(known) = genesis(self.chain.vault.index()).map_err(unavailable)? {
            return Ok(Some(known));
        }
        Ok(self.chain.chain.record(0).map_err(unavailable)?.map(|stored| stored.record.entry.hash))
    }

    fn confirmed(&self, transaction_id: &str) -> Result<Option<Confirmed>, EngineError> {
        let proof = anchor_proof(self.chain.chain.as_ref(), transaction_id).map_err(unread)?;
        Ok(proof.map(|proof| Confirmed {
            block_index: proof.block_index,
            block_hash: proof.block_hash,
            proof: AnchorInclusion {
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

/// Whose own folder `--data` itself is, where it is none that holds those of both services: `LUCID_DATA_DIR`
/// of one.
fn own_folder_of(home: &Home) -> Option<String> {
    [STORE.to_owned(), copy_name(STORE)].iter().find_map(|name| {
        let text = std::fs::read_to_string(home.data.join(name)).ok()?;
        let label = parse_label(&text, STORE_TITLE).ok()?;
        label.get("service").map(|service| service.to_string())
    })
}

/// Rebuilds the indexes of both folders, or of the one service whose own folder is named; says what damage
/// was found on the way. `progress` hears how many bytes of the data-chain's log, of how many, are read.
pub fn reindex(
    home: &Home,
    now: Timestamp,
    accept_loss: bool,
    other_chain: bool,
    progress: &dyn Fn(u64, u64),
) -> anyhow::Result<Vec<String>> {
    let owner = "`lucid reindex`";
    let own = own_folder_of(home);
    let is_own = |service: &str| own.as_deref() == Some(service);
    let mut damage = Vec::new();
    if is_own(CHAIN_FOLDER) {
        anyhow::ensure!(
            !other_chain,
            "--accept-other-chain is for a data-chain, and {} is a block-manager's: name the folder that \
             has the sessions",
            home.data.display()
        );
    } else {
        let folder = if is_own(SERVICE) { home.data.clone() } else { data_folder(home) };
        let (root_key_file, passphrase) = home.given_to(&folder);
        let options =
            Options { root_key_file, passphrase, ..options(home, owner, now, false, true) };
        let data = Opened::reindex(&folder, &options, accept_loss, progress)?;
        damage.extend(data.damage().iter().map(|damage| format!("{SERVICE}/{damage}")));
        if other_chain {
            accept_other_chain(&data.vault)?;
        }
        data.close()?;
    }
    let folder = if is_own(CHAIN_FOLDER) { home.data.clone() } else { chain_folder(home) };
    if !is_own(SERVICE) && folder.exists() {
        let options = manager::Options { accept_loss, ..manager_options(home, owner, &folder) };
        let chain = manager::reindex(&folder, &options, now)?;
        damage.extend(chain.damage().iter().map(|damage| format!("{CHAIN_FOLDER}/{damage}")));
        if chain.role_is_lost {
            damage.push(manager::OpenError::RoleLost.to_string());
        }
        chain.close()?;
    }
    Ok(damage)
}
