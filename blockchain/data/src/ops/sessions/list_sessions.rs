//! Lists sessions, the newest first.

use lucid_core::time::Timestamp;
use lucid_store::vault::Vault;

use crate::ops::OpError;
use crate::ops::sight::Sight;
use crate::row::{self, SessionRow, SessionStage};

/// Which sessions are wanted; what is not set does not matter.
#[derive(Debug, Clone, Default)]
pub struct SessionFilter {
    /// Where they are in their life.
    pub status: Option<SessionStage>,
    /// Whose they are.
    pub user: Option<String>,
    /// Not begun before this.
    pub from: Option<Timestamp>,
    /// Not begun after this.
    pub to: Option<Timestamp>,
    /// Since when a live stream must have been silent to count as unterminated.
    pub quiet_since: Option<Timestamp>,
    /// Those that this sees.
    pub sight: Sight,
}

/// A page of sessions, and the cursor of the next page if there is more.
#[derive(Debug, Clone)]
pub struct SessionPage {
    /// The sessions.
    pub sessions: Vec<SessionRow>,
    /// Where the next page begins.
    pub next: Option<Vec<u8>>,
}

/// Rows that are looked at in one go.
const BATCH: usize = 256;
/// Rows that are looked at for one page: a filter that few match gives short pages, not slow ones.
const LOOKED_AT_MAX: usize = 16_384;

/// A page ends once what was said of its sessions is longer than this.
const PAGE_METADATA_BYTES: usize = 4 << 20;

/// Up to `limit` sessions, the newest first, from behind `cursor`. A page may be short, even empty,
/// and yet have a next one.
pub fn list_sessions(
    vault: &Vault,
    filter: &SessionFilter,
    limit: usize,
    cursor: Option<&[u8]>,
) -> Result<SessionPage, OpError> {
    let from =
        filter.from.map_or_else(|| row::time_key(Timestamp::from_micros(i64::MIN)), row::time_key);
    let mut to = match filter.to {
        Some(to) => row::time_key(Timestamp::from_micros(to.as_micros().saturating_add(1))),
        None => row::time_end(),
    };
    if let Some(cursor) = cursor {
        if !row::is_time_row(cursor) {
            return Err(OpError::Invalid("cursor is not one of an earlier page".into()));
        }
        to = to.min(cursor.to_vec());
    }
    let mut sessions = Vec::new();
    let (mut looked_at, mut bytes) = (0, 0);
    loop {
        let rows = vault.index().scan(&from, &to, BATCH, true)?;
        let is_last = rows.len() < BATCH;
        looked_at += rows.len();
        for (key, _) in rows {
            to.clone_from(&key);
            let Some(name) = row::name_in(&key) else { continue };
            let Some(session) = row::session(vault.index(), vault.cipher(), &name)? else {
                continue;
            };
            if matches(&session, filter) {
                let metadata = session.metadata.iter();
                bytes += metadata.map(|(key, value)| key.len() + value.len()).sum::<usize>();
                sessions.push(session);
            }
            if sessions.len() == limit || bytes > PAGE_METADATA_BYTES {
                return Ok(SessionPage { sessions, next: Some(to) });
            }
        }
        if is_last {
            return Ok(SessionPage { sessions, next: None });
        }
        if looked_at >= LOOKED_AT_MAX {
            return Ok(SessionPage { sessions, next: Some(to) });
        }
    }
}

fn matches(session: &SessionRow, filter: &SessionFilter) -> bool {
    let quiet_since = filter.quiet_since.unwrap_or(Timestamp::from_micros(i64::MIN));
    filter.sight.sees(session)
        && filter.status.is_none_or(|status| session.status(quiet_since) == status)
        && filter.user.as_ref().is_none_or(|user| session.user == *user)
}
