//! `lucid diff A B [PATH]`: in what two sessions differ, in the words and signs of restic.
//!
//! It ends like `diff`: 0 where nothing differs, 1 where something does, and anything that kept it from an answer has
//! another code, so that a script can rely on either.

use std::ops::ControlFlow;
use std::path::PathBuf;

use lucid_core::catalogue::{Entry, EntryKind};
use lucid_core::session::Layout;
use lucid_data_chain::ops::OpError;
use lucid_data_chain::ops::sessions::compare_sessions::{
    Changed, Difference, compare_folders, have_same_content,
};
use lucid_data_chain::ops::sessions::read_session::find_entry;
use lucid_data_chain::source::SessionSource;
use serde::Serialize;

use super::ls::given_path;
use super::{DONE, FAILED, Home, finish, open};
use crate::ending::TROUBLE;
use crate::output::{Lines, Output};
use crate::text;
use crate::which::{self, Wanted};

/// Arguments of `lucid diff`.
#[derive(Debug, clap::Args)]
pub struct Diff {
    /// The session before: its id, a beginning of it that no other has, or `latest`; `=ID` is that id alone.
    before: Wanted,
    /// The session after, named likewise.
    after: Wanted,
    /// Only this folder or file in both.
    path: Option<PathBuf>,
    /// Say it, too, where only mode, owner, time, attributes, ACLs or flags differ (U).
    #[arg(long)]
    metadata: bool,
}

/// One path that differs.
#[derive(Serialize)]
struct Said<'a> {
    message_type: &'a str,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_base64: Option<String>,
    modifier: &'a str,
}

/// How much came, or went.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
struct Amount {
    files: u64,
    dirs: u64,
    others: u64,
    /// Of files that came or went, and of those that changed.
    bytes: u64,
}

impl Amount {
    fn count(&mut self, entry: &Entry) {
        match entry.kind {
            EntryKind::Folder => self.dirs += 1,
            EntryKind::File | EntryKind::HardLink => self.files += 1,
            EntryKind::Symlink => self.others += 1,
        }
        self.bytes += entry.length;
    }
}

/// What all of it comes to.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
struct Summary {
    changed_files: u64,
    added: Amount,
    removed: Amount,
    /// How many paths were said to differ.
    #[serde(skip)]
    said: u64,
}

#[derive(Serialize)]
struct Statistics<'a> {
    message_type: &'a str,
    source_session: &'a str,
    target_session: &'a str,
    #[serde(flatten)]
    summary: &'a Summary,
}

