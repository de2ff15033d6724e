//! Which sessions of a group a policy keeps, and why: the rules of `restic forget`, in the chain's time.
//!
//! A session's time is that of the block with its anchor, in UTC, regardless of what its recorder's clock said: one
//! that claims to be of the future takes nobody's place. Sessions that the policy cannot judge stay, and neither count
//! nor shield others: those without an anchor, those that are held, and those that are kept until a time. This room is
//! pure: what time it is, it is told.

use std::fmt;
use std::str::FromStr;

use lucid_core::time::Timestamp;
use lucid_data_chain::ops::upkeep::begin_retention::RetentionTime;

use crate::when;

const HOUR_SECONDS: i64 = 3_600;
const DAY_SECONDS: i64 = 24 * HOUR_SECONDS;
/// A block may be this far in front of the clock that a plan is made by, and is of the future beyond.
const FUTURE_SECONDS: i64 = HOUR_SECONDS;

/// A session as a policy sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Candidate {
    /// The time of the block with its anchor; sessions that are not anchored have no age.
    pub anchored_at: Option<Timestamp>,
    /// When it was sealed: decides between sessions of one block.
    pub ended_at: Option<Timestamp>,
    /// Whether it may still grow.
    pub is_open: bool,
    /// Whether it is held.
    pub held: bool,
    /// Until when it is kept.
    pub retain_until: Option<Timestamp>,
    /// What its recorder sorts it by.
    pub tags: Vec<String>,
}

/// Why no policy may touch a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stays {
    /// It may still grow.
    Active,
    /// No block says when it was there.
    NotAnchored,
    /// It is held.
    Held,
    /// It is kept until then.
    KeptUntil(Timestamp),
    /// The block with its anchor is of a time that has not come.
    OfTheFuture,
}

impl Stays {
    /// As people are told it, in their zone.
    pub fn for_people(self) -> String {
        match self {
            Self::KeptUntil(until) => format!("kept until {}", when::shown_time(until)),
            other => other.to_string(),
        }
    }
}

impl fmt::Display for Stays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Active => f.write_str("active"),
            Self::NotAnchored => f.write_str("not anchored"),
            Self::Held => f.write_str("held"),
            Self::KeptUntil(until) => write!(f, "kept until {until}"),
            Self::OfTheFuture => f.write_str("its block is of the future"),
        }
    }
}

/// What becomes of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// No policy may touch it, for this reason.
    Stays(Stays),
    /// The policy keeps it, for these reasons.
    Kept(Vec<String>),
    /// The policy has no reason to keep it.
    Forgotten,
}

/// A stretch of time that sessions are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stretch {
    /// An hour of a day.
    Hour,
    /// A day.
    Day,
    /// A week, which begins on Monday.
    Week,
    /// A month.
    Month,
    /// A year.
    Year,
}

impl Stretch {
    /// All of them, the shortest first.
    pub const ALL: [Self; 5] = [Self::Hour, Self::Day, Self::Week, Self::Month, Self::Year];

    /// The word in options and reasons.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Hour => "hourly",
            Self::Day => "daily",
            Self::Week => "weekly",
            Self::Month => "monthly",
            Self::Year => "yearly",
        }
    }

    /// A number for each of them that there is, in UTC; later ones have greater numbers.
    fn of(self, time: Timestamp) -> i64 {
        let seconds = time.as_micros().div_euclid(1_000_000);
        let (year, month, _) = time.date();
        match self {
            Self::Hour => seconds.div_euclid(HOUR_SECONDS),
            Self::Day => seconds.div_euclid(DAY_SECONDS),
            // The first of January 1970 was a Thursday.
            Self::Week => (seconds.div_euclid(DAY_SECONDS) + 3).div_euclid(7),
            Self::Month => year * 12 + month,
            Self::Year => year,
        }
    }
}

/// How many a rule keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// At most so many.
    Of(u32),
    /// All there are.
    Unlimited,
}

impl Default for Count {
    fn default() -> Self {
        Self::Of(0)
    }
}

impl Count {
    fn is_some(self) -> bool {
        self != Self::Of(0)
    }

    fn take(&mut self) {
        if let Self::Of(left) = self {
            *left = left.saturating_sub(1);
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Of(count) => count.fmt(f),
            Self::Unlimited => f.write_str("unlimited"),
        }
    }
}

