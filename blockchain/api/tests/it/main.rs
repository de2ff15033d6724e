//! What clients and services rely on without seeing: the framing of many chunks.

#![expect(clippy::unwrap_used, reason = "a test that meets a surprise should stop there")]

mod framing;
