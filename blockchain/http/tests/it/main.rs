//! The porch as callers meet it: a real server on a free port, spoken to in plain HTTP and with
//! the typed client.

#![expect(clippy::unwrap_used, reason = "a test that meets a surprise should stop there")]
#![expect(clippy::indexing_slicing, reason = "a test that meets a surprise should stop there")]

#[path = "../access/mod.rs"]
mod access;
mod admission;
mod callers;
#[path = "../certificates/mod.rs"]
mod certificates;
mod client;
mod commit;
mod config;
mod content;
mod metrics;
mod openapi;
mod problems;
mod replies;
mod server;
mod serving;
mod signals;
mod tls;
