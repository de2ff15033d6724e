//! A queue between threads that is bounded by weight, not by count.

use std::collections::VecDeque;

use parking_lot::{Condvar, Mutex};

/// A first-in, first-out queue. One item always fits, however heavy.
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    weight_max: u64,
}

struct State<T> {
    items: VecDeque<(T, u64)>,
    weight: u64,
    closed: bool,
    abandoned: bool,
}

impl<T> Queue<T> {
    /// An empty queue.
    pub fn new(weight_max: u64) -> Self {
        let state = State { items: VecDeque::new(), weight: 0, closed: false, abandoned: false };
        Self { state: Mutex::new(state), changed: Condvar::new(), weight_max }
    }

    /// Waits for room and adds an item; `false` if nobody will take it any more.
    pub fn push(&self, item: T, weight: u64) -> bool {
        let mut state = self.state.lock();
        while state.weight > 0 && state.weight + weight > self.weight_max && !state.abandoned {
            self.changed.wait(&mut state);
        }
        if state.abandoned {
            return false;
        }
        state.weight += weight;
        state.items.push_back((item, weight));
        self.changed.notify_all();
        true
    }

    /// How full the queue is, in hundredths.
    pub fn fill(&self) -> u64 {
        self.state.lock().weight * 100 / self.weight_max.max(1)
    }

    /// Waits for an item; `None` when the queue is closed and empty, or abandoned.
    pub fn pop(&self) -> Option<T> {
        let mut state = self.state.lock();
        loop {
            if state.abandoned {
                return None;
            }
            if let Some((item, weight)) = state.items.pop_front() {
                state.weight -= weight;
                self.changed.notify_all();
                return Some(item);
            }
            if state.closed {
                return None;
            }
            self.changed.wait(&mut state);
        }
    }

    /// Nothing more comes.
    pub fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_all();
    }

    /// Nothing more is wanted.
    pub fn abandon(&self) {
        let mut state = self.state.lock();
        state.abandoned = true;
        state.items.clear();
        state.weight = 0;
        self.changed.notify_all();
    }
}
