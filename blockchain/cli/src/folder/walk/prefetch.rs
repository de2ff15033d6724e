//! Examines names in many threads, and hands the results out in the scout's order.
//!
//! Made by `walk_with_contents`; the pipeline that archives takes from it. One thread scouts, a
//! few examine, in batches so that locks cost nothing. Invariants: results keep their order; the
//! bytes read ahead stay below the limit plus one batch; waiting cannot deadlock, because the
//! batch that is wanted next never waits for room.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    thread::{self, JoinHandle},
    vec,
};

use lucid_store::files::descriptors::{self, Keeper};
use parking_lot::{Condvar, Mutex};

use super::{
    LastStep, Options, Step, WalkError,
    examine::{Examined, examine},
    scout::{Scout, Task},
};

/// Names a batch.
const BATCH: usize = 16;
/// Batches ahead of the one wanted, as far as descriptors go.
const WINDOW: usize = 12;
/// A name may hold a folder and a file open.
const FILES_A_BATCH: usize = 2 * BATCH;

/// A walk that reads ahead. Dropping it stops its threads.
pub struct Prefetch {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    batch: vec::IntoIter<Examined>,
    /// Bytes of that batch.
    held: u64,
    last: LastStep,
}

struct Shared {
    state: Mutex<State>,
    /// There is a batch to examine, or there will be none.
    work: Condvar,
    /// The next batch is wanted, or bytes were taken.
    room: Condvar,
    /// A batch is examined, or all are.
    ready: Condvar,
    bytes_ahead: u64,
    /// Batches ahead.
    window: u64,
    small_max: u64,
    #[cfg(test)]
    fails_at: Option<u64>,
}

#[derive(Default)]
struct State {
    todo: VecDeque<(u64, Vec<Task>)>,
    done: HashMap<u64, Vec<Examined>>,
    /// The batch that is wanted next.
    wanted: u64,
    /// Batches scouted so far.
    scouted: u64,
    /// No batch follows.
    complete: bool,
    /// Nobody wants more.
    stopped: bool,
    bytes: u64,
}

impl Prefetch {
    pub(super) fn start(
        scout: Scout,
        options: &Options,
        small_max: u64,
    ) -> Result<Self, WalkError> {
        let files = descriptors::share(Keeper::ReadAhead, WINDOW * FILES_A_BATCH);
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            work: Condvar::new(),
            room: Condvar::new(),
            ready: Condvar::new(),
            bytes_ahead: options.bytes_ahead,
            window: (files / FILES_A_BATCH).max(1) as u64,
            small_max,
            #[cfg(test)]
            fails_at: options.fails_at,
        });
        // Made first, so that a failure below stops the threads that were started.
        let mut prefetch = Self {
            shared: Arc::clone(&shared),
            threads: Vec::new(),
            batch: Vec::new().into_iter(),
            held: 0,
            last: LastStep::default(),
        };
        for _ in 0..options.readers.max(1) {
            let shared = Arc::clone(&shared);
            prefetch.spawn("lucid-read", move || shared.read())?;
        }
        prefetch.spawn("lucid-scout", move || shared.scout(scout))?;
        Ok(prefetch)
    }

    fn spawn(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), WalkError> {
        let builder = thread::Builder::new().name(name.to_owned());
        self.threads.push(builder.spawn(run).map_err(WalkError::Threads)?);
        Ok(())
    }
}

impl Iterator for Prefetch {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        loop {
            if let Some(examined) = self.batch.next() {
                return Some(self.last.take(examined));
            }
            let batch = self.shared.take(std::mem::take(&mut self.held))?;
            self.held = batch.iter().map(Examined::bytes).sum();
            self.batch = batch.into_iter();
        }
    }
}

impl Drop for Prefetch {
    fn drop(&mut self) {
        self.shared.state.lock().stopped = true;
        self.shared.work.notify_all();
        self.shared.room.notify_all();
        for thread in self.threads.drain(..) {
            // A thread that panicked has nothing to hand back.
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Waits for the next batch, giving back the bytes of the one before.
    fn take(&self, bytes: u64) -> Option<Vec<Examined>> {
        let mut state = self.state.lock();
        state.bytes = state.bytes.saturating_sub(bytes);
        self.room.notify_all();
        loop {
            let wanted = state.wanted;
            if let Some(batch) = state.done.remove(&wanted) {
                state.wanted += 1;
                self.room.notify_all();
                return Some(batch);
            }
            if state.complete && wanted == state.scouted {
                return None;
            }
            self.ready.wait(&mut state);
        }
    }

    fn scout(&self, mut scout: Scout) {
        loop {
            let batch: Vec<Task> = scout.by_ref().take(BATCH).collect();
            let last = batch.len() < BATCH;
            let mut state = self.state.lock();
            while state.scouted >= state.wanted + self.window && !state.stopped {
                self.room.wait(&mut state);
            }
            if state.stopped {
                return;
            }
            let number = state.scouted;
            state.todo.push_back((number, batch));
            state.scouted += 1;
            state.complete = last;
            drop(state);
            if last {
                self.work.notify_all();
                return;
            }
            self.work.notify_one();
        }
    }

    fn read(&self) {
        while let Some((number, batch)) = self.next_batch() {
            let examined: Vec<_> =
                batch.into_iter().map(|task| self.examine(number, task)).collect();
            let mut state = self.state.lock();
            state.done.insert(number, examined);
            let wanted = state.wanted == number;
            drop(state);
            if wanted {
                self.ready.notify_one();
            }
        }
    }

    fn next_batch(&self) -> Option<(u64, Vec<Task>)> {
        let mut state = self.state.lock();
        loop {
            if state.stopped {
                return None;
            }
            if let Some(batch) = state.todo.pop_front() {
                return Some(batch);
            }
            if state.complete {
                return None;
            }
            self.work.wait(&mut state);
        }
    }

    fn examine(&self, number: u64, task: Task) -> Examined {
        let mut admitted = 0;
        let examined = examine(task, self.small_max, |bytes| {
            self.admit(number, bytes);
            admitted = bytes;
        });
        #[cfg(test)]
        let examined = examined.failing_at(self.fails_at);
        let read = examined.bytes();
        if read != admitted {
            // It grew, shrank or failed meanwhile.
            let mut state = self.state.lock();
            state.bytes = state.bytes.saturating_sub(admitted).saturating_add(read);
        }
        examined
    }

    /// Waits until there is room for a file's bytes.
    fn admit(&self, number: u64, bytes: u64) {
        let mut state = self.state.lock();
        while state.bytes.saturating_add(bytes) > self.bytes_ahead
            && state.wanted != number
            && !state.stopped
        {
            self.room.wait(&mut state);
        }
        state.bytes = state.bytes.saturating_add(bytes);
    }
}
