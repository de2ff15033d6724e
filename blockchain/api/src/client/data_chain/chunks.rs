//! Single chunks, and trees over chunks.

use bytes::Bytes;
use lucid_core::digest::SessionRoot;
use reqwest::Method;

use super::{BYTES, DataChainClient};
use crate::client::{ClientError, accept};
use crate::v1::chunks::{
    BuildTree, ChunkInfo, ChunkQuery, ChunkTaken, ChunksQuery, DeduplicationStats, PutChunk,
    SessionChunksQuery, Tree, TreeProof, TreeQuery, VerifyProof,
};
use crate::v1::list::List;
use crate::v1::verification::{ChunkVerified, HistoryQuery, PastVerification, ProofVerdict};
use crate::{headers, paths};

impl DataChainClient {
    /// Puts one chunk, on its own or into a session. The same again is answered alike.
    pub fn put_chunk(&self, wanted: &PutChunk) -> Result<ChunkTaken, ClientError> {
        self.at.reply(&self.at.post(paths::CHUNKS, &[], wanted)?.idempotent())
    }

    /// Puts raw bytes into a session at an index. `hash`: BLAKE3 in hex, or `sha256:` and SHA-256 in hex,
    /// which the service compares.
    pub fn put_session_chunk(
        &self,
        session_id: &str,
        index: u64,
        bytes: impl Into<Bytes>,
        hash: Option<&str>,
    ) -> Result<ChunkTaken, ClientError> {
        let values = [session_id.as_bytes(), index.to_string().as_bytes()].map(<[u8]>::to_vec);
        let [session, index] = &values;
        let mut call = self.at.call(Method::PUT, paths::SESSION_CHUNK, &[session, index])?;
        if let Some(hash) = hash {
            let parsed = hash.parse().map_err(|_| ClientError::unsendable(hash))?;
            call.headers.insert(headers::X_CONTENT_HASH, parsed);
        }
        self.at.reply(&call.body(BYTES, bytes.into()).idempotent())
    }

    /// What is known of chunks: of a session, or of all.
    pub fn chunks(&self, query: &ChunksQuery) -> Result<Vec<ChunkInfo>, ClientError> {
        self.at.reply(&self.at.get(paths::CHUNKS, &[])?.query_of(query)?)
    }

    /// One page of a session's chunks.
    pub fn session_chunks(
        &self,
        session_id: &str,
        query: &SessionChunksQuery,
    ) -> Result<List<ChunkInfo>, ClientError> {
        let call = self.at.get(paths::SESSION_CHUNKS, &[session_id.as_bytes()])?;
        self.at.reply(&call.query_of(query)?)
    }

    /// What is known of one chunk, by its hash or by what its session calls it.
    pub fn chunk_info(&self, called: &str, query: &ChunkQuery) -> Result<ChunkInfo, ClientError> {
        let call = self.at.get(paths::CHUNK_METADATA, &[called.as_bytes()])?;
        self.at.reply(&call.query_of(query)?)
    }

    /// Ends what keeps an upload.
    pub fn delete_chunk(&self, called: &str, query: &ChunkQuery) -> Result<(), ClientError> {
        let call = self.at.call(Method::DELETE, paths::CHUNK, &[called.as_bytes()])?;
        accept(self.at.send(&call.query_of(query)?)?).map(|_| ())
    }

    /// Has one chunk read and held against its hash.
    pub fn verify_chunk(
        &self,
        called: &str,
        query: &ChunkQuery,
    ) -> Result<ChunkVerified, ClientError> {
        let call = self.at.call(Method::POST, paths::VERIFY_CHUNK, &[called.as_bytes()])?;
        self.at.reply(&call.query_of(query)?.idempotent())
    }

    /// What the latest verifications found, the newest first.
    pub fn verify_history(
        &self,
        query: &HistoryQuery,
    ) -> Result<Vec<PastVerification>, ClientError> {
        self.at.reply(&self.at.get(paths::VERIFY_HISTORY, &[])?.query_of(query)?)
    }

    /// How much deduplication saves.
    pub fn deduplication_stats(&self) -> Result<DeduplicationStats, ClientError> {
        self.at.reply(&self.at.get(paths::DEDUPLICATION_STATS, &[])?)
    }

    /// Builds a tree over chunks that are there; the same again is answered alike.
    pub fn build_tree(&self, wanted: &BuildTree) -> Result<Tree, ClientError> {
        self.at.reply(&self.at.post(paths::MERKLE_BUILD, &[], wanted)?.idempotent())
    }

    /// A tree that was built earlier.
    pub fn tree(&self, root: SessionRoot, query: TreeQuery) -> Result<Tree, ClientError> {
        let call = self.at.get(paths::MERKLE_TREE, &[root.to_string().as_bytes()])?;
        self.at.reply(&call.query_of(&query)?)
    }

    /// The way from one of its leaves to its root.
    pub fn tree_proof(&self, root: SessionRoot, leaf: u64) -> Result<TreeProof, ClientError> {
        let values = [root.to_string(), leaf.to_string()];
        let [root, leaf] = values.each_ref().map(String::as_bytes);
        self.at.reply(&self.at.get(paths::MERKLE_PROOF, &[root, leaf])?)
    }

    /// Has such a way checked.
    pub fn verify_proof(&self, given: &VerifyProof) -> Result<ProofVerdict, ClientError> {
        self.at.reply(&self.at.post(paths::MERKLE_VERIFY, &[], given)?.idempotent())
    }
}
