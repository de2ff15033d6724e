//! What segments have to know of a log that is kept elsewhere.

use parking_lot::Mutex;

use crate::contract::blobs::Extent;
use crate::contract::index::Changes;
use crate::files::segment_rows::Named;
use crate::vault::unit_rows;

/// Records of one segment have sequences of its own, in the order of segments: so many bits for each.
const SEQUENCE_BITS: u32 = 31;

/// From here on are the sequences of a segment: nothing else says which of two copies is the later.
pub(super) fn first_sequence(segment: u32) -> u64 {
    u64::from(segment) << SEQUENCE_BITS
}

/// Segments whose log is kept elsewhere.
#[derive(Default)]
pub(super) struct Alone {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Whether a commit came behind all that were there at the start: what did not come by then never does.
    is_passed: bool,
    /// Segments made of others that no commit had switched to at the start.
    left: Vec<u32>,
}

impl Alone {
    /// These segments go as soon as no commit can switch to them any more.
    pub(super) fn remove_later(&self, left: Vec<u32>) {
        *self.state.lock() = State { is_passed: false, left };
    }

    /// Those of them that can go now.
    pub(super) fn take_left(&self) -> Vec<u32> {
        let mut state = self.state.lock();
        if state.is_passed { std::mem::take(&mut state.left) } else { Vec::new() }
    }

    /// A commit is in the log, with chunks that it names.
    pub(super) fn note(&self, named: Option<(&Extent, usize)>, changes: &mut Changes<'_>) {
        let mut state = self.state.lock();
        state.is_passed = true;
        // This may be the one that switches to one of them; where that cannot be told, it stays.
        state.left.retain(|unit| unit_rows::is_rewritten_in(changes, *unit).is_ok_and(|is| !is));
        if let Some((extent, count)) = named {
            let sequence = extent.first_sequence.saturating_add(count as u64);
            Named { segment: extent.unit, end: extent.to, sequence }.note(changes);
        }
    }
}
