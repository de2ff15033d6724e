//! What facts about single chunks mean for the index.

use lucid_core::digest::{ChunkId, ChunkName, SessionRoot};
use lucid_store::StoreError;
use lucid_store::contract::index::Changes;

use super::{SessionProjection, count};
use crate::fact::{AHEAD_MAX, CHUNKS_MAX, Fact, Forgotten, Placed, Tree, Uploaded, Verified};
use crate::row::{
    Alias, LEAVES_PAGE, NoteBounds, PlacedRow, Referred, SessionName, SessionRow, TreeRow,
    UploadNote, UploadedRow,
};

/// Trees that are kept, and their leaves together: the oldest go first.
pub const TREES_MAX: u64 = 1_000;
/// Leaves of all trees together.
pub const TREE_LEAVES_MAX: u64 = 1 << 22;
/// Verifications that are kept.
pub const VERIFICATIONS_MAX: u64 = 1_000;

impl SessionProjection {
    /// A reference more to a chunk, of a session or of an upload that nobody but its uploader ends.
    pub(super) fn refer(
        &self,
        changes: &mut Changes<'_>,
        name: &ChunkName,
        length: u32,
        session: Option<&SessionName>,
    ) -> Result<(), StoreError> {
        let before = Referred::count(changes.get(&Referred::key(name))?);
        changes.put(Referred::key(name), (before + 1).to_be_bytes().to_vec());
        if let Some(session) = session {
            changes.put(Referred::by_key(name, session), Vec::new());
        }
        count(changes, |counts| {
            counts.chunk_bytes += u64::from(length);
            if before == 0 {
                counts.unique += 1;
                counts.unique_bytes += u64::from(length);
            }
        })
    }

    /// A reference less.
    pub(super) fn unrefer(
        &self,
        changes: &mut Changes<'_>,
        name: &ChunkName,
        length: u32,
        session: Option<&SessionName>,
    ) -> Result<(), StoreError> {
        if let Some(session) = session {
            changes.remove(Referred::by_key(name, session));
        }
        let before = Referred::count(changes.get(&Referred::key(name))?);
        match before {
            0 => return Ok(()),
            1 => changes.remove(Referred::key(name)),
            _ => changes.put(Referred::key(name), (before - 1).to_be_bytes().to_vec()),
        }
        count(changes, |counts| {
            let less = |from: &mut u64, by: u64| *from = from.saturating_sub(by);
            less(&mut counts.chunk_bytes, length.into());
            if before == 1 {
                less(&mut counts.unique, 1);
                less(&mut counts.unique_bytes, length.into());
            }
        })
    }

    pub(super) fn uploaded(
        &self,
        fact: &Uploaded,
        changes: &mut Changes<'_>,
    ) -> Result<(), StoreError> {
        let Uploaded { at, until, ref metadata, .. } = *fact;
        let note = UploadNote { at, until, metadata: metadata.clone() };
        for (chunk, length) in &fact.chunks {
            let name = self.cipher.chunk_name(chunk);
            let old = self.upload(changes, &name)?;
            let was_kept = old.as_ref().is_some_and(|old| old.note.until.is_none());
            let mut row = match &old {
                None => UploadedRow {
                    chunk: *chunk,
                    length: *length,
                    note: note.clone(),
                    senders: Vec::new(),
                },
                Some(old) => {
                    let mut row = old.clone();
                    row.note.sent_again(&note);
                    row
                }
            };
            if let Some(sender) = &fact.sender {
                row.sent_by(sender, &note);
            }
            if old.as_ref() == Some(&row) {
                continue;
            }
            if row.note.until.is_none() && !was_kept {
                self.refer(changes, &name, *length, None)?;
                count(changes, |counts| counts.uploads += 1)?;
            }
            self.put(changes, UploadedRow::key(&name), &row.encode())?;
        }
        Ok(())
    }

    fn upload(
        &self,
        changes: &Changes<'_>,
        name: &ChunkName,
    ) -> Result<Option<UploadedRow>, StoreError> {
        let key = UploadedRow::key(name);
        changes.get(&key)?.map(|value| UploadedRow::open(&self.cipher, &key, value)).transpose()
    }

