//! What the store rests on: one trait for each promise, its errors, and a suite that every back-end passes.
//!
//! | promise | suite |
//! |---|---|
//! | [`fact_log`] and [`blobs`], which are only of use together | `conformance` here |
//! | [`chain`] | `chain/conformance` |
//! | [`lock`] | the tests beside it |
//! | [`index`] | `tests/it/index.rs` |

pub mod blobs;
pub mod chain;
pub mod fact_log;
pub mod index;
pub mod lock;

#[cfg(test)]
mod conformance;
