//! Ends a session: its manifest, its root and the transaction that anchors it, in one commit.

use std::collections::BTreeMap;

use lucid_core::anchor::Anchor;
use lucid_core::digest::ManifestHash;
use lucid_core::manifest::{Appendix, AppendixKind, End, Manifest};
use lucid_core::session::{Layout, SessionId};
use lucid_core::sign::SigningKey;
use lucid_core::time::Timestamp;
use lucid_store::codec::Packer;
use lucid_store::committer::Submission;
use lucid_store::vault::Vault;

use super::OpError;
use super::add_references::open_for_writing;
use super::append_stream::cut_tail;
use super::create_session::check_metadata;
use super::list_sessions::get_session;
use super::read_session::{StoredSession, appendix_start};
use super::store_chunks::Keeping;
use crate::fact::{Fact, Sealed};
use crate::opened::SessionLocks;
use crate::row::{self, SessionName, SessionRow};

/// How a session is to end.
#[derive(Debug, Clone, Default)]
pub struct SealRequest {
    /// How many chunks the caller believes it has.
    pub expected_chunk_count: Option<u64>,
    /// Where its appendix is.
    pub appendix: Option<Appendix>,
    /// What is to be kept with it besides what its beginning said.
    pub metadata: BTreeMap<String, String>,
}

/// Seals a session. Sealing a sealed session changes nothing and answers as the first time.
pub fn seal_session(
    vault: &Vault,
    locks: &SessionLocks,
    key: &SigningKey,
    keeping: Keeping,
    now: Timestamp,
    id: &SessionId,
    request: &SealRequest,
) -> Result<SessionRow, OpError> {
    let _held = locks.hold(id);
    let name = SessionName::of(vault.sealer(), id);
    let load = || get_session(vault, id);
    let session = load()?;
    if session.sealed.is_some() {
        check_count(&session, request)?;
        return Ok(session);
    }
    cut_tail(vault, keeping, &name, &open_for_writing(vault, id)?)?;
    let session = load()?;
    check_count(&session, request)?;
    check_appendix(vault, &session, request)?;
    let mut metadata = session.metadata.clone();
    metadata.extend(request.metadata.clone());
    check_metadata(&metadata)?;

    let _sealing = locks.hold_seal();
    let manifest = Manifest {
        session_id: id.clone(),
        user_id: session.user.clone(),
        started_at: session.started_at,
        ended_at: now.max(session.started_at),
        layout: session.layout,
        public: session.secret.is_none(),
        chunk_profile: session.profile,
        chunk_count: session.chunk_count(),
        content_bytes: request.appendix.map_or(session.cut_bytes, |appendix| appendix.offset),
        appendix: request.appendix,
        total_bytes: session.cut_bytes,
        merkle_root: session.root(),
        end: End::Complete,
        metadata,
        previous_manifest: last_manifest(vault)?,
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
    let fact = vault.fact(&mut Packer::new(), fact.encode())?;
    vault.commit(Submission { facts: vec![fact], ..Submission::default() })?;
    load()
}

fn check_count(session: &SessionRow, request: &SealRequest) -> Result<(), OpError> {
    let count = session.chunk_count();
    match request.expected_chunk_count.filter(|expected| *expected != count) {
        Some(expected) => Err(OpError::Conflict(format!(
            "session {} has {count} chunks, not {expected}",
            session.id
        ))),
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
fn last_manifest(vault: &Vault) -> Result<Option<ManifestHash>, OpError> {
    let Some(value) = vault.index().get(&row::last_manifest_key())? else { return Ok(None) };
    let bytes = vault.sealer().open_value(value)?;
    Ok(bytes.first_chunk::<32>().map(|hash| ManifestHash::new(*hash)))
}
