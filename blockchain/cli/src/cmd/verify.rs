//! `lucid verify [SESSION|--all]`: reads everything again and says what is wrong.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use lucid_store::files::folder::Noted;

use super::{DONE, FAILED, Home, finish, fits, note, open};
use crate::group;
use crate::output::Output;
use crate::place::verify::Findings;
use crate::progress::ProgressLine;
use crate::text;
use crate::which::{Narrow, Wanted, choose};

/// Arguments of `lucid verify`.
#[derive(Debug, clap::Args)]
pub struct Verify {
    /// The session to verify: its id, a beginning of it that no other has (4 characters at least), or `latest`; `=ID`
    /// is that id alone.
    #[arg(conflicts_with_all = ["all", "group"])]
    session: Option<Wanted>,
    /// Every session of this group.
    #[arg(long, value_name = "NAME", conflicts_with = "all")]
    group: Option<String>,
    #[command(flatten)]
    narrow: Narrow,
    /// Only sessions of this path; may be given several times. With --host, --tag and --user it says of which sessions
    /// `latest` is one.
    #[arg(long = "path", value_name = "PATH")]
    source_paths: Vec<PathBuf>,
    /// Verify every byte of the store: sessions, log, segments, blocks and keys.
    #[arg(long)]
    all: bool,
}

impl Verify {
    /// Verifies, and exits with 1 if anything is wrong.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        fits(
            self.all || self.session.is_some() || self.group.is_some(),
            "nothing is named that is to be verified: name a session, or pass --all for everything there is",
        )?;
        fits(
            self.session.is_some() || (!self.narrow.is_set() && self.source_paths.is_empty()),
            "--host, --tag, --path and --user say which session is the latest one, and with --all and --group none is \
             meant: leave them out",
        )?;
        let place = open(home, "verify", output)?;
        let chosen = self
            .session
            .as_ref()
            .map(|wanted| choose(place.as_ref(), wanted, &self.narrow, &self.source_paths));
        let chosen = match (chosen.transpose()?, &self.group) {
            (Some(id), _) => Some(vec![id]),
            (None, Some(group)) => Some(group::ids(&group::members(place.as_ref(), group)?)?),
            (None, None) => None,
        };
        let progress = ProgressLine::start(output, "verifying", None);
        let shown = AtomicU64::new(0);
        let show = |done: u64| {
            let before = shown.fetch_max(done, Ordering::Relaxed);
            progress.add(done.saturating_sub(before));
        };
        let findings = match &chosen {
            Some(ids) => {
                let totals = ids.iter().map(|id| Ok(place.session(id)?.total_bytes));
                let totals: Vec<u64> = totals.collect::<anyhow::Result<_>>()?;
                progress.set_total(totals.iter().sum());
                let (mut findings, mut before) = (Findings::default(), 0);
                for (id, total) in ids.iter().zip(totals) {
                    findings.add(place.verify_session(id, &|done| show(before + done))?);
                    before += total;
                }
                findings
            }
            None => place.verify_all(&|done, total| {
                progress.set_total(total);
                show(done);
            })?,
        };
        let elapsed = progress.elapsed();
        drop(progress);
        if self.all {
            note(place.as_ref(), Noted::Verified, findings.is_sound(), "", output);
        }
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
