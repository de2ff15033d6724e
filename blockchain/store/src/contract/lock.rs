//! Small values that are created once: the identity of a store, and the keys it was made with.
//!
//! Two processes may start a new store at the same time, and a start can be killed half-way and run again. The
//! first to create a value decides it; every other start is given that value and goes on with it.

use zeroize::Zeroizing;

use crate::StoreError;

/// What became of a value that was to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// The value is stored.
    Here,
    /// Nothing was stored: an earlier value has this name, and this is it.
    There(Zeroizing<Vec<u8>>),
}

/// Why a value was not created.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CreateError {
    /// The value is certainly not stored.
    #[error("{0}")]
    Not(StoreError),
    /// The value may be stored. Calling [`Lock::create`] again tells.
    #[error("it is not known whether it was created: {0}")]
    Maybe(StoreError),
}

impl From<CreateError> for StoreError {
    /// Drops the difference, for a caller that gives up in both cases and asks again at its next start.
    fn from(error: CreateError) -> Self {
        let (CreateError::Not(why) | CreateError::Maybe(why)) = error;
        why
    }
}

/// Stores small values under names. A stored value is never changed and never removed.
pub trait Lock: Send + Sync {
    /// Stores a value unless the name has one already, and returns which of the two is the case. On return the
    /// value of this name is whole and durable, even when the process that created it died before it was
    /// durable, and every later call returns the same one.
    fn create(&self, name: &str, value: &[u8]) -> Result<Created, CreateError>;

    /// The value of this name, or `None` if it has none. A value that is stored but cannot be read is an error: it
    /// is not taken for absent, and `create` does not write over it.
    fn read(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError>;
}

#[cfg(test)]
mod conformance {
    use std::sync::Arc;
    use std::time::Duration;

    use rustix::io::Errno;

    use super::*;
    use crate::files::disk::Disk;
    use crate::files::disk::faulty::{Call, FaultyDisk};
    use crate::files::disk::simulated::SimulatedDisk;
    use crate::files::folder::Labels;
    use crate::memory::fact_log::Ending;
    use crate::memory::lock::MemoryLock;

    const NAME: &str = "keys/some.key";

    fn on(disk: &SimulatedDisk) -> Arc<dyn Disk> {
        disk.create_folder("keys").unwrap();
        disk.sync_folder("").unwrap();
        Arc::new(disk.clone())
    }

    /// Back-ends that hold nothing yet, each under its name.
    fn every_back_end(test: impl Fn(&str, &dyn Lock)) {
        test("memory", &MemoryLock::new());
        test("files", &Labels::new(on(&SimulatedDisk::new()).as_ref()));
        let slow = FaultyDisk::over(on(&SimulatedDisk::new()));
        slow.shorten_reads(3);
        slow.delay(Duration::from_micros(50));
        test("files, slowly and in pieces", &Labels::new(&slow));
        #[cfg(feature = "mongodb")]
        crate::mongo::servers::every_database(&|name, database| test(name, &database.lock()));
    }

    fn value(text: &str) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(text.as_bytes().to_vec())
    }

    #[test]
    fn the_first_value_stays() {
        every_back_end(|back_end, lock| {
            assert_eq!(lock.read(NAME).unwrap(), None, "{back_end}");
            assert_eq!(lock.create(NAME, b"first\n").unwrap(), Created::Here, "{back_end}");
            let there = Created::There(value("first\n"));
            for other in [&b"second\n"[..], b"first\n", b""] {
                assert_eq!(lock.create(NAME, other).unwrap(), there, "{back_end}");
            }
            assert_eq!(lock.read(NAME).unwrap(), Some(value("first\n")), "{back_end}");
            assert_eq!(lock.read("keys/another.key").unwrap(), None, "{back_end}");
        });
    }

    #[test]
    fn any_bytes_are_a_value() {
        every_back_end(|back_end, lock| {
            let bytes: Vec<u8> = (0..=255).collect();
            let values = [&b""[..], b"checksum: ", b"checksum: 00\n", b"no line's end", &bytes];
            for (number, value) in values.into_iter().enumerate() {
                let name = format!("keys/{number}.key");
                assert_eq!(lock.create(&name, value).unwrap(), Created::Here, "{back_end}");
                let read = lock.read(&name).unwrap();
                assert_eq!(read.as_deref().map(Vec::as_slice), Some(value), "{back_end}");
            }
        });
    }

    #[test]
    fn of_many_who_create_one_is_first_and_all_learn_which() {
        every_back_end(|back_end, lock| {
            let ended: Vec<Created> = std::thread::scope(|scope| {
                let create = |number: usize| lock.create(NAME, number.to_string().as_bytes());
                let all: Vec<_> = (0..8).map(|at| scope.spawn(move || create(at))).collect();
                all.into_iter().map(|one| one.join().unwrap().unwrap()).collect()
            });
            let there = lock.read(NAME).unwrap().unwrap();
            for (number, ended) in ended.iter().enumerate() {
                let own = number.to_string().as_bytes() == there.as_slice();
                let wanted = if own { Created::Here } else { Created::There(there.clone()) };
                assert_eq!(*ended, wanted, "{back_end}");
            }
        });
    }