impl FromStr for Count {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "unlimited" | "-1" => Ok(Self::Unlimited),
            number => number
                .parse()
                .map(Self::Of)
                .map_err(|_| format!("{text:?} is neither a number nor \"unlimited\"")),
        }
    }
}

/// A span of the calendar: `1y5m7d2h`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    years: u32,
    months: u32,
    days: u32,
    hours: u32,
}

impl Span {
    fn is_some(self) -> bool {
        self != Self::default()
    }

    /// The moment that lies so far before another. A day that its month does not have is one of the next month, as
    /// everywhere: a month before the 31st of March is the 3rd of that month, or the 2nd.
    fn before(self, time: Timestamp) -> Timestamp {
        let (year, month, day) = time.date();
        let months = year * 12 + (month - 1) - i64::from(self.years) * 12 - i64::from(self.months);
        let (year, month) = (months.div_euclid(12), months.rem_euclid(12) + 1);
        let first = Timestamp::parse(&format!("{year:04}-{month:02}-01"));
        // There is no such year any more.
        let Ok(first) = first else { return Timestamp::from_micros(i64::MIN) };
        let within = time.as_micros().rem_euclid(DAY_SECONDS * 1_000_000);
        let days = day - 1 - i64::from(self.days);
        let at = first.plus_seconds(days * DAY_SECONDS - i64::from(self.hours) * HOUR_SECONDS);
        Timestamp::from_micros(at.as_micros().saturating_add(within))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [(self.years, 'y'), (self.months, 'm'), (self.days, 'd'), (self.hours, 'h')];
        parts
            .iter()
            .filter(|(count, _)| *count > 0)
            .try_for_each(|(n, unit)| write!(f, "{n}{unit}"))
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("{text:?} is no span of time: write years, months, days, hours as in 1y5m7d2h")
        };
        let mut span = Self::default();
        let mut rest = text;
        while let Some(end) = rest.find(|c: char| !c.is_ascii_digit()) {
            let (number, unit) = rest.split_at(end);
            let number: u32 = number.parse().map_err(|_| wrong())?;
            let mut letters = unit.chars();
            let field = match letters.next() {
                Some('y') => &mut span.years,
                Some('m') => &mut span.months,
                Some('d') => &mut span.days,
                Some('h') => &mut span.hours,
                _ => return Err(wrong()),
            };
            if *field != 0 {
                return Err(wrong());
            }
            *field = number;
            rest = letters.as_str();
        }
        if text.is_empty() || !rest.is_empty() {
            return Err(wrong());
        }
        Ok(span)
    }
}

/// Tags that a session must all have: `TAG`, or several with commas between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagList(String);

impl TagList {
    /// Whether a session with these tags has them all, or has the whole text as one tag.
    pub fn fits(&self, tags: &[String]) -> bool {
        let has = |wanted: &str| tags.iter().any(|tag| tag == wanted);
        has(&self.0) || self.0.split(',').all(has)
    }
}

impl FromStr for TagList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split(',').any(str::is_empty) {
            true => Err(format!("{text:?} holds an empty tag")),
            false => Ok(Self(text.to_owned())),
        }
    }
}

/// What is kept. A session that any rule keeps is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// So many of the newest.
    pub last: Count,
    /// Of so many of the newest [stretches](Stretch::ALL) that have a session, the newest one.
    pub newest: [Count; 5],
    /// All that are younger.
    pub within: Span,
    /// Of each stretch, the newest one of those that are younger.
    pub newest_within: [Span; 5],
    /// All that have one of these.
    pub tags: Vec<TagList>,
}

impl Policy {
    /// Whether it keeps nothing, because nothing was said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What becomes of the sessions of a group, in their order.
    pub fn judge(&self, time: RetentionTime, sessions: &[Candidate]) -> Vec<Fate> {
        let mut fates: Vec<Fate> = sessions
            .iter()
            .map(|session| stays(session, time).map_or(Fate::Forgotten, Fate::Stays))
            .collect();
        let mut judged: Vec<(usize, &Candidate, Timestamp)> =
            (sessions.iter().enumerate().zip(&fates))
                .filter(|(_, fate)| **fate == Fate::Forgotten)
                .filter_map(|((at, session), _)| Some((at, session, session.anchored_at?)))
                .collect();
        judged
            .sort_by_key(|(_, session, anchored)| std::cmp::Reverse((*anchored, session.ended_at)));
        let mut rules = Rules::new(self, time.now);
        let last = judged.len().saturating_sub(1);
        for (place, (at, session, anchored)) in judged.into_iter().enumerate() {
            let reasons = rules.reasons(session, anchored, place == last);
            if let Some(fate) = fates.get_mut(at).filter(|_| !reasons.is_empty()) {
                *fate = Fate::Kept(reasons);
            }
        }
        fates
    }
}

