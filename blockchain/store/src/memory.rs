//! Back-ends that keep everything in memory, for tests.

pub mod blobs;
pub mod chain;
pub mod fact_log;
pub mod faulty;
pub mod index;
pub mod lock;
pub mod meddled;
