//! What facts mean for the index: called by the committer for new facts, and by recovery for old ones.
//!
//! Facts are taken as they come. One that does not fit, because an earlier one was damaged, marks its
//! session as having a gap; it never stops the rest.

mod chunks;
mod documents;
mod elsewhere;
mod indexing;
mod orders;
mod removal;

use std::sync::Arc;

use lucid_core::digest::ChunkId;
use lucid_core::json::Json;
use lucid_core::manifest::{self, Manifest, ManifestFault};
use lucid_core::session::session_key;
use lucid_core::sign::PublicKey;
use lucid_core::timeline::due;
use lucid_core::transaction::Transaction;
use lucid_core::tree::Frontier;
use lucid_store::StoreError;
use lucid_store::contract::index::{Changes, Project, Tally};
use lucid_store::crypt::Cipher;
use lucid_store::registry::data_chain;

pub use orders::RemadeOrders;

use crate::fact::{Anchored, Fact, Marked, Referenced, Retained, Sealed, Started, Tail};
use crate::row::live::encode_mark;
use crate::row::{self, Counts, SealedRow, SessionName, SessionRow};

/// Small pieces of a live stream share a row of so many bytes: keystrokes do not become rows of their
/// own, and adding one costs no more than this.
const TAIL_ROW_BYTES: u64 = 1 << 10;

/// The data-chain's part of its index.
#[derive(Debug)]
pub struct SessionProjection {
    cipher: Arc<Cipher>,
    own: PublicKey,
}

impl SessionProjection {
    /// Rows are encrypted with the store's keys. Anchors that another key than the store's `own` signed came
    /// from another store: it is that one that brings them to its chain.
    pub fn new(cipher: Arc<Cipher>, own: PublicKey) -> Self {
        Self { cipher, own }
    }

    fn name(&self, id: &lucid_core::session::SessionId) -> SessionName {
        SessionName::of(&self.cipher, id)
    }

    /// Sets a row's value, encrypted as this row's.
    fn put(&self, changes: &mut Changes<'_>, key: Vec<u8>, value: &[u8]) -> Result<(), StoreError> {
        let value = self.cipher.encrypt_value(&key, value)?;
        changes.put(key, value);
        Ok(())
    }

    /// Opens a row's value, if there is one.
    fn get(&self, changes: &Changes<'_>, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        changes.get(key)?.map(|value| self.cipher.decrypt_value(key, value)).transpose()
    }

    fn load(
        &self,
        changes: &Changes<'_>,
        name: &SessionName,
    ) -> Result<Option<SessionRow>, StoreError> {
        let key = name.session_key();
        changes.get(&key)?.map(|value| row::open_session(&self.cipher, &key, value)).transpose()
    }

    fn store(
        &self,
        changes: &mut Changes<'_>,
        name: &SessionName,
        session: &SessionRow,
    ) -> Result<(), StoreError> {
        self.put(changes, name.session_key(), &session.encode())
    }

    fn started(&self, fact: Started, changes: &mut Changes<'_>) -> Result<(), StoreError> {
        let name = self.name(&fact.session);
        if changes.get(&name.tombstone_key())?.is_some() {
            return Ok(());
        }
        let old = self.load(changes, &name)?;
        count(changes, |counts| match &old {
            Some(old) => {
                counts.references = counts.references.saturating_sub(old.chunk_count());
                counts.bytes = counts.bytes.saturating_sub(old.offset());
            }
            None => counts.sessions += 1,
        })?;
        if let Some(old) = old {
            self.forget_references(&old, &name, changes)?;
            self.drop_tail(changes, &name, old.cut_bytes, old.tail_bytes)?;
            Self::drop_marks(changes, &name, &old);
            self.take_out_of_orders(changes, &name, &old)?;
            changes.remove(name.by_time_key(old.started_at));
            changes.remove(name.manifest_key());
        }
        changes.put(name.by_time_key(fact.started_at), Vec::new());
        let session = SessionRow {
            id: fact.session,
            user: fact.user,
            layout: fact.layout,
            secret: fact.secret,
            profile: fact.profile,
            started_at: fact.started_at,
            metadata: fact.metadata,
            one_shot: fact.one_shot,
            owner: fact.owner,
            frontier: Frontier::new(),
            cut_bytes: 0,
            tail_bytes: 0,
            pending: 0,
            tail_row_at: 0,
            appended_at: None,
            marks: 0,
            last_mark: None,
            has_gap: false,
            tail_gap: false,
            sealed: None,
            anchored: None,
            begun_by: fact.begun_by,
            source: fact.source,
            terminal: fact.terminal,
        };
        self.put_in_orders(changes, &name, &session)?;
        self.store(changes, &name, &session)
    }

