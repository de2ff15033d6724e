//! The block-manager: it validates, produces and stores the blocks of one chain.
//!
//! Two ways in. [`service::start`] opens the folder, serves the routes and runs the worker that produces blocks. A
//! program that has no service ([`opened::open`]) calls the [`ops`] itself; nothing there needs a runtime:
//!
//! ```no_run
//! use lucid_block_manager::{opened, ops};
//! use lucid_core::time::Timestamp;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let now = Timestamp::from_micros(1_800_000_000_000_000);
//! let manager = opened::open("chain".as_ref(), &opened::Options::default(), now)?;
//! let (vault, chain) = (&manager.vault, manager.chain.as_ref());
//! let posted = br#"{"id": "a", "type": "data_storage"}"#;
//! ops::submit_transaction::submit_transaction(vault, chain, &manager.admissions, now, posted)?;
//! ops::produce_block::produce_block(vault, chain, &manager.producing, &manager.key, now)?;
//! let proof = ops::anchor_proof::anchor_proof(chain, "a")?;
//! manager.close()?;
//! # Ok(())
//! # }
//! ```

mod admissions;
pub mod anew;
pub mod app;
pub mod config;
pub mod fact;
mod figures;
mod follower;
mod forward;
pub mod given;
mod in_order;
mod limits;
pub(crate) mod maintenance;
pub mod moving;
pub mod opened;
pub mod ops;
pub mod peer;
pub mod problems;
pub mod reply;
pub mod routes;
mod seen_ids;
pub mod selftest;
pub mod service;
pub mod staging;
pub mod workers;
