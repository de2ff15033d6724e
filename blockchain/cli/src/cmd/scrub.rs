//! `lucid scrub`: reads stored bytes again, or says how far that has come and what was found.

use super::{DONE, FAILED, Home, finish, open};
use crate::output::Output;
use crate::progress::ProgressLine;
use crate::text;
use crate::when;

/// Arguments of `lucid scrub`.
#[derive(Debug, clap::Args)]
pub struct Scrub {
    /// Read now, to the end; a round that was stopped goes on.
    #[arg(long)]
    now: bool,
}

impl Scrub {
    /// Whether it only says how far that has come.
    pub fn only_reads(&self) -> bool {
        !self.now
    }

    /// Scrubs, and exits with 1 if anything is damaged that has not healed.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        let place = open(home, "scrub", output)?;
        let scrub = if self.now {
            let progress = ProgressLine::start(output, "scrubbing", None);
            place.scrub_now(&|stage, done, total| progress.show(stage, done, total))?
        } else {
            place.scrub()?
        };
        output.result(&scrub, |scrub| {
            let mut lines = vec![match (&scrub.began_at, scrub.complete) {
                (None, _) => "nothing was read again yet: `lucid scrub --now` does".to_owned(),
                (Some(at), complete) => format!(
                    "round {} of {}: {}, {}{}",
                    scrub.round,
                    when::shown(at),
                    text::many(scrub.records, "record"),
                    text::size(scrub.bytes),
                    if complete { "" } else { ", not at its end" },
                ),
            }];
            lines.extend(scrub.damage.iter().map(|found| {
                let state = found.state.as_str();
                format!("{state}: {} at byte {}: {}", found.file, found.offset, found.why)
            }));
            lines
        })?;
        use lucid_api::v1::scrub::FindingState::{Damaged, Quarantined};
        let is_bad = scrub.damage.iter().any(|found| matches!(found.state, Quarantined | Damaged));
        finish(place, if is_bad { FAILED } else { DONE })
    }
}
