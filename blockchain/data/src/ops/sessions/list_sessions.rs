//! Lists sessions, the newest first.
//!
//! All of them stand in the order of their starts, and those that share a facet in one of its own, too. The narrowest
//! order that has all that are wanted is walked, so a list costs what that order has.

use std::collections::{BTreeMap, BTreeSet};

use lucid_core::time::Timestamp;
use lucid_store::vault::Vault;

use crate::document::DocumentKind;
use crate::ops::OpError;
use crate::ops::documents::filter::is_from;
use crate::ops::sight::Sight;
use crate::row::orders::{
    BEGINNING_MIN, Facet, KEPT, WITH_BEGINNINGS, narrowest_beginning, sessions_in_order_key,
};
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
    /// The host they come from.
    pub host: Option<String>,
    /// Tags, all of which they have.
    pub tags: BTreeSet<String>,
    /// Paths, all of which they are of.
    pub paths: BTreeSet<Vec<u8>>,
    /// What else is said of them, all of it.
    pub metadata: BTreeMap<String, String>,
    /// What their ids begin with: [`BEGINNING_MIN`] characters at least.
    pub prefix: Option<String>,
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
    if filter.prefix.as_ref().is_some_and(|prefix| prefix.len() < BEGINNING_MIN) {
        let sentence = format!("prefix is shorter than {BEGINNING_MIN} characters");
        return Err(OpError::Invalid(sentence));
    }
    let order = order(vault, filter)?;
    let at = |place: &[u8]| [order.as_slice(), place].concat();
    let from = at(&filter.from.map_or([0; 8], row::ordered));
    let mut to = match filter.to {
        Some(to) => at(&row::ordered(Timestamp::from_micros(to.as_micros().saturating_add(1)))),
        None => at(&[u8::MAX; 25]),
    };
    if let Some(cursor) = cursor {
        // Where a page ended is told as a place in the order of all sessions, whichever was walked.
        let place = cursor.strip_prefix(row::time_prefix().as_slice());
        let Some(place) = place.filter(|_| row::is_time_row(cursor)) else {
            return Err(OpError::Invalid("cursor is not one of an earlier page".into()));
        };
        to = to.min(at(place));
    }
    let next = |to: &[u8]| {
        let place = to.strip_prefix(order.as_slice()).unwrap_or_default();
        Some([row::time_prefix().as_slice(), place].concat())
    };
    let mut sessions = Vec::new();
    let (mut looked_at, mut bytes) = (0, 0);
    loop {
        let rows = vault.index().scan(&from, &to, BATCH, true)?;
        let is_last = rows.len() < BATCH;
        looked_at += rows.len();
        for (key, value) in rows {
            to.clone_from(&key);
            // Documents of what is not kept here stand there, too.
            let is_kept = value == KEPT || row::is_time_row(&key);
            let Some(name) = row::name_in(&key).filter(|_| is_kept) else { continue };
            let Some(session) = row::session(vault.index(), vault.cipher(), &name)? else {
                continue;
            };
            if matches(&session, filter) {
                bytes += described_bytes(&session);
                sessions.push(session);
            }
            if sessions.len() == limit || bytes > PAGE_METADATA_BYTES {
                return Ok(SessionPage { sessions, next: next(&to) });
            }
        }
        if is_last {
            return Ok(SessionPage { sessions, next: None });
        }
        if looked_at >= LOOKED_AT_MAX {
            return Ok(SessionPage { sessions, next: next(&to) });
        }
    }
}

/// What the keys of the narrowest order begin with that has all that are wanted.
fn order(vault: &Vault, filter: &SessionFilter) -> Result<Vec<u8>, OpError> {
    let of = |facet: Facet<'_>| Ok(facet.prefix(vault.cipher(), DocumentKind::Session));
    let mark = vault.index().get(&sessions_in_order_key())?;
    // An index that an earlier version made lacks some orders of what was there then.
    let has_beginnings = mark.as_deref() == Some(WITH_BEGINNINGS);
    if let Some(facet) = filter.prefix.as_deref().filter(|_| has_beginnings) {
        return narrowest_beginning(facet).map_or_else(|| Ok(row::time_prefix()), of);
    }
    // Before them no session had a source.
    if let Some(tag) = filter.tags.first() {
        return of(Facet::Tag(tag));
    }
    if let Some(path) = filter.paths.first() {
        return of(Facet::Path(path));
    }
    if let Some(host) = filter.host.as_deref().filter(|host| !host.is_empty()) {
        return of(Facet::Host(host));
    }
    if mark.is_none() {
        return Ok(row::time_prefix());
    }
    if let Some((name, value)) = filter.metadata.first_key_value() {
        return of(Facet::Metadata(name, value));
    }
    if let Some(user) = filter.user.as_deref().filter(|user| !user.is_empty()) {
        return of(Facet::User(user));
    }
    match filter.status {
        // That one is silent is not of the session, but of the time at which that is asked.
        Some(SessionStage::Active | SessionStage::Unterminated) => {
            of(Facet::Status(SessionStage::Active.as_str()))
        }
        Some(status) => of(Facet::Status(status.as_str())),
        None => Ok(row::time_prefix()),
    }
}

/// Bytes of what a recorder said of a session.
fn described_bytes(session: &SessionRow) -> usize {
    let metadata = session.metadata.iter().map(|(key, value)| key.len() + value.len());
    let source = session.source.iter().map(|source| {
        let tags = source.tags.iter().map(String::len);
        tags.chain(source.paths.iter().map(Vec::len)).sum::<usize>() + source.host.len()
    });
    metadata.chain(source).sum()
}

fn matches(session: &SessionRow, filter: &SessionFilter) -> bool {
    let quiet_since = filter.quiet_since.unwrap_or(Timestamp::from_micros(i64::MIN));
    filter.sight.sees(session)
        && filter.status.is_none_or(|status| session.status(quiet_since) == status)
        && filter.user.as_ref().is_none_or(|user| session.user == *user)
        && filter.prefix.as_ref().is_none_or(|prefix| session.id.as_str().starts_with(prefix))
        && filter.metadata.iter().all(|(key, value)| session.metadata.get(key) == Some(value))
        && is_from(session.source.as_ref(), filter.host.as_deref(), &filter.tags, &filter.paths)
}
