//! The rules themselves, one function each, in the order of [`Rule::ALL`].
//!
//! Called by [`super::judge`] alone. A rule whose inputs are missing fails and says so in
//! `details.error`; none of them stops another.

use super::weighed::Vouched;
use super::{Context, Coverage, Mode, Rule, RuleResult, Weighed};
use crate::block::{Candidate, REQUIRED_FIELDS};
use crate::digest::BlockHash;
use crate::json::Json;
use crate::limits::BLOCK_TIME_TOLERANCE_SECONDS;
use crate::time::Timestamp;
use crate::transaction::SignatureState;
use crate::words::many_do;

/// How many faulty or unchecked transactions are named one by one; the counts are always whole.
const NAMED_MAX: usize = 100;

/// What the rules say besides passed or not.
#[derive(Default)]
pub(super) struct RuleNotes {
    pub(super) coverage: Coverage,
    pub(super) not_checked: Vec<String>,
    pub(super) ahead_of_clock: bool,
}

type Finding = (bool, Vec<(&'static str, Json)>);

pub(super) fn apply(
    rule: Rule,
    weighed: &Weighed,
    context: &Context<'_>,
    notes: &mut RuleNotes,
) -> RuleResult {
    let candidate = &weighed.candidate;
    let (passed, details) = match rule {
        Rule::BlockStructure => block_structure(candidate),
        Rule::BlockHash => block_hash(weighed, context, notes),
        Rule::PreviousHash => previous_hash(candidate, context),
        Rule::MerkleRoot => merkle_root(weighed),
        Rule::Timestamp => timestamp(candidate, context, notes),
        Rule::Transactions => transactions(weighed, context, notes),
    };
    RuleResult { rule, passed, details: Json::object(details) }
}

fn block_structure(candidate: &Candidate) -> Finding {
    let invalid = candidate.invalid.iter().map(|fault| {
        let reason = Json::from(fault.reason.as_str());
        Json::object([("field", Json::from(fault.field)), ("reason", reason)])
    });
    let details = vec![
        ("missing_fields", Json::from(candidate.missing.clone())),
        ("required_fields", Json::list(REQUIRED_FIELDS)),
        ("invalid_fields", Json::list(invalid)),
    ];
    (candidate.missing.is_empty() && candidate.invalid.is_empty(), details)
}

fn block_hash(weighed: &Weighed, context: &Context<'_>, notes: &mut RuleNotes) -> Finding {
    let candidate = &weighed.candidate;
    let expected = weighed.expected_hash.map(|hash| hash.to_string());
    let mut details = vec![
        ("expected_hash", Json::from(expected.clone())),
        ("actual_hash", Json::from(candidate.hash.as_deref().unwrap_or_default())),
    ];
    if expected.is_none() {
        details.push(("error", Json::from("a field that the hash covers is missing")));
        return (false, details);
    }
    let signature = block_signature(weighed, context, notes);
    if let Err(error) = signature {
        details.push(("error", Json::from(error)));
    }
    (signature.is_ok() && expected == candidate.hash, details)
}

fn block_signature(
    weighed: &Weighed,
    context: &Context<'_>,
    notes: &mut RuleNotes,
) -> Result<(), &'static str> {
    let producer = match weighed.vouched {
        Vouched::Nobody { bare_signature } => {
            let sentence = match bare_signature {
                false => "the block is unsigned: who made it is not known",
                true => "the block has a signature but no producer to check it with",
            };
            notes.not_checked.push(sentence.to_owned());
            return Ok(());
        }
        Vouched::Unsigned => return Err("the block names a producer and has no signature"),
        Vouched::Unfit => return Err("the signature covers fields that are not valid"),
        Vouched::Refused => return Err("the producer's signature does not verify"),
        Vouched::Verified(producer) => producer,
    };
    notes.coverage.block_signature = true;
    match context.producer {
        pinned if pinned.have(&producer) => {
            notes.coverage.producer_pinned = true;
            Ok(())
        }
        pinned if pinned.are_pinned() => {
            Err("the block is signed by another than the pinned producer")
        }
        _ => {
            let sentence = "the block is signed, and whether by the right key was not asked";
            notes.not_checked.push(sentence.to_owned());
            Ok(())
        }
    }
}

fn previous_hash(candidate: &Candidate, context: &Context<'_>) -> Finding {
    let actual = candidate.previous_hash.as_deref().unwrap_or_default();
    let Some(index) = candidate.index() else {
        return error("the index is missing or not valid, so the parent is not known");
    };
    if let Some(parent) = context.parent {
        let follows = index.checked_sub(1) == Some(parent.index);
        let expected = parent.hash.to_string();
        let passed = follows && actual == expected;
        let mut details = vec![
            ("expected_previous_hash", Json::from(expected)),
            ("actual_previous_hash", Json::from(actual)),
        ];
        if !follows {
            details.push(("error", Json::from("the index is not the parent's and one")));
        }
        return (passed, details);
    }
    if index > 0 {
        let mut finding = error("previous block not found");
        finding.1.push(("actual_previous_hash", Json::from(actual)));
        return finding;
    }
    let expected = BlockHash::ZERO.to_string();
    let another = context.genesis.is_some_and(|genesis| candidate.hash() != Some(genesis));
    let passed = actual == expected && !another;
    let mut details = vec![
        ("is_genesis", Json::from(true)),
        ("expected_previous_hash", Json::from(expected)),
        ("actual_previous_hash", Json::from(actual)),
    ];
    if another {
        details.push(("error", Json::from("the chain has another genesis")));
    }
    (passed, details)
}

fn merkle_root(weighed: &Weighed) -> Finding {
    let (expected, mutated) = (weighed.root.to_string(), weighed.mutated);
    let actual = weighed.candidate.merkle_root.as_deref().unwrap_or_default();
    let passed = actual == expected && !mutated;
    let mut details = vec![
        ("expected_merkle_root", Json::from(expected)),
        ("actual_merkle_root", Json::from(actual)),
    ];
    if mutated {
        let sentence = "two equal neighbours: a shorter list has the same root";
        details.push(("error", Json::from(sentence)));
    }
    (passed, details)
}

fn timestamp(candidate: &Candidate, context: &Context<'_>, notes: &mut RuleNotes) -> Finding {
    let time = match candidate.timestamp.as_deref().map(Timestamp::parse) {
        None => return error("the timestamp is missing"),
        Some(Err(fault)) => return error(&fault.to_string()),
        Some(Ok(time)) => time,
    };
    let (now, tolerance) = (context.now, BLOCK_TIME_TOLERANCE_SECONDS);
    let parent = context.parent.map(|parent| parent.time);
    let before_parent = parent.is_some_and(|parent| time < parent);
    let ahead = time >= now.plus_seconds(tolerance);
    let behind = context.mode == Mode::Candidate && time <= now.plus_seconds(-tolerance);
    notes.ahead_of_clock = ahead && !before_parent;
    // Ahead of the clock is more than nothing.
    let difference = time.micros_since(now);
    let spelled = candidate.timestamp.as_deref().unwrap_or_default();
    let mut details = vec![
        ("block_time", Json::from(spelled)),
        ("current_time", Json::from(now.to_string())),
        // Microseconds over four digits of years fit a double's 53 bits but for the last of them.
        ("time_diff_seconds", Json::Float(difference as f64 / 1e6)),
        ("mode", Json::from(context.mode.name())),
    ];
    if let Some(parent) = parent {
        details.push(("parent_time", Json::from(parent.to_string())));
    }
    let sentence = match (before_parent, ahead, behind) {
        (true, _, _) => "the block is older than its parent",
        (_, true, _) => "the block is an hour or more ahead of the clock: try again later",
        (_, _, true) => "the block is an hour or more behind the clock, which only history may be",
        _ => return (true, details),
    };
    details.push(("error", Json::from(sentence)));
    (false, details)
}

fn transactions(weighed: &Weighed, context: &Context<'_>, notes: &mut RuleNotes) -> Finding {
    let items = &weighed.candidate.items;
    let total = items.len();
    let (mut valid, mut bare, mut errors) = (0_usize, Vec::new(), Vec::new());
    let mut states = weighed.states.iter().peekable();
    for (position, (item, digest)) in items.iter().zip(&weighed.ids).enumerate() {
        notes.coverage.bytes += item.bytes();
        let state = states.next_if(|(at, _)| *at == position).map(|(_, state)| *state);
        let (id, reason) = match &item.0 {
            Err(unfit) => (None, Some(unfit.fault.to_string())),
            Ok(transaction) => {
                let reason = if weighed.repeated.contains(&position) {
                    Some("another transaction of this block has this id".to_owned())
                } else if (context.chained)(digest) {
                    Some("an earlier block has a transaction with this id".to_owned())
                } else {
                    match state {
                        Some(SignatureState::Refused(fault)) => Some(fault.to_string()),
                        Some(SignatureState::Signed { .. }) => {
                            notes.coverage.transaction_signatures += 1;
                            None
                        }
                        Some(SignatureState::Bare) => {
                            bare.push(position);
                            None
                        }
                        Some(SignatureState::Unsigned) | None => None,
                    }
                };
                (Some(transaction.id()), reason)
            }
        };
        match reason {
            None => valid += 1,
            Some(reason) if errors.len() < NAMED_MAX => errors.push(Json::object([
                ("index", Json::from(position)),
                ("id", Json::from(id)),
                ("reason", Json::from(reason)),
            ])),
            Some(_) => {}
        }
    }
    notes.coverage.transactions = total;
    notes.coverage.bare_signatures = bare.len();
    for position in bare.iter().take(NAMED_MAX) {
        let sentence =
            format!("transaction {position} has a signature but no public_key to check it with");
        notes.not_checked.push(sentence);
    }
    if let Some(more) = bare.len().checked_sub(NAMED_MAX).filter(|more| *more > 0) {
        notes.not_checked.push(format!(
            "{} a signature but no public_key",
            many_do(more, "more transaction", "has", "have")
        ));
    }
    let details = vec![
        ("total_transactions", Json::from(total)),
        ("valid_transactions", Json::from(valid)),
        ("errors", Json::List(errors)),
    ];
    (valid == total, details)
}

fn error(sentence: &str) -> Finding {
    (false, vec![("error", Json::from(sentence))])
}
