//! `lucid ls`: lists sessions, those that were removed, or the files of one.

use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use lucid_core::catalogue::{Entry, EntryKind, FileTime};
use lucid_core::session::SessionId;
use lucid_core::time::Timestamp;
use lucid_data_chain::ops::sessions::list_sessions::SessionFilter;
use lucid_data_chain::ops::sessions::read_session::{find_entry, visit_entries};
use serde::Serialize;

use super::{DONE, Home, finish, open, session_id};
use crate::output::{Align, Output, table};
use crate::place::RemoveSessions;
use crate::text;

/// Arguments of `lucid ls`.
#[derive(Debug, clap::Args)]
pub struct Ls {
    /// The session whose files are listed; without it, all sessions are.
    #[arg(value_parser = session_id)]
    session: Option<SessionId>,
    /// The folder or file in it.
    path: Option<PathBuf>,
    /// List the sessions that were removed.
    #[arg(long, conflicts_with_all = ["session", "path"])]
    removed: bool,
}

#[derive(Serialize)]
struct ListedFile<'a> {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_base64: Option<String>,
    kind: &'a str,
    mode: String,
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
        let place = open(home, "ls", output)?;
        match &self.session {
            None if self.removed => list_removed(place.as_ref(), output)?,
            None => {
                let mut rows = Vec::new();
                place.sessions(&SessionFilter::default(), &mut |session| {
                    if output.mode().json {
                        output.item(&session, |_| "")?;
                    } else {
                        rows.push(vec![
                            session.session_id,
                            match session.hold {
                                Some(_) => format!("{}, held", session.status.as_str()),
                                None => session.status.as_str().to_owned(),
                            },
                            text::end(session.end.as_deref(), session.exit_status),
                            session.started_at.chars().take(19).collect(),
                            text::size(session.content_bytes),
                            text::count(session.chunk_count),
                            text::name(session.user_id.unwrap_or_default().as_bytes()),
                        ]);
                    }
                    Ok(())
                })?;
                if !output.mode().json {
                    let columns = [
                        ("session", Align::Left),
                        ("status", Align::Left),
                        ("end", Align::Left),
                        ("started", Align::Left),
                        ("size", Align::Right),
                        ("chunks", Align::Right),
                        ("user", Align::Left),
                    ];
                    output.lines(&table(&columns, rows))?;
                }
            }
            Some(id) => {
                let source = place.source(id)?;
                let below = given_path(self.path.as_ref());
                if !below.is_empty() && find_entry(source.as_ref(), &below)?.is_none() {
                    anyhow::bail!("session {id} has no file \"{}\"", text::name(&below));
                }
                let mut failed = Ok(());
                visit_entries(source.as_ref(), &below, None, |entry| {
                    if entry.path.is_empty() {
                        return ControlFlow::Continue(());
                    }
                    failed = list(output, &entry);
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
                tombstone.removed_at.chars().take(19).collect(),
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

fn list(output: &Output, entry: &Entry) -> std::io::Result<()> {
    let modified = modified(&entry.modified);
    let (path, path_base64) = lucid_api::v1::files::name(&entry.path);
    let listed = ListedFile {
        path,
        path_base64,
        kind: entry.kind.as_str(),
        mode: format!("{:04o}", entry.mode),
        size_bytes: entry.length,
        modified: modified.to_string(),
        target: text::name(&entry.target),
        changed: entry.changed,
    };
    output.item(&listed, |listed| {
        let kind = match entry.kind {
            EntryKind::Folder => 'd',
            EntryKind::File => '-',
            EntryKind::Symlink => 'l',
            EntryKind::HardLink => 'h',
        };
        let arrow =
            if entry.target.is_empty() { String::new() } else { format!(" -> {}", listed.target) };
        format!(
            "{kind}{} {:>12} {} {}{arrow}",
            listed.mode,
            listed.size_bytes,
            listed.modified.chars().take(19).collect::<String>(),
            text::name(&entry.path)
        )
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
