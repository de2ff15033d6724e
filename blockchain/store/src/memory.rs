//! Back-ends that keep everything in memory, for tests.

pub mod chain;
pub mod index;