    fn referenced(&self, fact: Referenced, changes: &mut Changes<'_>) -> Result<(), StoreError> {
        let name = self.name(&fact.session);
        let Some(mut session) = self.load(changes, &name)? else { return Ok(()) };
        if fact.start_index != session.chunk_count() || fact.start_offset != session.cut_bytes {
            session.has_gap = true;
            return self.store(changes, &name, &session);
        }
        let added = fact.chunks.len() as u64;
        let (cut_before, tail_before) = (session.cut_bytes, session.tail_bytes);
        for (chunk, length) in fact.chunks {
            let known = self.cipher.chunk_name(session.key_of(&chunk));
            self.refer(changes, &known, length, Some(&name))?;
            self.append(&mut session, &name, chunk, length, changes)?;
        }
        // What was cut was the beginning of the tail; what is left of it follows as a fact of its own.
        self.drop_tail(changes, &name, cut_before, tail_before)?;
        (session.tail_bytes, session.tail_row_at, session.tail_gap) = (0, 0, false);
        let bytes = session.cut_bytes - cut_before;
        count(changes, |counts| {
            counts.references += added;
            counts.bytes = (counts.bytes + bytes).saturating_sub(tail_before);
        })?;
        self.store(changes, &name, &session)
    }

    /// Puts a chunk at the end of a session's tree.
    fn append(
        &self,
        session: &mut SessionRow,
        name: &SessionName,
        chunk: ChunkId,
        length: u32,
        changes: &mut Changes<'_>,
    ) -> Result<(), StoreError> {
        let reference = session.take(&session_key(&session.id), chunk, length);
        self.put(changes, name.reference_key(reference.index), &reference.encode())
    }

    /// Forgets every mark.
    fn drop_marks(changes: &mut Changes<'_>, name: &SessionName, session: &SessionRow) {
        for number in 0..session.marks {
            changes.remove(name.mark_key(number));
        }
    }

    /// Forgets every tail row between two offsets.
    fn drop_tail(
        &self,
        changes: &mut Changes<'_>,
        name: &SessionName,
        from: u64,
        length: u64,
    ) -> Result<(), StoreError> {
        let mut offset = from;
        while offset < from + length {
            let key = name.tail_key(offset);
            let Some(bytes) = self.get(changes, &key)? else { break };
            changes.remove(key);
            offset += (bytes.len() as u64).max(1);
        }
        Ok(())
    }

    fn tail(&self, fact: &Tail, changes: &mut Changes<'_>) -> Result<(), StoreError> {
        let name = self.name(&fact.session);
        let Some(mut session) = self.load(changes, &name)? else { return Ok(()) };
        session.appended_at = session.appended_at.max(Some(fact.at));
        if fact.offset == session.offset() {
            if !fact.bytes.is_empty() {
                let (at, row) = self.tail_row(changes, &name, &session, fact)?;
                self.put(changes, name.tail_key(at), &row)?;
                session.tail_row_at = at;
                session.tail_bytes += fact.bytes.len() as u64;
                count(changes, |counts| counts.bytes += fact.bytes.len() as u64)?;
            }
        } else {
            session.tail_gap = true;
        }
        self.store(changes, &name, &session)
    }

