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
mod apart;
mod append;
mod archive;
mod audit;
mod back;
mod bad_starts;
mod beside;
mod capture;
#[path = "../../../http/tests/certificates/mod.rs"]
mod certificates;
mod chain;
mod clocks;
mod completing;
mod configuration;
mod daily;
mod damage;
mod doctor;
mod documents;
mod elsewhere;
mod endings;
mod exports;
mod flaky;
mod folder;
mod follow;
#[expect(dead_code, reason = "the tests of the service let it do more")]
#[path = "../../../data/tests/it/foreign.rs"]
mod foreign;
mod forget;
mod frozen;
mod garbage;
mod groups;
mod home;
mod identity;
mod init;
mod keys;
mod kills;
mod live;
mod look;
mod looking_on;
mod manners;
mod map;
mod migrate;
mod mirror;
mod monitoring;
mod noticing;
mod on_terminal;
mod only_read;
mod operating;
mod people;
mod playing;
mod profiles;
mod proofs;
mod query;
mod race;
mod reading;
#[path = "../../../store/tests/remote/mod.rs"]
mod real_servers;
mod recipes;
mod record;
mod reindex;
mod remote;
mod removal;
mod request_ids;
mod scrub;
mod secrets;
mod server;
mod shipped;
mod signals;
mod sink;
mod take;
mod transcript;
mod trouble;
mod walk;
mod walls;
mod watch;
mod webdav;
mod whole;
