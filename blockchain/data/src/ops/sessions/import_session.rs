//! Takes a session over from another store: the same id, secret, manifest, anchor and proof.
//!
//! It is called before the chunks are sent and again after: it begins what is not there, and seals what
//! is whole. Nothing that is handed in is believed: the chunks that are here must give the root that the
//! manifest names, the anchor must name both and be signed, and the proof must lead from it to its block.

use lucid_core::anchor::Anchor;
use lucid_core::block_merkle::verify_path;
use lucid_core::bundle::AnchorInclusion;
use lucid_core::claim::Signed;
use lucid_core::manifest::{Manifest, hash_of};
use lucid_core::record::BlockEntry;
use lucid_core::session::SessionId;
use lucid_core::transaction::Transaction;
use lucid_store::codec::Packer;
use lucid_store::contract::index::Look;
use lucid_store::crypt::Owner;
use lucid_store::vault::Vault;
use lucid_store::vault::committer::Submission;

use crate::fact::{Anchored, Fact, Sealed, Started};
use crate::opened::SessionLocks;
use crate::ops::look_again::look_again;
use crate::ops::proofs::deliver_anchors::anchor_text;
use crate::ops::sessions::create_session::{check_described, check_origin};
use crate::ops::sessions::export_session::Exported;
use crate::ops::sessions::get_session::{find_session, get_session};
use crate::ops::{Clash, OpError};
use crate::row::{SessionName, SessionRow};

/// Begins, seals and anchors a session as far as what is here allows; says how it is.
pub fn import_session(
    vault: &Vault,
    locks: &SessionLocks,
    id: &SessionId,
    given: &Exported,
) -> Result<SessionRow, OpError> {
    let _held = locks.hold(id);
    look_again(|| import(vault, locks, id, given))
}

fn import(
    vault: &Vault,
    locks: &SessionLocks,
    id: &SessionId,
    given: &Exported,
) -> Result<SessionRow, OpError> {
    let started = started(id, &given.started)?;
    let look = vault.look();
    let mut row = match find_session(&look, vault.cipher(), id) {
        Ok(row) => row,
        Err(OpError::NoSession(_)) => begin(vault, look, id, &started)?,
        Err(error) => return Err(error),
    };
    if !is_same(&row, &started) {
        return Err(OpError::Conflict(
            Clash::Exists,
            format!("session {id} is another one here: it began otherwise, or has another secret"),
        ));
    }
    let Some(sealed) = given.sealed.as_deref().map(|fact| sealed(id, fact)).transpose()? else {
        return Ok(row);
    };
    if row.sealed.is_none() {
        if row.chunk_count() != given.chunk_count {
            return Ok(row);
        }
        let _sealing = locks.hold_seal();
        let look = vault.look();
        check_sealed(&find_session(&look, vault.cipher(), id)?, &sealed)?;
        row = keep(vault, look, id, &Fact::Sealed(sealed.clone()))?;
    }
    let known = row.sealed.as_ref().map(|known| known.manifest_hash);
    if known != Some(hash_of(&sealed.manifest)) {
        return Err(OpError::Conflict(
            Clash::Exists,
            format!("session {id} is sealed here with other content"),
        ));
    }
    match given.anchored.as_deref().map(|fact| anchored(id, fact)).transpose()? {
        Some(anchored) if row.anchored.is_none() => {
            let name = SessionName::of(vault.cipher(), id);
            let look = vault.look();
            find_session(&look, vault.cipher(), id)?;
            check_anchored(&anchored, &anchor_text(vault, &name)?)?;
            keep(vault, look, id, &Fact::Anchored(anchored))
        }
        _ => Ok(row),
    }
}

fn keep(vault: &Vault, look: Look<'_>, id: &SessionId, fact: &Fact) -> Result<SessionRow, OpError> {
    let facts = vec![vault.fact(&mut Packer::new(), fact.encode())?];
    vault.commit(Submission { facts, rests_on: look.seen(), ..Submission::default() })?;
    get_session(vault, id)
}

fn begin(
    vault: &Vault,
    look: Look<'_>,
    id: &SessionId,
    started: &Started,
) -> Result<SessionRow, OpError> {
    check_described(&started.user, &started.metadata)?;
    check_origin(started.source.as_ref(), started.terminal)?;
    // An owner is what this store knows the session by, which no other store can tell.
    let owner = match started.owner.is_shared() {
        true => Owner::SHARED,
        false => Owner::new(vault.cipher().index_name(format!("copies of {id}").as_bytes())),
    };
    keep(vault, look, id, &Fact::Started(Started { owner, one_shot: false, ..started.clone() }))
}

