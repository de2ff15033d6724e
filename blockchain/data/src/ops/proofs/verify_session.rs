//! Verifies a session: every chunk is read and hashed, the tree is built again, and what the manifest
//! and the anchor say is held against it.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};

use lucid_core::anchor::Anchor;
use lucid_core::claim::Signed;
use lucid_core::digest::SessionRoot;
use lucid_core::elsewhere::NOT_PROVED;
use lucid_core::manifest::{self, Manifest};
use lucid_core::session::{Leaf, SessionId, salt, session_key};
use lucid_core::transaction::Transaction;
use lucid_core::tree::{Blake3Tree, Frontier};
use lucid_store::codec::Packer;
use lucid_store::threads::run_on;
use lucid_store::vault::Vault;
use parking_lot::Mutex;

use crate::ops::OpError;
use crate::ops::proofs::deliver_anchors::anchor_text;
use crate::ops::proofs::prove_session::{anchored, manifest_text, named};
use crate::ops::sessions::read_session::StoredSession;
use crate::row::{self, Reference, SessionName, SessionRow};
use crate::source::SessionSource as _;

/// What was verified, and what was found.
#[derive(Debug, Clone, Default)]
pub struct SessionVerified {
    /// Chunks whose bytes were read and match.
    pub chunks_verified: u64,
    /// Bytes of those chunks.
    pub bytes_verified: u64,
    /// Everything that is wrong, as sentences.
    pub faults: Vec<String>,
    /// The chunks among it.
    pub failed: Vec<FailedChunk>,
    /// The root of the tree that was built again; `None` if references are missing.
    pub root: Option<SessionRoot>,
    /// What was not verified, and why.
    pub not_checked: Vec<String>,
}

impl SessionVerified {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.faults.is_empty()
    }
}

/// A chunk that cannot be read, or is another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedChunk {
    /// Which one.
    pub reference: Reference,
    /// What is wrong with it.
    pub why: String,
}

/// References a worker takes at a time.
const BATCH: usize = 64;

/// Verifies everything that belongs to a session. `progress` is told how many bytes are done, and says
/// whether to go on; otherwise it is abandoned, and nothing is known.
pub fn verify_session(
    vault: &Vault,
    id: &SessionId,
    threads: usize,
    progress: &(dyn Fn(u64) -> bool + Sync),
) -> Result<SessionVerified, OpError> {
    let (name, session) = named(vault, id)?;
    let mut verified = verify_chunks(vault, id, threads, progress)?;
    verify_tree(vault, &session, &mut verified)?;
    if session.sealed.is_none() {
        verify_open(vault, &name, &mut verified)?;
        verified
            .not_checked
            .push("the session is not sealed: it has no root to hold against".into());
    } else {
        verify_manifest(vault, &name, &session, &mut verified)?;
    }
    Ok(verified)
}

/// A session that was sealed with a manifest that cannot be read counts as open; that is a fault, and named.
/// One that was sealed, or removed, since it was looked at is none.
fn verify_open(
    vault: &Vault,
    name: &SessionName,
    verified: &mut SessionVerified,
) -> Result<(), OpError> {
    if vault.index().get(&name.manifest_key())?.is_none() {
        return Ok(());
    }
    let now = row::session(vault.index(), vault.cipher(), name)?;
    if now.is_none_or(|session| session.sealed.is_some()) {
        return Ok(());
    }
    let why = match Manifest::parse(manifest_text(vault, name)?.as_bytes()) {
        Ok(_) => "it can be read by now, and `lucid reindex` takes it in".to_owned(),
        Err(fault) => fault.to_string(),
    };
    verified.faults.push(format!("the manifest that it was sealed with: {why}"));
    Ok(())
}

