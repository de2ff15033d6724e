//! The frozen answers: what `tests/vectors` holds, the code must say for ever.
//!
//! `chain_oracle.jsonl`, `floats.txt` and `chain.jsonl` were printed by an independent implementation
//! of the chain's hash rules (CPython's standard library); `chain_formats.txt` freezes the formats
//! that are our own. A change that makes one of these fail changes what existing chains mean.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as loudly as the tests themselves"
)]

mod chain;
mod formats;
mod golden;
mod oracle;