fn is_same(row: &SessionRow, started: &Started) -> bool {
    let (ours, theirs) = (row.secret.as_ref(), started.secret.as_ref());
    ours.map(|secret| secret.as_bytes()) == theirs.map(|secret| secret.as_bytes())
        && (row.layout, row.profile) == (started.layout, started.profile)
        && (row.started_at, &row.user) == (started.started_at, &started.user)
}

fn invalid(what: &str, why: impl std::fmt::Display) -> OpError {
    OpError::Invalid(format!("{what}: {why}"))
}

fn decode(id: &SessionId, what: &str, fact: &[u8]) -> Result<Fact, OpError> {
    let fact = Fact::decode(fact).map_err(|fault| invalid(what, fault))?;
    let session = match &fact {
        Fact::Started(fact) => &fact.session,
        Fact::Sealed(fact) => &fact.session,
        Fact::Anchored(fact) => &fact.session,
        _ => return Err(invalid(what, "another fact is wanted there")),
    };
    if session == id { Ok(fact) } else { Err(invalid(what, "it is about another session")) }
}

fn started(id: &SessionId, fact: &[u8]) -> Result<Started, OpError> {
    match decode(id, "started", fact)? {
        Fact::Started(fact) => Ok(fact),
        _ => Err(invalid("started", "another fact is wanted there")),
    }
}

fn sealed(id: &SessionId, fact: &[u8]) -> Result<Sealed, OpError> {
    match decode(id, "sealed", fact)? {
        Fact::Sealed(fact) => Ok(fact),
        _ => Err(invalid("sealed", "another fact is wanted there")),
    }
}

fn anchored(id: &SessionId, fact: &[u8]) -> Result<Anchored, OpError> {
    match decode(id, "anchored", fact)? {
        Fact::Anchored(fact) => Ok(fact),
        _ => Err(invalid("anchored", "another fact is wanted there")),
    }
}

/// Whether the session that is here, with nothing behind its chunks, is the one that the manifest and
/// the anchor name.
fn check_sealed(row: &SessionRow, sealed: &Sealed) -> Result<(), OpError> {
    let manifest = Manifest::parse(sealed.manifest.as_bytes()).map_err(|f| invalid("sealed", f))?;
    let is_ours = manifest.session_id == row.id
        && manifest.merkle_root == row.root()
        && manifest.chunk_count == row.chunk_count()
        && manifest.total_bytes == row.cut_bytes
        && (row.tail_bytes, row.pending) == (0, 0)
        && (manifest.layout, manifest.chunk_profile) == (row.layout, row.profile)
        && manifest.public == row.secret.is_none()
        && (&manifest.user_id, manifest.started_at) == (&row.user, row.started_at)
        && (&manifest.source, manifest.terminal) == (&row.source, row.terminal);
    if !is_ours {
        return Err(invalid("sealed", "the manifest is not that of the session that is here"));
    }
    let text = Transaction::parse(sealed.anchor.as_bytes()).map_err(|f| invalid("sealed", f))?;
    let signed = Signed::<Anchor>::parse(&text).map_err(|fault| invalid("sealed", fault))?;
    let names_it = text.text() == sealed.anchor
        && signed.claim.session_id == row.id
        && signed.claim.merkle_root == manifest.merkle_root
        && signed.claim.manifest_hash == hash_of(&sealed.manifest);
    match names_it {
        true => Ok(()),
        false => Err(invalid("sealed", "the anchor names another root or manifest")),
    }
}

/// Whether the proof leads from this anchor to the block that is named.
fn check_anchored(anchored: &Anchored, anchor: &str) -> Result<(), OpError> {
    let proof =
        AnchorInclusion::decode(&anchored.proof).map_err(|fault| invalid("anchored", fault))?;
    let text = Transaction::parse(anchor.as_bytes()).map_err(|fault| invalid("anchored", fault))?;
    let entry = BlockEntry::parse(&proof.entry).map_err(|fault| invalid("anchored", fault))?;
    let (position, count) = (proof.position as usize, proof.count as usize);
    let leads = proof.transaction == anchor
        && verify_path(text.hash(), position, count, &proof.path) == Some(entry.merkle_root)
        && entry.computed_hash() == entry.hash
        && (entry.hash, entry.index) == (anchored.block_hash, anchored.block_index);
    match leads {
        true => Ok(()),
        false => Err(invalid("anchored", "the proof does not lead from the anchor to the block")),
    }
}
