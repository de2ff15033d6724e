//! What a restore says at its end: what was done, and how much of it is proved.

use std::time::Instant;

use lucid_core::catalogue::EntryKind;
use lucid_core::session::SessionId;
use serde::Serialize;

use super::super::{DONE, FAILED, LEFT_OUT};
use crate::folder::target::{Foreseen, RestoreReport, RestoredCounts};
use crate::output::Output;
use crate::restore::{RestoreOutcome, complaints};
use crate::text;

/// What was done to all sessions of a call.
#[derive(Debug, Serialize)]
pub(super) struct Restored {
    #[serde(skip)]
    began: Instant,
    dry_run: bool,
    folders: u64,
    files: u64,
    links: u64,
    bytes: u64,
    identical: u64,
    deleted: u64,
    /// Files and links whose bytes belong to what a block vouches for.
    proved: u64,
    /// Those that were taken for the same without being read.
    unread: u64,
    seconds: f64,
    proofs: Vec<Proved>,
    not_proved: Vec<String>,
    pub(super) failed: Vec<String>,
    warnings: Vec<String>,
    /// Whether the session that is restored now is proved.
    #[serde(skip)]
    is_proved: bool,
}

/// A session that is proved.
#[derive(Debug, Serialize)]
struct Proved {
    session_id: String,
    block_index: u64,
}

/// What would be done to a path.
#[derive(Debug, Serialize)]
struct PlanLine<'a> {
    action: &'a str,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_base64: Option<String>,
}

impl Restored {
    /// Nothing was done yet.
    pub(super) fn begin(dry_run: bool) -> Self {
        Self {
            began: Instant::now(),
            dry_run,
            folders: 0,
            files: 0,
            links: 0,
            bytes: 0,
            identical: 0,
            deleted: 0,
            proved: 0,
            unread: 0,
            seconds: 0.0,
            proofs: Vec::new(),
            not_proved: Vec::new(),
            failed: Vec::new(),
            warnings: Vec::new(),
            is_proved: false,
        }
    }

    /// Whether the session that comes next is proved: the block, or why it is not.
    pub(super) fn proved_in(&mut self, id: &SessionId, proved: Result<u64, String>) {
        self.is_proved = proved.is_ok();
        match proved {
            Ok(block_index) => {
                self.proofs.push(Proved { session_id: id.to_string(), block_index });
            }
            Err(why) => self.not_proved.push(why),
        }
    }

    /// Adds what was done to a session, and prints what would be done.
    pub(super) fn take(&mut self, outcome: RestoreOutcome, output: &Output) -> anyhow::Result<()> {
        self.failed.extend(complaints(&outcome));
        let RestoreOutcome { report, deleted, plan, .. } = outcome;
        for (path, planned) in &plan {
            let action = match planned.foreseen {
                Foreseen::New => "write",
                Foreseen::Replaced => "replace",
                Foreseen::Stands => "leave",
            };
            let is_written = planned.foreseen != Foreseen::Stands;
            match planned.kind {
                EntryKind::Folder => self.folders += u64::from(is_written),
                _ if !is_written => self.identical += 1,
                EntryKind::File => {
                    self.files += 1;
                    self.bytes += planned.length;
                }
                EntryKind::Symlink | EntryKind::HardLink => self.links += 1,
            }
            // That a folder is there already is no news.
            if (is_written || planned.kind != EntryKind::Folder) && !path.is_empty() {
                plan_line(action, path, output)?;
            }
        }
        if self.dry_run {
            for path in &deleted.paths {
                plan_line("delete", path, output)?;
            }
        } else {
            for path in &deleted.paths {
                output.detail(&format!("removed \"{}\"", text::name(path)));
            }
            self.count(&report);
        }
        self.deleted += deleted.paths.len() as u64;
        if report.swept > 0 {
            let swept = text::many(report.swept, "unfinished file");
            output.remark(&format!("removed {swept} of a run that was killed"));
        }
        Ok(())
    }

    fn count(&mut self, report: &RestoreReport) {
        let RestoredCounts { folders, files, links, bytes, identical, unread } = report.restored;
        self.folders += folders;
        self.files += files;
        self.links += links;
        self.bytes += bytes;
        self.identical += identical;
        self.unread += unread;
        if self.is_proved {
            self.proved += files + links + identical - unread;
        }
        let warned = report.warnings.first.iter();
        self.warnings.extend(
            warned.map(|warning| format!("\"{}\": {}", text::name(&warning.path), warning.what)),
        );
        if report.warnings.more > 0 {
            let more = text::count(report.warnings.more);
            self.warnings.push(format!("{more} more could not be restored quite as they were"));
        }
    }

    /// Says it all, and how that ends. Where it `must` be proved, something that is not is a failure.
    pub(super) fn tell(mut self, output: &Output, must: bool) -> anyhow::Result<u8> {
        self.seconds = self.began.elapsed().as_secs_f64();
        for line in self.failed.iter().chain(&self.warnings) {
            output.warn(line);
        }
        output.result(&self, Self::lines)?;
        let is_failed = !self.failed.is_empty() || (must && !self.not_proved.is_empty());
        Ok(match (is_failed, self.warnings.is_empty()) {
            (true, _) => FAILED,
            (false, true) => DONE,
            (false, false) => LEFT_OUT,
        })
    }

    fn lines(&self) -> Vec<String> {
        let did = if self.dry_run { "would restore" } else { "restored" };
        let mut lines = vec![format!(
            "{did} {}, {} and {}, {}, in {:.1} s",
            text::many(self.files, "file"),
            text::many(self.folders, "folder"),
            text::many(self.links, "link"),
            text::size(self.bytes),
            self.seconds
        )];
        if self.identical > 0 {
            lines.push(format!("{} identical, left as they are", text::count(self.identical)));
        }
        if self.deleted > 0 {
            let did = if self.dry_run { "would remove" } else { "removed" };
            lines.push(format!("{did} {}", text::many(self.deleted, "path")));
        }
        if self.dry_run {
            lines.push("nothing was changed".to_owned());
            return lines;
        }
        let all = self.files + self.links + self.identical;
        match self.proofs.as_slice() {
            [] => {}
            [one] => lines.push(format!(
                "{} of {} proved: session {} is in block {}",
                text::count(self.proved),
                text::count(all),
                one.session_id,
                one.block_index
            )),
            many => lines.push(format!(
                "{} of {} proved: {} are in blocks",
                text::count(self.proved),
                text::count(all),
                text::many(many.len() as u64, "session")
            )),
        }
        if self.unread > 0 {
            lines.push(format!(
                "not proved: {} taken for the same by their times",
                text::many(self.unread, "file")
            ));
        }
        let nothing = if self.proofs.is_empty() { "nothing is proved" } else { "not proved" };
        lines.extend(self.not_proved.iter().map(|why| format!("{nothing}: {why}")));
        lines
    }
}

fn plan_line(action: &str, path: &[u8], output: &Output) -> anyhow::Result<()> {
    let (shown, path_base64) = lucid_api::v1::files::name(path);
    let line = PlanLine { action, path: shown, path_base64 };
    Ok(output.item(&line, |line| format!("{:<8} {}", line.action, text::name(path)))?)
}
