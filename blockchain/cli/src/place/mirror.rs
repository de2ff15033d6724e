//! What a place must be able to do besides, to be mirrored or a mirror.

use lucid_api::v1::sessions::Session;
use lucid_core::digest::ChunkId;
use lucid_core::session::SessionId;
use lucid_data_chain::ops::sessions::export_session::Exported;

use super::{Place, StorageOptions};

/// A place that hands out whole sessions, and takes them.
pub trait Mirrored: Place {
    /// Everything about a session but its chunks.
    fn export(&self, id: &SessionId) -> anyhow::Result<Exported>;

    /// Takes that, as far as the chunks that are here allow.
    fn import(&self, id: &SessionId, given: &Exported) -> anyhow::Result<Session>;

    /// A session, if there is one; `None` also for one that was removed.
    fn find(&self, id: &SessionId) -> anyhow::Result<Option<Session>>;

    /// Those of a session's chunks that it cannot read here.
    fn unreadable(&self, id: &SessionId, chunks: &[ChunkId]) -> anyhow::Result<Vec<ChunkId>>;

    /// Gives a session back a chunk that it has at an index.
    fn give_back(&self, id: &SessionId, index: u64, chunk: Vec<u8>) -> anyhow::Result<()>;

    /// Keeps chunks.
    fn put(&self, chunks: &[Vec<u8>], storage: StorageOptions) -> anyhow::Result<()>;

    /// Makes chunks that are here a session's next ones.
    fn refer(
        &self,
        id: &SessionId,
        start: u64,
        chunks: Vec<(ChunkId, u32)>,
        storage: StorageOptions,
    ) -> anyhow::Result<()>;
}
