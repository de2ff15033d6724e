//! The back-end on other machines: the log, the blocks and what is created once, in MongoDB or in what speaks its
//! protocol.
//!
//! [`Mongo::open`] looks at the server first, and refuses one that could lose what it acknowledged. Then
//! [`MongoLog`] is the log of facts, [`MongoChain`] the chain, and [`MongoLock`] keeps values that are created once.
//!
//! Everything is decided in one way (`decide`): by inserting a document whose `_id` only one document can have. Each
//! carries a random nonce, so the writer of a document knows its own, whatever became of the answer. Nothing rests on
//! transactions, on updates or on clocks, and the driver repeats nothing by itself.
//!
//! Absence is only said when it is known: what a `majority` read does not find is asked for once more, with a
//! `linearizable` one, which a server that is no longer the primary cannot answer (`server`).
//!
//! `docs/FORMATS.md` gives every document field by field.

mod chain;
mod commit;
mod decide;
mod fact_log;
mod failure;
mod fields;
mod lock;
mod server;
mod snapshots;

#[cfg(test)]
mod proxied;
#[cfg(test)]
pub(crate) mod scripted;
#[cfg(test)]
pub(crate) mod servers;
pub use chain::MongoChain;
pub use chain::block::{Beside, Found, Head};
pub use commit::{Chunks, Commit};
pub use fact_log::MongoLog;
pub use fields::Fault;
pub use lock::MongoLock;
pub use server::{Mongo, Opening, Reached};

#[cfg(test)]
mod tests;
