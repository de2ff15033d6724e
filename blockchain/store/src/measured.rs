//! What calls of a store take, and the stages that chunks go through.
//!
//! A part of a store is measured by a part of the same kind that stands before it and hands every call on: the vault
//! puts one before its log and its chunks, a folder before its index, and the owner of a chain before its blocks. So
//! no back-end knows that it is measured, and none is left out.
//!
//! Figures go to the `metrics` crate. Their handles are made when a store is opened, so what is counted costs a few
//! nanoseconds, and where nobody collects (on the command line) next to nothing. Timing costs some ninety; so
//! calls that take less than microseconds are all counted, but only one in [`TIMED`] is timed.
//!
//! Calls of one part may contain those of another: a commit of the log settles the chunks that it names.

mod blobs;
mod chain;
mod fact_log;
mod index;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use metrics::{Counter, Histogram};

use crate::contract::index::IndexMemory;
use crate::vault::committer::QueueFigures;

pub use self::blobs::MeasuredBlobs;
pub use self::chain::MeasuredChain;
pub use self::fact_log::MeasuredLog;
pub use self::index::MeasuredIndex;

/// Of calls that come often, one in so many is timed.
pub const TIMED: u64 = 64;

const CALLS: &str = "lucid_store_calls_total";
const FAILURES: &str = "lucid_store_call_failures_total";
const SECONDS: &str = "lucid_store_call_seconds";
const STAGES: &str = "lucid_store_stage_seconds";
const BYTES: &str = "lucid_store_chunk_bytes_total";

/// How full a part of a store is now, or how often something happened in it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fullness {
    /// What the figure is called.
    pub name: &'static str,
    /// What it says.
    pub help: &'static str,
    /// How much it is.
    pub value: f64,
    /// Whether it only grows.
    pub is_count: bool,
}

/// How full the queue of a store and the memory of its index are, and what that memory spared.
pub(crate) fn fullness(queue: QueueFigures, index: IndexMemory) -> [Fullness; 8] {
    let of = |name, help, value: u64| Fullness { name, help, value: value as f64, is_count: false };
    let count = |name, help, value| Fullness { is_count: true, ..of(name, help, value) };
    [
        of(
            "lucid_store_queue_submissions",
            "Submissions that wait for the committer of a store.",
            queue.submissions,
        ),
        of(
            "lucid_store_queue_bytes",
            "Bytes of records that wait for the committer of a store.",
            queue.bytes,
        ),
        of(
            "lucid_store_queue_max_bytes",
            "From so many waiting bytes on, submitting waits, too.",
            queue.bytes_max,
        ),
        of(
            "lucid_store_index_cache_bytes",
            "Bytes of an index that were read and are at hand.",
            index.cache_bytes,
        ),
        of(
            "lucid_store_index_cache_max_bytes",
            "How many bytes of an index may be at hand.",
            index.cache_bytes_max,
        ),
        of(
            "lucid_store_index_unmerged_bytes",
            "Bytes of rows of an index that are in none of its tables yet.",
            index.unmerged_bytes,
        ),
        count(
            "lucid_store_index_cache_hits_total",
            "Blocks of an index that were at hand when they were asked for.",
            index.cache_hits,
        ),
        count(
            "lucid_store_index_cache_misses_total",
            "Blocks of an index that had to be read when they were asked for.",
            index.cache_misses,
        ),
    ]
}

/// One sort of call of one part.
struct Call {
    calls: Counter,
    failures: Counter,
    seconds: Histogram,
    /// How often it came, where only one in [`TIMED`] is timed.
    count: AtomicU64,
}

impl Call {
    fn of(part: &'static str, call: &'static str) -> Self {
        metrics::describe_counter!(
            CALLS,
            "Calls of a part of a store. Of the get of an index and the find of blocks, every 64th adds 64."
        );
        metrics::describe_counter!(
            FAILURES,
            "Calls of a part of a store that failed, damage included."
        );
        metrics::describe_histogram!(
            SECONDS,
            "What a call of a part of a store took. Of the get of an index and the find of blocks, one in 64 is timed."
        );
        let labels = [("part", part), ("call", call)];
        let made = Self {
            calls: metrics::counter!(CALLS, &labels),
            failures: metrics::counter!(FAILURES, &labels),
            seconds: metrics::histogram!(SECONDS, &labels),
            count: AtomicU64::new(0),
        };
        // What never failed is zero, and not absent.
        made.calls.increment(0);
        made.failures.increment(0);
        made
    }

