//! What facts mean for the index: called by the committer for new facts, and by recovery for old ones.
//!
//! Facts are taken as they come. One that does not fit, because an earlier one was damaged, marks its
//! session as having a gap; it never stops the rest.

mod chunks;
mod removal;

use std::sync::Arc;

use lucid_core::digest::ChunkId;
use lucid_core::manifest::{self, Manifest};
use lucid_core::session::{Leaf, salt, session_key};
use lucid_core::tree::Frontier;
use lucid_store::StoreError;
use lucid_store::crypt::Sealer;
use lucid_store::index::{Changes, Project};

use crate::fact::{Anchored, Fact, Referenced, Sealed, Started, Tail};
use crate::row::{self, Counts, Reference, SealedRow, SessionName, SessionRow};

/// The data-chain's part of its index.
#[derive(Debug)]
pub struct SessionProjection {
    sealer: Arc<Sealer>,
}

impl SessionProjection {
    /// Rows are sealed with the store's keys.
    pub fn new(sealer: Arc<Sealer>) -> Self {
        Self { sealer }
    }

    fn name(&self, id: &lucid_core::session::SessionId) -> SessionName {
        SessionName::of(&self.sealer, id)
    }

    fn load(
        &self,
        changes: &Changes<'_>,
        name: &SessionName,
    ) -> Result<Option<SessionRow>, StoreError> {
        let value = changes.get(&name.session_key())?;
        value.map(|value| row::open_session(&self.sealer, value)).transpose()
    }

    fn store(
        &self,
        changes: &mut Changes<'_>,
        name: &SessionName,
        session: &SessionRow,
    ) -> Result<(), StoreError> {
        changes.put(name.session_key(), row::seal_session(&self.sealer, session)?);
        Ok(())
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
            changes.remove(name.by_time_key(old.started_at));
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
            has_gap: false,
            sealed: None,
            anchored: None,
        };
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
            let known = self.sealer.chunk_name(session.key_of(&chunk));
            self.refer(changes, &known, length, Some(&name))?;
            self.append(&mut session, &name, chunk, length, changes)?;
        }
        // What was cut was the beginning of the tail; what is left of it follows as a fact of its own.
        self.drop_tail(changes, &name, cut_before, tail_before)?;
        session.tail_bytes = 0;
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
        let (index, offset) = (session.chunk_count(), session.cut_bytes);
        let salt = salt(session.secret.as_ref(), index);
        let leaf = Leaf { index, offset, length, chunk_id: chunk, salt };
        let leaf = leaf.hash(&session_key(&session.id));
        let reference = Reference { index, offset, length, chunk, leaf };
        session.frontier.append(*leaf.as_bytes());
        session.cut_bytes += u64::from(length);
        let value = row::seal_reference(&self.sealer, &reference)?;
        changes.put(name.reference_key(index), value);
        Ok(())
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
            let Some(value) = changes.get(&name.tail_key(offset))? else { break };
            let bytes = self.sealer.open_value(value)?.len() as u64;
            changes.remove(name.tail_key(offset));
            offset += bytes.max(1);
        }
        Ok(())
    }

    fn tail(&self, fact: &Tail, changes: &mut Changes<'_>) -> Result<(), StoreError> {
        let name = self.name(&fact.session);
        let Some(mut session) = self.load(changes, &name)? else { return Ok(()) };
        if fact.offset == session.offset() {
            let value = self.sealer.seal_value(&fact.bytes)?;
            changes.put(name.tail_key(fact.offset), value);
            session.tail_bytes += fact.bytes.len() as u64;
            count(changes, |counts| counts.bytes += fact.bytes.len() as u64)?;
        } else {
            session.has_gap = true;
        }
        self.store(changes, &name, &session)
    }

    fn sealed(&self, fact: &Sealed, changes: &mut Changes<'_>) -> Result<(), StoreError> {
        let name = self.name(&fact.session);
        let Some(mut session) = self.load(changes, &name)? else { return Ok(()) };
        let Ok(manifest) = Manifest::parse(fact.manifest.as_bytes()) else { return Ok(()) };
        let manifest_hash = manifest::hash_of(&fact.manifest);
        session.has_gap |= session.chunk_count() != manifest.chunk_count;
        if session.sealed.is_none() {
            count(changes, |counts| counts.sealed += 1)?;
        }
        session.sealed = Some(SealedRow {
            ended_at: manifest.ended_at,
            root: manifest.merkle_root,
            manifest_hash,
            content_bytes: manifest.content_bytes,
        });
        // Sealing may have added to it.
        session.metadata = manifest.metadata;
        let seal = |text: &str| self.sealer.seal_value(text.as_bytes());
        changes.put(name.manifest_key(), seal(&fact.manifest)?);
        changes.put(name.anchor_key(), seal(&fact.anchor)?);
        changes.put(name.unanchored_key(manifest.ended_at), Vec::new());
        let last = self.sealer.seal_value(manifest_hash.as_bytes())?;
        changes.put(row::last_manifest_key(), last);
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
        session.anchored = Some((fact.block_index, fact.block_hash));
        changes.put(name.proof_key(), self.sealer.seal_value(&fact.proof)?);
        if let Some(sealed) = &session.sealed {
            changes.remove(name.unanchored_key(sealed.ended_at));
        }
        self.store(changes, &name, &session)
    }
}

/// Brings the counts up to date.
fn count(changes: &mut Changes<'_>, change: impl FnOnce(&mut Counts)) -> Result<(), StoreError> {
    let mut counts = match changes.get(&Counts::key())? {
        Some(value) => Counts::decode(&value)?,
        None => Counts::default(),
    };
    change(&mut counts);
    changes.put(Counts::key(), counts.encode());
    Ok(())
}

impl Project for SessionProjection {
    fn project(&self, fact: &[u8], changes: &mut Changes<'_>) -> Result<(), StoreError> {
        match Fact::decode(fact) {
            Ok(Fact::Started(fact)) => self.started(fact, changes),
            Ok(Fact::Referenced(fact)) => self.referenced(fact, changes),
            Ok(Fact::Tail(fact)) => self.tail(&fact, changes),
            Ok(Fact::Sealed(fact)) => self.sealed(&fact, changes),
            Ok(Fact::Anchored(fact)) => self.anchored(&fact, changes),
            Ok(Fact::Removed(fact)) => self.removed(fact, changes),
            Ok(Fact::Held(fact)) => self.held(fact, changes),
            Ok(Fact::Released(fact)) => {
                self.released(&fact, changes);
                Ok(())
            }
            Ok(Fact::Uploaded(fact)) => self.uploaded(&fact, changes),
            Ok(Fact::Forgotten(fact)) => self.forgotten(&fact, changes),
            Ok(Fact::Placed(fact)) => self.placed(&fact, changes),
            Ok(Fact::Tree(fact)) => self.tree(&fact, changes),
            Ok(Fact::Verified(fact)) => self.verified(fact, changes),
            Err(fault) => {
                tracing::error!(%fault, "a fact of the log is not understood and was passed over");
                Ok(())
            }
        }
    }
}
