//! File descriptors: how many this process may have, who may take how many, and what to do when
//! there is none left.
//!
//! Every program calls [`raise_limit`] before it opens anything. Code that keeps files open between two calls
//! asks [`share`] how many; code that opens one does it [`patiently`]. Together they end one kind of fault: a
//! file that is left out, or a commit that fails, only because other files were open just then.
//!
//! Invariant: all shares together leave room for what is open only for a moment, from
//! [`FEWEST`] descriptors on.

use std::io;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A higher limit is of no use here, and what this process starts would inherit it.
const ENOUGH: u64 = 65_536;

/// With fewer descriptors than this nothing is promised.
pub const FEWEST: usize = 128;

/// How long the first wait is, and how long any.
const WAIT: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(250));
/// Waits until it is given up: ten seconds in all.
const WAITS: usize = 47;

/// Raises the limit as far as the system lets us. Returns what it is now.
pub fn raise_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.map_or(ENOUGH, |maximum| maximum.min(ENOUGH));
    if limit.current.is_some_and(|current| current < most) {
        let raised = Rlimit { current: Some(most), maximum: limit.maximum };
        // Where that is refused, the shares are small and everything else stays the same.
        if setrlimit(Resource::Nofile, raised).is_ok() {
            return most;
        }
    }
    limit.current.unwrap_or(u64::MAX)
}

/// Who keeps files open, and which part of all descriptors that may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeper {
    /// Segments that chunks are read from: a quarter.
    Segments,
    /// The tables of an index: an eighth, because two indexes may be open side by side.
    Index,
    /// Files of the user that are read ahead: a quarter.
    ReadAhead,
    /// Large files of the user that wait for being cut: a sixteenth.
    LargeFiles,
    /// Files of the user that are watched while they grow: a quarter, since a process that watches archives no
    /// folders.
    Watched,
}

/// How many files someone may keep open: a part of what the process may have, and `most` at most.
pub fn share(keeper: Keeper, most: usize) -> usize {
    share_of(getrlimit(Resource::Nofile).current, keeper, most)
}

fn share_of(limit: Option<u64>, keeper: Keeper, most: usize) -> usize {
    let all = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    let part = match keeper {
        Keeper::Segments | Keeper::ReadAhead | Keeper::Watched => 4,
        Keeper::Index => 8,
        Keeper::LargeFiles => 16,
    };
    (all / part).clamp(1, most.max(1))
}

/// Opens something, and waits while this process or the whole system has no descriptor left: others
/// give theirs back. After ten seconds it is an error like any other.
pub fn patiently<T>(mut open: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let (mut wait, longest) = WAIT;
    for _ in 0..WAITS {
        match open() {
            Err(error) if is_exhaustion(&error) => {
                thread::sleep(wait);
                wait = (wait * 2).min(longest);
            }
            opened => return opened,
        }
    }
    open()
}

/// Opens something like [`patiently`], by a call that speaks in error numbers.
pub fn patiently_raw<T>(mut open: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    patiently(|| open().map_err(io::Error::from))
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

fn is_exhaustion(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opening_waits_for_a_descriptor_and_not_for_anything_else() {
        for errno in [Errno::MFILE, Errno::NFILE] {
            let mut failures = 5;
            let opened = patiently(|| {
                failures -= 1;
                if failures > 0 { Err(errno.into()) } else { Ok("open") }
            });
            assert_eq!(opened.unwrap(), "open");
        }
        let mut calls = 0;
        let refused = patiently_raw(|| -> Result<(), Errno> {
            calls += 1;
            Err(Errno::ACCESS)
        });
        assert_eq!((refused, calls), (Err(Errno::ACCESS), 1));
    }

    #[test]
    fn waiting_for_a_descriptor_ends() {
        let waits = std::iter::successors(Some(WAIT.0), |wait| Some((*wait * 2).min(WAIT.1)));
        let all: Duration = waits.take(WAITS).sum();
        assert!((9..12).contains(&all.as_secs()), "{all:?}");
    }

    #[test]
    fn shares_leave_room_for_everything_else() {
        use Keeper::{Index, LargeFiles, ReadAhead, Segments, Watched};
        for limit in [FEWEST as u64, 256, 1024, 20_000, ENOUGH] {
            let of = |keeper| share_of(Some(limit), keeper, usize::MAX) as u64;
            let users = of(Watched).max(of(ReadAhead) + of(LargeFiles));
            let kept = of(Segments) + 2 * of(Index) + users;
            assert!(kept + limit / 8 <= limit, "{kept} of {limit}");
        }
        assert_eq!(share_of(None, Segments, 512), 512);
        assert_eq!(share_of(Some(3), Segments, 512), 1);
    }
}
