//! What is to be done with each session of each group, and what was: shown to people before, told to programs after.

use std::collections::BTreeMap;
use std::io;

use lucid_api::v1::maintenance::GarbageCollected;
use lucid_core::session::SessionId;
use lucid_data_chain::ops::upkeep::begin_retention::RetentionTime;
use serde::Serialize;

use super::groups::{Group, Key};
use super::policy::{Candidate, Fate, Policy};
use crate::cmd::gc;
use crate::output::{Align, Output, table};
use crate::text::many;
use crate::when;

/// What becomes of sessions.
pub struct Plan<'a> {
    time: RetentionTime,
    groups: Vec<(&'a Group, Vec<Fate>)>,
    /// What came of those that were to go: the transaction of the tombstone, or why it is still there.
    gone: BTreeMap<SessionId, Result<String, String>>,
}

/// What was done, or would be.
#[derive(Serialize)]
pub struct Report<'a> {
    dry_run: bool,
    policy: String,
    /// What time it was: by the chain, if anything was to go; else by the clock.
    time: String,
    groups: Vec<GroupReport<'a>>,
    /// Sessions that were removed, or would be.
    forgotten: u64,
    /// Sessions that should have gone, and did not.
    failed: u64,
    /// What collecting garbage freed, if that was wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collected: Option<GarbageCollected>,
}

#[derive(Serialize)]
struct GroupReport<'a> {
    #[serde(flatten)]
    key: &'a Key,
    keep: Vec<SessionReport<'a>>,
    stay: Vec<SessionReport<'a>>,
    forget: Vec<SessionReport<'a>>,
}

#[derive(Default, Serialize)]
struct SessionReport<'a> {
    session_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    anchored_at: Option<String>,
    /// Why it is kept, or stays.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl<'a> Plan<'a> {
    /// What a policy says of groups at a time.
    pub fn new(policy: &Policy, time: RetentionTime, groups: &'a [Group]) -> Self {
        let judge = |group: &'a Group| {
            let seen: Vec<Candidate> =
                group.sessions.iter().map(|(_, session)| session.clone()).collect();
            (group, policy.judge(time, &seen))
        };
        Self { time, groups: groups.iter().map(judge).collect(), gone: BTreeMap::new() }
    }

    /// Lets only those go that another plan for the same groups lets go as well, and takes its time.
    pub fn confine_to(&mut self, other: Self) {
        for ((_, fates), (_, others)) in self.groups.iter_mut().zip(other.groups) {
            for (fate, other) in fates.iter_mut().zip(others) {
                if *fate == Fate::Forgotten {
                    *fate = other;
                }
            }
        }
        self.time = other.time;
    }

    /// A group of which sessions go and the policy keeps none, and how many go.
    pub fn emptied(&self) -> Option<(&Key, u64)> {
        self.groups.iter().find_map(|(group, fates)| {
            let is_kept = fates.iter().any(|fate| matches!(fate, Fate::Kept(_)));
            let going = going(fates);
            (!is_kept && going > 0).then_some((&group.key, going))
        })
    }

    /// How many sessions go.
    pub fn forgotten(&self) -> u64 {
        self.groups.iter().map(|(_, fates)| going(fates)).sum()
    }

    /// The sessions that go.
    pub fn going(&self) -> Vec<SessionId> {
        let sessions =
            self.groups.iter().flat_map(|(group, fates)| group.sessions.iter().zip(fates));
        let going = sessions.filter(|(_, fate)| **fate == Fate::Forgotten);
        going.map(|((id, _), _)| id.clone()).collect()
    }

    /// Notes what came of a session that was to go.
    pub fn note(&mut self, id: SessionId, outcome: Result<String, String>) {
        self.gone.insert(id, outcome);
    }

    /// Shows people a table for each group, the newest session first.
    pub fn show(&self, output: &Output) -> io::Result<()> {
        if output.mode().json {
            return Ok(());
        }
        let columns = [
            ("session", Align::Left),
            ("anchored", Align::Left),
            ("", Align::Left),
            ("why", Align::Left),
        ];
        for (group, fates) in &self.groups {
            let mut rows: Vec<_> = group.sessions.iter().zip(fates).collect();
            rows.sort_by_key(|((_, session), _)| std::cmp::Reverse(session.anchored_at));
            let rows = rows.into_iter().map(|((id, session), fate)| {
                let at = session.anchored_at.map(when::shown_time).unwrap_or_default();
                let (what, why) = match fate {
                    Fate::Stays(why) => ("stays", why.for_people()),
                    Fate::Kept(reasons) => ("keep", reasons.join(", ")),
                    Fate::Forgotten => ("forget", String::new()),
                };
                vec![id.to_string(), at, what.to_owned(), why]
            });
            output.lines(&format!("{}:", group.key).into())?;
            output.lines(&table(&columns, rows))?;
            output.lines(&"".into())?;
        }
        Ok(())
    }

    /// What is told of all of it.
    pub fn report(&self, policy: &Policy, dry_run: bool) -> Report<'_> {
        let groups = self.groups.iter().map(|(group, fates)| {
            let mut told =
                GroupReport { key: &group.key, keep: vec![], stay: vec![], forget: vec![] };
            for ((id, session), fate) in group.sessions.iter().zip(fates) {
                let mut one = SessionReport {
                    session_id: id.as_str(),
                    anchored_at: session.anchored_at.map(|at| at.to_string()),
                    ..SessionReport::default()
                };
                match fate {
                    Fate::Kept(reasons) => {
                        one.reasons.clone_from(reasons);
                        told.keep.push(one);
                    }
                    Fate::Stays(why) => {
                        one.reasons.push(why.to_string());
                        told.stay.push(one);
                    }
                    Fate::Forgotten => {
                        match self.gone.get(id).cloned() {
                            Some(Ok(transaction)) => one.transaction_id = Some(transaction),
                            Some(Err(why)) => one.error = Some(why),
                            None => {}
                        }
                        told.forget.push(one);
                    }
                }
            }
            told
        });
        let failed = self.gone.values().filter(|outcome| outcome.is_err()).count() as u64;
        Report {
            dry_run,
            policy: policy.to_string(),
            time: self.time.now.to_string(),
            groups: groups.collect(),
            forgotten: self.forgotten() - failed,
            failed,
            collected: None,
        }
    }
}

fn going(fates: &[Fate]) -> u64 {
    fates.iter().filter(|fate| **fate == Fate::Forgotten).count() as u64
}

impl Report<'_> {
    /// The same in a few lines.
    pub fn summary(&self) -> Vec<String> {
        let kept: u64 = self.groups.iter().map(|group| group.keep.len() as u64).sum();
        let stay: u64 = self.groups.iter().map(|group| group.stay.len() as u64).sum();
        let did = if self.dry_run { "would forget" } else { "forgot" };
        let mut lines = vec![format!(
            "{did} {} of {}; the policy keeps {kept}, and {stay} stay regardless of it",
            many(self.forgotten, "session"),
            many(self.groups.len() as u64, "group"),
        )];
        if self.failed > 0 {
            lines.push(format!("could not be removed: {}", many(self.failed, "session")));
        }
        lines.extend(self.collected.iter().flat_map(gc::describe));
        lines
    }
}
