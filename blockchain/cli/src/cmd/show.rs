//! `lucid show SESSION`: everything that is known about it, or what is left of it.

use lucid_api::v1::anchors::AnchoredElsewhere;
use lucid_api::v1::sessions::{Layout, Session, SessionSource, SessionStatus};
use lucid_core::digest::ChunkId;
use lucid_core::session::SessionId;
use lucid_data_chain::ops::sessions::read_timeline::find_time_range;
use serde::Serialize;

use super::rm::describe;
use super::{DONE, Home, finish, open};
use crate::output::Output;
use crate::place::{ChunkAt, ReadSessions};
use crate::text;
use crate::when;
use crate::which::OneSession;

/// Arguments of `lucid show`.
#[derive(Debug, clap::Args)]
pub struct Show {
    #[command(flatten)]
    session: OneSession,
    /// List its chunks instead: index, first byte, length, hash, what each takes in the store, and in a folder where.
    #[arg(long)]
    chunks: bool,
}

/// A chunk, as programs are told of it.
#[derive(Serialize)]
struct ListedChunk {
    index: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    length: u64,
    chunk_id: ChunkId,
    stored_bytes: u64,
    encrypted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit_offset: Option<u64>,
}

/// A session, and what its timeline says of it.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    session: Session,
    #[serde(skip_serializing_if = "Option::is_none")]
    times: Option<Times>,
}

/// From when to when there is something in a recording.
#[derive(Serialize)]
struct Times {
    from: String,
    to: String,
    /// By how many seconds each may be wrong.
    doubt_seconds: u64,
}

impl Times {
    /// Of a recording that goes on, they are not in its timeline yet.
    fn of(place: &dyn ReadSessions, session: &Session) -> anyhow::Result<Option<Self>> {
        if session.layout != Layout::Raw {
            return Ok(None);
        }
        if matches!(session.status, SessionStatus::Active | SessionStatus::Unterminated) {
            let so_far = |to: &String| {
                let (from, to) = (session.started_at.clone(), to.clone());
                Self { from, to, doubt_seconds: 0 }
            };
            return Ok(session.appended_at.as_ref().map(so_far));
        }
        if session.total_bytes == session.content_bytes {
            return Ok(None);
        }
        let range = find_time_range(place.source(&session.session_id.parse()?)?.as_ref())?;
        Ok(range.map(|range| Self {
            from: range.from.to_string(),
            to: range.to.to_string(),
            doubt_seconds: range.doubt_seconds,
        }))
    }

    fn line(&self) -> String {
        let doubt = match self.doubt_seconds {
            0 => String::new(),
            seconds => format!(
                "; each may be wrong by up to {seconds} s, since the clock went back meanwhile"
            ),
        };
        let (from, to) = (when::shown(&self.from), when::shown(&self.to));
        format!("times      {from} to {to}{doubt}")
    }
}

impl Show {
    /// Prints the session.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        let place = open(home, "show", output)?;
        let id = self.session.choose(place.as_ref())?;
        if let Some(tombstone) = place.tombstone(&id)? {
            output.result(&tombstone, describe)?;
            return finish(place, DONE);
        }
        if self.chunks {
            list_chunks(place.as_ref(), &id, output)?;
            return finish(place, DONE);
        }
        let session = place.session(&id)?;
        // All else is known without the timeline, and is said.
        let times = Times::of(place.as_ref(), &session).unwrap_or_else(|error| {
            output.warn(&format!("from when to when there is something is not known: {error:#}"));
            None
        });
        output.result(&Shown { session, times }, |Shown { session, times }| {
            let mut lines = vec![
                format!("session    {}", session.session_id),
                format!("status     {}", session.status.as_str()),
                format!("user       {}", session.user_id.as_deref().unwrap_or("")),
            ];
            lines.extend(session.source.iter().flat_map(source_lines));
            lines.extend(session.terminal.map(|terminal| {
                format!("terminal   {} columns, {} rows", terminal.columns, terminal.rows)
            }));
            lines.extend([
                format!("layout     {:?}", session.layout).to_lowercase(),
                format!("started    {}", when::shown(&session.started_at)),
                format!("ended      {}", ended(session)),
            ]);
            lines.extend(times.as_ref().map(Times::line));
            lines.extend([
                format!("content    {}", text::many(session.content_bytes, "byte")),
                format!(
                    "chunks     {} ({})",
                    text::count(session.chunk_count),
                    text::many(session.total_bytes, "byte")
                ),
            ]);
            if let (Some(root), Some(hash)) = (session.merkle_root, session.manifest_hash) {
                lines.push(format!("root       {root}"));
                lines.push(format!("manifest   {hash}"));
            }
            if let Some(anchor) = &session.anchor {
                lines.push(format!("anchor     {}", anchor.transaction_id));
                if let (Some(index), Some(hash)) = (anchor.block_index, anchor.block_hash) {
                    lines.push(format!("block      {index} {hash}"));
                }
                if let Some(elsewhere) = &anchor.elsewhere {
                    lines.extend(told(elsewhere));
                }
                let keys =
                    [("block key", &anchor.trust.block), ("recorder", &anchor.trust.recorder)];
                for (what, key) in keys {
                    lines.extend(key.as_ref().map(|key| format!("{what:<10} {key}")));
                }
            }
            lines.extend(
                session
                    .retain_until
                    .as_ref()
                    .map(|until| format!("kept       until {}", when::shown(until))),
            );
            lines.extend(session.hold.as_ref().map(|hold| {
                let space = if hold.reason.is_empty() { "" } else { ": " };
                format!("held       since {}{space}{}", when::shown(&hold.since), hold.reason)
            }));
            lines.extend(session.metadata.iter().map(|(k, v)| format!("meta       {k}={v}")));
            lines
        })?;
        finish(place, DONE)
    }
}

