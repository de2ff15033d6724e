//! The data-chain service, call by call.

mod chunks;

use std::io::Read;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use lucid_core::digest::{ChunkId, SessionRoot};
use lucid_core::limits::{BUNDLE_BYTES_MAX, CHUNK_BYTES_MAX};
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;

use super::{
    Call, ClientError, ClientOptions, Connection, Download, VERIFY_TIMEOUT, accept, upload_offset,
};
use crate::framing::{self, ReadFrames};
use crate::v1::anchors::{AnchorSession, AnchorState};
use crate::v1::audit::{AuditQuery, AuditSession};
use crate::v1::chunks::{BATCH_MAX, ChunkIds, MissingChunks, StoredChunk, StoredChunks};
use crate::v1::documents::DocumentItems;
use crate::v1::files::{FileEntry, FilesQuery};
use crate::v1::find::FindQuery;
use crate::v1::list::List;
use crate::v1::list::PageQuery;
use crate::v1::maintenance::{
    BeginRetention, CollectGarbage, GarbageCollected, Optimise, Optimised, Progress, RetentionBegun,
};
use crate::v1::manifest::{Manifest, ManifestQuery};
use crate::v1::mirror::ExportedSession;
use crate::v1::proofs::{ChunkProof, ProofQuery};
use crate::v1::removal::{HoldSession, RemoveQuery, RetainSession, Tombstone};
use crate::v1::scrub::Scrub;
use crate::v1::service::{Health, Root, Status};
use crate::v1::sessions::{
    AddReferences, Appended, CreateSession, FOLLOW_SILENCE_SECONDS, FollowQuery, ReferencesAdded,
    SealSession, Sealed, Session, SessionQuery, SessionStatus, SessionsQuery, WAIT_SECONDS_MAX,
};
use crate::v1::usage::UsageQuery;
use crate::v1::verification::{Verified, VerifyQuery};
use crate::{headers, paths, percent};

/// A request that waits is answered within a minute, and then some for the way.
const WAIT_TIMEOUT: Duration = Duration::from_secs(2 * WAIT_SECONDS_MAX);

/// The service breaks a silent reply off before this.
const FOLLOW_TIMEOUT: Duration = Duration::from_secs(FOLLOW_SILENCE_SECONDS + 60);

const BYTES: &str = "application/octet-stream";

/// A data-chain service. Cloning shares its connections.
#[derive(Debug, Clone)]
pub struct DataChainClient {
    at: Connection,
}

/// Where appended bytes go and what is known about them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Append {
    /// Where the first byte goes; the service refuses any other place and says the right one.
    pub offset: u64,
    /// When they were recorded (RFC 3339).
    pub time: Option<String>,
    /// By how many seconds the clock that told so has gone back since it told of bytes before, if it has.
    pub clock_back: Option<u64>,
    /// RFC 9530 digest, which the service compares.
    pub digest: Option<String>,
}

impl DataChainClient {
    /// Speaks to the service at `base` (`http://host:port`). Connects with the first call.
    pub fn new(base: &str, options: ClientOptions) -> Result<Self, ClientError> {
        Connection::new(base, options).map(|at| Self { at })
    }

    /// What the service is.
    pub fn root(&self) -> Result<Root, ClientError> {
        self.at.root()
    }

    /// How the service is; bad health is an answer, not an error.
    pub fn health(&self) -> Result<Health, ClientError> {
        self.at.health()
    }

    /// The service's counts.
    pub fn status(&self) -> Result<Status, ClientError> {
        self.at.status()
    }

    /// Opens a session. Without a session id it is not repeated, lest it open two.
    pub fn create_session(&self, wanted: &CreateSession) -> Result<Session, ClientError> {
        let call = self.at.post(paths::SESSIONS, &[], wanted)?;
        self.at.reply(&if wanted.session_id.is_some() { call.idempotent() } else { call })
    }

    /// One page of sessions.
    pub fn list_sessions(&self, query: &SessionsQuery) -> Result<List<Session>, ClientError> {
        self.at.reply(&self.at.get(paths::SESSIONS, &[])?.query(&query.to_query()))
    }

