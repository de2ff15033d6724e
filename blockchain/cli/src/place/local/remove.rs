//! Removing sessions of a folder, and forbidding it.

use anyhow::Context as _;
use lucid_api::v1::removal::Tombstone;
use lucid_api::v1::sessions::Session;
use lucid_core::session::SessionId;
use lucid_core::time::Timestamp;
use lucid_data_chain::anchoring::EngineError;
use lucid_data_chain::ops::OpError;
use lucid_data_chain::ops::proofs::deliver_anchors::deliver_anchors;
use lucid_data_chain::ops::sessions::get_session::get_session;
use lucid_data_chain::ops::sessions::hold_session::{
    hold_session, release_session, retain_session,
};
use lucid_data_chain::ops::sessions::list_tombstones::list_tombstones;
use lucid_data_chain::ops::sessions::remove_session::{remove_in_its_time, remove_session};
use lucid_data_chain::ops::sight::Sight;
use lucid_data_chain::ops::upkeep::begin_retention::{RetentionTime, begin_by_policy};
use lucid_data_chain::{Opened, reply};

use super::Local;
use super::anchoring::Embedded;
use super::upkeep::AGES;
use crate::place::RemoveSessions;

impl RemoveSessions for Local {
    fn remove(&self, id: &SessionId, reason: &str) -> anyhow::Result<Tombstone> {
        let Opened { vault, locks, key, .. } = &*self.data;
        let now = self.clock.now();
        let row = match remove_session(vault, locks, key, (now, None), id, reason) {
            // Only the chain says that its time has come.
            Err(OpError::Retained { until, .. }) if until <= now => {
                let chain = self.chain(true)?;
                let engine = Embedded { chain: &chain, clock: &self.clock };
                let row = remove_in_its_time(vault, locks, key, Some(&engine), now, id, reason);
                chain.close()?;
                row?
            }
            row => row?,
        };
        Ok(reply::tombstone(&row))
    }

    fn begin_retention(&self, confirm: bool) -> anyhow::Result<RetentionTime> {
        let chain = self.chain(true).context(AGES)?;
        let Opened { vault, key, .. } = &*self.data;
        let engine = Embedded { chain: &chain, clock: &self.clock };
        let begun = begin_by_policy(vault, key, Some(&engine), self.clock.now(), confirm);
        chain.close()?;
        Ok(begun?)
    }

    fn chain_tombstones(&self) -> anyhow::Result<()> {
        let chain = self.chain(true)?;
        let Opened { vault, key, .. } = &*self.data;
        let delivered =
            deliver_anchors(vault, &key.public(), &Embedded { chain: &chain, clock: &self.clock })?;
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
            let page =
                list_tombstones(&self.data.vault, &Sight::everything(), PAGE, cursor.as_deref())?;
            for row in &page.tombstones {
                visit(reply::tombstone(row))?;
            }
            match page.next {
                Some(next) => cursor = Some(next),
                None => return Ok(()),
            }
        }
    }

    fn hold(&self, id: &SessionId, reason: &str) -> anyhow::Result<Session> {
        let Opened { vault, locks, key, .. } = &*self.data;
        let row = hold_session(vault, locks, self.clock.now(), id, reason)?;
        Ok(reply::session(vault, &key.public(), &row, self.quiet_since())?)
    }

    fn retain(&self, id: &SessionId, until: Timestamp) -> anyhow::Result<Session> {
        let Opened { vault, locks, key, .. } = &*self.data;
        let row = retain_session(vault, locks, id, until)?;
        Ok(reply::session(vault, &key.public(), &row, self.quiet_since())?)
    }

    fn release(&self, id: &SessionId) -> anyhow::Result<Session> {
        let Opened { vault, locks, key, .. } = &*self.data;
        let row = release_session(vault, locks, id)?;
        Ok(reply::session(vault, &key.public(), &row, self.quiet_since())?)
    }
}
