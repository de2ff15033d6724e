//! `lucid verify [SESSION|--all]`: reads everything again and says what is wrong.

use std::sync::atomic::{AtomicU64, Ordering};

use lucid_core::session::SessionId;

use super::{DONE, FAILED, Home, finish, fits, open, session_id};
use crate::output::Output;
use crate::progress::ProgressLine;
use crate::text;

/// Arguments of `lucid verify`.
#[derive(Debug, clap::Args)]
pub struct Verify {
    /// The session to verify.
    #[arg(value_parser = session_id, conflicts_with = "all")]
    session: Option<SessionId>,
    /// Verify every byte of the store: sessions, log, segments, blocks and keys.
    #[arg(long)]
    all: bool,
}

impl Verify {
    /// Verifies, and exits with 1 if anything is wrong.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        fits(
            self.all || self.session.is_some(),
            "nothing is named that is to be verified: name a session, or pass --all for everything there is",
        )?;
        let place = open(home, "verify", output)?;
        let progress = ProgressLine::start(output, "verifying", None);
        let shown = AtomicU64::new(0);
        let show = |done: u64| {
            let before = shown.fetch_max(done, Ordering::Relaxed);
            progress.add(done.saturating_sub(before));
        };
        let findings = match &self.session {
            Some(id) => {
                progress.set_total(place.session(id)?.total_bytes);
                place.verify_session(id, &show)?
            }
            None => place.verify_all(&|done, total| {
                progress.set_total(total);
                show(done);
            })?,
        };
        let elapsed = progress.elapsed();
        drop(progress);
        for what in findings.damage.iter().chain(&findings.faults) {
            output.warn(what);
        }
        for file in &findings.unknown_files {
            output.warn(&format!("{file} does not belong to the store"));
        }
        output.result(&findings, |findings| {
            let mut lines = vec![format!(
                "verified {}, {}, {}: {} in {} ({})",
                text::many(findings.sessions, "session"),
                text::many(findings.records, "record"),
                text::many(findings.blocks, "block"),
                text::size(findings.bytes),
                text::duration(elapsed),
                text::rate(findings.bytes, elapsed),
            )];
            lines.extend(findings.not_checked.iter().map(|what| format!("not checked: {what}")));
            lines.push(match findings.damage.len() + findings.faults.len() {
                0 => "everything is sound".into(),
                1 => "1 fault was found".into(),
                count => format!("{count} faults were found"),
            });
            lines
        })?;
        finish(place, if findings.is_sound() { DONE } else { FAILED })
    }
}
