//! What was found valid lately: look-ups that began before do not know of it.

use std::collections::{HashMap, VecDeque};

use lucid_core::transaction::IdDigest;

/// The ids of the blocks of one run, by run: what look-ups may not have seen yet.
#[derive(Default)]
pub(super) struct Recent(VecDeque<(u64, HashMap<IdDigest, u64>)>);

impl Recent {
    /// Forgets the runs that were appended before a look-up began.
    pub(super) fn forget_before(&mut self, run: u64) {
        while self.0.front().is_some_and(|(of, _)| *of < run) {
            self.0.pop_front();
        }
    }

    pub(super) fn height_of(&self, id: &IdDigest) -> Option<u64> {
        self.0.iter().find_map(|(_, ids)| ids.get(id).copied())
    }

    pub(super) fn add(&mut self, run: u64, height: u64, ids: &[IdDigest]) {
        if self.0.back().is_none_or(|(of, _)| *of != run) {
            self.0.push_back((run, HashMap::new()));
        }
        if let Some((_, all)) = self.0.back_mut() {
            all.extend(ids.iter().map(|id| (*id, height)));
        }
    }

    /// Forgets the ids of a block that is not to be appended after all.
    pub(super) fn forget(&mut self, height: u64, ids: &[IdDigest]) {
        for (_, all) in &mut self.0 {
            for id in ids {
                if all.get(id) == Some(&height) {
                    all.remove(id);
                }
            }
        }
    }
}