    /// One session.
    pub fn session(&self, session_id: &str) -> Result<Session, ClientError> {
        self.at.reply(&self.at.get(paths::SESSION, &[session_id.as_bytes()])?)
    }

    /// One session, as soon as it is this far, or as it is after so many seconds.
    pub fn wait_session(
        &self,
        session_id: &str,
        status: SessionStatus,
        seconds: u64,
    ) -> Result<Session, ClientError> {
        let call = self.at.get(paths::SESSION, &[session_id.as_bytes()])?;
        let call = call.query_of(&SessionQuery::until(status, seconds))?;
        self.at.reply(&call.patient(WAIT_TIMEOUT))
    }

    /// Where a session's next byte goes.
    pub fn upload_offset(&self, session_id: &str) -> Result<u64, ClientError> {
        let call = self.at.call(Method::HEAD, paths::SESSION, &[session_id.as_bytes()])?;
        upload_offset(self.at.send(&call)?.headers())
            .ok_or_else(|| ClientError::unreadable("no Upload-Offset"))
    }

    /// Appends bytes. Sent once: after an error that may have been applied,
    /// [`Self::upload_offset`] tells where to go on.
    pub fn append(
        &self,
        session_id: &str,
        how: &Append,
        bytes: impl Into<Bytes>,
    ) -> Result<Appended, ClientError> {
        self.at.reply(&self.append_call(session_id, how)?.body(BYTES, bytes.into()))
    }

    /// Appends a stream of any length, in one request. Sent once, like [`Self::append`]; the
    /// service acknowledges at its end.
    pub fn append_stream(
        &self,
        session_id: &str,
        how: &Append,
        stream: impl Read + Send + 'static,
    ) -> Result<Appended, ClientError> {
        let call = self.append_call(session_id, how)?.patient(VERIFY_TIMEOUT);
        let response = self
            .at
            .build(&call)?
            .header(CONTENT_TYPE, BYTES)
            .body(self.at.pacing.stream(stream))
            .send()
            .map_err(ClientError::from_transport)?;
        accept(response)?.json().map_err(|error| ClientError::unreadable(error.to_string()))
    }

    fn append_call(&self, session_id: &str, how: &Append) -> Result<Call, ClientError> {
        let mut call =
            self.at.call(Method::POST, paths::SESSION_APPEND, &[session_id.as_bytes()])?;
        let given = [
            (headers::UPLOAD_OFFSET, Some(how.offset.to_string())),
            (headers::LUCID_TIME, how.time.clone()),
            (headers::LUCID_CLOCK_BACK, how.clock_back.map(|seconds| seconds.to_string())),
            (headers::CONTENT_DIGEST, how.digest.clone()),
        ];
        for (name, value) in given {
            if let Some(value) = value {
                let parsed = value.parse().map_err(|_| ClientError::unsendable(value))?;
                call.headers.insert(name, parsed);
            }
        }
        Ok(call)
    }

    /// Which of these chunks would have to be uploaded.
    pub fn missing_chunks(&self, chunks: &ChunkIds) -> Result<Vec<ChunkId>, ClientError> {
        let call = self.at.post(paths::CHUNKS_MISSING, &[], chunks)?.idempotent();
        self.at.reply::<MissingChunks>(&call).map(|reply| reply.missing)
    }

    /// Stores chunks, all or none.
    pub fn put_chunks<'a>(
        &self,
        chunks: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Vec<StoredChunk>, ClientError> {
        let chunks: Vec<&[u8]> = chunks.into_iter().collect();
        if chunks.len() > BATCH_MAX {
            let why = format!("{} chunks are too many for one batch: {BATCH_MAX}", chunks.len());
            return Err(ClientError::unsendable(why));
        }
        let body = framing::encode(chunks)
            .ok_or_else(|| ClientError::unsendable("a chunk is longer than four bytes can say"))?;
        self.put_framed(body)
    }

    /// Stores chunks that are framed already, all or none.
    pub fn put_framed(&self, body: impl Into<Bytes>) -> Result<Vec<StoredChunk>, ClientError> {
        let call = self.at.call(Method::POST, paths::CHUNKS_BATCH, &[])?;
        let call = call.body(framing::CONTENT_TYPE, body.into()).idempotent();
        self.at.reply::<StoredChunks>(&call).map(|reply| reply.chunks)
    }

