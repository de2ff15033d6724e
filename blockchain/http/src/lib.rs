//! The porch of the Lucid services: everything between a socket and a handler, written once.
//!
//! A service reads its settings with [`config`], builds its routes with [`extract`] and [`reply`],
//! puts the [`porch`] around them and hands the result to [`serve`]. This crate knows no noun: it
//! has never heard of a chunk or a block.

pub mod config;
pub mod extract;
pub mod health;
pub mod healthcheck;
pub mod layers;
pub mod limits;
pub mod porch;
pub mod reply;
pub mod serve;
pub mod stream;
pub mod telemetry;

mod docs;

/// What a service is called. One constant in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Service {
    /// In replies and logs: `lucid-data-chain`.
    pub name: &'static str,
    /// For people: `Lucid Data Chain`.
    pub title: &'static str,
    /// Before its own variables: `DATA_CHAIN`.
    pub prefix: &'static str,
    /// Where it listens when nothing else is said.
    pub port: u16,
    /// Its version.
    pub version: &'static str,
    /// Where its API begins, for `GET /`.
    pub endpoints: &'static [&'static str],
}
