//! What is wrong at the moment: named once, tried again after pauses of its own, and named again when it is well.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use lucid_api::client::ClientError;
use lucid_data_chain::ops::error::OpError;
use lucid_store::StoreError;
use lucid_store::error::CommitError;

use super::Watcher;
use super::files::{FileIdentity, FolderScan};
use crate::place::remote::is_away;

/// What failed again and again is looked at this often.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// What something may be wrong with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RemarkSubject {
    /// The watched folder itself.
    Folder,
    /// Where the recordings go.
    Store,
    /// What is at a path in the folder.
    Path(String),
    /// What is remembered in the spool under a name.
    Spool(String),
}

/// Takes what is wrong, or `None` when it is well again: each once.
pub type Remark<'a> = &'a mut dyn FnMut(&RemarkSubject, Option<&str>);

/// When something that failed is looked at again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pause {
    pub(super) until: Instant,
    length: Duration,
}

impl Pause {
    /// The pause after one more failure: twice as long as the one before.
    pub(crate) fn after(last: Option<&Self>, first: Duration, most: Duration) -> Self {
        let length = last.map_or(first, |last| (last.length * 2).min(most.max(first)));
        Self { until: Instant::now() + length, length }
    }

    pub(crate) fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }
}

impl Watcher<'_> {
    /// Whether anything is wrong at the moment.
    pub fn has_troubles(&self) -> bool {
        !self.troubles.is_empty()
    }

    /// Remarks what could not be looked at, and what can be again.
    pub(super) fn note_unseen(&mut self, scan: &FolderScan, remark: Remark<'_>) {
        let now: BTreeSet<String> = scan.troubles.iter().map(|(path, _)| path.clone()).collect();
        for (path, error) in &scan.troubles {
            self.trouble(RemarkSubject::Path(path.clone()), error, remark);
        }
        for path in std::mem::replace(&mut self.unseen, now) {
            if !self.unseen.contains(&path) {
                self.well(&RemarkSubject::Path(path), remark);
            }
        }
    }

    /// Does something for one file, unless it failed a moment ago; says whether the others have their
    /// turn, which they have unless the store is away. A store of this process that stopped writing does
    /// not write again before it is opened anew, so that ends everything.
    pub(super) fn attempt(
        &mut self,
        identity: FileIdentity,
        path: &str,
        remark: Remark<'_>,
        work: impl FnOnce(&mut Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<bool> {
        if self.paused.get(&identity).is_some_and(|(pause, _)| !pause.is_over()) {
            return Ok(true);
        }
        let Err(error) = work(self) else {
            if let Some((_, path)) = self.paused.remove(&identity) {
                self.well(&RemarkSubject::Path(path), remark);
            }
            return Ok(true);
        };
        if self.place.own_folder().is_some() && has_stopped(&error) {
            return Err(error.context("nothing more can be sent; start `lucid watch` again"));
        }
        if let Some(open) = self.open.get_mut(&identity) {
            open.offset = None;
        }
        let last = self.paused.get(&identity).map(|(pause, _)| pause);
        let pause = Pause::after(last, self.plan.interval, PAUSE_MAX);
        self.paused.insert(identity, (pause, path.to_owned()));
        if is_away(&error) {
            self.store_is_known = false;
            self.trouble(RemarkSubject::Store, &error, remark);
            return Ok(false);
        }
        self.trouble(RemarkSubject::Path(path.to_owned()), &error, remark);
        Ok(true)
    }

    pub(super) fn trouble(
        &mut self,
        subject: RemarkSubject,
        error: &anyhow::Error,
        remark: Remark<'_>,
    ) {
        // The same trouble again is no news.
        let kind = kind(error);
        if self.troubles.get(&subject) != Some(&kind) {
            remark(&subject, Some(&format!("{error:#}")));
            self.troubles.insert(subject, kind);
        }
    }

    pub(super) fn well(&mut self, subject: &RemarkSubject, remark: Remark<'_>) {
        if self.troubles.remove(subject).is_some() {
            remark(subject, None);
        }
    }
}

/// Whether a store of this process stopped writing for as long as it is open.
pub(crate) fn has_stopped(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let commit = match cause.downcast_ref() {
            Some(StoreError::Commit { error, .. }) => Some(error),
            _ => cause.downcast_ref(),
        };
        matches!(commit, Some(CommitError::Broken(_)))
            || matches!(cause.downcast_ref(), Some(OpError::Broken(_)))
    })
}

/// What a failure has in common with others that are no news after it: refusals have a number of their own each.
pub(crate) fn kind(error: &anyhow::Error) -> String {
    match error.downcast_ref::<ClientError>().and_then(ClientError::refused) {
        Some(refused) => format!("{} {}", refused.status, refused.detail),
        None => format!("{error:#}"),
    }
}