    /// Reads chunks, in order, one in memory at a time.
    pub fn get_chunks(&self, chunks: &ChunkIds) -> Result<ReadFrames<Download>, ClientError> {
        let call = self.at.post(paths::CHUNKS_GET, &[], chunks)?.idempotent();
        let body = self.at.download(call.accept(framing::CONTENT_TYPE), None)?;
        Ok(ReadFrames::new(body, CHUNK_BYTES_MAX))
    }

    /// One chunk's bytes, or a range of them.
    pub fn chunk(
        &self,
        chunk_id: ChunkId,
        range: Option<Range<u64>>,
    ) -> Result<Download, ClientError> {
        let call = self.at.get(paths::CHUNK_RAW, &[chunk_id.to_string().as_bytes()])?;
        self.at.download(call, range)
    }

    /// Makes stored chunks a session's next ones. Sent once; after an error that may have been
    /// applied, the session's chunk count tells.
    pub fn add_references(
        &self,
        session_id: &str,
        references: &AddReferences,
    ) -> Result<ReferencesAdded, ClientError> {
        let session = [session_id.as_bytes()];
        self.at.reply(&self.at.post(paths::SESSION_REFERENCES, &session, references)?)
    }

    /// Seals a session; the same again is answered alike.
    pub fn seal(&self, session_id: &str, how: &SealSession) -> Result<Sealed, ClientError> {
        let call = self.at.post(paths::SESSION_SEAL, &[session_id.as_bytes()], how)?;
        self.at.reply(&call.idempotent())
    }

    /// Submits a session's anchor, sealing it first if need be.
    pub fn anchor(&self, session_id: &str) -> Result<AnchorState, ClientError> {
        let session = [session_id.as_bytes()];
        let call = self.at.post(paths::SESSION_ANCHOR, &session, &AnchorSession {})?;
        self.at.reply(&call.idempotent())
    }

    /// Where a session's anchor is.
    pub fn anchor_state(&self, session_id: &str) -> Result<AnchorState, ClientError> {
        self.at.reply(&self.at.get(paths::SESSION_ANCHOR, &[session_id.as_bytes()])?)
    }

    /// Removes a session; the same again is answered alike.
    pub fn remove_session(
        &self,
        session_id: &str,
        query: &RemoveQuery,
    ) -> Result<Tombstone, ClientError> {
        let call = self.at.call(Method::DELETE, paths::SESSION, &[session_id.as_bytes()])?;
        self.at.reply(&call.query_of(query)?.idempotent())
    }

    /// One page of what is left of removed sessions, the last one first.
    pub fn tombstones(&self, query: &PageQuery) -> Result<List<Tombstone>, ClientError> {
        self.at.reply(&self.at.get(paths::TOMBSTONES, &[])?.query_of(query)?)
    }

    /// Collects garbage; answered when that is done. Sent once: [`Self::gc_progress`] tells how far it is,
    /// also of a collection that another caller asked for.
    pub fn collect_garbage(
        &self,
        wanted: &CollectGarbage,
    ) -> Result<GarbageCollected, ClientError> {
        let call = self.at.post(paths::MAINTENANCE_GC, &[], wanted)?;
        self.at.reply(&call.patient(VERIFY_TIMEOUT))
    }

    /// Asks the chain what time it is, before sessions are removed by how old they are: a block is waited for.
    pub fn begin_retention(&self, wanted: &BeginRetention) -> Result<RetentionBegun, ClientError> {
        let call = self.at.post(paths::MAINTENANCE_RETENTION, &[], wanted)?;
        self.at.reply(&call.patient(VERIFY_TIMEOUT))
    }

    /// Has stored bytes read again now; [`Self::scrub`] tells how far it is.
    pub fn begin_scrub(&self) -> Result<Scrub, ClientError> {
        let call = self.at.call(Method::POST, paths::SCRUB, &[])?;
        self.at.reply(&call.idempotent())
    }

