//! `lucid ls`: lists sessions, those that were removed, or the files of one.

mod listed;

use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use lucid_core::catalogue::{Entry, EntryKind, FileTime};
use lucid_core::time::Timestamp;
use lucid_data_chain::ops::sessions::read_session::{find_entry, visit_entries};
use serde::Serialize;

use super::{DONE, Home, finish, fits, long, open};
use crate::output::{Align, Output, table};
use crate::place::RemoveSessions;
use crate::text;
use crate::when;
use crate::which::{Narrow, Wanted, choose};
use listed::Listed;

/// Arguments of `lucid ls`.
#[derive(Debug, clap::Args)]
pub struct Ls {
    /// The session whose files are listed: its id, a beginning of it that no other has (4 characters at least), or
    /// `latest`; `=ID` is that id alone. Without it, sessions are listed.
    session: Option<Wanted>,
    /// The folder or file in it.
    path: Option<PathBuf>,
    /// List the sessions that were removed.
    #[arg(long, conflicts_with_all = ["session", "path"])]
    removed: bool,
    #[command(flatten)]
    narrow: Narrow,
    /// Only sessions of this path; may be given several times. With a session that is `latest`, --host, --tag, --user
    /// and this say of which it is one.
    #[arg(long = "path", value_name = "PATH")]
    source_paths: Vec<PathBuf>,
    #[command(flatten)]
    listed: Listed,
    #[command(flatten)]
    how: HowListed,
}

/// How the files of a session are listed.
#[derive(Debug, Clone, Copy, clap::Args)]
struct HowListed {
    /// List files with permissions, owner and group, as `ls -l` does.
    #[arg(long, short, requires = "session")]
    long: bool,
    /// Write sizes of files in three digits.
    #[arg(long, alias = "human-readable", requires = "session")]
    human: bool,
}

/// A file of a session, as programs are told of it.
#[derive(Serialize)]
pub struct ListedFile<'a> {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_base64: Option<String>,
    kind: &'a str,
    mode: String,
    uid: u32,
    gid: u32,
    #[serde(skip_serializing_if = "str::is_empty")]
    owner: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    group: String,
    size_bytes: u64,
    modified: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    target: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    changed: bool,
}

impl Ls {
    /// Prints a table, or one object a line.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        let filter = self.narrow.filter(&self.source_paths)?;
        let is_narrow = self.narrow.is_set() || !self.source_paths.is_empty();
        fits(
            !self.removed || !(is_narrow || self.listed.is_set()),
            "of sessions that were removed little more than their ids is known: leave out what says which to list",
        )?;
        fits(
            self.session.is_none() || !self.listed.is_set(),
            "the files of one session are listed, and --meta, --group, --status, --from, --to, --sort, --reverse and --last say \
             which sessions to list: leave them out",
        )?;
        let place = open(home, "ls", output)?;
        match &self.session {
            None if self.removed => list_removed(place.as_ref(), output)?,
            None => self.listed.list(place.as_ref(), filter, output)?,
            Some(wanted) => {
                let id = choose(place.as_ref(), wanted, &self.narrow, &self.source_paths)?;
                let source = place.source(&id)?;
                let below = given_path(self.path.as_ref());
                if !below.is_empty() && find_entry(source.as_ref(), &below)?.is_none() {
                    anyhow::bail!("session {id} has no file \"{}\"", text::name(&below));
                }
                let mut failed = Ok(());
                visit_entries(source.as_ref(), &below, None, |entry| {
                    if entry.path.is_empty() {
                        return ControlFlow::Continue(());
                    }
                    failed = list(output, &entry, self.how);
                    if failed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
                })?;
                failed?;
            }
        }
        finish(place, DONE)
    }
}

fn list_removed(place: &dyn RemoveSessions, output: &Output) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    place.tombstones(&mut |tombstone| {
        if output.mode().json {
            output.item(&tombstone, |_| "")?;
        } else {
            rows.push(vec![
                tombstone.session_id,
                when::shown(&tombstone.removed_at),
                tombstone.block_index.map_or_else(|| "-".to_owned(), |index| index.to_string()),
                text::name(tombstone.reason.as_bytes()),
            ]);
        }
        Ok(())
    })?;
    if !output.mode().json {
        let columns = [
            ("session", Align::Left),
            ("removed", Align::Left),
            ("block", Align::Right),
            ("reason", Align::Left),
        ];
        output.lines(&table(&columns, rows))?;
    }
    Ok(())
}

impl ListedFile<'_> {
    /// What is told of a path.
    pub fn of(entry: &Entry) -> Self {
        let (path, path_base64) = lucid_api::v1::files::name(&entry.path);
        Self {
            path,
            path_base64,
            kind: entry.kind.as_str(),
            mode: format!("{:04o}", entry.mode),
            uid: entry.owner.uid,
            gid: entry.owner.gid,
            owner: text::name(&entry.owner_name),
            group: text::name(&entry.group_name),
            size_bytes: entry.length,
            modified: modified(&entry.modified).to_string(),
            target: text::name(&entry.target),
            changed: entry.changed,
        }
    }
}

fn list(output: &Output, entry: &Entry, how: HowListed) -> std::io::Result<()> {
    output.item(&ListedFile::of(entry), |listed| {
        let arrow =
            if entry.target.is_empty() { String::new() } else { format!(" -> {}", listed.target) };
        let size = long::size(entry.length, how.human);
        let modified = when::shown(&listed.modified);
        let name = text::name(&entry.path);
        if how.long {
            let (mode, [user, group]) = (long::mode(entry), long::owners(entry));
            return format!("{mode:<11}{user:<8} {group:<8} {size:>12} {modified} {name}{arrow}");
        }
        let kind = match entry.kind {
            EntryKind::Folder => 'd',
            EntryKind::File => '-',
            EntryKind::Symlink => 'l',
            EntryKind::HardLink => 'h',
        };
        format!("{kind}{} {size:>12} {modified} {name}{arrow}", listed.mode)
    })
}

/// When a file was changed last; what no timestamp tells is the last one, or the first.
fn modified(time: &FileTime) -> Timestamp {
    let seconds = time.seconds.saturating_mul(1_000_000);
    Timestamp::from_micros(seconds.saturating_add(i64::from(time.nanos / 1_000)))
}

/// A path as given, without the slash that completion puts at its end.
pub fn given_path(path: Option<&PathBuf>) -> Vec<u8> {
    let bytes = path.map_or(&b""[..], |path| path.as_os_str().as_bytes());
    let bytes = bytes.strip_prefix(b"./").unwrap_or(bytes);
    let bytes = bytes.strip_suffix(b"/").unwrap_or(bytes);
    if bytes == b"." { Vec::new() } else { bytes.to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_beyond_all_timestamps_is_listed_as_the_last_one() {
        let late = FileTime { seconds: i64::MAX / 1_000_000, nanos: 999_999_999 };
        assert_eq!(modified(&late), Timestamp::from_micros(i64::MAX));
        assert_eq!(
            modified(&FileTime { seconds: 2, nanos: 3_000 }),
            Timestamp::from_micros(2_000_003)
        );
    }
}
