//! Which ids are being admitted at this moment.
//!
//! Two requests with one id must not both find that it is free. Whoever comes second waits until the
//! first is durable, and then finds it; requests with different ids do not wait for each other, so
//! the committer can make many durable at once.

use std::collections::HashSet;

use lucid_core::transaction::IdDigest;
use parking_lot::{Condvar, Mutex};

/// The ids, behind a lock.
#[derive(Debug, Default)]
pub struct Admissions {
    ids: Mutex<HashSet<IdDigest>>,
    freed: Condvar,
}

/// The right to admit an id, given back when dropped.
#[derive(Debug)]
pub struct Claim<'a> {
    admissions: &'a Admissions,
    id: IdDigest,
}

impl Admissions {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits until nobody else admits this id.
    pub fn claim(&self, id: IdDigest) -> Claim<'_> {
        let mut ids = self.ids.lock();
        while !ids.insert(id) {
            self.freed.wait(&mut ids);
        }
        Claim { admissions: self, id }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.admissions.ids.lock().remove(&self.id);
        self.admissions.freed.notify_all();
    }
}