    /// How far reading again is, and what it found.
    pub fn scrub(&self) -> Result<Scrub, ClientError> {
        self.at.reply(&self.at.get(paths::SCRUB, &[])?)
    }

    /// How far collecting garbage is.
    pub fn gc_progress(&self) -> Result<Progress, ClientError> {
        self.at.reply(&self.at.get(paths::MAINTENANCE_GC, &[])?)
    }

    /// Packs what is stored more tightly; answered when that is done. Sent once.
    pub fn optimise(&self, wanted: &Optimise) -> Result<Optimised, ClientError> {
        let call = self.at.post(paths::MAINTENANCE_OPTIMISE, &[], wanted)?;
        self.at.reply(&call.patient(VERIFY_TIMEOUT))
    }

    /// How far packing more tightly is.
    pub fn optimise_progress(&self) -> Result<Progress, ClientError> {
        self.at.reply(&self.at.get(paths::MAINTENANCE_OPTIMISE, &[])?)
    }

    /// Keeps a session until a time.
    pub fn retain_session(
        &self,
        session_id: &str,
        retain: &RetainSession,
    ) -> Result<Session, ClientError> {
        let mut call = self.at.post(paths::SESSION_RETENTION, &[session_id.as_bytes()], retain)?;
        call.method = Method::PUT;
        self.at.reply(&call.idempotent())
    }

    /// Forbids to remove a session.
    pub fn hold_session(
        &self,
        session_id: &str,
        hold: &HoldSession,
    ) -> Result<Session, ClientError> {
        let mut call = self.at.post(paths::SESSION_HOLD, &[session_id.as_bytes()], hold)?;
        call.method = Method::PUT;
        self.at.reply(&call.idempotent())
    }

    /// Allows to remove a session again.
    pub fn release_session(&self, session_id: &str) -> Result<Session, ClientError> {
        let call = self.at.call(Method::DELETE, paths::SESSION_HOLD, &[session_id.as_bytes()])?;
        self.at.reply(&call.idempotent())
    }

    /// Everything about a session but its chunks, its secret included.
    pub fn export_session(&self, session_id: &str) -> Result<ExportedSession, ClientError> {
        self.at.reply(&self.at.get(paths::SESSION_EXPORT, &[session_id.as_bytes()])?)
    }

    /// Begins a session of another store, and seals it once its chunks are there.
    pub fn import_session(
        &self,
        session_id: &str,
        given: &ExportedSession,
    ) -> Result<Session, ClientError> {
        let call = self.at.post(paths::SESSION_IMPORT, &[session_id.as_bytes()], given)?;
        self.at.reply(&call.idempotent())
    }

    /// A sealed session's manifest, with one page of its chunks.
    pub fn manifest(
        &self,
        session_id: &str,
        query: &ManifestQuery,
    ) -> Result<Manifest, ClientError> {
        let call = self.at.get(paths::SESSION_MANIFEST, &[session_id.as_bytes()])?;
        self.at.reply(&call.query_of(query)?)
    }

    /// A session's content, or a range of it.
    pub fn data(
        &self,
        session_id: &str,
        range: Option<Range<u64>>,
    ) -> Result<Download, ClientError> {
        let call = self.at.get(paths::SESSION_DATA, &[session_id.as_bytes()])?;
        self.at.download(call, range)
    }

    /// A session's content from a byte on, as it comes. It ends once the session is sealed; an error means that there
    /// may be more, and the service is to be asked again.
    pub fn follow(&self, session_id: &str, from: u64) -> Result<Download, ClientError> {
        let call = self.at.get(paths::SESSION_FOLLOW, &[session_id.as_bytes()])?;
        let call = call.query_of(&FollowQuery { from: Some(from) })?;
        self.at.download(call.patient(FOLLOW_TIMEOUT), None)
    }

    /// One page of a session's catalogue.
    pub fn files(
        &self,
        session_id: &str,
        query: &FilesQuery,
    ) -> Result<List<FileEntry>, ClientError> {
        let call = self.at.get(paths::SESSION_FILES, &[session_id.as_bytes()])?;
        self.at.reply(&call.query(&query.to_query()))
    }

