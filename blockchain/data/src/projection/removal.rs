//! What holding, releasing and removing mean for the index.

use lucid_core::bundle::AnchorInclusion;
use lucid_core::claim::Signed;
use lucid_core::tombstone::Tombstone;
use lucid_core::transaction::Transaction;
use lucid_core::wire::Writer;
use lucid_store::StoreError;
use lucid_store::contract::index::Changes;

use super::{SessionProjection, count};
use crate::fact::{Anchored, Held, Released, Removed, Retained};
use crate::row::{self, HoldRow, SessionName, SessionRow, TombstoneRow};

impl SessionProjection {
    pub(super) fn held(&self, fact: Held, changes: &mut Changes<'_>) -> Result<(), StoreError> {
        let name = self.name(&fact.session);
        let row = HoldRow { reason: fact.reason, since: fact.since };
        self.put(changes, name.hold_key(), &row.encode())
    }

    pub(super) fn released(&self, fact: &Released, changes: &mut Changes<'_>) {
        changes.remove(self.name(&fact.session).hold_key());
    }

    /// The latest time counts, whichever fact comes last.
    pub(super) fn retained(
        &self,
        fact: &Retained,
        changes: &mut Changes<'_>,
    ) -> Result<(), StoreError> {
        let name = self.name(&fact.session);
        let key = name.retention_key();
        let known = changes.get(&key)?;
        let known =
            known.map(|value| row::open_retention(&self.cipher, &key, value)).transpose()?;
        if known.is_some_and(|known| known >= fact.until) {
            return Ok(());
        }
        let mut to = Writer::new();
        to.i64(fact.until.as_micros());
        self.put(changes, key, &to.finish())
    }

    /// Everything the session had goes, and the tombstone stands in its place, even where the session's
    /// own facts were lost to damage.
    pub(super) fn removed(
        &self,
        fact: Removed,
        changes: &mut Changes<'_>,
    ) -> Result<(), StoreError> {
        let name = self.name(&fact.session);
        if let Some(session) = self.load(changes, &name)? {
            self.forget(changes, &name, &session)?;
        }
        let Some(text) = fact.tombstone else { return Ok(()) };
        let signed = Transaction::parse(text.as_bytes())
            .ok()
            .and_then(|transaction| Signed::<Tombstone>::parse(&transaction).ok());
        let Some(signed) = signed else {
            tracing::error!(session.id = %fact.session, "a tombstone is none and was passed over");
            return Ok(());
        };
        let removed_at = signed.claim.timestamp;
        let row = TombstoneRow {
            id: fact.session,
            removed_at,
            root: signed.claim.merkle_root,
            reason: signed.claim.reason,
            text,
            chained: None,
        };
        self.put(changes, name.tombstone_key(), &row.encode())?;
        changes.put(name.by_removal_key(removed_at), Vec::new());
        changes.put(name.unchained_key(removed_at), Vec::new());
        Ok(())
    }

    fn forget(
        &self,
        changes: &mut Changes<'_>,
        name: &SessionName,
        session: &SessionRow,
    ) -> Result<(), StoreError> {
        self.forget_references(session, name, changes)?;
        self.drop_tail(changes, name, session.cut_bytes, session.tail_bytes)?;
        Self::drop_marks(changes, name, session);
        self.take_out_of_orders(changes, name, session)?;
        if let Some(sealed) = &session.sealed {
            Self::waits_no_more(changes, name, session, sealed)?;
        }
        for key in [
            name.session_key(),
            name.manifest_key(),
            name.anchor_key(),
            name.proof_key(),
            name.elsewhere_key(),
            name.hold_key(),
            name.retention_key(),
            name.by_time_key(session.started_at),
        ] {
            changes.remove(key);
        }
        count(changes, |counts| {
            let less = |from: &mut u64, by: u64| *from = from.saturating_sub(by);
            less(&mut counts.sessions, 1);
            less(&mut counts.sealed, u64::from(session.sealed.is_some()));
            less(&mut counts.anchored, u64::from(session.anchored.is_some()));
            less(&mut counts.references, session.chunk_count());
            less(&mut counts.bytes, session.offset());
        })
    }

    /// A removed session's tombstone is in a block, if it is this that the proof is of: the anchor may
    /// have been on its way when the session was removed.
    pub(super) fn chained(
        &self,
        name: &SessionName,
        fact: &Anchored,
        changes: &mut Changes<'_>,
    ) -> Result<(), StoreError> {
        let key = name.tombstone_key();
        let Some(value) = changes.get(&key)? else { return Ok(()) };
        let mut row = TombstoneRow::open(&self.cipher, &key, value)?;
        let proof = AnchorInclusion::decode(&fact.proof).ok();
        if proof.is_some_and(|proof| proof.transaction == row.text) {
            row.chained = Some((fact.block_index, fact.block_hash));
            self.put(changes, key, &row.encode())?;
            self.put(changes, name.proof_key(), &fact.proof)?;
            changes.remove(name.unchained_key(row.removed_at));
        }
        Ok(())
    }
}
