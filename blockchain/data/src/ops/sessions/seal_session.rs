//! Ends a session: its manifest, its root and the transaction that anchors it, in one commit.

use std::collections::BTreeMap;

use lucid_core::anchor::Anchor;
use lucid_core::claim::Claim as _;
use lucid_core::digest::{ChunkId, ManifestHash};
use lucid_core::manifest::{Appendix, AppendixKind, End, Manifest, Version};
use lucid_core::session::{Layout, SessionId};
use lucid_core::sign::SigningKey;
use lucid_core::time::Timestamp;
use lucid_core::words::many;
use lucid_store::clock::Moment;
use lucid_store::codec::Packer;
use lucid_store::contract::index::Index;
use lucid_store::crypt::Cipher;
use lucid_store::vault::Vault;
use lucid_store::vault::committer::Submission;

use crate::fact::{Fact, Referenced, Sealed};
use crate::figures::STAGES;
use crate::opened::SessionLocks;
use crate::ops::audit::refuse_reserved;
use crate::ops::chunks::put_chunk::gaps;
use crate::ops::chunks::store_chunks::StorageOptions;
use crate::ops::look_again::{at_hand, look_again};
use crate::ops::sessions::add_references::open_for_writing;
use crate::ops::sessions::append_stream::cut_tail;
use crate::ops::sessions::create_session::check_metadata;
use crate::ops::sessions::get_session::get_session;
use crate::ops::sessions::make_timeline::make_timeline;
use crate::ops::sessions::read_session::{StoredSession, appendix_start, reference_at};
use crate::ops::{Clash, OpError, fact_records};
use crate::row::{self, SessionName, SessionRow};

/// Stretches of missing chunks that a refusal lists.
const GAPS_LISTED: usize = 1_000;

/// How a session is to end.
#[derive(Debug, Clone)]
pub struct SealRequest {
    /// How many chunks the caller believes it has.
    pub expected_chunk_count: Option<u64>,
    /// When the caller believes it began: another caller may have begun it anew since.
    pub begun_at: Option<Timestamp>,
    /// Where its appendix is.
    pub appendix: Option<Appendix>,
    /// What is to be kept with it besides what its beginning said.
    pub metadata: BTreeMap<String, String>,
    /// How it ends.
    pub end: End,
    /// By how many microseconds its recorder's clock went back, if that was not said with any bytes.
    pub clock_back: u64,
}

impl Default for SealRequest {
    fn default() -> Self {
        Self {
            expected_chunk_count: None,
            begun_at: None,
            appendix: None,
            metadata: BTreeMap::new(),
            // All that the end of an input tells.
            end: End::Eof,
            clock_back: 0,
        }
    }
}

/// Seals a session. Sealing a sealed session changes nothing and answers as the first time.
pub fn seal_session(
    vault: &Vault,
    locks: &SessionLocks,
    key: &SigningKey,
    storage: StorageOptions,
    now: Moment,
    id: &SessionId,
    request: &SealRequest,
) -> Result<SessionRow, OpError> {
    refuse_reserved(id)?;
    seal_own(vault, locks, key, storage, now, id, request)
}

/// The same for a session that the service keeps itself.
pub(in crate::ops) fn seal_own(
    vault: &Vault,
    locks: &SessionLocks,
    key: &SigningKey,
    storage: StorageOptions,
    now: Moment,
    id: &SessionId,
    request: &SealRequest,
) -> Result<SessionRow, OpError> {
    let _held = locks.hold(id);
    STAGES.run("seal", || look_again(|| seal(vault, locks, key, storage, now, id, request)))
}

