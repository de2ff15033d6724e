//! A server as a mirror, and as what is mirrored.

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lucid_api::problem::ErrorCode;
use lucid_api::v1::chunks::ChunkIds;
use lucid_api::v1::mirror::ExportedSession;
use lucid_api::v1::sessions::{AddReferences, Reference, Session};
use lucid_core::digest::ChunkId;
use lucid_core::session::SessionId;
use lucid_data_chain::ops::sessions::export_session::Exported;

use super::Remote;
use crate::place::StorageOptions;
use crate::place::mirror::Mirrored;

impl Mirrored for Remote {
    fn export(&self, id: &SessionId) -> anyhow::Result<Exported> {
        let found = self.client.export_session(id.as_str())?;
        let bytes = |text: &String| {
            STANDARD.decode(text).with_context(|| format!("what the server says of session {id}"))
        };
        Ok(Exported {
            started: bytes(&found.started)?,
            sealed: found.sealed.as_ref().map(bytes).transpose()?,
            anchored: found.anchored.as_ref().map(bytes).transpose()?,
            chunk_count: found.chunk_count,
        })
    }

    fn import(&self, id: &SessionId, given: &Exported) -> anyhow::Result<Session> {
        let text = |fact: &Vec<u8>| STANDARD.encode(fact);
        let given = ExportedSession {
            started: text(&given.started),
            sealed: given.sealed.as_ref().map(text),
            anchored: given.anchored.as_ref().map(text),
            chunk_count: given.chunk_count,
        };
        Ok(self.client.import_session(id.as_str(), &given)?)
    }

    fn find(&self, id: &SessionId) -> anyhow::Result<Option<Session>> {
        match self.client.session(id.as_str()) {
            Ok(session) => Ok(Some(session)),
            Err(error) if error.is_not_found() || error.code() == Some(ErrorCode::Gone) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn unreadable(&self, id: &SessionId, chunks: &[ChunkId]) -> anyhow::Result<Vec<ChunkId>> {
        let session_id = Some(id.to_string());
        Ok(self.client.missing_chunks(&ChunkIds { chunks: chunks.to_vec(), session_id })?)
    }

    fn give_back(&self, id: &SessionId, index: u64, chunk: Vec<u8>) -> anyhow::Result<()> {
        self.client.put_session_chunk(id.as_str(), index, chunk, None)?;
        Ok(())
    }

    fn put(&self, chunks: &[Vec<u8>], _: StorageOptions) -> anyhow::Result<()> {
        self.client.put_chunks(chunks.iter().map(Vec::as_slice))?;
        Ok(())
    }

    fn refer(
        &self,
        id: &SessionId,
        start_index: u64,
        chunks: Vec<(ChunkId, u32)>,
        _: StorageOptions,
    ) -> anyhow::Result<()> {
        let reference = |(chunk_id, length)| Reference { chunk_id, length };
        let chunks = chunks.into_iter().map(reference).collect();
        self.client.add_references(id.as_str(), &AddReferences { start_index, chunks })?;
        Ok(())
    }
}