    /// The row that takes a tail's bytes: the last one, while it is small, or a new one.
    fn tail_row(
        &self,
        changes: &Changes<'_>,
        name: &SessionName,
        session: &SessionRow,
        fact: &Tail,
    ) -> Result<(u64, Vec<u8>), StoreError> {
        let at = session.tail_row_at;
        let joined = (fact.offset + fact.bytes.len() as u64).saturating_sub(at);
        if session.tail_bytes > 0
            && joined <= TAIL_ROW_BYTES
            && let Some(mut row) = self.get(changes, &name.tail_key(at))?
        {
            row.extend_from_slice(&fact.bytes);
            return Ok((at, row));
        }
        Ok((fact.offset, fact.bytes.clone()))
    }

    fn marked(&self, fact: &Marked, changes: &mut Changes<'_>) -> Result<(), StoreError> {
        let name = self.name(&fact.session);
        let Some(mut session) = self.load(changes, &name)? else { return Ok(()) };
        if !due(session.last_mark.as_ref(), &fact.mark) {
            return Ok(());
        }
        self.put(changes, name.mark_key(session.marks), &encode_mark(&fact.mark))?;
        session.marks += 1;
        session.last_mark = Some(fact.mark);
        self.store(changes, &name, &session)
    }

    fn sealed(&self, fact: &Sealed, changes: &mut Changes<'_>) -> Result<(), StoreError> {
        let name = self.name(&fact.session);
        let manifest = match Manifest::parse(fact.manifest.as_bytes()) {
            Ok(manifest) => manifest,
            Err(fault) => return self.unreadable(fact, &fault, changes),
        };
        let manifest_hash = manifest::hash_of(&fact.manifest);
        let is_own = !is_from_elsewhere(&fact.anchor, &self.own);
        let kept = manifest.retain_until;
        // Also where the session is gone: the next manifest names this one all the same. Those of other
        // stores are links of other chains of manifests.
        if is_own {
            self.put(changes, row::last_manifest_key(), manifest_hash.as_bytes())?;
        }
        let Some(mut session) = self.load(changes, &name)? else { return Ok(()) };
        self.take_out_of_orders(changes, &name, &session)?;
        session.has_gap |= session.chunk_count() != manifest.chunk_count;
        if session.sealed.is_none() {
            count(changes, |counts| counts.sealed += 1)?;
        }
        session.sealed = Some(SealedRow {
            ended_at: manifest.ended_at,
            root: manifest.merkle_root,
            manifest_hash,
            content_bytes: manifest.content_bytes,
            end: manifest.end,
        });
        // Sealing may have added to it.
        session.metadata = manifest.metadata;
        (session.source, session.terminal) = (manifest.source, manifest.terminal);
        self.put(changes, name.manifest_key(), fact.manifest.as_bytes())?;
        self.put(changes, name.anchor_key(), fact.anchor.as_bytes())?;
        if is_own {
            changes.put(name.unanchored_key(manifest.ended_at), Vec::new());
        }
        // In a copy this is all that tells.
        if let Some(until) = kept {
            self.retained(&Retained { session: fact.session.clone(), until }, changes)?;
        }
        self.put_in_orders(changes, &name, &session)?;
        self.store(changes, &name, &session)
    }

    /// A session whose manifest cannot be read is not sealed, and must not be taken for one that was left
    /// open: nothing more is added to it, and its manifest stays, so that verifying the session can name
    /// it.
    fn unreadable(
        &self,
        fact: &Sealed,
        fault: &ManifestFault,
        changes: &mut Changes<'_>,
    ) -> Result<(), StoreError> {
        tracing::error!(session.id = %fact.session, %fault, "the manifest of a session cannot be read");
        let name = self.name(&fact.session);
        let Some(mut session) = self.load(changes, &name)? else { return Ok(()) };
        session.has_gap = true;
        self.put(changes, name.manifest_key(), fact.manifest.as_bytes())?;
        self.store(changes, &name, &session)
    }

    fn anchored(&self, fact: &Anchored, changes: &mut Changes<'_>) -> Result<(), StoreError> {
        let name = self.name(&fact.session);
        let Some(mut session) = self.load(changes, &name)? else {
            return self.chained(&name, fact, changes);
        };
        if session.anchored.is_none() {
            count(changes, |counts| counts.anchored += 1)?;
        }
        if let Some(sealed) = &session.sealed {
            Self::waits_no_more(changes, &name, &session, sealed)?;
        }
        self.take_out_of_orders(changes, &name, &session)?;
        session.anchored = Some((fact.block_index, fact.block_hash));
        self.put_in_orders(changes, &name, &session)?;
        self.put(changes, name.proof_key(), &fact.proof)?;
        self.store(changes, &name, &session)
    }
}

