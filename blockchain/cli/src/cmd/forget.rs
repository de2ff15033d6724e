//! `lucid forget`: removes sessions that a policy does not keep, group by group.
//!
//! What is kept, decides [`mod@policy`]; what is considered, and in which groups, [`groups`]; what is to be done, and
//! what was, is a [`plan`]. Nothing is removed that was not shown: the plan is made by the clock, a block is made, and
//! only what goes by that block's time as well is removed.

mod groups;
mod plan;
mod policy;

use lucid_api::v1::maintenance::CollectGarbage;
use lucid_data_chain::ops::upkeep::begin_retention::RetentionTime;

use self::groups::{Chosen, Group, GroupBy};
use self::plan::Plan;
use self::policy::{Count, Policy, Span, TagList};
use super::{DONE, FAILED, Home, LEFT_OUT, fits, gc, now, open};
use crate::ending;
use crate::output::Output;
use crate::place::Place;
use crate::text::many;

/// Arguments of `lucid forget`.
#[derive(Debug, clap::Args)]
pub struct Forget {
    /// What tells groups apart, each of which the policy is for: host, paths, tags, user, with commas between them; one
    /// group of all with ''.
    #[arg(long, short, value_name = "WHAT", default_value = "host,paths")]
    group_by: GroupBy,
    /// Only say what would be done, by this machine's clock.
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Give back the room of what nobody refers to afterwards, as `lucid gc` does.
    #[arg(long)]
    prune: bool,
    /// Do not ask, and believe a clock that is far ahead; with --prune, free even over half of a large store.
    #[arg(long, short)]
    yes: bool,
    /// Also remove all sessions of a group; without any rule, all that are chosen.
    #[arg(long)]
    unsafe_allow_remove_all: bool,
    #[command(flatten)]
    keep: Keep,
    #[command(flatten)]
    chosen: Chosen,
}

/// What is kept: a session that any of these keeps. N is a number, or `unlimited`.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "What is kept")]
struct Keep {
    /// The newest N; here and below, N is a number or `unlimited`.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    keep_last: Option<Count>,
    /// Of the last N hours that have a session, the newest one of each.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    keep_hourly: Option<Count>,
    /// Of the last N days that have a session, the newest one of each.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    keep_daily: Option<Count>,
    /// Of the last N weeks that have a session, from Monday on, the newest one of each.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    keep_weekly: Option<Count>,
    /// Of the last N months that have a session, the newest one of each.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    keep_monthly: Option<Count>,
    /// Of the last N years that have a session, the newest one of each.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    keep_yearly: Option<Count>,
    /// All that are younger than this: years, months, days, hours, as in 1y5m7d2h.
    #[arg(long, value_name = "SPAN")]
    keep_within: Option<Span>,
    /// Of those that are younger, the newest one of every hour.
    #[arg(long, value_name = "SPAN")]
    keep_within_hourly: Option<Span>,
    /// Of those that are younger, the newest one of every day.
    #[arg(long, value_name = "SPAN")]
    keep_within_daily: Option<Span>,
    /// Of those that are younger, the newest one of every week.
    #[arg(long, value_name = "SPAN")]
    keep_within_weekly: Option<Span>,
    /// Of those that are younger, the newest one of every month.
    #[arg(long, value_name = "SPAN")]
    keep_within_monthly: Option<Span>,
    /// Of those that are younger, the newest one of every year.
    #[arg(long, value_name = "SPAN")]
    keep_within_yearly: Option<Span>,
    /// All with this tag, or with all of several with commas between them; may be given several times.
    #[arg(long = "keep-tag", value_name = "TAG[,TAG...]")]
    keep_tags: Vec<TagList>,
}

impl Keep {
    fn policy(&self) -> Policy {
        let newest = [
            self.keep_hourly,
            self.keep_daily,
            self.keep_weekly,
            self.keep_monthly,
            self.keep_yearly,
        ];
        let newest_within = [
            self.keep_within_hourly,
            self.keep_within_daily,
            self.keep_within_weekly,
            self.keep_within_monthly,
            self.keep_within_yearly,
        ];
        Policy {
            last: self.keep_last.unwrap_or_default(),
            newest: newest.map(Option::unwrap_or_default),
            within: self.keep_within.unwrap_or_default(),
            newest_within: newest_within.map(Option::unwrap_or_default),
            tags: self.keep_tags.clone(),
        }
    }
}

