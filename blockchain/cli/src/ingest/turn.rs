//! Keeps large files that are cut before their turn from running ahead without end.
//!
//! The ledger says which piece's turn it is, and how many chunks it holds that came before theirs. A
//! thread that cuts a later piece waits while these are too many. The piece whose turn it is never waits, and
//! large files are taken up in the order of their pieces, so that piece is always being cut: not every thread
//! waits.

use parking_lot::{Condvar, Mutex};

pub(super) struct Turn {
    state: Mutex<State>,
    changed: Condvar,
    waiting_max: usize,
}

#[derive(Default)]
struct State {
    piece: u64,
    waiting: usize,
    abandoned: bool,
}

impl Turn {
    /// Nothing waits yet; so many chunks may.
    pub fn new(waiting_max: usize) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), waiting_max }
    }

    /// It is this piece's turn, and so many chunks have come before theirs.
    pub fn is(&self, piece: u64, waiting: usize) {
        let mut state = self.state.lock();
        (state.piece, state.waiting) = (piece, waiting);
        self.changed.notify_all();
    }

    /// Waits until more of a piece may be cut.
    pub fn wait_for_room(&self, piece: u64) {
        let mut state = self.state.lock();
        while piece > state.piece && state.waiting > self.waiting_max && !state.abandoned {
            self.changed.wait(&mut state);
        }
    }

    /// Nothing more is wanted: nobody waits any longer.
    pub fn abandon(&self) {
        self.state.lock().abandoned = true;
        self.changed.notify_all();
    }
}
