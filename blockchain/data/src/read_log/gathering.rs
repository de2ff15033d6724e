//! Requests of which many may be alike, as few entries: a recorder that sends a million chunks, and strangers that
//! knock. The first of a kind is an entry by itself, those of the minute that follows are another together.
//!
//! Invariant: memory, and entries in a minute, do not depend on how many requests and callers there are.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use lucid_api::v1::audit::{AuditEnd, AuditEntry, AuditKind, ELSEWHERE};

/// So long those that are alike are put together.
const MINUTE: Duration = Duration::from_secs(60);
/// Kinds at a time. One more, and what was put together so far becomes entries.
const KINDS_MAX: usize = 4_096;
/// Addresses of strangers that are told apart in a minute.
const STRANGERS_MAX: usize = 64;

/// What requests have to share to be one entry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Alike {
    pub(crate) kind: AuditKind,
    /// What its credentials are called; a stranger has none.
    pub(crate) caller: Option<String>,
    /// Where they come from; `None` for the local door, and for strangers from many addresses.
    pub(crate) from: Option<IpAddr>,
    pub(crate) session: Option<String>,
    /// Method and path of the route.
    pub(crate) route: (String, String),
    pub(crate) status: Option<u16>,
    pub(crate) ended: AuditEnd,
}

#[derive(Debug)]
struct Sum {
    since: Instant,
    /// Those behind the first.
    entry: Option<AuditEntry>,
}

#[derive(Debug, Default)]
pub(super) struct Gathering {
    sums: HashMap<Alike, Sum>,
    /// Kinds of strangers among them.
    strangers: usize,
}

impl Gathering {
    /// Counts a request; the first of its kind comes back.
    pub(super) fn add(
        &mut self,
        mut alike: Alike,
        mut entry: AuditEntry,
        now: Instant,
    ) -> Vec<AuditEntry> {
        let is_stranger = alike.caller.is_none() && alike.kind == AuditKind::Refusal;
        if is_stranger && self.strangers >= STRANGERS_MAX && !self.sums.contains_key(&alike) {
            alike.from = None;
            alike.route = ("*".to_owned(), "*".to_owned());
        }
        let mut done = Vec::new();
        if self.sums.len() >= KINDS_MAX && !self.sums.contains_key(&alike) {
            done = self.take(now, true);
        }
        match self.sums.get_mut(&alike) {
            None => {
                self.strangers += usize::from(is_stranger);
                self.sums.insert(alike, Sum { since: now, entry: None });
                done.push(entry);
            }
            Some(Sum { entry: Some(sum), .. }) => {
                sum.times = sum.times.map(|times| times + 1);
                sum.bytes = sum.bytes.zip(entry.bytes).map(|(sum, more)| sum.saturating_add(more));
                sum.until = Some(entry.at);
            }
            Some(Sum { entry: sum @ None, .. }) => {
                entry.times = Some(1);
                entry.until = Some(entry.at.clone());
                (entry.session, (entry.method, entry.target)) = (alike.session, alike.route);
                if is_stranger && alike.from.is_none() {
                    entry.from = ELSEWHERE.to_owned();
                }
                *sum = Some(entry);
            }
        }
        done
    }

    /// Those whose minute is over, or all.
    pub(super) fn take(&mut self, now: Instant, all: bool) -> Vec<AuditEntry> {
        let mut done = Vec::new();
        self.sums.retain(|_, sum| {
            let is_over = all || now.saturating_duration_since(sum.since) >= MINUTE;
            if is_over {
                done.extend(sum.entry.take());
            }
            !is_over
        });
        let is_stranger =
            |alike: &&Alike| alike.caller.is_none() && alike.kind == AuditKind::Refusal;
        self.strangers = self.sums.keys().filter(is_stranger).count();
        done.sort_by(|one, other| one.at.cmp(&other.at));
        done
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use lucid_core::time::Timestamp;

    use super::*;

    fn alike(caller: Option<&str>, from: u32) -> Alike {
        Alike {
            kind: if caller.is_some() { AuditKind::Change } else { AuditKind::Refusal },
            caller: caller.map(str::to_owned),
            from: Some(Ipv4Addr::from(from).into()),
            session: None,
            route: ("PUT".into(), "/a/{b}".into()),
            status: Some(200),
            ended: AuditEnd::Whole,
        }
    }

    fn entry(second: u32) -> AuditEntry {
        let at = Timestamp::from_micros(i64::from(second) * 1_000_000);
        let entry = super::super::entry(at, AuditKind::Change, "PUT", format!("/a/{second}"));
        AuditEntry { bytes: Some(10), ..entry }
    }

    #[test]
    fn the_first_is_told_at_once_and_the_others_together() {
        let (mut gathering, begun) = (Gathering::default(), Instant::now());
        let first = gathering.add(alike(Some("cam"), 1), entry(0), begun);
        assert_eq!((first.len(), first[0].times, first[0].target.as_str()), (1, None, "/a/0"));
        for second in 1..5 {
            assert!(gathering.add(alike(Some("cam"), 1), entry(second), begun).is_empty());
        }
        assert!(gathering.take(begun + MINUTE / 2, false).is_empty());
        let sums = gathering.take(begun + MINUTE, false);
        assert_eq!(sums.len(), 1);
        assert_eq!((sums[0].times, sums[0].bytes), (Some(4), Some(40)));
        assert_eq!(sums[0].target, "/a/{b}");
        assert!(sums[0].at < *sums[0].until.as_ref().unwrap());
        assert_eq!(gathering.add(alike(Some("cam"), 1), entry(9), begun + MINUTE).len(), 1);
    }

    #[test]
    fn however_many_knock_there_are_few_entries() {
        let (mut gathering, now) = (Gathering::default(), Instant::now());
        let mut told = 0;
        for from in 0..100_000 {
            told += gathering.add(alike(None, from), entry(from), now).len();
        }
        assert_eq!(told, STRANGERS_MAX + 1);
        let sums = gathering.take(now, true);
        assert_eq!(sums.iter().filter_map(|sum| sum.times).sum::<u64>(), 99_935);
        assert!(sums.iter().all(|sum| sum.from == ELSEWHERE && sum.target == "*"));
        for caller in 0..100_000_u32 {
            gathering.add(alike(Some(&caller.to_string()), 1), entry(caller), now);
        }
        assert!(gathering.sums.len() <= KINDS_MAX);
    }
}
