//! Whether the clock can be right, by what is stored.

use std::path::Path;
use std::time::Duration;

use lucid_core::time::Timestamp;

use crate::clock::fault_before_1970;
use crate::files::log;

/// A clock that is further back than this is wrong.
const CLOCK_BACK_MICROS: i64 = 3_600_000_000;

/// Why the clock cannot be right, if so: it is before 1970, or what is stored was written over an hour after
/// `now`, in microseconds since 1970. Nobody should write then: what is written would be older than what is
/// there.
pub fn clock_fault(root: &Path, now: i64) -> Option<String> {
    if let Some(why) = fault_before_1970(Timestamp::from_micros(now)) {
        return Some(why);
    }
    let newest = std::fs::read_dir(root.join(log::FOLDER)).ok()?.filter_map(|entry| {
        let entry = entry.ok()?;
        let since = entry.metadata().ok()?.modified().ok()?.duration_since(std::time::UNIX_EPOCH);
        let micros = i64::try_from(since.ok()?.as_micros()).unwrap_or(i64::MAX);
        Some((micros, entry.path()))
    });
    let (written, path) = newest.max()?;
    let ahead = written.saturating_sub(now);
    (ahead > CLOCK_BACK_MICROS).then(|| {
        format!(
            "the clock is {} minutes before the last commit in {}: set the clock, or `touch` that file if \
             the clock is right",
            ahead / 60_000_000,
            path.display()
        )
    })
}

/// After so long a service looks at a wrong clock again.
pub const CLOCK_AGAIN: Duration = Duration::from_secs(10);
