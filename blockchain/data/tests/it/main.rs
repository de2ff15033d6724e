//! The data-chain as its callers meet it: the real service on a free port behind the typed client, and
//! the ops on a disk that can lose power.

#![expect(clippy::expect_used, reason = "a test that meets a surprise should stop there")]
#![expect(clippy::unwrap_used, reason = "a test that meets a surprise should stop there")]
#![expect(clippy::disallowed_methods, reason = "whoever runs the tests says whether to renew")]
#![expect(clippy::indexing_slicing, reason = "a test that meets a surprise should stop there")]

#[path = "../../../http/tests/access/mod.rs"]
mod access;
mod bounds;
mod ending;
mod engine;
#[path = "../../../http/tests/access/routes.rs"]
mod every_route;
mod foreign;
mod health;
mod log_lines;
mod manager;
mod openapi;
mod ops;
mod program;
#[path = "../../../store/tests/remote/mod.rs"]
mod real_servers;
mod remote;
mod routes;
mod sample;
#[path = "../../../http/tests/selftest/mod.rs"]
mod selftest;
mod service;
mod settings;
mod sight;
mod starting;
#[path = "../../../http/tests/strain/mod.rs"]
mod strain;
mod trouble;
mod workers;