/// Verifies everything about a session but the bytes of its chunks, for a caller that has read every
/// record of the store already. `suspects` are the places where that found damage: chunk records by
/// segment and offset. A chunk in such a place is read after all, which quarantines it.
pub fn verify_structure(
    vault: &Vault,
    id: &SessionId,
    suspects: &HashSet<(u32, u64)>,
) -> Result<SessionVerified, OpError> {
    let (name, session) = named(vault, id)?;
    let source = StoredSession::open(vault, id)?;
    let mut verified = SessionVerified::default();
    let mut packer = Packer::new();
    let mut next = 0;
    loop {
        let batch = source.references(next, BATCH * 64)?;
        let Some(last) = batch.last() else { break };
        next = last.index + 1;
        for reference in &batch {
            let fault = match vault.placement(session.key_of(&reference.chunk))? {
                None => Some(OpError::Missing(vec![reference.chunk])),
                Some(place) if suspects.contains(&place.place()) || vault.is_nowhere(&place)? => {
                    match source.chunk(&mut packer, reference) {
                        Err(error) if !error.is_damage() => return Err(error),
                        read => read.err(),
                    }
                }
                Some(_) => None,
            };
            let described = fault.map(|error| format!("chunk {}: {error}", reference.index));
            verified.faults.extend(described);
        }
    }
    verify_tree(vault, &session, &mut verified)?;
    if session.sealed.is_some() {
        verify_manifest(vault, &name, &session, &mut verified)?;
    } else {
        verify_open(vault, &name, &mut verified)?;
    }
    Ok(verified)
}

