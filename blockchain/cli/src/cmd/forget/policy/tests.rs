use proptest::prelude::*;

use super::*;

fn time(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn at(text: &str) -> RetentionTime {
    RetentionTime { now: time(text), ends_retention: true }
}

fn anchored(text: &str) -> Candidate {
    Candidate { anchored_at: Some(time(text)), ..Candidate::default() }
}

fn newest(stretch: Stretch, count: Count) -> Policy {
    let newest = Stretch::ALL.map(|one| if one == stretch { count } else { Count::Of(0) });
    Policy { newest, ..Policy::default() }
}

fn newest_within(stretch: Stretch, span: &str) -> Policy {
    let span = span.parse().unwrap();
    let newest_within = Stretch::ALL.map(|one| if one == stretch { span } else { Span::default() });
    Policy { newest_within, ..Policy::default() }
}

fn within(span: &str) -> Policy {
    Policy { within: span.parse().unwrap(), ..Policy::default() }
}

/// Sessions of a group, the newest first.
const ANCHORED: [&str; 9] = [
    "2026-03-02T10:50:00Z", // 0: a Monday
    "2026-03-02T10:10:00Z", // 1
    "2026-03-02T09:00:00Z", // 2
    "2026-03-01T23:00:00Z", // 3: a Sunday
    "2026-02-23T00:00:00Z", // 4: the Monday before it
    "2026-02-22T23:59:59Z", // 5
    "2026-01-01T00:00:00Z", // 6: a Thursday
    "2025-12-29T12:00:00Z", // 7: the Monday before it, of the first week of 2026
    "2025-12-28T12:00:00Z", // 8
];
const NOW: &str = "2026-03-02T11:00:00Z";

/// Which of them are kept, and why, in whatever order they come.
fn kept(policy: &Policy) -> Vec<(usize, String)> {
    let sessions = ANCHORED.map(anchored);
    let fates = policy.judge(at(NOW), &sessions);
    let reversed: Vec<Candidate> = sessions.iter().rev().cloned().collect();
    let mut again = policy.judge(at(NOW), &reversed);
    again.reverse();
    assert_eq!(fates, again);
    let kept = fates.into_iter().enumerate().filter_map(|(at, fate)| match fate {
        Fate::Kept(reasons) => Some((at, reasons.join(", "))),
        Fate::Forgotten => None,
        Fate::Stays(why) => panic!("{at}: {why}"),
    });
    kept.collect()
}

#[test]
fn each_rule_keeps_what_it_says() {
    use Stretch::{Day, Hour, Month, Week, Year};
    let last = |count| Policy { last: count, ..Policy::default() };
    let cases: Vec<(Policy, &[(usize, &str)])> = vec![
        (last(Count::Of(2)), &[(0, "last"), (1, "last")]),
        (newest(Hour, Count::Of(2)), &[(0, "hourly"), (2, "hourly")]),
        (newest(Day, Count::Of(2)), &[(0, "daily"), (3, "daily")]),
        // Weeks begin on Monday, and one that begins in December may be of the next year.
        (newest(Week, Count::Of(3)), &[(0, "weekly"), (3, "weekly"), (5, "weekly")]),
        (
            newest(Week, Count::Of(5)),
            &[(0, "weekly"), (3, "weekly"), (5, "weekly"), (6, "weekly"), (8, "weekly")],
        ),
        (newest(Month, Count::Of(2)), &[(0, "monthly"), (4, "monthly")]),
        (newest(Year, Count::Of(2)), &[(0, "yearly"), (7, "yearly")]),
        // A count that is not used up keeps the oldest.
        (newest(Year, Count::Of(3)), &[(0, "yearly"), (7, "yearly"), (8, "oldest yearly")]),
        (newest(Year, Count::Unlimited), &[(0, "yearly"), (7, "yearly"), (8, "oldest yearly")]),
        (within("1d"), &[(0, "within 1d"), (1, "within 1d"), (2, "within 1d"), (3, "within 1d")]),
        // What is just as old as the span is not younger.
        (within("2h"), &[(0, "within 2h"), (1, "within 2h")]),
        (
            newest_within(Hour, "1d"),
            &[(0, "hourly within 1d"), (2, "hourly within 1d"), (3, "hourly within 1d")],
        ),
        (newest_within(Day, "7d"), &[(0, "daily within 7d"), (3, "daily within 7d")]),
        (
            newest_within(Month, "1y"),
            &[
                (0, "monthly within 1y"),
                (4, "monthly within 1y"),
                (6, "monthly within 1y"),
                (7, "monthly within 1y"),
            ],
        ),
        // A session that several rules keep has all their reasons.
        (
            Policy {
                last: Count::Of(1),
                within: "1h".parse().unwrap(),
                ..newest(Day, Count::Of(2))
            },
            &[(0, "within 1h, last, daily"), (1, "within 1h"), (3, "daily")],
        ),
        (Policy::default(), &[]),
    ];
    for (policy, wanted) in cases {
        let wanted: Vec<_> = wanted.iter().map(|(at, why)| (*at, (*why).to_owned())).collect();
        assert_eq!(kept(&policy), wanted, "{policy}");
    }
}

#[test]
fn a_tag_keeps_and_several_in_one_list_must_all_be_there() {
    let tagged = |tags: &[&str]| Candidate {
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        ..anchored(NOW)
    };
    let sessions =
        [tagged(&["a"]), tagged(&["a", "b"]), tagged(&["c"]), tagged(&["a,b"]), tagged(&[])];
    let policy =
        Policy { tags: vec!["a,b".parse().unwrap(), "c".parse().unwrap()], ..Policy::default() };
    let kept = |reason: &str| Fate::Kept(vec![reason.to_owned()]);
    let wanted =
        [Fate::Forgotten, kept("tag a,b"), kept("tag c"), kept("tag a,b"), Fate::Forgotten];
    assert_eq!(policy.judge(at(NOW), &sessions), wanted);
    for wrong in ["", "a,", ",a"] {
        wrong.parse::<TagList>().unwrap_err();
    }
}

#[test]
fn what_no_policy_may_touch_stays_and_shields_nobody() {
    let old = "2026-01-01T00:00:00Z";
    let future = "2099-01-01T00:00:00Z";
    let untouched = [
        (Candidate::default(), Stays::NotAnchored),
        (Candidate { is_open: true, ..Candidate::default() }, Stays::Active),
        (Candidate { held: true, ..anchored(NOW) }, Stays::Held),
        (anchored(future), Stays::OfTheFuture),
        (
            Candidate { retain_until: Some(time(future)), ..anchored(NOW) },
            Stays::KeptUntil(time(future)),
        ),
    ];
    let policy = Policy { last: Count::Of(1), ..Policy::default() };
    let (new, old) = (anchored("2026-02-01T00:00:00Z"), anchored(old));
    for (session, why) in untouched {
        let fates = policy.judge(at(NOW), &[session, new.clone(), old.clone()]);
        let kept = Fate::Kept(vec!["last".to_owned()]);
        assert_eq!(fates, [Fate::Stays(why), kept, Fate::Forgotten]);
    }
    // A time that is over keeps nothing any more, if the chain's time ends it.
    let over = Candidate { retain_until: Some(old.anchored_at.unwrap()), ..old };
    assert_eq!(Policy::default().judge(at(NOW), std::slice::from_ref(&over)), [Fate::Forgotten]);
    let doubted = RetentionTime { ends_retention: false, ..at(NOW) };
    let stays = Fate::Stays(Stays::KeptUntil(time("2026-01-01T00:00:00Z")));
    assert_eq!(Policy::default().judge(doubted, &[over]), [stays]);
    // A clock that is a little behind the chain's takes nothing for the future.
    let fates = policy.judge(at("2026-03-02T10:55:00Z"), &[anchored(NOW)]);
    assert_eq!(fates, [Fate::Kept(vec!["last".to_owned()])]);
}

#[test]
fn of_sessions_in_one_block_the_one_that_was_sealed_last_is_the_newest() {
    let sealed = |text| Candidate { ended_at: Some(time(text)), ..anchored(NOW) };
    let policy = Policy { last: Count::Of(1), ..Policy::default() };
    let fates =
        policy.judge(at(NOW), &[sealed("2026-03-02T10:00:00Z"), sealed("2026-03-02T10:00:01Z")]);
    assert_eq!(fates, [Fate::Forgotten, Fate::Kept(vec!["last".to_owned()])]);
}

#[test]
fn spans_and_counts_are_read_and_told_alike_and_nothing_else_is_one() {
    for (span, from, before) in [
        ("1y2m3d4h", "2026-06-10T10:00:00Z", "2025-04-07T06:00:00Z"),
        ("1m", "2026-03-31T12:00:00Z", "2026-03-03T12:00:00Z"),
        ("1m", "2024-03-31T12:00:00Z", "2024-03-02T12:00:00Z"),
        ("1y", "2024-02-29T00:00:00Z", "2023-03-01T00:00:00Z"),
        ("14m", "2026-01-15T00:00:00Z", "2024-11-15T00:00:00Z"),
        ("400d", "2026-03-02T00:00:00Z", "2025-01-26T00:00:00Z"),
        ("25h", "2026-03-01T00:30:00.000001Z", "2026-02-27T23:30:00.000001Z"),
        ("4294967295y", NOW, "0001-01-01T00:00:00Z"),
    ] {
        let read: Span = span.parse().unwrap();
        assert_eq!(read.before(time(from)), time(before), "{span} before {from}");
        assert_eq!(read.to_string(), span);
    }
    assert_eq!("2h1y".parse::<Span>(), "1y2h".parse());
    for wrong in ["", "5", "d", "5w", "1d2d", "-1d", "1 d", "1d5", "4294967296d", "1é"] {
        let why = wrong.parse::<Span>().unwrap_err();
        assert!(why.contains("write years"), "{why}");
    }
    for (text, count) in [
        ("0", Count::Of(0)),
        ("7", Count::Of(7)),
        ("unlimited", Count::Unlimited),
        ("-1", Count::Unlimited),
    ] {
        assert_eq!(text.parse(), Ok(count));
    }
    for wrong in ["", "-2", "all", "4294967296"] {
        wrong.parse::<Count>().unwrap_err();
    }
}

#[test]
fn a_policy_is_told_without_its_tags() {
    let policy = Policy {
        last: Count::Of(3),
        newest: [Count::Of(0), Count::Of(7), Count::Of(0), Count::Unlimited, Count::Of(0)],
        within: "2d".parse().unwrap(),
        newest_within: newest_within(Stretch::Year, "10y").newest_within,
        tags: vec!["secret".parse().unwrap()],
    };
    let told = "keep-last 3, keep-daily 7, keep-monthly unlimited, keep-within 2d, keep-within-yearly 10y, keep-tag";
    assert_eq!(policy.to_string(), told);
    assert_eq!(Policy::default().to_string(), "keep none");
}

fn count() -> impl Strategy<Value = Count> {
    prop_oneof![
        4 => Just(Count::Of(0)),
        4 => (1..6_u32).prop_map(Count::Of),
        1 => Just(Count::Unlimited),
    ]
}

fn span() -> impl Strategy<Value = Span> {
    let some = (0..3_u32, 0..14_u32, 0..60_u32, 0..50_u32)
        .prop_map(|(years, months, days, hours)| Span { years, months, days, hours });
    prop_oneof![2 => Just(Span::default()), 1 => some]
}

fn policy() -> impl Strategy<Value = Policy> {
    let tags = prop::collection::vec(prop::sample::select(vec!["a", "b", "a,b"]), 0..2);
    let rules =
        (count(), prop::array::uniform5(count()), span(), prop::array::uniform5(span()), tags);
    rules.prop_map(|(last, newest, within, newest_within, tags)| Policy {
        last,
        newest,
        within,
        newest_within,
        tags: tags.into_iter().map(|list| list.parse().unwrap()).collect(),
    })
}

/// Sessions of three years, many of them of the same hours and days, and some that no policy may touch.
fn sessions() -> impl Strategy<Value = Vec<Candidate>> {
    let minutes = prop_oneof![0..3 * 1_440_i64, 0..60 * 1_440_i64, 0..3 * 365 * 1_440_i64];
    let one = (minutes, 0..20, prop::collection::btree_set("[ab]", 0..3));
    let one = one.prop_map(|(minutes, what, tags)| {
        let at = time(NOW).plus_seconds(-60 * minutes);
        Candidate {
            anchored_at: (what != 0).then_some(at),
            held: what == 1,
            retain_until: (what == 2).then(|| time("2099-01-01T00:00:00Z")),
            tags: tags.into_iter().collect(),
            ..Candidate::default()
        }
    });
    prop::collection::vec(one, 0..40).prop_map(|mut sessions| {
        for (seconds, session) in sessions.iter_mut().enumerate() {
            session.ended_at = Some(time(NOW).plus_seconds(seconds as i64));
        }
        sessions
    })
}

/// A policy of which one rule keeps more.
fn raised(mut policy: Policy, rule: usize, by: u32) -> Policy {
    let more = |count: &mut Count| match count {
        Count::Of(number) if by < 4 => *number += by,
        _ => *count = Count::Unlimited,
    };
    let longer = |span: &mut Span| match by {
        1 => span.hours += 7,
        2 => span.days += 3,
        3 => span.months += 1,
        _ => span.years += 1,
    };
    match rule {
        0 => more(&mut policy.last),
        1..=5 => more(&mut policy.newest[rule - 1]),
        6 => longer(&mut policy.within),
        7..=11 => longer(&mut policy.newest_within[rule - 7]),
        _ => policy.tags.push("b".parse().unwrap()),
    }
    policy
}

fn is_forgotten(fate: &Fate) -> bool {
    *fate == Fate::Forgotten
}

proptest! {
    #[test]
    fn a_rule_that_keeps_more_forgets_nothing_more(
        policy in policy(), sessions in sessions(), rule in 0..13_usize, by in 1..5_u32,
    ) {
        let before = policy.judge(at(NOW), &sessions);
        let after = raised(policy, rule, by).judge(at(NOW), &sessions);
        for (before, after) in before.iter().zip(&after) {
            prop_assert!(is_forgotten(before) || !is_forgotten(after), "{before:?} {after:?}");
        }
    }

    #[test]
    fn the_same_once_more_forgets_nothing_more(policy in policy(), sessions in sessions()) {
        let fates = policy.judge(at(NOW), &sessions);
        let left = sessions.into_iter().zip(fates).filter(|(_, fate)| !is_forgotten(fate));
        let left: Vec<Candidate> = left.map(|(session, _)| session).collect();
        prop_assert!(!policy.judge(at(NOW), &left).iter().any(is_forgotten));
    }

    #[test]
    fn a_count_keeps_one_at_least_and_what_stays_changes_nothing_for_the_others(
        policy in policy(), sessions in sessions(),
    ) {
        let fates = policy.judge(at(NOW), &sessions);
        let judged = sessions.into_iter().zip(fates);
        let judged = judged.filter(|(_, fate)| !matches!(fate, Fate::Stays(_)));
        let (judged, fates): (Vec<Candidate>, Vec<Fate>) = judged.unzip();
        let counts = policy.newest.into_iter().chain([policy.last]).any(Count::is_some);
        if counts && !judged.is_empty() {
            prop_assert!(fates.iter().any(|fate| matches!(fate, Fate::Kept(_))));
        }
        prop_assert_eq!(policy.judge(at(NOW), &judged), fates);
    }

    #[test]
    fn in_which_order_sessions_come_changes_nothing(policy in policy(), sessions in sessions()) {
        let fates = policy.judge(at(NOW), &sessions);
        let reversed: Vec<Candidate> = sessions.into_iter().rev().collect();
        let mut again = policy.judge(at(NOW), &reversed);
        again.reverse();
        prop_assert_eq!(again, fates);
    }
}
