//! Work on many cores whose results come back in order.
//!
//! Ranges of blocks pass through it: costly work on each is done side by side, and what depends on
//! the block before is done afterwards, one by one. Called by the ops that judge ranges.
//!
//! Invariant: at most a few jobs a core are under way, so memory depends on one job's size alone.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread;

use lucid_store::threads::start_scoped;
use parking_lot::Mutex;

/// How many jobs may be under way for each thread: one in work, one waiting.
const AHEAD: usize = 2;

/// More threads would gain little, since what comes afterwards is done on one; and each takes memory.
const THREADS_MAX: usize = 16;

/// As many threads as there are cores.
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get).min(THREADS_MAX)
}

/// Takes jobs from `next` until there are none, works on them on `threads` threads, and gives the
/// results to `each` in the order of the jobs. `next` and `each` run on the caller's thread; `each`
/// may end it early.
pub fn in_order<J: Send, R: Send>(
    threads: usize,
    mut next: impl FnMut() -> Option<J>,
    work: impl Fn(J) -> R + Sync,
    mut each: impl FnMut(R) -> ControlFlow<()>,
) {
    let (to_workers, jobs) = channel::<(J, SyncSender<R>)>();
    let jobs = Mutex::new(jobs);
    thread::scope(|scope| {
        let worker = || {
            loop {
                // Held while waiting, so one waits for a job and the others for it.
                let Ok((job, answer)) = jobs.lock().recv() else { return };
                // Nobody waits any more where the caller ended early.
                let _ended = answer.send(work(job));
            }
        };
        let started = (0..threads.max(1))
            .take_while(|_| start_scoped(scope, "in order", worker).is_ok())
            .count();
        if started == 0 {
            // Where the system gives no thread, it is done here.
            while let Some(job) = next() {
                if each(work(job)).is_break() {
                    return;
                }
            }
            return;
        }
        let to_workers = to_workers;
        let mut under_way: VecDeque<Receiver<R>> = VecDeque::new();
        let mut more = true;
        loop {
            while more && under_way.len() < AHEAD * threads.max(1) {
                let Some(job) = next() else {
                    more = false;
                    break;
                };
                let (answer, result) = sync_channel(1);
                // The workers end after this sender does.
                let _sent = to_workers.send((job, answer));
                under_way.push_back(result);
            }
            let Some(result) = under_way.pop_front() else { return };
            // A worker that panicked sends nothing; its panic ends the scope.
            let Ok(result) = result.recv() else { return };
            if each(result).is_break() {
                return;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_jobs_and_few_are_under_way() {
        let (mut jobs, mut results) = (0..200_u64, Vec::new());
        let (begun, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        in_order(
            4,
            || {
                let job = jobs.next()?;
                most.fetch_max(begun.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                Some(job)
            },
            |job| {
                thread::sleep(Duration::from_micros((job * 7919) % 300));
                job * 2
            },
            |result| {
                begun.fetch_sub(1, Ordering::SeqCst);
                results.push(result);
                ControlFlow::Continue(())
            },
        );
        assert_eq!(results, (0..200).map(|job| job * 2).collect::<Vec<_>>());
        assert!(most.load(Ordering::SeqCst) <= 4 * AHEAD);
    }

    #[test]
    fn the_caller_works_alone_where_no_thread_is_to_be_had() {
        lucid_store::threads::pretend_none_left(true);
        let (mut jobs, mut results) = (0..10_u64, Vec::new());
        let each = |result| {
            results.push(result);
            if result == 6 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        in_order(4, || jobs.next(), |job| job * 2, each);
        lucid_store::threads::pretend_none_left(false);
        assert_eq!(results, [0, 2, 4, 6]);
    }

    #[test]
    fn it_can_be_ended_early_and_may_have_nothing_to_do() {
        let (mut jobs, mut taken) = (0.., 0);
        in_order(
            2,
            || jobs.next(),
            |job: u64| job,
            |result| {
                taken += 1;
                if result == 5 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            },
        );
        assert_eq!(taken, 6);
        in_order(2, || None::<u64>, |job| job, |_| panic!("there was no job"));
    }
}