    /// A file of an archived folder, or a range of it.
    pub fn file(
        &self,
        session_id: &str,
        path: &[u8],
        range: Option<Range<u64>>,
    ) -> Result<Download, ClientError> {
        let call = self.at.get(paths::SESSION_FILE, &[session_id.as_bytes(), path])?;
        self.at.download(call, range)
    }

    /// Looks for files in all archived folders: lines ([`FindLine`](crate::v1::find::FindLine)), as they are found.
    pub fn find(&self, query: &FindQuery) -> Result<Download, ClientError> {
        self.at.download(self.at.get(paths::FIND, &[])?.query(&query.to_query()), None)
    }

    /// Asks what sessions take: lines ([`UsageLine`](crate::v1::usage::UsageLine)), the last of them for all.
    pub fn usage(&self, query: &UsageQuery) -> Result<Download, ClientError> {
        self.at.download(self.at.get(paths::USAGE, &[])?.query(&query.to_query()), None)
    }

    /// The sessions of the read log, the oldest first.
    pub fn audit_sessions(&self) -> Result<List<AuditSession>, ClientError> {
        self.at.reply(&self.at.get(paths::AUDIT, &[])?)
    }

    /// Entries of the read log: lines ([`AuditEntry`](crate::v1::audit::AuditEntry)), as they are found.
    pub fn audit_entries(&self, query: &AuditQuery) -> Result<Download, ClientError> {
        self.at.download(self.at.get(paths::AUDIT_ENTRIES, &[])?.query(&query.to_query()), None)
    }

    /// A session of the read log, as it is kept.
    pub fn audit_session(&self, session_id: &str) -> Result<Download, ClientError> {
        self.at.download(self.at.get(paths::AUDIT_SESSION, &[session_id.as_bytes()])?, None)
    }

    /// A page of documents at `path` (like [`paths::DATA_BLOCKS`]): parameters as the API documents them.
    pub fn documents(
        &self,
        path: &'static str,
        parameters: &[(String, String)],
    ) -> Result<DocumentItems, ClientError> {
        let mut query = String::new();
        for (name, value) in parameters {
            if !query.is_empty() {
                query.push('&');
            }
            percent::encode(name.as_bytes(), &mut query);
            query.push('=');
            percent::encode(value.as_bytes(), &mut query);
        }
        self.at.reply(&self.at.get(path, &[])?.query(&query))
    }

    /// An archived folder as a tar stream.
    pub fn archive_tar(&self, session_id: &str) -> Result<Download, ClientError> {
        let call = self.at.get(paths::SESSION_TAR, &[session_id.as_bytes()])?;
        self.at.download(call, None)
    }

    /// A proof bundle.
    pub fn proof(&self, session_id: &str, query: &ProofQuery) -> Result<Vec<u8>, ClientError> {
        let call = self.at.get(paths::SESSION_PROOF, &[session_id.as_bytes()])?;
        self.at.bytes(&call.query(&query.to_query()).streaming(), BUNDLE_BYTES_MAX as u64)
    }

    /// One chunk's way to the root and into the block.
    pub fn chunk_proof(&self, session_id: &str, index: u64) -> Result<ChunkProof, ClientError> {
        let index = index.to_string();
        let parts = [session_id.as_bytes(), index.as_bytes()];
        self.at.reply(&self.at.get(paths::SESSION_CHUNK_PROOF, &parts)?)
    }

    /// How far reading a session back is.
    pub fn verify_progress(&self, session_id: &str) -> Result<Progress, ClientError> {
        self.at.reply(&self.at.get(paths::VERIFY_SESSION, &[session_id.as_bytes()])?)
    }

    /// Reads a whole session back on the service's side.
    pub fn verify_session(
        &self,
        session_id: &str,
        expected_merkle_root: Option<SessionRoot>,
    ) -> Result<Verified, ClientError> {
        let call = self.at.call(Method::POST, paths::VERIFY_SESSION, &[session_id.as_bytes()])?;
        let call = call.query_of(&VerifyQuery { expected_merkle_root })?;
        self.at.reply(&call.idempotent().patient(VERIFY_TIMEOUT))
    }
}
