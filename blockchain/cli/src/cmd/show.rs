//! `lucid show SESSION`: everything that is known about it, or what is left of it.

use lucid_api::v1::sessions::Session;
use lucid_core::session::SessionId;

use super::rm::describe;
use super::{DONE, Home, finish, open, session_id};
use crate::output::Output;
use crate::text;

/// Arguments of `lucid show`.
#[derive(Debug, clap::Args)]
pub struct Show {
    /// The session.
    #[arg(value_parser = session_id)]
    session: SessionId,
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
        output.result(&session, |session| {
            let mut lines = vec![
                format!("session    {}", session.session_id),
                format!("status     {}", session.status.as_str()),
                format!("user       {}", session.user_id.as_deref().unwrap_or("")),
                format!("layout     {:?}", session.layout).to_lowercase(),
                format!("started    {}", session.started_at),
                format!("ended      {}", ended(session)),
                format!("content    {}", text::many(session.content_bytes, "byte")),
                format!(
                    "chunks     {} ({})",
                    text::count(session.chunk_count),
                    text::many(session.total_bytes, "byte")
                ),
            ];
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
