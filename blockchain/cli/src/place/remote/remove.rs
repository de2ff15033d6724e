//! Removing sessions behind a server, and forbidding it.

use anyhow::Context as _;
use lucid_api::problem::ErrorCode;
use lucid_api::v1::list::PageQuery;
use lucid_api::v1::maintenance::BeginRetention;
use lucid_api::v1::removal::{HoldSession, RemoveQuery, RetainSession, Tombstone};
use lucid_api::v1::sessions::Session;
use lucid_core::session::SessionId;
use lucid_core::time::Timestamp;
use lucid_data_chain::ops::upkeep::begin_retention::RetentionTime;

use super::Remote;
use crate::place::RemoveSessions;

impl RemoveSessions for Remote {
    fn remove(&self, id: &SessionId, reason: &str) -> anyhow::Result<Tombstone> {
        let reason = Some(reason.to_owned()).filter(|reason| !reason.is_empty());
        Ok(self.client.remove_session(id.as_str(), &RemoveQuery { reason })?)
    }

    fn begin_retention(&self, confirm: bool) -> anyhow::Result<RetentionTime> {
        let begun = self.client.begin_retention(&BeginRetention { confirm })?;
        let now = begun.time.parse().context("the server's time of a block")?;
        Ok(RetentionTime { now, ends_retention: begun.ends_retention })
    }

    fn chain_tombstones(&self) -> anyhow::Result<()> {
        // The server delivers them by itself.
        Ok(())
    }

    fn tombstone(&self, id: &SessionId) -> anyhow::Result<Option<Tombstone>> {
        match self.client.session(id.as_str()) {
            Ok(_) => Ok(None),
            Err(error) if error.code() == Some(ErrorCode::Gone) => {
                let told = error.refused().and_then(|refused| refused.details.get("tombstone"));
                let told = told.with_context(|| format!("session {id} was removed"))?;
                Ok(Some(serde_json::from_value(told.clone())?))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn tombstones(
        &self,
        visit: &mut dyn FnMut(Tombstone) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut query = PageQuery::default();
        loop {
            let page = self.client.tombstones(&query)?;
            page.items.into_iter().try_for_each(&mut *visit)?;
            match page.next_cursor {
                Some(cursor) => query.cursor = Some(cursor),
                None => return Ok(()),
            }
        }
    }

    fn hold(&self, id: &SessionId, reason: &str) -> anyhow::Result<Session> {
        Ok(self.client.hold_session(id.as_str(), &HoldSession { reason: reason.to_owned() })?)
    }

    fn retain(&self, id: &SessionId, until: Timestamp) -> anyhow::Result<Session> {
        let retain = RetainSession { retain_until: until.to_string() };
        Ok(self.client.retain_session(id.as_str(), &retain)?)
    }

    fn release(&self, id: &SessionId) -> anyhow::Result<Session> {
        Ok(self.client.release_session(id.as_str())?)
    }
}
