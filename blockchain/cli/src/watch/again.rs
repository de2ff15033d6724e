//! Finding again what a spool remembers: what could not be read when the watcher started, and files whose
//! file system has another number than it had.

use std::collections::BTreeMap;

use super::files::{FileIdentity, FolderScan, Seen};
use super::spool::Recording;
use super::{Open, Remark, RemarkSubject, Watcher};

impl Watcher<'_> {
    /// Takes up a recording that is not known yet.
    pub(super) fn remember(&mut self, recording: Recording) {
        if self.remembered(&recording.identity).is_some() {
            return;
        }
        match recording.sealed_at {
            Some(_) => drop(self.done.insert(recording.identity, recording)),
            None => drop(self.open.insert(recording.identity, Open::new(recording, None))),
        }
    }

    fn remembered(&self, identity: &FileIdentity) -> Option<&Recording> {
        let open = self.open.get(identity).map(|open| &open.recording);
        open.or_else(|| self.done.get(identity))
    }

    /// Reads again what could not be read. Its file is looked at all the same: the session of a new file
    /// has the id that it had, so it is found again, and the spool gets a new entry over the bad one.
    pub(super) fn read_again(&mut self, remark: Remark<'_>) {
        for name in std::mem::take(&mut self.unread) {
            let subject = RemarkSubject::Spool(name.clone());
            match self.spool.read(&name) {
                Ok(recording) => {
                    recording.into_iter().for_each(|recording| self.remember(recording));
                    self.well(&subject, remark);
                }
                Err(error) => {
                    self.trouble(subject, &error, remark);
                    self.unread.insert(name);
                }
            }
        }
    }

    /// Knows files again that are where they were, and what they were but for their device. Whether they
    /// still have what was sent is held against their sessions, as after any break.
    pub(super) fn bind_again(&mut self, scan: &FolderScan, remark: Remark<'_>) {
        let known = self.open.keys().chain(self.done.keys());
        let missing: Vec<FileIdentity> =
            known.filter(|identity| scan.of(identity).is_none()).copied().collect();
        if missing.is_empty() {
            return;
        }
        let paths: BTreeMap<String, &Seen> =
            scan.files.iter().map(|file| (file.shown(), file)).collect();
        for old in missing {
            let Some(recording) = self.remembered(&old).cloned() else { continue };
            let file = paths.get(&recording.path).filter(|file| file.identity.is_like(&old));
            let Some(new) = file.map(|file| file.identity) else { continue };
            let bound = match self.remembered(&new) {
                Some(other) if other.session != recording.session => continue,
                // It was bound before, and the old entry was not removed any more.
                Some(_) => Ok(None),
                None => {
                    let bound = Recording { identity: new, ..recording.clone() };
                    self.spool.keep(&bound).map(|()| Some(bound))
                }
            };
            match bound.and_then(|bound| self.spool.forget(&recording).map(|()| bound)) {
                Ok(bound) => {
                    let was_kept = self.keeps(&old);
                    self.open.remove(&old);
                    self.done.remove(&old);
                    self.let_go(&old, was_kept);
                    bound.into_iter().for_each(|bound| self.remember(bound));
                    if let Some((_, path)) = self.paused.remove(&old) {
                        self.well(&RemarkSubject::Path(path), remark);
                    }
                }
                Err(error) => self.trouble(RemarkSubject::Path(recording.path), &error, remark),
            }
        }
    }
}
