//! Notes beside the chunks of how far the log has come.
//!
//! The committer calls it before it acknowledges. A copy that starts without an index learns from the note that the log
//! it is given has less than was acknowledged. What was acknowledged within a second behind the last note is not in it.

use std::time::{Duration, Instant};

use crate::vault::committer::Start;

/// Between two notes there is so much time at least.
const EVERY: Duration = Duration::from_secs(1);
/// After a note that failed the next one is tried after so many times as long as that took: a bucket that does not
/// answer holds up no more than a part of the commits, which are durable without it.
const REST: u32 = 10;

/// When the next note is due.
#[derive(Default)]
pub(super) struct Marks {
    due: Option<Instant>,
}

impl Marks {
    /// Notes the last commit, if it is time to.
    pub(super) fn note(&mut self, of: &Start) {
        let begun = Instant::now();
        if !of.blobs.is_shared() || self.due.is_some_and(|due| begun < due) {
            return;
        }
        let noted = of.log.place(&of.at).and_then(|place| match place {
            Some(place) => of.blobs.mark(&place),
            None => Ok(()),
        });
        let took = begun.elapsed();
        let pause = match noted {
            Ok(()) => EVERY,
            Err(error) => {
                tracing::warn!(%error, "how far the log has come was not noted beside the chunks");
                EVERY.max(took.saturating_mul(REST))
            }
        };
        self.due = begun.checked_add(took.saturating_add(pause));
    }
}