impl Diff {
    /// Prints a line for each path that differs, and a summary.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        let place = open(home, "diff", output)?;
        let named = [&self.before, &self.after].map(|wanted| which::one(place.as_ref(), wanted));
        let [one, other] = named;
        let (one, other) = (one?, other?);
        let (before, after) = (place.source(&one)?, place.source(&other)?);
        let compared = self.compare(before.as_ref(), after.as_ref(), output);
        drop((before, after));
        let summary = match compared {
            // Damage is no difference: that is not known then.
            Err(error) if is_damage(&error) => {
                output.error(error.as_ref());
                place.close()?;
                return Ok(TROUBLE);
            }
            compared => compared?,
        };
        let statistics = Statistics {
            message_type: "statistics",
            source_session: one.as_str(),
            target_session: other.as_str(),
            summary: &summary,
        };
        if !output.mode().json {
            output.lines(&Lines::default())?;
        }
        output.item(&statistics, |told| told.summary.lines())?;
        finish(place, if summary.said == 0 { DONE } else { FAILED })
    }

    fn compare(
        &self,
        before: &dyn SessionSource,
        after: &dyn SessionSource,
        output: &Output,
    ) -> anyhow::Result<Summary> {
        let below = given_path(self.path.as_ref());
        let layouts = (before.shape().layout, after.shape().layout);
        if layouts == (Layout::Raw, Layout::Raw) {
            anyhow::ensure!(below.is_empty(), "recordings have no files: leave the path out");
            return self.compare_recordings(before, after, output);
        }
        anyhow::ensure!(
            layouts == (Layout::Tree, Layout::Tree),
            "one of both is a folder and the other a recording: name two of a kind"
        );
        if !below.is_empty()
            && find_entry(before, &below)?.is_none()
            && find_entry(after, &below)?.is_none()
        {
            anyhow::bail!("neither session has a file \"{}\"", text::name(&below));
        }
        let (mut summary, mut failed) = (Summary::default(), Ok(()));
        compare_folders(before, after, &below, &mut |difference| {
            failed = self.take(&difference, &mut summary, output);
            if failed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        failed?;
        Ok(summary)
    }

    /// A recording is one content, of which no path tells anything: `.` is all of it.
    fn compare_recordings(
        &self,
        before: &dyn SessionSource,
        after: &dyn SessionSource,
        output: &Output,
    ) -> anyhow::Result<Summary> {
        let mut summary = Summary::default();
        if !have_same_content(before, after)? {
            summary.changed_files = 1;
            summary.added.bytes = after.shape().content_bytes;
            summary.removed.bytes = before.shape().content_bytes;
            summary.say(&Entry { kind: EntryKind::File, ..Entry::bare() }, "M", output)?;
        }
        Ok(summary)
    }

    fn take(
        &self,
        difference: &Difference<'_>,
        summary: &mut Summary,
        output: &Output,
    ) -> std::io::Result<()> {
        match difference {
            Difference::Added(entry) => {
                summary.added.count(entry);
                summary.say(entry, "+", output)
            }
            Difference::Removed(entry) => {
                summary.removed.count(entry);
                summary.say(entry, "-", output)
            }
            Difference::Changed { before, after, in_what } => {
                if in_what.content && !matches!(after.kind, EntryKind::Symlink) {
                    summary.changed_files += 1;
                    summary.removed.bytes += before.length;
                    summary.added.bytes += after.length;
                }
                let modifier = modifier(*in_what, self.metadata);
                if modifier.is_empty() { Ok(()) } else { summary.say(after, modifier, output) }
            }
        }
    }
}

/// The signs of a path that both have: metadata is said on request, and where it is not said otherwise that something
/// is another.
fn modifier(in_what: Changed, with_metadata: bool) -> &'static str {
    match (in_what.kind, in_what.content, in_what.metadata && with_metadata) {
        (true, _, true) => "TU",
        (true, _, false) => "T",
        (false, true, _) => "M",
        (false, false, true) => "U",
        (false, false, false) => "",
    }
}

impl Summary {
    fn say(&mut self, entry: &Entry, modifier: &str, output: &Output) -> std::io::Result<()> {
        self.said += 1;
        let (path, path_base64) = lucid_api::v1::files::name(&entry.path);
        let said = Said { message_type: "change", path, path_base64, modifier };
        output.item(&said, |_| {
            let name = match entry.path.as_slice() {
                b"" => ".".to_owned(),
                path => text::name(path),
            };
            let slash = if entry.kind == EntryKind::Folder { "/" } else { "" };
            format!("{modifier:<5}{name}{slash}")
        })
    }

    fn lines(&self) -> Vec<String> {
        let (added, removed) = (&self.added, &self.removed);
        let row =
            |name: &str, new: u64, gone: u64| format!("{name:<8}{new:>6} new, {gone:>6} removed");
        vec![
            format!(
                "{}, {:>6} changed",
                row("Files:", added.files, removed.files),
                self.changed_files
            ),
            row("Dirs:", added.dirs, removed.dirs),
            row("Others:", added.others, removed.others),
            format!("Added:   {}", text::size(added.bytes)),
            format!("Removed: {}", text::size(removed.bytes)),
        ]
    }
}

fn is_damage(error: &anyhow::Error) -> bool {
    error.downcast_ref::<OpError>().is_some_and(OpError::is_damage)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signs_are_those_of_restic() {
        let changed = |kind, content, metadata| Changed { kind, content, metadata };
        for (in_what, plain, with_metadata) in [
            (changed(true, false, true), "T", "TU"),
            (changed(true, false, false), "T", "T"),
            (changed(false, true, true), "M", "M"),
            (changed(false, false, true), "", "U"),
        ] {
            assert_eq!(modifier(in_what, false), plain, "{in_what:?}");
            assert_eq!(modifier(in_what, true), with_metadata, "{in_what:?}");
        }
    }
}
