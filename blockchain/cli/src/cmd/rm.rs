//! `lucid rm SESSION...`: removes sessions, each leaving a signed tombstone.

use lucid_api::v1::removal::Tombstone;
use lucid_core::session::SessionId;

use super::{DONE, FAILED, Home, LEFT_OUT, open, session_id};
use crate::output::Output;
use crate::text::many;

/// Arguments of `lucid rm`.
#[derive(Debug, clap::Args)]
pub struct Rm {
    /// The sessions to remove.
    #[arg(value_parser = session_id, required = true, value_name = "SESSION")]
    sessions: Vec<SessionId>,
    /// Why; it stands in the chain, for everyone to read.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    reason: String,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

impl Rm {
    /// Removes them one after the other; one that cannot be removed does not stop the others.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        let place = open(home, "rm", output)?;
        let question = match self.sessions.as_slice() {
            [one] => format!("remove session {one}, for good?"),
            several => format!("remove {}, for good?", many(several.len() as u64, "session")),
        };
        if !self.yes && !output.confirm(&question)? {
            place.close()?;
            anyhow::bail!("nothing was removed");
        }
        let mut code = DONE;
        for id in &self.sessions {
            match place.remove(id, &self.reason) {
                Ok(tombstone) => output.item(&tombstone, |tombstone| {
                    format!("removed {}: {}", tombstone.session_id, tombstone.transaction_id)
                })?,
                Err(error) => {
                    output.error(error.as_ref());
                    code = FAILED;
                }
            }
        }
        if let Err(error) = place.chain_tombstones() {
            output.warn(&format!("the tombstones are kept, but not in a block yet: {error:#}"));
            code = if code == DONE { LEFT_OUT } else { code };
        }
        place.close()?;
        Ok(code)
    }
}

/// What is left of a session, for people.
pub fn describe(tombstone: &Tombstone) -> Vec<String> {
    let mut lines = vec![
        format!("session    {}", tombstone.session_id),
        "status     removed".to_owned(),
        format!("removed    {}", tombstone.removed_at),
        format!("reason     {}", tombstone.reason),
        format!("root       {}", tombstone.merkle_root),
        format!("tombstone  {}", tombstone.transaction_id),
    ];
    if let Some((index, hash)) = tombstone.block_index.zip(tombstone.block_hash) {
        lines.push(format!("block      {index} {hash}"));
    }
    lines
}