/// Whether an anchor names another key than this one, so that it came here with a session of another store.
/// Signatures were looked at when it came.
pub(crate) fn is_from_elsewhere(anchor: &str, own: &PublicKey) -> bool {
    let Ok(transaction) = Transaction::parse(anchor.as_bytes()) else { return false };
    let named = transaction.to_json();
    let key = named.get("public_key").and_then(Json::as_text).map(str::parse::<PublicKey>);
    key.is_some_and(|key| key.is_ok_and(|key| key != *own))
}

/// Brings the counts up to date.
fn count(changes: &mut Changes<'_>, change: impl FnOnce(&mut Counts)) -> Result<(), StoreError> {
    let mut counts = counted(changes)?;
    change(&mut counts);
    changes.put(Counts::key(), counts.encode());
    Ok(())
}

fn counted(rows: &Changes<'_>) -> Result<Counts, StoreError> {
    Ok(match rows.get(&Counts::key())? {
        Some(value) => Counts::decode(&value)?,
        None => Counts::default(),
    })
}

impl Project for SessionProjection {
    fn knows(&self, kind: u8) -> bool {
        data_chain::fact::ALL.contains(&kind)
    }

    fn fault(&self, fact: &[u8]) -> Option<String> {
        Fact::decode(fact).err().map(|fault| fault.to_string())
    }

    fn is_of_history(&self, key: &[u8]) -> bool {
        key == row::documents::changes_key()
    }

    fn tally(&self, rows: &Changes<'_>) -> Result<Option<Tally>, StoreError> {
        let Counts { sessions, unique, references, .. } = counted(rows)?;
        Ok(Some(Tally { sessions, chunks: unique, references }))
    }

    fn project(&self, fact: &[u8], changes: &mut Changes<'_>) -> Result<(), StoreError> {
        match Fact::decode(fact) {
            Ok(Fact::Started(fact)) => self.started(fact, changes),
            Ok(Fact::Referenced(fact)) => self.referenced(fact, changes),
            Ok(Fact::Tail(fact)) => self.tail(&fact, changes),
            Ok(Fact::Sealed(fact)) => self.sealed(&fact, changes),
            Ok(Fact::Anchored(fact)) => self.anchored(&fact, changes),
            Ok(Fact::Elsewhere(fact)) => self.elsewhere(&fact, changes),
            Ok(Fact::Removed(fact)) => self.removed(fact, changes),
            Ok(Fact::Held(fact)) => self.held(fact, changes),
            Ok(Fact::Retained(fact)) => self.retained(&fact, changes),
            Ok(Fact::Released(fact)) => {
                self.released(&fact, changes);
                Ok(())
            }
            Ok(scrubbed @ Fact::Scrubbed(_)) => {
                self.put(changes, row::scrub_key(), &scrubbed.encode())
            }
            Ok(chain @ Fact::Chain(_)) => self.put(changes, row::chain_key(), &chain.encode()),
            Ok(Fact::Uploaded(fact)) => self.uploaded(&fact, changes),
            Ok(Fact::Forgotten(fact)) => self.forgotten(&fact, changes),
            Ok(Fact::Placed(fact)) => self.placed(&fact, changes),
            Ok(Fact::Tree(fact)) => self.tree(&fact, changes),
            Ok(Fact::Verified(fact)) => self.verified(fact, changes),
            Ok(Fact::Marked(fact)) => self.marked(&fact, changes),
            Ok(Fact::Stored(fact)) => self.stored(fact, changes),
            Ok(Fact::Indexing(fact)) => self.indexing(fact, changes),
            Err(fault) => {
                tracing::error!(%fault, "a fact of the log is not understood and was passed over");
                Ok(())
            }
        }
    }
}