    pub(super) fn forgotten(
        &self,
        fact: &Forgotten,
        changes: &mut Changes<'_>,
    ) -> Result<(), StoreError> {
        for chunk in &fact.chunks {
            let name = self.cipher.chunk_name(chunk);
            let Some(old) = self.upload(changes, &name)? else { continue };
            changes.remove(UploadedRow::key(&name));
            if old.note.until.is_none() {
                self.unrefer(changes, &name, old.length, None)?;
                count(changes, |counts| counts.uploads = counts.uploads.saturating_sub(1))?;
            }
        }
        Ok(())
    }

    pub(super) fn placed(
        &self,
        fact: &Placed,
        changes: &mut Changes<'_>,
    ) -> Result<(), StoreError> {
        let name = self.name(&fact.session);
        let Some(mut session) = self.load(changes, &name)? else { return Ok(()) };
        // As many as the fact counts in four bytes.
        let parts = u32::try_from(fact.chunks.len())
            .map_err(|_| StoreError::Index("a fact has more chunks than it can count".into()))?;
        for (index, (chunk, length)) in (fact.index..).zip(&fact.chunks) {
            let is_first = index == fact.index;
            let own = fact.alias.clone().filter(|_| is_first);
            let mut row = PlacedRow {
                chunk: *chunk,
                length: *length,
                at: fact.at,
                alias: own.clone(),
                parts: if is_first { parts } else { 0 },
                metadata: Some(&fact.metadata).filter(|_| is_first).cloned().unwrap_or_default(),
                others: Vec::new(),
            };
            let key = PlacedRow::key(&name, index);
            let old = changes.get(&key)?;
            let is_new = old.is_none();
            // The same again takes nothing away that was said of it.
            if let Some(old) = old.map(|value| PlacedRow::open(&self.cipher, &key, value))
                && let old = old?
                && (old.chunk, old.length) == (row.chunk, row.length)
            {
                row.at = old.at;
                // What a name stands for stays what it was.
                if old.alias.is_some() || (row.alias.is_none() && old.parts > row.parts) {
                    (row.alias, row.parts) = (old.alias, old.parts);
                }
                if !old.metadata.is_empty() {
                    row.metadata = old.metadata;
                }
                row.others = old.others;
            }
            // Earlier versions let one chunk have several names: each of them goes on to find it.
            row.others.extend(own.filter(|own| !row.names().any(|name| name == own)));
            self.put(changes, key, &row.encode())?;
            for alias in row.names().cloned().chain([chunk.to_string()]) {
                let key = Alias::key(&self.cipher, &alias, &name);
                if changes.get(&key)?.is_none() {
                    self.put(changes, key, &Alias::encode(index))?;
                }
            }
            if index >= session.chunk_count() && is_new {
                session.pending += 1;
                let chunk = self.cipher.chunk_name(session.key_of(chunk));
                self.refer(changes, &chunk, *length, Some(&name))?;
            }
        }
        self.take_in(&mut session, &name, changes)?;
        self.store(changes, &name, &session)
    }

    /// Takes chunks that waited for those in front of them into the tree.
    fn take_in(
        &self,
        session: &mut SessionRow,
        name: &SessionName,
        changes: &mut Changes<'_>,
    ) -> Result<(), StoreError> {
        while session.pending > 0 {
            let key = PlacedRow::key(name, session.chunk_count());
            let Some(value) = changes.get(&key)? else { break };
            let PlacedRow { chunk, length, .. } = PlacedRow::open(&self.cipher, &key, value)?;
            self.append(session, name, chunk, length, changes)?;
            session.pending -= 1;
            count(changes, |counts| {
                counts.references += 1;
                counts.bytes += u64::from(length);
            })?;
        }
        Ok(())
    }