impl Forget {
    /// Whether it only looks.
    pub fn only_reads(&self) -> bool {
        self.dry_run
    }

    /// Shows what would be done, and does it, unless that is all that is wanted.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        let policy = self.keep.policy();
        fits(
            !policy.is_empty() || self.unsafe_allow_remove_all,
            "nothing says what is kept: give a rule, as --keep-daily 7",
        )?;
        fits(
            !policy.is_empty() || !self.chosen.is_everything(),
            "nothing says what is kept, nor which sessions are meant, so all of them would go: give a rule, as \
             --keep-daily 7, or choose sessions, as by --host",
        )?;
        let place = open(home, "forget", output)?;
        let is_lossy = place.loss().is_some();
        let outcome = self.forget(&policy, place.as_ref(), output);
        let closed = place.close();
        let code = outcome?;
        closed?;
        Ok(if is_lossy { FAILED } else { code })
    }

    fn forget(&self, policy: &Policy, place: &dyn Place, output: &Output) -> anyhow::Result<u8> {
        let groups = self.chosen.groups(place, &self.group_by)?;
        let mut plan =
            self.plan(policy, RetentionTime { now: now(), ends_retention: true }, &groups)?;
        plan.show(output)?;
        if self.dry_run {
            output.result(&plan.report(policy, true), |report| report.summary())?;
            return Ok(DONE);
        }
        let mut code = DONE;
        if plan.forgotten() > 0 {
            let question = format!("forget {}, for good?", many(plan.forgotten(), "session"));
            if !self.yes && output.can_ask() && !output.confirm(&question)? {
                anyhow::bail!("nothing was removed");
            }
            let time = place.begin_retention(self.yes)?;
            plan.confine_to(self.plan(policy, time, &groups)?);
            code = remove(&mut plan, policy, place, output)?;
        }
        let mut report = plan.report(policy, false);
        if self.prune {
            // How long sessions are kept, the policy has said.
            let wanted = CollectGarbage { dry_run: false, confirm: self.yes, keep_days: Some(0) };
            match gc::collect(place, &wanted, output) {
                Ok(collected) => {
                    gc::remark(&collected, output);
                    code = if collected.stopped { FAILED } else { code };
                    report.collected = Some(collected);
                }
                Err(error) => {
                    output.error(error.as_ref());
                    code = ending::code(&error, false);
                }
            }
        }
        output.result(&report, |report| report.summary())?;
        Ok(code)
    }

    /// What is to be done by this time. A policy that keeps nothing of a group is a mistake, unless it is said to be
    /// none: then nothing at all is removed.
    fn plan<'a>(
        &self,
        policy: &Policy,
        time: RetentionTime,
        groups: &'a [Group],
    ) -> anyhow::Result<Plan<'a>> {
        let plan = Plan::new(policy, time, groups);
        if let Some((group, count)) = plan.emptied().filter(|_| !self.unsafe_allow_remove_all) {
            anyhow::bail!(
                "the policy keeps none of {} of {group}, so nothing was removed: pass --unsafe-allow-remove-all if \
                 that is meant",
                many(count, "session")
            );
        }
        Ok(plan)
    }
}

/// Removes what is to go, one after the other; one that cannot be removed does not stop the others.
fn remove(
    plan: &mut Plan<'_>,
    policy: &Policy,
    place: &dyn Place,
    output: &Output,
) -> anyhow::Result<u8> {
    let reason = format!("forgotten by policy: {policy}");
    let mut code = DONE;
    for id in plan.going() {
        let removed = place.remove(&id, &reason);
        match &removed {
            Ok(tombstone) => {
                output.detail(&format!("removed {id}: {}", tombstone.transaction_id));
            }
            Err(error) => {
                output.error(error.as_ref());
                code = FAILED;
            }
        }
        let removed = removed.map(|tombstone| tombstone.transaction_id);
        plan.note(id, removed.map_err(|error| format!("{error:#}")));
    }
    if let Err(error) = place.chain_tombstones() {
        output.warn(&format!("the tombstones are kept, but not in a block yet: {error:#}"));
        code = if code == DONE { LEFT_OUT } else { code };
    }
    Ok(code)
}
