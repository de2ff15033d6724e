//! The one clock of the service. Ops are given the time; routes and workers take it from here.

use std::time::{SystemTime, UNIX_EPOCH};

use lucid_core::time::Timestamp;

/// Now, in UTC.
#[expect(clippy::disallowed_methods, reason = "this is the room that reads the clock")]
pub fn now() -> Timestamp {
    let micros = match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |m| -m),
    };
    Timestamp::from_micros(micros)
}