/// What another engine says of its anchor, and what that is worth.
fn told(elsewhere: &AnchoredElsewhere) -> Vec<String> {
    let said = |what: &str, value: Option<String>| value.map(|value| format!("{what:<10} {value}"));
    let mut lines = vec![format!("elsewhere  {} ({})", elsewhere.engine, elsewhere.status)];
    lines.extend(said("  as", Some(elsewhere.session_id.clone())));
    lines.extend(said("  in", elsewhere.transaction_id.clone()));
    lines.extend(said("  height", elsewhere.block_height.map(|height| height.to_string())));
    lines.extend(said("  since", elsewhere.confirmed_at.as_deref().map(when::shown)));
    lines.push(format!("  NOT proved: {}", elsewhere.not_proved));
    lines
}

/// Where it comes from.
fn source_lines(source: &SessionSource) -> Vec<String> {
    let host = Some(&source.host).filter(|host| !host.is_empty());
    let mut lines: Vec<String> =
        host.map(|host| format!("host       {host}")).into_iter().collect();
    lines
        .extend(source.paths.iter().map(|path| format!("path       {}", text::spelled_path(path))));
    lines.extend(source.tags.iter().map(|tag| format!("tag        {tag}")));
    lines
}

/// A line for each chunk, as it is come upon: a session may have many.
fn list_chunks(
    place: &dyn ReadSessions,
    session: &SessionId,
    output: &Output,
) -> anyhow::Result<()> {
    if !output.mode().json {
        let line = "   index         offset    length    stored  of it  place           chunk";
        output.lines(&line.into())?;
    }
    place.chunks(session, &mut |chunk| {
        let ChunkAt { index, offset, length, id, stored_bytes, encrypted, place } = chunk;
        let (unit, unit_offset) = place.unzip();
        let listed = ListedChunk {
            index,
            offset,
            length,
            chunk_id: id,
            stored_bytes,
            encrypted,
            unit,
            unit_offset,
        };
        Ok(output.item(&listed, |_| {
            let offset = offset.map_or_else(|| "waits".to_owned(), |offset| offset.to_string());
            let place = place.map_or_else(|| "-".to_owned(), |(unit, at)| format!("{unit}@{at}"));
            let part = stored_bytes.saturating_mul(100).checked_div(length).unwrap_or(0);
            format!(
                "{index:>8} {offset:>14} {length:>9} {stored_bytes:>9} {part:>5}%  {place:<15} {id}"
            )
        })?)
    })
}

/// When it ended, and how; of one that goes on, when it was last heard of.
fn ended(session: &Session) -> String {
    match (&session.ended_at, &session.appended_at) {
        (Some(at), _) => {
            format!(
                "{} ({})",
                when::shown(at),
                text::end(session.end.as_deref(), session.exit_status)
            )
        }
        (None, Some(at)) => format!("not yet; last heard of {}", when::shown(at)),
        (None, None) => String::new(),
    }
}
