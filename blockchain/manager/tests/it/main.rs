//! The block-manager as its callers see it: embedded, over HTTP, and as a program.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]
#![expect(clippy::indexing_slicing, reason = "a test that meets a surprise fails")]
#![expect(clippy::disallowed_methods, reason = "whoever runs the tests sets their size")]

#[path = "../../../http/tests/access/mod.rs"]
mod access;
mod admission;
mod anew;
mod bounds;
mod clock;
mod crashes;
mod embedded;
mod ending;
#[path = "../../../http/tests/access/routes.rs"]
mod every_route;
mod follower;
mod log_lines;
mod openapi;
mod over_disk;
mod program;
#[path = "../../../store/tests/remote/mod.rs"]
mod real_servers;
mod remote;
mod routes;
mod row;
#[path = "../../../http/tests/selftest/mod.rs"]
mod selftest;
mod service;
mod starting;
#[path = "../../../http/tests/strain/mod.rs"]
mod strain;
mod sync;
mod taking;
mod twins;
mod upkeep;
mod workers;
