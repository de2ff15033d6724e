//! Where sessions live: in a data folder of this process, or behind a server.
//!
//! The verbs work on a [`Place`] and do not know which. What it promises is split by who relies on it: who fills
//! sessions ([`mod@write`]), reads them ([`read`]), reads what was read ([`mod@audit`]), asks for documents
//! ([`query`]), checks sessions ([`verify`]), removes them ([`remove`]), and keeps the store well ([`upkeep`]). Both
//! kinds of place have a file for each, and one for being mirrored ([`mirror`]).

pub mod audit;
pub(crate) mod beside;
mod door;
pub mod local;
pub(crate) mod mirror;
pub mod query;
pub mod read;
pub(crate) mod reading;
pub mod remote;
pub mod remove;
pub mod upkeep;
pub mod verify;
pub mod write;

use lucid_store::files::folder::{Noted, OnlyRead};

pub use audit::ReadAudit;
pub use lucid_data_chain::ops::chunks::store_chunks::StorageOptions;
pub use query::{AskedDocuments, QueryDocuments};
pub use read::{ChunkAt, ReadSessions};
pub use remove::RemoveSessions;
pub use upkeep::KeepStore;
pub use verify::{Findings, VerifySessions};
pub use write::{Begun, Filling, KeptPart, WriteSessions};

/// What holds sessions.
pub trait Place:
    Send
    + WriteSessions
    + ReadSessions
    + ReadAudit
    + QueryDocuments
    + VerifySessions
    + RemoveSessions
    + KeepStore
{
    /// The id of the store, in hex, if it can be told.
    fn store(&self) -> anyhow::Result<Option<String>>;

    /// Damage that was come upon so far: each names file and offset.
    fn damage(&self) -> Vec<String>;

    /// Why what is here may not be all there was, if so.
    fn loss(&self) -> Option<String>;

    /// What to say of a folder that is only read.
    fn only_read(&self) -> Option<&OnlyRead>;

    /// Notes that something was done with all of it. A server keeps no such note, nor does a folder that is only read.
    fn note(&self, what: Noted, is_sound: bool, about: &str) -> anyhow::Result<()>;

    /// Folders of this place that must not be archived into it.
    fn own_folder(&self) -> Option<std::path::PathBuf>;

    /// Ends in order.
    fn close(self: Box<Self>) -> anyhow::Result<()>;
}
