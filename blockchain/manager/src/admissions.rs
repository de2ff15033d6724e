//! Which ids are being admitted at this moment.
//!
//! Two requests with one id had better not both find that it is free: only one of them is committed, and the
//! other looks again. So the second request waits until the first is durable, and then finds it; requests
//! with different ids do not wait for each other, so the committer can make many durable at once. With the
//! feature `no-locks`, which only tests have reason to ask for, nobody waits.

use std::collections::HashSet;

use lucid_core::transaction::IdDigest;
use parking_lot::{Condvar, Mutex};

/// The ids, behind a lock.
#[derive(Debug, Default)]
pub struct Admissions {
    ids: Mutex<HashSet<IdDigest>>,
    freed: Condvar,
}

/// The right to admit some ids, given back when dropped.
#[derive(Debug)]
pub struct AdmissionGuard<'a> {
    admissions: &'a Admissions,
    held: Vec<IdDigest>,
}

impl Admissions {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits until nobody else admits this id.
    pub fn claim(&self, id: IdDigest) -> AdmissionGuard<'_> {
        self.claim_all([id])
    }

    /// Waits until nobody else admits any of these ids, and holds none of them meanwhile: two requests
    /// with some of the same ids cannot wait for each other.
    pub fn claim_all(&self, wanted: impl IntoIterator<Item = IdDigest>) -> AdmissionGuard<'_> {
        let mut held: Vec<IdDigest> =
            if cfg!(feature = "no-locks") { Vec::new() } else { wanted.into_iter().collect() };
        held.sort_unstable();
        held.dedup();
        let mut ids = self.ids.lock();
        while held.iter().any(|id| ids.contains(id)) {
            self.freed.wait(&mut ids);
        }
        ids.extend(held.iter().copied());
        AdmissionGuard { admissions: self, held }
    }
}

impl Drop for AdmissionGuard<'_> {
    fn drop(&mut self) {
        let mut ids = self.admissions.ids.lock();
        for id in &self.held {
            ids.remove(id);
        }
        drop(ids);
        self.admissions.freed.notify_all();
    }
}
