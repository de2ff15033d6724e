//! Recognises the second and later names of a file.
//!
//! Called with every examined task, in catalogue order, so that the first name is the one that
//! carries the content.

use std::collections::HashMap;

use super::{
    EntryContent, Identity, Step, WalkedEntry,
    examine::{Examined, State},
};
use crate::folder::EntryKind;

/// Files with several names, of which not all were seen yet.
#[derive(Default)]
pub(super) struct Links {
    first: HashMap<Identity, First>,
}

struct First {
    path: Vec<u8>,
    state: State,
    names_left: u64,
    /// What could not be read of it: the bytes of all names are those that the first one had.
    lacks: Vec<String>,
}

impl Links {
    /// Makes a hard link of what was seen before under another name.
    pub(super) fn settle(&mut self, examined: Examined) -> Step {
        let (mut found, shared) = match (examined.step, examined.shared) {
            (Step::Entry(found), Some(shared)) => (found, shared),
            (step, _) => return step,
        };
        match self.first.get_mut(&shared.identity) {
            // The number may have been given to a new file meanwhile, or the file rewritten:
            // then this name has a content of its own.
            Some(first) if first.state == shared.state => {
                link_to(first, &mut found);
                first.names_left = first.names_left.saturating_sub(1);
                if first.names_left == 0 {
                    self.first.remove(&shared.identity);
                }
            }
            _ => {
                let first = First {
                    path: found.entry.path.clone(),
                    state: shared.state,
                    names_left: shared.names.saturating_sub(1),
                    lacks: found.lacks.clone(),
                };
                found.has_more_names = true;
                self.first.insert(shared.identity, first);
            }
        }
        Step::Entry(found)
    }
}

fn link_to(first: &First, found: &mut WalkedEntry) {
    found.entry.kind = EntryKind::HardLink;
    found.entry.target = first.path.clone();
    // These belong to the first name.
    found.entry.attributes = Vec::new();
    found.entry.access_acl = Vec::new();
    found.entry.flags = None;
    found.entry.holes = Vec::new();
    found.lacks = first.lacks.clone();
    found.entry.length = 0;
    found.entry.changed = false;
    found.content = EntryContent::None;
}
