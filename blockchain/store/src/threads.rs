//! Starts threads, or says that there are none to be had.
//!
//! `std::thread::spawn` and `Scope::spawn` panic where the system gives no thread, which may happen at any
//! time. A caller that starts a thread here decides what happens then: it does the work alone, or fails in words.

use std::cell::Cell;
use std::io;
use std::thread::{Builder, JoinHandle, Scope, ScopedJoinHandle};

thread_local! {
    static NONE_LEFT: Cell<bool> = const { Cell::new(false) };
}

/// From now on, what this thread starts finds the system without threads, or no longer: for tests.
pub fn pretend_none_left(none: bool) {
    NONE_LEFT.set(none);
}

fn ask() -> io::Result<()> {
    match NONE_LEFT.get() {
        false => Ok(()),
        true => Err(io::Error::new(io::ErrorKind::WouldBlock, "no thread is to be had")),
    }
}

/// Starts a thread.
pub fn start<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    ask()?;
    Builder::new().name(name.to_owned()).spawn(work)
}

/// Starts a thread that ends before its scope does.
pub fn start_scoped<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    work: impl FnOnce() -> T + Send + 'scope,
) -> io::Result<ScopedJoinHandle<'scope, T>> {
    ask()?;
    Builder::new().name(name.to_owned()).spawn_scoped(scope, work)
}

/// Starts the same work on as many threads of so many as there are to be had; that there is none is an
/// error.
pub fn start_some<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    count: usize,
    name: &str,
    work: impl FnOnce() -> T + Clone + Send + 'scope,
) -> io::Result<Vec<ScopedJoinHandle<'scope, T>>> {
    let mut started = Vec::with_capacity(count);
    for _ in 0..count {
        match start_scoped(scope, name, work.clone()) {
            Ok(thread) => started.push(thread),
            Err(error) if started.is_empty() => return Err(error),
            Err(_) => break,
        }
    }
    Ok(started)
}

/// Runs the same work on as many threads of so many as there are to be had, this one included, and hands
/// back what each of them came to. A panic goes on here.
pub fn run_on<T: Send>(threads: usize, name: &str, work: impl Fn() -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let work = &work;
        let others: Vec<_> =
            (1..threads).map_while(|_| start_scoped(scope, name, work).ok()).collect();
        let mut outcomes = vec![work()];
        for other in others {
            match other.join() {
                Ok(outcome) => outcomes.push(outcome),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        outcomes
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_for_many_threads_is_done_by_one_where_no_other_is_to_be_had() {
        assert_eq!(run_on(3, "work", || 1).len(), 3);
        pretend_none_left(true);
        assert_eq!(run_on(3, "work", || 1).len(), 1);
        assert!(start("work", || ()).is_err());
        pretend_none_left(false);
        assert!(start("work", || ()).is_ok());
    }
}
