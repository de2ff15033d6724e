//! What the words of an engine that keeps no chain of ours mean for the index.

use lucid_core::wire::Writer;
use lucid_store::StoreError;
use lucid_store::contract::index::Changes;

use super::{SessionProjection, count};
use crate::fact::AnchoredElsewhere;
use crate::row::{SealedRow, SessionName, SessionRow};

impl SessionProjection {
    /// The engine's words are kept, and the session goes on waiting for its block in the other queue.
    pub(super) fn elsewhere(
        &self,
        fact: &AnchoredElsewhere,
        changes: &mut Changes<'_>,
    ) -> Result<(), StoreError> {
        let name = self.name(&fact.session);
        let Some(session) = self.load(changes, &name)? else { return Ok(()) };
        let Some(sealed) = &session.sealed else { return Ok(()) };
        if session.anchored.is_none() {
            if changes.get(&name.elsewhere_key())?.is_none() {
                count(changes, |counts| counts.elsewhere += 1)?;
            }
            changes.remove(name.unanchored_key(sealed.ended_at));
            changes.put(name.waiting_elsewhere_key(sealed.ended_at), Vec::new());
        }
        let mut to = Writer::new();
        fact.words.write(&mut to);
        self.put(changes, name.elsewhere_key(), &to.finish())
    }

    /// A session that waited is in a block, or gone.
    pub(super) fn waits_no_more(
        changes: &mut Changes<'_>,
        name: &SessionName,
        session: &SessionRow,
        sealed: &SealedRow,
    ) -> Result<(), StoreError> {
        changes.remove(name.unanchored_key(sealed.ended_at));
        changes.remove(name.waiting_elsewhere_key(sealed.ended_at));
        if session.anchored.is_none() && changes.get(&name.elsewhere_key())?.is_some() {
            count(changes, |counts| counts.elsewhere = counts.elsewhere.saturating_sub(1))?;
        }
        Ok(())
    }
}
