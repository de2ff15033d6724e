//! `lucid stats [SESSION...]`: what sessions take, and what removing them would free.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use lucid_api::v1::sessions::{Layout, Session, SessionStatus};
use lucid_api::v1::usage::{UsageBy, UsageLine};
use lucid_core::catalogue::EntryKind;
use lucid_core::session::SessionId;
use lucid_data_chain::ops::sessions::list_sessions::SessionFilter;
use lucid_data_chain::ops::sessions::read_session::visit_entries;
use serde::Serialize;

use super::{DONE, Home, finish, open};
use crate::output::{Align, Output, table};
use crate::place::ReadSessions;
use crate::text;
use crate::which::{self, Wanted};

/// Arguments of `lucid stats`.
#[derive(Debug, clap::Args)]
pub struct Stats {
    /// Only these sessions: their ids, beginnings of them that no other has, or `latest`; without any, all are counted.
    sessions: Vec<Wanted>,
    /// By what sessions are put together: session, user or host.
    #[arg(long, value_name = "WHAT", default_value = "session", hide_default_value = true)]
    by: UsageBy,
    /// Count files, too: the catalogue of each session is read.
    #[arg(long)]
    files: bool,
}

/// What a group takes, and how many files it has if that was asked for.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    usage: &'a UsageLine,
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<u64>,
    /// Bytes of all sessions for each byte that is different.
    deduplication: f64,
    /// Different bytes for each byte that is stored.
    compression: f64,
}

impl Stats {
    /// Prints a table, or one object a line; in the end all of it together.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        let place = open(home, "stats", output)?;
        let named = self.sessions.iter().map(|wanted| which::one(place.as_ref(), wanted));
        let named: Vec<SessionId> = named.collect::<anyhow::Result<_>>()?;
        let files = match self.files {
            true => Some(self.count_files(place.as_ref(), &named, output)?),
            false => None,
        };
        let mut rows = Vec::new();
        place.usage(self.by, &named, &mut |usage| {
            let counted = files.as_ref().map(|files| match &usage.name {
                Some(name) => files.get(name).copied().unwrap_or(0),
                None => files.values().sum(),
            });
            let told = told(&usage, counted);
            match output.mode().json {
                true => output.item(&told, |_| "")?,
                false => rows.push(self.row(&told)),
            }
            Ok(())
        })?;
        if !output.mode().json {
            let shown = self.shown();
            let columns = COLUMNS.iter().zip(shown).filter(|(_, shown)| *shown);
            let columns: Vec<_> = columns
                .map(|((name, align), _)| match *name {
                    "name" => (self.by.as_str(), *align),
                    name => (name, *align),
                })
                .collect();
            output.lines(&table(&columns, rows))?;
        }
        finish(place, DONE)
    }

    /// Which columns are shown: how many sessions a session is, nobody asks.
    fn shown(&self) -> [bool; 9] {
        [true, self.by != UsageBy::Session, self.files, true, true, true, true, true, true]
    }

    fn row(&self, told: &Told<'_>) -> Vec<String> {
        let usage = told.usage;
        let cells = [
            match usage.name.as_deref() {
                None => "all".to_owned(),
                Some("") => "-".to_owned(),
                Some(name) => text::name(name.as_bytes()),
            },
            text::count(usage.sessions),
            told.files.map_or_else(String::new, text::count),
            text::size(usage.content_bytes),
            text::count(usage.chunks),
            text::size(usage.stored_bytes),
            usage.freed_bytes.map_or_else(|| "-".to_owned(), text::size),
            format!("{:.2}", told.deduplication),
            format!("{:.2}", told.compression),
        ];
        cells
            .into_iter()
            .zip(self.shown())
            .filter(|(_, shown)| *shown)
            .map(|(cell, _)| cell)
            .collect()
    }

    /// How many files each group has.
    fn count_files(
        &self,
        place: &dyn ReadSessions,
        named: &[SessionId],
        output: &Output,
    ) -> anyhow::Result<BTreeMap<String, u64>> {
        let mut sessions = Vec::new();
        let mut take = |session: Session| {
            let group = match self.by {
                UsageBy::Session => session.session_id.clone(),
                UsageBy::User => session.user_id.clone().unwrap_or_default(),
                UsageBy::Host => session.source.clone().unwrap_or_default().host,
            };
            let is_open =
                matches!(session.status, SessionStatus::Active | SessionStatus::Unterminated);
            sessions.push((session.session_id, group, session.layout, is_open));
            Ok(())
        };
        if named.is_empty() {
            place.sessions(&SessionFilter::default(), &mut take)?;
        } else {
            let mut named = named.to_vec();
            named.sort_unstable();
            named.dedup();
            named.iter().try_for_each(|id| take(place.session(id)?))?;
        }
        let mut files = BTreeMap::new();
        for (id, group, layout, is_open) in sessions {
            let count = match (layout, is_open) {
                (Layout::Raw, _) => 1,
                // Its catalogue comes last.
                (Layout::Tree, true) => 0,
                (Layout::Tree, false) => files_of(place, &id, output)?,
            };
            *files.entry(group).or_insert(0) += count;
        }
        Ok(files)
    }
}

/// What stands above the columns.
const COLUMNS: [(&str, Align); 9] = [
    ("name", Align::Left),
    ("sessions", Align::Right),
    ("files", Align::Right),
    ("size", Align::Right),
    ("chunks", Align::Right),
    ("stored", Align::Right),
    ("would free", Align::Right),
    ("dedup", Align::Right),
    ("compress", Align::Right),
];

fn told(usage: &UsageLine, files: Option<u64>) -> Told<'_> {
    let ratio = |of: u64, by: u64| if by == 0 { 1.0 } else { of as f64 / by as f64 };
    Told {
        usage,
        files,
        deduplication: ratio(usage.total_bytes, usage.chunk_bytes),
        compression: ratio(usage.chunk_bytes, usage.stored_bytes),
    }
}

/// How many files, links included, an archived folder has.
fn files_of(place: &dyn ReadSessions, id: &str, output: &Output) -> anyhow::Result<u64> {
    let source = place.source(&id.parse()?)?;
    let mut files = 0;
    let visited = visit_entries(source.as_ref(), b"", None, |entry| {
        files += u64::from(entry.kind != EntryKind::Folder);
        ControlFlow::Continue(())
    });
    match visited {
        Err(error) if error.is_damage() => {
            output.warn(&format!("session {id}: not all of its files could be counted: {error}"));
            Ok(files)
        }
        visited => Ok(visited.map(|()| files)?),
    }
}
