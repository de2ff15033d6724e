//! The porch as callers meet it: a real server on a free port, spoken to in plain HTTP and with
//! the typed client.

#![expect(clippy::unwrap_used, reason = "a test that meets a surprise should stop there")]
#![expect(clippy::indexing_slicing, reason = "a test that meets a surprise should stop there")]

mod callers;
mod client;
mod config;
mod content;
mod openapi;
mod problems;
mod replies;
mod server;
mod serving;