/// What is said of a policy in the chain, for everyone to read: so no tag is named.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rules = Vec::new();
        if self.last.is_some() {
            rules.push(format!("keep-last {}", self.last));
        }
        for (stretch, count) in Stretch::ALL.iter().zip(self.newest) {
            if count.is_some() {
                rules.push(format!("keep-{} {count}", stretch.word()));
            }
        }
        if self.within.is_some() {
            rules.push(format!("keep-within {}", self.within));
        }
        for (stretch, span) in Stretch::ALL.iter().zip(self.newest_within) {
            if span.is_some() {
                rules.push(format!("keep-within-{} {span}", stretch.word()));
            }
        }
        if !self.tags.is_empty() {
            rules.push("keep-tag".to_owned());
        }
        match rules.is_empty() {
            true => f.write_str("keep none"),
            false => f.write_str(&rules.join(", ")),
        }
    }
}

/// Why no policy may touch a session, if so.
fn stays(session: &Candidate, time: RetentionTime) -> Option<Stays> {
    let future = time.now.plus_seconds(FUTURE_SECONDS);
    match (session.anchored_at, session.retain_until) {
        (None, _) if session.is_open => Some(Stays::Active),
        (None, _) => Some(Stays::NotAnchored),
        _ if session.held => Some(Stays::Held),
        (_, Some(until)) if until > time.now || !time.ends_retention => {
            Some(Stays::KeptUntil(until))
        }
        (Some(at), _) if at > future => Some(Stays::OfTheFuture),
        _ => None,
    }
}

/// A policy while it is applied, the newest session first.
struct Rules<'a> {
    policy: &'a Policy,
    now: Timestamp,
    last: Count,
    /// What is left of the counts, and the stretch of the last session that was kept by each.
    newest: [(Count, Option<i64>); 5],
    /// The same of those that are kept by their age.
    newest_within: [Option<i64>; 5],
}

impl<'a> Rules<'a> {
    fn new(policy: &'a Policy, now: Timestamp) -> Self {
        Self {
            policy,
            now,
            last: policy.last,
            newest: policy.newest.map(|count| (count, None)),
            newest_within: [None; 5],
        }
    }

    /// Why the next session is kept; `is_oldest` if there is none behind it.
    fn reasons(&mut self, session: &Candidate, at: Timestamp, is_oldest: bool) -> Vec<String> {
        let Self { policy, now, .. } = *self;
        let is_younger = |span: Span| span.is_some() && at > span.before(now);
        let tagged = policy.tags.iter().filter(|list| list.fits(&session.tags));
        let mut reasons: Vec<String> = tagged.map(|list| format!("tag {}", list.0)).collect();
        if is_younger(policy.within) {
            reasons.push(format!("within {}", policy.within));
        }
        if self.last.is_some() {
            self.last.take();
            reasons.push("last".to_owned());
        }
        for (stretch, (left, kept)) in Stretch::ALL.iter().zip(&mut self.newest) {
            let this = Some(stretch.of(at));
            // While a count is not used up, the oldest is kept too, so that what is kept reaches as far back as it can.
            let is_new = *kept != this;
            if left.is_some() && (is_new || is_oldest) {
                left.take();
                *kept = this;
                let oldest = if is_new { "" } else { "oldest " };
                reasons.push(format!("{oldest}{}", stretch.word()));
            }
        }
        let within = Stretch::ALL.iter().zip(policy.newest_within).zip(&mut self.newest_within);
        for ((stretch, span), kept) in within {
            let this = Some(stretch.of(at));
            if is_younger(span) && *kept != this {
                *kept = this;
                reasons.push(format!("{} within {span}", stretch.word()));
            }
        }
        reasons
    }
}

#[cfg(test)]
mod tests;