    /// Makes a call, counts and times it.
    fn time<T, E>(&self, call: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let began = Instant::now();
        let done = call();
        self.seconds.record(began.elapsed());
        self.calls.increment(1);
        self.told(done)
    }

    /// Makes a call that comes often and takes little.
    fn count<T, E>(&self, call: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        if self.count.fetch_add(1, Ordering::Relaxed) % TIMED < TIMED - 1 {
            return self.told(call());
        }
        let began = Instant::now();
        let done = call();
        self.seconds.record(began.elapsed());
        self.calls.increment(TIMED);
        self.told(done)
    }

    fn told<T, E>(&self, done: Result<T, E>) -> Result<T, E> {
        if done.is_err() {
            self.failures.increment(1);
        }
        done
    }
}

/// One stage that chunks, or what is committed with them, go through.
#[derive(Clone)]
struct Stage(Histogram);

impl Stage {
    fn of(stage: &'static str) -> Self {
        metrics::describe_histogram!(
            STAGES,
            "What a stage took: packing or encrypting one chunk, decrypting or unpacking one, what a submission \
             waited for the committer, deciding about a batch, writing it."
        );
        Self(metrics::histogram!(STAGES, "stage" => stage))
    }

    fn time<T>(&self, work: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let done = work();
        self.0.record(began.elapsed());
        done
    }
}

/// The stages of a chunk between its bytes and its record.
pub(crate) struct ChunkStages {
    pack: Stage,
    encrypt: Stage,
    decrypt: Stage,
    unpack: Stage,
    plain: Counter,
    stored: Counter,
}

impl fmt::Debug for ChunkStages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChunkStages")
    }
}

impl ChunkStages {
    pub(crate) fn new() -> Self {
        metrics::describe_counter!(
            BYTES,
            "Bytes of chunks that were made ready to be written: as they came, and as they are stored."
        );
        let bytes = |form: &'static str| {
            let counter = metrics::counter!(BYTES, "form" => form);
            counter.increment(0);
            counter
        };
        Self {
            pack: Stage::of("pack"),
            encrypt: Stage::of("encrypt"),
            decrypt: Stage::of("decrypt"),
            unpack: Stage::of("unpack"),
            plain: bytes("plain"),
            stored: bytes("stored"),
        }
    }

    pub(crate) fn pack<T>(&self, work: impl FnOnce() -> T) -> T {
        self.pack.time(work)
    }

    pub(crate) fn encrypt<T>(&self, work: impl FnOnce() -> T) -> T {
        self.encrypt.time(work)
    }

    pub(crate) fn decrypt<T>(&self, work: impl FnOnce() -> T) -> T {
        self.decrypt.time(work)
    }

    pub(crate) fn unpack<T>(&self, work: impl FnOnce() -> T) -> T {
        self.unpack.time(work)
    }

    /// Notes that so many bytes take so many on the disk.
    pub(crate) fn made(&self, plain: usize, stored: u64) {
        self.plain.increment(plain as u64);
        self.stored.increment(stored);
    }
}

/// The stages of what is submitted.
#[derive(Clone)]
pub(crate) struct CommitStages {
    queue: Stage,
    decide: Stage,
    write: Stage,
}

impl CommitStages {
    pub(crate) fn new() -> Self {
        let [queue, decide, write] = ["queue", "decide", "write"].map(Stage::of);
        Self { queue, decide, write }
    }

    /// Notes how long a submission waited.
    pub(crate) fn waited(&self, time: Duration) {
        self.queue.0.record(time);
    }

    pub(crate) fn decide<T>(&self, work: impl FnOnce() -> T) -> T {
        self.decide.time(work)
    }

    pub(crate) fn write<T>(&self, work: impl FnOnce() -> T) -> T {
        self.write.time(work)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_handed_on_once_however_it_is_counted() {
        let call = Call::of("index", "get");
        let mut made = 0;
        for number in 0..3 * TIMED {
            let counted = call.count(|| {
                made += 1;
                if number % 2 == 0 { Ok(number) } else { Err(number) }
            });
            assert_eq!(counted, if number % 2 == 0 { Ok(number) } else { Err(number) });
        }
        assert_eq!(made, 3 * TIMED);
        assert_eq!(call.time(|| Ok::<_, ()>(7)), Ok(7));
        assert_eq!(call.time(|| Err::<(), _>("no")), Err("no"));
    }
}