fn verify_chunks(
    vault: &Vault,
    id: &SessionId,
    threads: usize,
    progress: &(dyn Fn(u64) -> bool + Sync),
) -> Result<SessionVerified, OpError> {
    let source = StoredSession::open(vault, id)?;
    let next = AtomicU64::new(0);
    let (chunks, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
    let failed: Mutex<Vec<FailedChunk>> = Mutex::default();
    let work = || -> Result<(), OpError> {
        let mut packer = Packer::new();
        loop {
            let start = next.fetch_add(BATCH as u64, Ordering::Relaxed);
            if start >= source.shape().chunk_count {
                return Ok(());
            }
            for reference in source.references(start, BATCH)? {
                if reference.index >= start + BATCH as u64 {
                    break;
                }
                match source.chunk(&mut packer, &reference) {
                    Ok(plain) => {
                        chunks.fetch_add(1, Ordering::Relaxed);
                        let done = plain.len() as u64;
                        if !progress(bytes.fetch_add(done, Ordering::Relaxed) + done) {
                            return Err(OpError::Abandoned);
                        }
                    }
                    Err(error) if error.is_damage() => {
                        failed.lock().push(FailedChunk { reference, why: error.to_string() });
                    }
                    // Nothing is known of a chunk that could not be read for another reason.
                    Err(error) => return Err(error),
                }
            }
        }
    };
    run_on(threads, "verifying", work).into_iter().collect::<Result<(), _>>()?;
    let mut failed = failed.into_inner();
    failed.sort_by_key(|chunk| chunk.reference.index);
    let sentence = |chunk: &FailedChunk| format!("chunk {}: {}", chunk.reference.index, chunk.why);
    Ok(SessionVerified {
        chunks_verified: chunks.into_inner(),
        bytes_verified: bytes.into_inner(),
        faults: failed.iter().map(sentence).collect(),
        failed,
        ..SessionVerified::default()
    })
}

/// Builds the tree again from the references, whose chunks were hashed just now.
fn verify_tree(
    vault: &Vault,
    session: &SessionRow,
    verified: &mut SessionVerified,
) -> Result<(), OpError> {
    let source = StoredSession::open(vault, &session.id)?;
    let key = session_key(&session.id);
    let mut frontier = Frontier::<Blake3Tree>::new();
    let mut offset = 0;
    loop {
        let batch = source.references(frontier.size(), BATCH * 64)?;
        if batch.is_empty() {
            break;
        }
        for reference in batch {
            let Reference { index, length, chunk, .. } = reference;
            if index != frontier.size() || reference.offset != offset {
                verified.faults.push(format!("chunk {} is missing", frontier.size()));
                return Ok(());
            }
            let leaf = Leaf {
                index,
                offset,
                length,
                chunk_id: chunk,
                salt: salt(session.secret.as_ref(), index),
            };
            let leaf = leaf.hash(&key);
            if leaf != reference.leaf {
                verified.faults.push(format!("the leaf of chunk {index} is not that of its row"));
            }
            frontier.append(*leaf.as_bytes());
            offset = reference.end();
        }
    }
    // It may have grown meanwhile, but not shrunk.
    if frontier.size() < session.chunk_count() {
        let (first, count) = (frontier.size(), session.chunk_count());
        verified.faults.push(format!("chunk {first} is missing, of {count}"));
        return Ok(());
    }
    if frontier.size() == session.chunk_count() && frontier.root() != *session.root().as_bytes() {
        verified.faults.push("the chunks do not give the root that the session had".into());
    }
    verified.root = Some(SessionRoot::new(frontier.root()));
    if session.has_gap || session.tail_gap {
        verified.faults.push("references are missing from the log".into());
    }
    if let Some(sealed) = &session.sealed
        && frontier.root() != *sealed.root.as_bytes()
    {
        verified.faults.push(format!("the chunks do not give the sealed root {}", sealed.root));
    }
    Ok(())
}

fn verify_manifest(
    vault: &Vault,
    name: &SessionName,
    session: &SessionRow,
    verified: &mut SessionVerified,
) -> Result<(), OpError> {
    let Some(sealed) = &session.sealed else { return Ok(()) };
    let faults = &mut verified.faults;
    // One that is no text is a fault, and nothing that keeps the rest from being looked at.
    let text = match manifest_text(vault, name) {
        Err(error) if error.is_damage() => {
            faults.push(error.to_string());
            String::new()
        }
        text => text?,
    };
    if manifest::hash_of(&text) != sealed.manifest_hash {
        faults.push("the manifest does not have its hash".into());
    }
    match Manifest::parse(text.as_bytes()) {
        Ok(manifest) => {
            if manifest.merkle_root != sealed.root || manifest.chunk_count != session.chunk_count()
            {
                faults.push("the manifest does not describe the session's chunks".into());
            }
        }
        Err(fault) => faults.push(format!("the manifest: {fault}")),
    }
    let transaction = match anchor_text(vault, name) {
        Err(error) if error.is_damage() => {
            faults.push(error.to_string());
            String::new()
        }
        text => text?,
    };
    let parsed = Transaction::parse(transaction.as_bytes())
        .map_err(|fault| fault.to_string())
        .and_then(|tx| Signed::<Anchor>::parse(&tx).map_err(|fault| fault.to_string()));
    match parsed {
        Ok(signed)
            if signed.claim.merkle_root != sealed.root
                || signed.claim.manifest_hash != sealed.manifest_hash =>
        {
            faults.push("the anchor names another root or manifest".into());
        }
        Ok(_) => {}
        Err(fault) => faults.push(format!("the anchor: {fault}")),
    }
    match anchored(vault, name) {
        Ok(Some(proof)) if proof.transaction != transaction => {
            faults.push("the stored proof is for another anchor".into());
        }
        Ok(Some(_)) => {}
        Ok(None) => verified.not_checked.push(unanchored(vault, name)?),
        Err(error) if error.is_damage() => faults.push(error.to_string()),
        Err(error) => return Err(error),
    }
    Ok(())
}

/// What there is to say of a session that is in no block.
fn unanchored(vault: &Vault, name: &SessionName) -> Result<String, OpError> {
    let words = row::elsewhere(vault.index(), vault.cipher(), name)?;
    Ok(match words {
        Some(words) => format!("{}; {NOT_PROVED}", words.said()),
        None => "the session is not anchored yet".to_owned(),
    })
}
