//! What [`super::validate`] answers.

use super::{Mode, Rule, ValidBlock};
use crate::json::Json;
use crate::time::Timestamp;

/// What one rule found.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleResult {
    /// The rule.
    pub rule: Rule,
    /// Whether it holds.
    pub passed: bool,
    /// The documented details: an object.
    pub details: Json,
}

/// How much was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Transactions of the block.
    pub transactions: usize,
    /// The length of their texts together.
    pub bytes: usize,
    /// Transaction signatures that verified.
    pub transaction_signatures: usize,
    /// Transaction signatures that nothing can be checked with; `not_checked` names them.
    pub bare_signatures: usize,
    /// Whether the block carries its producer's signature, and it verified.
    pub block_signature: bool,
    /// Whether that producer is the pinned one.
    pub producer_pinned: bool,
}

/// The answer to "is this block valid?".
#[derive(Debug, Clone)]
pub struct Verdict {
    /// Whether every rule holds.
    pub valid: bool,
    /// What each of the six rules found, in their order.
    pub results: Vec<RuleResult>,
    /// The first rule that does not hold.
    pub first_fault: Option<Rule>,
    /// How much was looked at.
    pub coverage: Coverage,
    /// What the verdict does not say, one sentence each.
    pub not_checked: Vec<String>,
    /// The block is sound but ahead of the clock: ask again later, and blame nobody.
    pub not_yet: bool,
    /// How the time was judged.
    pub mode: Mode,
    /// When, by the clock that was handed in.
    pub validated_at: Timestamp,
    /// The block, if it is valid.
    pub block: Option<ValidBlock>,
}

impl Verdict {
    /// What a rule found.
    pub fn result(&self, rule: Rule) -> Option<&RuleResult> {
        self.results.iter().find(|result| result.rule == rule)
    }
}
