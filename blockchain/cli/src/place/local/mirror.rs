//! A folder as a mirror, and as what is mirrored.

use anyhow::Context as _;
use lucid_api::v1::sessions::Session;
use lucid_core::digest::ChunkId;
use lucid_core::session::SessionId;
use lucid_data_chain::ops::OpError;
use lucid_data_chain::ops::chunks::missing_chunks::missing_of_session;
use lucid_data_chain::ops::chunks::put_chunk::give_back;
use lucid_data_chain::ops::chunks::store_chunks::store_chunks;
use lucid_data_chain::ops::sessions::add_references::add_foreign_references;
use lucid_data_chain::ops::sessions::export_session::{Exported, export_session};
use lucid_data_chain::ops::sessions::get_session::get_session;
use lucid_data_chain::ops::sessions::import_session::import_session;
use lucid_data_chain::ops::sight::Sight;
use lucid_data_chain::{Opened, reply};

use super::Local;
use crate::place::StorageOptions;
use crate::place::mirror::Mirrored;

impl Mirrored for Local {
    fn export(&self, id: &SessionId) -> anyhow::Result<Exported> {
        Ok(export_session(&self.data.vault, id)?)
    }

    fn import(&self, id: &SessionId, given: &Exported) -> anyhow::Result<Session> {
        let Opened { vault, locks, key, .. } = &*self.data;
        let row = import_session(vault, locks, id, given)?;
        Ok(reply::session(vault, &key.public(), &row, self.quiet_since())?)
    }

    fn find(&self, id: &SessionId) -> anyhow::Result<Option<Session>> {
        let Opened { vault, key, .. } = &*self.data;
        match get_session(vault, id) {
            Ok(row) => Ok(Some(reply::session(vault, &key.public(), &row, self.quiet_since())?)),
            Err(OpError::NoSession(_) | OpError::Removed(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn unreadable(&self, id: &SessionId, chunks: &[ChunkId]) -> anyhow::Result<Vec<ChunkId>> {
        Ok(missing_of_session(&self.data.vault, &Sight::everything(), id, chunks)?)
    }

    fn give_back(&self, id: &SessionId, index: u64, chunk: Vec<u8>) -> anyhow::Result<()> {
        let Opened { vault, locks, .. } = &*self.data;
        let storage = StorageOptions::default();
        let _held = locks.hold(id);
        let session = get_session(vault, id)?;
        give_back(vault, self.honoured(storage), &session, index, &[&chunk])?
            .with_context(|| format!("session {id} has another chunk at index {index}"))?;
        Ok(())
    }

    fn put(&self, chunks: &[Vec<u8>], storage: StorageOptions) -> anyhow::Result<()> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
        let storage = self.honoured(storage);
        store_chunks(&self.data.vault, storage, threads, self.clock.now(), None, &chunks)?;
        Ok(())
    }

    fn refer(
        &self,
        id: &SessionId,
        start: u64,
        chunks: Vec<(ChunkId, u32)>,
        storage: StorageOptions,
    ) -> anyhow::Result<()> {
        let Opened { vault, locks, .. } = &*self.data;
        let (storage, sight) = (self.honoured(storage), Sight::everything());
        add_foreign_references(vault, locks, storage, &sight, id, start, chunks)?;
        Ok(())
    }
}