fn seal(
    vault: &Vault,
    locks: &SessionLocks,
    key: &SigningKey,
    storage: StorageOptions,
    moment: Moment,
    id: &SessionId,
    request: &SealRequest,
) -> Result<SessionRow, OpError> {
    let now = moment.wall;
    let name = SessionName::of(vault.cipher(), id);
    let session = get_session(vault, id)?;
    if request.begun_at.is_some_and(|begun| begun != session.started_at) {
        return Err(OpError::Conflict(
            Clash::Exists,
            format!(
                "somebody else has begun session {id} anew meanwhile, and what is in it is theirs"
            ),
        ));
    }
    if session.sealed.is_some() {
        check_sealed_count(vault, &session, request)?;
        return Ok(session);
    }
    // Where another caller seals it meanwhile, another look finds it sealed and answers with what it is.
    let overtaken = |error| match error {
        OpError::Conflict(Clash::Sealed, _) => OpError::Overtaken,
        error => error,
    };
    cut_tail(vault, storage, id).map_err(overtaken)?;
    let look = vault.look();
    let mut session = open_for_writing(&look, vault.cipher(), id).map_err(overtaken)?;
    if session.tail_bytes > 0 {
        return Err(OpError::Overtaken);
    }
    if session.pending > 0 {
        let gaps = gaps(vault, &name, &session, GAPS_LISTED)?;
        return Err(OpError::Gaps { session: id.clone(), gaps });
    }
    check_count(&session, session.chunk_count(), request)?;
    check_appendix(vault, &session, request)?;
    let mut metadata = session.metadata.clone();
    metadata.extend(request.metadata.clone());
    check_metadata(&metadata)?;

    let timeline = match request.appendix {
        Some(_) => Vec::new(),
        None => {
            let back = request.clock_back.max(locks.clock_back(id, &moment));
            make_timeline(vault, storage, (now, back), &name, &session)?
        }
    };
    // What is kept already can end, and be proved, on a disk that takes in nothing more.
    let mut submission = Submission::upkeep();
    let content_bytes = request.appendix.map_or(session.cut_bytes, |appendix| appendix.offset);
    let mut appendix = request.appendix;
    if !timeline.is_empty() {
        submission = refer_to(vault, &session, &timeline)?;
        let key = id.key();
        for (chunk, length) in timeline {
            session.take(&key, chunk, length);
        }
        let length = session.cut_bytes - content_bytes;
        appendix = Some(Appendix { kind: AppendixKind::Timeline, offset: content_bytes, length });
    }
    let ended_at = match (request.end, session.appended_at) {
        (End::Unterminated, Some(last)) => last,
        _ => now,
    };

    let _sealing = locks.hold_seal();
    let manifest = Manifest {
        version: Version::Two,
        session_id: id.clone(),
        user_id: session.user.clone(),
        started_at: session.started_at,
        ended_at: ended_at.max(session.started_at),
        layout: session.layout,
        public: session.secret.is_none(),
        chunk_profile: session.profile,
        chunk_count: session.chunk_count(),
        content_bytes,
        appendix,
        total_bytes: session.cut_bytes,
        merkle_root: session.root(),
        end: request.end,
        metadata,
        previous_manifest: last_manifest(&look, vault.cipher())?,
        source: session.source.clone(),
        terminal: session.terminal,
        retain_until: row::retention(&look, vault.cipher(), &name)?,
    };
    let invalid = |fault: &dyn std::fmt::Display| OpError::Invalid(fault.to_string());
    let text = manifest.to_text().map_err(|fault| invalid(&fault))?;
    let anchor = Anchor::of(&manifest, now)
        .map_err(|fault| invalid(&fault))?
        .sign(key)
        .map_err(|fault| invalid(&fault))?;
    let fact = Fact::Sealed(Sealed {
        session: id.clone(),
        manifest: text,
        anchor: anchor.text().to_owned(),
    });
    submission.facts.push(vault.fact(&mut Packer::new(), fact.encode())?);
    submission.rests_on = look.seen();
    vault.commit(submission).map_err(at_hand)?;
    locks.forget_clock(id);
    get_session(vault, id)
}

/// Makes stored pages the session's last chunks, in the commit that seals it: a session never has a
/// part of its timeline, nor one that more bytes could follow.
fn refer_to(
    vault: &Vault,
    session: &SessionRow,
    pages: &[(ChunkId, u32)],
) -> Result<Submission, OpError> {
    let requires =
        pages.iter().map(|(chunk, _)| vault.cipher().chunk_name(session.key_of(chunk))).collect();
    let facts = fact_records(vault, Referenced::at_end(session, pages))?;
    Ok(Submission { facts, requires, ..Submission::upkeep() })
}

/// A caller that seals again counts chunks as before, so without the timeline that sealing added.
fn check_sealed_count(
    vault: &Vault,
    session: &SessionRow,
    request: &SealRequest,
) -> Result<(), OpError> {
    let Some(sealed) = &session.sealed else { return Ok(()) };
    let added = session.layout == Layout::Raw && sealed.content_bytes < session.cut_bytes;
    if added && request.expected_chunk_count != Some(session.chunk_count()) {
        let source = StoredSession::open(vault, &session.id)?;
        let count = reference_at(&source, sealed.content_bytes)?.index;
        return check_count(session, count, request);
    }
    check_count(session, session.chunk_count(), request)
}

fn check_count(session: &SessionRow, count: u64, request: &SealRequest) -> Result<(), OpError> {
    match request.expected_chunk_count.filter(|expected| *expected != count) {
        Some(expected) => Err(OpError::Conflict(
            Clash::Next(count),
            format!("session {} has {}, not {expected}", session.id, many(count, "chunk")),
        )),
        None => Ok(()),
    }
}

/// A sealed session never changes, so an appendix that cannot be read later is refused now.
fn check_appendix(
    vault: &Vault,
    session: &SessionRow,
    request: &SealRequest,
) -> Result<(), OpError> {
    let id = &session.id;
    let wanted = match session.layout {
        Layout::Tree => AppendixKind::Catalogue,
        Layout::Raw => AppendixKind::Timeline,
    };
    match request.appendix {
        None if session.layout == Layout::Tree => {
            Err(OpError::Invalid(format!("session {id} is a tree and needs its catalogue")))
        }
        None => Ok(()),
        Some(appendix) if appendix.kind != wanted => Err(OpError::Invalid(format!(
            "session {id} is of layout {}; its appendix is a {}",
            session.layout.as_str(),
            wanted.as_str()
        ))),
        Some(appendix) => {
            let source = StoredSession::open(vault, id)?;
            let (starts, ends) = (appendix_start(&source)?, session.cut_bytes);
            if appendix.offset == starts && appendix.length == ends - starts {
                return Ok(());
            }
            Err(OpError::Invalid(format!(
                "the pages of session {id} are bytes {starts} to {ends}; the appendix must be them"
            )))
        }
    }
}

/// The manifest that was sealed last; the next one names it, so a missing session shows.
fn last_manifest(index: &dyn Index, cipher: &Cipher) -> Result<Option<ManifestHash>, OpError> {
    let key = row::last_manifest_key();
    let Some(value) = index.get(&key)? else { return Ok(None) };
    let bytes = cipher.decrypt_value(&key, value)?;
    Ok(bytes.first_chunk::<32>().map(|hash| ManifestHash::new(*hash)))
}
