//! The clock: the one place that reads it. Ops are handed the time.

use std::time::{SystemTime, UNIX_EPOCH};

use lucid_core::time::Timestamp;

/// Now.
#[expect(clippy::disallowed_methods, reason = "this is the room that reads the clock")]
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
