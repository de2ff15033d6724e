//! The command's modules, tried on real folders, and the command itself, tried on real stores.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop right there"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "whoever runs the tests sets their seed and their size"
)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test says its seed, and what it could not try"
)]

mod access;
mod append;
mod archive;
mod audit;
mod capture;
#[path = "../../../http/tests/certificates/mod.rs"]
mod certificates;
mod chain;
mod clocks;
mod damage;
mod documents;
mod endings;
mod flaky;
mod folder;
mod follow;
mod frozen;
mod garbage;
mod home;
mod identity;
mod keys;
mod kills;
mod live;
mod map;
mod mirror;
mod only_read;
mod people;
mod proofs;
mod query;
mod race;
mod reading;
mod record;
mod reindex;
mod removal;
mod scrub;
mod secrets;
mod server;
mod trouble;
mod walls;
mod watch;
mod whole;
