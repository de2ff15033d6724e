//! `lucid rm SESSION...`: removes sessions, each leaving a signed tombstone.

use lucid_api::v1::removal::Tombstone;
use lucid_core::session::SessionId;
use lucid_core::time::Timestamp;

use super::{DONE, FAILED, Home, LEFT_OUT, now, open};
use crate::group;
use crate::output::Output;
use crate::place::Place;
use crate::text::{self, many};
use crate::when;
use crate::which::{self, Wanted, to_change};

/// Arguments of `lucid rm`.
#[derive(Debug, clap::Args)]
pub struct Rm {
    /// The sessions to remove: their ids, or beginnings that no other has (4 characters at least); `=ID` is that id
    /// alone.
    #[arg(value_parser = to_change, required_unless_present = "group", value_name = "SESSION")]
    sessions: Vec<Wanted>,
    /// Every session of this group, or none of them if one has to stay.
    #[arg(long, value_name = "NAME", conflicts_with = "sessions")]
    group: Option<String>,
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
        // All of them before the first is gone: what is removed must not make another beginning unambiguous.
        let sessions: Vec<SessionId> = match &self.group {
            Some(group) => whole_group(place.as_ref(), group)?,
            None => {
                let sessions =
                    self.sessions.iter().map(|wanted| which::one(place.as_ref(), wanted));
                sessions.collect::<anyhow::Result<_>>()?
            }
        };
        let question = match (sessions.as_slice(), &self.group) {
            (several, Some(group)) => format!(
                "remove group {}, which is {}, for good?",
                text::name(group.as_bytes()),
                many(several.len() as u64, "session")
            ),
            ([one], None) => format!("remove session {one}, for good?"),
            (several, None) => {
                format!("remove {}, for good?", many(several.len() as u64, "session"))
            }
        };
        if !self.yes && !output.confirm(&question)? {
            place.close()?;
            anyhow::bail!("nothing was removed");
        }
        let mut code = DONE;
        for id in &sessions {
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

/// The sessions of a group, all of which may go as far as is known before.
fn whole_group(place: &dyn Place, group: &str) -> anyhow::Result<Vec<SessionId>> {
    let members = group::members(place, group)?;
    let now = now();
    for session in &members {
        let id = &session.session_id;
        anyhow::ensure!(
            session.hold.is_none(),
            "session {id} of the group is held: nothing was removed"
        );
        if let Some(until) = &session.retain_until {
            let is_over = Timestamp::parse(until).is_ok_and(|until| until <= now);
            anyhow::ensure!(
                is_over,
                "session {id} of the group is kept until {}: nothing was removed",
                when::shown(until)
            );
        }
    }
    group::ids(&members)
}

/// What is left of a session, for people.
pub fn describe(tombstone: &Tombstone) -> Vec<String> {
    let mut lines = vec![
        format!("session    {}", tombstone.session_id),
        "status     removed".to_owned(),
        format!("removed    {}", when::shown(&tombstone.removed_at)),
        format!("reason     {}", tombstone.reason),
        format!("root       {}", tombstone.merkle_root),
        format!("tombstone  {}", tombstone.transaction_id),
    ];
    if let Some((index, hash)) = tombstone.block_index.zip(tombstone.block_hash) {
        lines.push(format!("block      {index} {hash}"));
    }
    lines
}
