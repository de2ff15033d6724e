//! Every bound of the service, with its reason. What is part of validity is in `lucid_core::limits`.

/// A block is produced before its time when so many transactions wait: as many as it may hold.
pub const POOL_PRODUCE_AT: u64 = lucid_core::limits::BLOCK_TRANSACTIONS_MAX as u64;
/// Beyond this, submitting is refused until blocks were made: a minute of full blocks, so that a
/// producer that stands still is noticed before the disk is full.
pub const POOL_TRANSACTIONS_MAX: u64 = 100_000;
/// Beyond so many bytes of waiting texts, submitting is refused, too, until blocks were made.
pub const POOL_BYTES_MAX: u64 = 256 << 20;
/// A clock that is so many days ahead of the newest block is doubted, and produces nothing unasked: longer
/// than a store rests that is used once a year.
pub const CLOCK_AHEAD_DAYS_MAX: i64 = 400;
/// Requests that a follower hands on at once. Each holds a thread while its peer is silent, and far more
/// threads than this are there for requests that only read.
pub const RELAYS_MAX: usize = 32;
/// Threads that requests have at once. The runtime has twice as many, so blocks are produced however much
/// is asked.
pub const OPS_MAX: usize = 256;
/// Transactions that are looked up at once: each is found in its whole block.
pub const LOOKUPS_MAX: usize = 8;
/// Answers that may be large and are made at once: blocks and runs of them, pages.
pub const LARGE_MAX: usize = 8;