    /// Forgets everything that a session refers to.
    pub(super) fn forget_references(
        &self,
        session: &SessionRow,
        name: &SessionName,
        changes: &mut Changes<'_>,
    ) -> Result<(), StoreError> {
        let forget = |changes: &mut Changes<'_>, chunk: &ChunkId, length: u32| {
            let chunk = self.cipher.chunk_name(session.key_of(chunk));
            self.unrefer(changes, &chunk, length, Some(name))
        };
        for index in 0..session.chunk_count() {
            let key = name.reference_key(index);
            if let Some(value) = changes.get(&key)? {
                let known = crate::row::open_reference(&self.cipher, &key, value)?;
                forget(changes, &known.chunk, known.length)?;
                changes.remove(key);
            }
            self.forget_placed(name, index, changes)?;
        }
        // Behind a gap there may be more chunks; only looking tells how far. None is further from the one
        // before it than a chunk may be put, even if rows were lost.
        let mut left = session.pending;
        let ahead = AHEAD_MAX + CHUNKS_MAX as u64;
        let mut index = session.chunk_count();
        let mut end = index.saturating_add(ahead);
        while left > 0 && index < end {
            if let Some(placed) = self.forget_placed(name, index, changes)? {
                forget(changes, &placed.chunk, placed.length)?;
                left -= 1;
                end = index.saturating_add(ahead);
            }
            index += 1;
        }
        if left > 0 {
            tracing::error!(session.id = %session.id, left, "rows of chunks that waited are lost");
        }
        Ok(())
    }

    fn forget_placed(
        &self,
        name: &SessionName,
        index: u64,
        changes: &mut Changes<'_>,
    ) -> Result<Option<PlacedRow>, StoreError> {
        let key = PlacedRow::key(name, index);
        let Some(value) = changes.get(&key)? else { return Ok(None) };
        let placed = PlacedRow::open(&self.cipher, &key, value)?;
        for alias in placed.names().cloned().chain([placed.chunk.to_string()]) {
            changes.remove(Alias::key(&self.cipher, &alias, name));
        }
        changes.remove(key);
        Ok(Some(placed))
    }

    fn notes(&self, changes: &Changes<'_>) -> Result<NoteBounds, StoreError> {
        changes
            .get(&NoteBounds::key())?
            .map_or(Ok(NoteBounds::default()), |value| NoteBounds::decode(&value))
    }

    pub(super) fn tree(&self, fact: &Tree, changes: &mut Changes<'_>) -> Result<(), StoreError> {
        let is_known = changes.get(&TreeRow::key(&fact.root))?.is_some();
        let mut notes = self.notes(changes)?;
        let row = TreeRow {
            session: fact.session.clone(),
            at: fact.at,
            leaf_count: fact.count,
            number: notes.trees.1,
        };
        for (page, leaves) in
            (fact.first / LEAVES_PAGE as u64..).zip(fact.leaves.chunks(LEAVES_PAGE))
        {
            self.put(changes, TreeRow::leaves_key(&fact.root, page), leaves.as_flattened())?;
        }
        // One that is known gets back the leaves it lost, and keeps its place.
        if is_known {
            return Ok(());
        }
        // It is there once its last leaves are.
        if fact.first + (fact.leaves.len() as u64) < fact.count {
            return Ok(());
        }
        self.put(changes, TreeRow::key(&fact.root), &row.encode())?;
        self.put(changes, TreeRow::order_key(row.number), fact.root.as_bytes())?;
        notes.trees.1 += 1;
        notes.leaves += row.leaf_count;
        // The newest stays, however large it is.
        while notes.trees.0 + 1 < notes.trees.1
            && (notes.trees.1 - notes.trees.0 > TREES_MAX || notes.leaves > TREE_LEAVES_MAX)
        {
            notes.leaves -= self.drop_tree(notes.trees.0, changes)?.min(notes.leaves);
            notes.trees.0 += 1;
        }
        changes.put(NoteBounds::key(), notes.encode());
        Ok(())
    }

    /// Drops a tree, and says how many leaves it had.
    fn drop_tree(&self, number: u64, changes: &mut Changes<'_>) -> Result<u64, StoreError> {
        let order = TreeRow::order_key(number);
        let Some(bytes) = self.get(changes, &order)? else { return Ok(0) };
        changes.remove(order);
        let Some(root) = bytes.first_chunk::<32>() else { return Ok(0) };
        let root = SessionRoot::new(*root);
        let key = TreeRow::key(&root);
        let Some(value) = changes.get(&key)? else { return Ok(0) };
        let row = TreeRow::open(&self.cipher, &key, value)?;
        for page in 0..row.pages() {
            changes.remove(TreeRow::leaves_key(&root, page));
        }
        changes.remove(key);
        Ok(row.leaf_count)
    }

    pub(super) fn verified(
        &self,
        fact: Verified,
        changes: &mut Changes<'_>,
    ) -> Result<(), StoreError> {
        let mut notes = self.notes(changes)?;
        let key = NoteBounds::verified_key(notes.verified.1);
        self.put(changes, key, &Fact::Verified(fact).encode())?;
        notes.verified.1 += 1;
        while notes.verified.1 - notes.verified.0 > VERIFICATIONS_MAX {
            changes.remove(NoteBounds::verified_key(notes.verified.0));
            notes.verified.0 += 1;
        }
        changes.put(NoteBounds::key(), notes.encode());
        Ok(())
    }
}
