//! How a store is opened whose log and chunks are kept elsewhere: whether its index can follow, and whether the log has
//! all that was acknowledged.
//!
//! A database can be put back to older data. A copy with an index of its own then finds that what it has followed is
//! not there any more. One that starts without an index finds a *mark* beside the chunks, which names a commit that
//! the log does not have: the committer puts one, once a second at most, before it acknowledges what came last. Both
//! stop. An operator who cannot have the newer data back accepts the loss, and that is a commit: the first of a new
//! incarnation. Who stood at a place that was lost learns of it there, and makes its index anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::follow::follow;
use super::projection::Projection;
use super::{Elsewhere, Followed, Vault, VaultParts};
use crate::StoreError;
use crate::contract::blobs::Blobs;
use crate::contract::fact_log::{Appended, FactLog, Following, Passed, Place, Position};
use crate::contract::index::{Changes, Index, is_bound};
use crate::crypt::Cipher;
use crate::damage::DamageList;

/// What becomes of a log that may have less than was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// It is not opened.
    Refused,
    /// It goes on with what it has.
    Accepted,
}

/// Follows the log, and opens the store.
pub(super) fn open(
    store: Elsewhere,
    loss: Loss,
    only_read: Option<String>,
    progress: &dyn Fn(u64, u64) -> bool,
) -> Result<Vault, StoreError> {
    let Elsewhere { log, blobs, start, cipher, index, project } = store;
    let projection = Arc::new(Projection::new(blobs.clone(), project).strict());
    cipher.bind_rows(is_bound(index.as_ref())?);
    projection.check(index.as_ref())?;
    let to_follow = ToFollow {
        log: log.as_ref(),
        blobs: blobs.as_ref(),
        index: index.as_ref(),
        projection: &projection,
        cipher: &cipher,
        progress,
    };
    let at = to_follow.to_the_end(start, loss)?;
    let (damage, unread) = (DamageList::default(), BTreeMap::new());
    let followed = Followed { log, blobs, at, damage, loss: None, unread };
    Vault::new(VaultParts { followed, cipher, index, projection, only_read })
}

/// A log that is kept elsewhere, and the index that is to follow it.
pub(crate) struct ToFollow<'a> {
    pub log: &'a dyn FactLog,
    pub blobs: &'a dyn Blobs,
    pub index: &'a dyn Index,
    pub projection: &'a Projection,
    pub cipher: &'a Cipher,
    /// Hears how many bytes of the log, of how many, are read, and ends it by `false`.
    pub progress: &'a dyn Fn(u64, u64) -> bool,
}

impl ToFollow<'_> {
    /// Has the index follow to the end of the log, sees that it has all that was acknowledged, and says where it ends;
    /// without commits that is at `start`.
    pub(crate) fn to_the_end(&self, start: Position, loss: Loss) -> Result<Position, StoreError> {
        let from = Position::of(self.index)?;
        if from.is_some() && loss == Loss::Accepted {
            return Err(StoreError::Folder(
                "what is lost is accepted by making the index anew, and this one is in use: run \
                 `lucid reindex --accept-loss`"
                    .into(),
            ));
        }
        let followed = match from.as_ref().map(|from| self.log.following(from)).transpose()? {
            Some(Following::Anew(why)) => Err(StoreError::Anew(why)),
            Some(Following::GoesOn) | None => self.follow(from.as_ref()),
        };
        let end = distrusting(self.index, followed)?;
        let at = end.or(from).unwrap_or(start);
        match loss {
            Loss::Refused => whole(self.log, self.blobs, &at).map(|()| at),
            // A log without places has one history alone: what it lacks is not seen by them.
            Loss::Accepted if self.log.place(&at)?.is_none() => Ok(at),
            Loss::Accepted => self.begin_incarnation(at),
        }
    }

    fn follow(&self, from: Option<&Position>) -> Result<Option<Position>, StoreError> {
        let Self { log, blobs, index, projection, cipher, progress } = self;
        let goes_on = |passed: Passed| progress(passed.done, passed.total);
        follow(*log, *blobs, *index, projection, cipher, from, &goes_on)
    }

    /// Accepts what is lost behind a place.
    fn begin_incarnation(&self, mut at: Position) -> Result<Position, StoreError> {
        loop {
            let begun = self.log.begin_incarnation(&at);
            match begun.map_err(StoreError::commit("accepting what is lost"))? {
                Appended::Overtaken => at = self.follow(Some(&at))?.unwrap_or(at),
                Appended::Here(behind) => {
                    let mut changes = Changes::new(self.index);
                    behind.note(&mut changes);
                    changes.write()?;
                    // From here on marks of what was lost say nothing.
                    self.log.place(&behind)?.map_or(Ok(()), |place| self.blobs.mark(&place))?;
                    return Ok(behind);
                }
            }
        }
    }
}

/// Has the next start make an index anew that could not follow.
pub(super) fn distrusting<T>(
    index: &dyn Index,
    followed: Result<T, StoreError>,
) -> Result<T, StoreError> {
    if matches!(followed, Err(StoreError::Anew(_))) {
        index.distrust()?;
    }
    followed
}

/// Refuses a log that lacks a commit which was marked.
fn whole(log: &dyn FactLog, blobs: &dyn Blobs, at: &Position) -> Result<(), StoreError> {
    let Some(marked) = blobs.marked()? else { return Ok(()) };
    let Some(end) = log.place(at)? else { return Ok(()) };
    // What was marked before a loss was accepted may have been lost.
    if marked.incarnation.number < end.incarnation.number || log.has(&marked)? == Some(true) {
        return Ok(());
    }
    Err(StoreError::Folder(lacking(&marked, &end)))
}

fn lacking(marked: &Place, end: &Place) -> String {
    let ends = match end.n {
        0 => "the log is empty".to_owned(),
        _ => format!("the log ends at commit {end}"),
    };
    format!(
        "beside the chunks it is noted that commit {marked} was acknowledged, and {ends} without it: it was put back to \
         older data, or is another one; restore what is newer, or go on without it by `lucid reindex --accept-loss`"
    )
}

#[cfg(test)]
mod tests;
