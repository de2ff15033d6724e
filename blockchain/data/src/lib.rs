//! The data-chain service: sessions and their chunks, proofs, anchoring.
//!
//! How the pieces join: [`fact`] is what is acknowledged, [`projection`] makes [`row`]s of it in the
//! index, [`ops`] are the verbs, one a file, and [`opened`] is a data folder with everything they need.
//! The command line calls the ops in its own process; the service calls the same ops from its
//! [`routes`] and [`workers`]. [`service::serve`] starts it from a [`config`].

pub mod anchoring;
mod answers;
pub mod app;
pub mod chain;
pub mod config;
pub mod document;
pub mod fact;
mod figures;
mod followers;
mod foreground;
pub mod integrations;
pub mod moving;
pub mod opened;
pub mod ops;
mod problems;
pub mod projection;
pub mod read_log;
pub mod reply;
pub mod routes;
pub mod row;
pub mod selftest;
pub mod service;
pub mod shown;
pub mod source;
pub mod tarball;
pub mod workers;

pub use config::Config;
pub use opened::Opened;
pub use service::serve;
