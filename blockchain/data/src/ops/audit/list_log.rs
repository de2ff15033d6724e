//! Lists the sessions of the read log, the oldest first: those of this store, and copies of other stores'.

use lucid_store::vault::Vault;

use super::{LOG_PREFIX, LOG_USER};
use crate::document::DocumentKind;
use crate::ops::OpError;
use crate::ops::sessions::list_sessions::{SessionFilter, list_sessions};
use crate::row::orders::{Facet, KEPT, Standing, sessions_in_order_key};
use crate::row::{self, SessionRow};

/// Rows that are looked at in one go.
const BATCH: usize = 256;

/// All of them. There is one for each day and copy, so they are few.
pub fn list_log(vault: &Vault) -> Result<Vec<SessionRow>, OpError> {
    let (index, cipher) = (vault.index(), vault.cipher());
    if index.get(&sessions_in_order_key())?.is_none() {
        return list_slowly(vault);
    }
    let prefix = Facet::User(LOG_USER).prefix(cipher, DocumentKind::Session);
    let mut from = prefix.clone();
    let end = [prefix.as_slice(), &[u8::MAX; 25]].concat();
    let mut all = Vec::new();
    loop {
        let rows = index.scan(&from, &end, BATCH, false)?;
        let is_last = rows.len() < BATCH;
        for (key, value) in rows {
            let standing = Standing::in_key(&key).filter(|_| value == KEPT);
            // The smallest key behind this one.
            from = [key.as_slice(), &[0]].concat();
            let Some(standing) = standing else { continue };
            let name = standing.name(DocumentKind::Session).as_session();
            let session = row::session(index, cipher, &name)?;
            all.extend(session.filter(is_of_log));
        }
        if is_last {
            return Ok(all);
        }
    }
}

/// The same over all sessions, in an index that an earlier version made.
fn list_slowly(vault: &Vault) -> Result<Vec<SessionRow>, OpError> {
    let filter = SessionFilter { user: Some(LOG_USER.to_owned()), ..SessionFilter::default() };
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let page = list_sessions(vault, &filter, BATCH, cursor.as_deref())?;
        all.extend(page.sessions.into_iter().filter(is_of_log));
        match page.next {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    all.reverse();
    Ok(all)
}

fn is_of_log(session: &SessionRow) -> bool {
    session.id.as_str().starts_with(LOG_PREFIX)
}
