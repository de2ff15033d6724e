//! What the store rests on: one trait for each promise, its errors, and a suite that every back-end passes.

pub mod blobs;
pub mod chain;
pub mod fact_log;
pub mod index;
pub mod lock;

#[cfg(test)]
mod conformance;
