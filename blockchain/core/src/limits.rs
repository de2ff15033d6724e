//! Every bound, with its reason. A bound that is part of validity can never be configured; the
//! others are where a reader stops believing a length.

/// A transaction's canonical text. Part of validity: a block with a larger one is refused.
pub const TRANSACTION_BYTES_MAX: usize = 1 << 20;
/// Transactions in a block. Part of validity.
pub const BLOCK_TRANSACTIONS_MAX: usize = 10_000;
/// The canonical texts of a block's transactions together. Part of validity.
pub const BLOCK_BYTES_MAX: usize = 16 << 20;
/// Nesting of a transaction: deeper texts are refused before they can exhaust a stack.
pub const JSON_DEPTH_MAX: usize = 64;
/// Values that are held at a time while one is read: each takes three bytes of a canonical text at least, so
/// more than these are of no transaction that fits. Texts with more are refused before they fill the memory.
pub const JSON_VALUES_MAX: usize = TRANSACTION_BYTES_MAX / 3;
/// Digits of an integer, where Python itself stops converting.
pub const JSON_INTEGER_DIGITS_MAX: usize = 4_300;
/// A block's time may lie this far ahead of the clock, and a candidate's this far behind it.
pub const BLOCK_TIME_TOLERANCE_SECONDS: i64 = 3_600;
/// A chunk's plaintext: whole chunks travel through memory, so this bounds every buffer.
pub const CHUNK_BYTES_MAX: usize = 16 << 20;
/// A page of an appendix, unless a single entry is larger: one file of a catalogue is found by
/// reading a few of these.
pub const PAGE_BYTES_MAX: usize = 64 << 10;
/// A session's id, in characters of `[A-Za-z0-9._:-]`.
pub const SESSION_ID_CHARS_MAX: usize = 128;
/// A path in a catalogue. Linux stops at 4,096; longer ones can be made step by step, so the bound
/// is generous.
pub const PATH_BYTES_MAX: usize = 1 << 20;
/// A user's name, in bytes of UTF-8.
pub const USER_ID_BYTES_MAX: usize = 256;
/// Why a session is removed or held, in bytes of UTF-8: a sentence or two.
pub const REASON_BYTES_MAX: usize = 1024;
/// Entries of a session's metadata.
pub const METADATA_ENTRIES_MAX: usize = 64;
/// Key and value of one metadata entry, in bytes of UTF-8.
pub const METADATA_ENTRY_BYTES_MAX: usize = 4 << 10;
/// A proof bundle: one for a whole session of a tebibyte stays well below.
pub const BUNDLE_BYTES_MAX: usize = 256 << 20;