    /// Fails every call of the disk at every moment, alone and with the call behind it. `Not` means absent, `Maybe`
    /// means whole or absent, and the next `create` returns what is there.
    #[test]
    fn a_disk_that_fails_leaves_no_doubt_that_is_not_told() {
        let calls = [Call::Create, Call::Open, Call::Read, Call::Append, Call::Sync, Call::Name];
        let (mut surely, mut perhaps) = (0, 0);
        for call in calls {
            for errno in [Errno::IO, Errno::NOSPC, Errno::ACCESS] {
                for (good, times) in (0..10).flat_map(|good| [(good, 1), (good, 2)]) {
                    let what = format!("{call:?} {errno} {times} after {good}");
                    let faulty = FaultyDisk::over(on(&SimulatedDisk::new()));
                    let lock = Labels::new(&faulty);
                    faulty.refuse(call, "keys", errno, good, times);
                    let first = lock.create(NAME, b"first");
                    faulty.repair();
                    let there = lock.read(NAME).unwrap();
                    match &first {
                        Ok(Created::Here) => assert_eq!(there, Some(value("first")), "{what}"),
                        Ok(there) => panic!("{there:?} in a folder without any: {what}"),
                        Err(CreateError::Not(_)) => {
                            surely += 1;
                            assert_eq!(there, None, "{what}");
                        }
                        Err(CreateError::Maybe(_)) => {
                            perhaps += 1;
                            assert!(there.is_none_or(|there| there == value("first")), "{what}");
                        }
                    }
                    let there = lock.read(NAME).unwrap();
                    let wanted = there.map_or(Created::Here, Created::There);
                    assert_eq!(lock.create(NAME, b"second").unwrap(), wanted, "{what}");
                }
            }
        }
        assert!(surely > 20 && perhaps > 20, "{surely} and {perhaps}");
    }

    #[test]
    fn what_cannot_be_read_is_neither_absent_nor_written_over() {
        let simulated = SimulatedDisk::new();
        let faulty = FaultyDisk::over(on(&simulated));
        let lock = Labels::new(&faulty);
        assert_eq!(lock.create(NAME, b"first").unwrap(), Created::Here);
        faulty.break_bytes(NAME, 0..1, Errno::IO);
        faulty.break_bytes("keys/some.key.copy", 0..1, Errno::IO);
        assert!(lock.read(NAME).is_err());
        assert!(matches!(lock.create(NAME, b"second"), Err(CreateError::Not(_))));
        faulty.repair();
        assert_eq!(lock.read(NAME).unwrap(), Some(value("first")));
        // A damaged copy is ignored, and repaired from the other one.
        for broken in [NAME, "keys/some.key.copy"] {
            simulated.open(broken).unwrap().unwrap().truncate(3).unwrap();
            assert_eq!(lock.read(NAME).unwrap(), Some(value("first")), "{broken}");
            assert_eq!(lock.create(NAME, b"x").unwrap(), Created::There(value("first")));
        }
        for broken in [NAME, "keys/some.key.copy"] {
            simulated.open(broken).unwrap().unwrap().truncate(3).unwrap();
        }
        assert!(lock.read(NAME).is_err());
        assert!(matches!(lock.create(NAME, b"second"), Err(CreateError::Not(_))));
    }

    /// Cuts the power behind every call of a first `create`, runs a second one with another value, and cuts the
    /// power again: a value that `create` returned once is returned for ever.
    #[test]
    fn power_cuts_decide_nothing_twice() {
        let disk = SimulatedDisk::new();
        let begun = {
            on(&disk);
            disk.calls()
        };
        let lock = Labels::new(&disk);
        assert_eq!(lock.create(NAME, b"first").unwrap(), Created::Here);
        for calls in begun..=disk.calls() {
            for coin in 0..12 {
                let cut = disk.after_power_cut(calls, coin);
                let is_done = calls == disk.calls();
                let again = Labels::new(&cut).create(NAME, b"second").unwrap();
                let told = match again {
                    Created::There(there) => there,
                    Created::Here => value("second"),
                };
                assert!([value("first"), value("second")].contains(&told), "{calls} {coin}");
                assert!(!is_done || told == value("first"), "{calls} {coin}");
                let later = cut.after_power_cut(cut.calls(), coin);
                assert_eq!(Labels::new(&later).read(NAME).unwrap(), Some(told), "{calls} {coin}");
            }
        }
    }

    #[test]
    fn a_lock_in_memory_ends_as_it_is_told_to() {
        let lock = MemoryLock::new();
        lock.end_next(Ending::Refused);
        assert!(matches!(lock.create(NAME, b"first"), Err(CreateError::Not(_))));
        assert_eq!(lock.read(NAME).unwrap(), None);
        lock.end_next(Ending::Lost);
        assert!(matches!(lock.create(NAME, b"first"), Err(CreateError::Maybe(_))));
        assert_eq!(lock.read(NAME).unwrap(), None);
        lock.end_next(Ending::Unheard);
        assert!(matches!(lock.create(NAME, b"first"), Err(CreateError::Maybe(_))));
        assert_eq!(lock.create(NAME, b"second").unwrap(), Created::There(value("first")));
    }
}
