//! `lucid show SESSION`: everything that is known about it, or what is left of it.

use lucid_api::v1::sessions::{Layout, Session, SessionStatus};
use lucid_core::session::SessionId;
use lucid_data_chain::ops::sessions::read_timeline::find_time_range;
use serde::Serialize;

use super::rm::describe;
use super::{DONE, Home, finish, open, session_id};
use crate::output::Output;
use crate::place::ReadSessions;
use crate::text;

/// Arguments of `lucid show`.
#[derive(Debug, clap::Args)]
pub struct Show {
    /// The session.
    #[arg(value_parser = session_id)]
    session: SessionId,
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
        format!("times      {} to {}{doubt}", self.from, self.to)
    }
}

impl Show {
    /// Prints the session.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        let place = open(home, "show", output)?;
        if let Some(tombstone) = place.tombstone(&self.session)? {
            output.result(&tombstone, describe)?;
            return finish(place, DONE);
        }
        let session = place.session(&self.session)?;
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
                format!("layout     {:?}", session.layout).to_lowercase(),
                format!("started    {}", session.started_at),
                format!("ended      {}", ended(session)),
            ];
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
                let keys =
                    [("block key", &anchor.trust.block), ("recorder", &anchor.trust.recorder)];
                for (what, key) in keys {
                    lines.extend(key.as_ref().map(|key| format!("{what:<10} {key}")));
                }
            }
            lines.extend(
                session.retain_until.as_ref().map(|until| format!("kept       until {until}")),
            );
            lines.extend(session.hold.as_ref().map(|hold| {
                let space = if hold.reason.is_empty() { "" } else { ": " };
                format!("held       since {}{space}{}", hold.since, hold.reason)
            }));
            lines.extend(session.metadata.iter().map(|(k, v)| format!("meta       {k}={v}")));
            lines
        })?;
        finish(place, DONE)
    }
}

/// When it ended, and how; of one that goes on, when it was last heard of.
fn ended(session: &Session) -> String {
    match (&session.ended_at, &session.appended_at) {
        (Some(at), _) => {
            format!("{at} ({})", text::end(session.end.as_deref(), session.exit_status))
        }
        (None, Some(at)) => format!("not yet; last heard of {at}"),
        (None, None) => String::new(),
    }
}
