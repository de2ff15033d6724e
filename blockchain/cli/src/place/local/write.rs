//! Filling sessions of a folder, and bringing their anchors into the chain beside it.

use anyhow::Context as _;
use lucid_api::v1::sessions::{Appended, Session};
use lucid_block_manager::ops::anchor_session::anchored_by;
use lucid_core::digest::ChunkId;
use lucid_core::session::SessionId;
use lucid_data_chain::ops::OpError;
use lucid_data_chain::ops::chunks::missing_chunks::missing_chunks;
use lucid_data_chain::ops::proofs::deliver_anchors::deliver_anchors;
use lucid_data_chain::ops::sessions::append_stream::{StreamPiece, append_stream};
use lucid_data_chain::ops::sessions::create_session::{Created, NewSession, create_session};
use lucid_data_chain::ops::sessions::get_session::get_session;
use lucid_data_chain::ops::sessions::read_session::StoredSession;
use lucid_data_chain::ops::sessions::seal_session::{SealRequest, seal_session};
use lucid_data_chain::ops::sight::Sight;
use lucid_data_chain::source::SessionSource;
use lucid_data_chain::{Opened, reply};
use lucid_store::files::folder::is_store;

use super::anchoring::Embedded;
use super::sink::{CompareSink, StoreSink};
use super::{Local, chain_folder};
use crate::ingest::Sink;
use crate::place::{Begun, Filling, KeptPart, ReadSessions, StorageOptions, WriteSessions};

/// A store sink as the verbs see it.
impl Filling for StoreSink<'_> {
    fn as_sink(&self) -> &dyn Sink {
        self
    }

    fn totals(&self) -> (u64, u64) {
        use std::sync::atomic::Ordering::Relaxed;
        (self.tally().bytes_new.load(Relaxed), self.tally().bytes_stored.load(Relaxed))
    }
}

impl Filling for CompareSink<'_> {
    fn as_sink(&self) -> &dyn Sink {
        self
    }

    fn totals(&self) -> (u64, u64) {
        (0, 0)
    }
}

impl WriteSessions for Local {
    fn begin(&self, new: NewSession) -> anyhow::Result<Begun> {
        let Opened { vault, locks, .. } = &*self.data;
        Ok(match create_session(vault, locks, new)? {
            Created::Began(row) => Begun::Empty(row.id),
            Created::Existed(row) => Begun::Sealed(row.id),
        })
    }

    fn fill<'a>(
        &'a self,
        id: &SessionId,
        storage: StorageOptions,
    ) -> anyhow::Result<Box<dyn Filling + 'a>> {
        let session = get_session(&self.data.vault, id)?;
        Ok(Box::new(StoreSink::new(&self.data, session, self.honoured(storage))))
    }

    fn compare<'a>(&'a self, id: &SessionId) -> anyhow::Result<Box<dyn Filling + 'a>> {
        Ok(Box::new(CompareSink::new(&self.data, id.clone())))
    }

    fn missing(&self, chunks: &[ChunkId]) -> anyhow::Result<Vec<ChunkId>> {
        Ok(missing_chunks(&self.data.vault, &Sight::everything(), chunks)?)
    }

    fn stream(&self, new: NewSession) -> anyhow::Result<Session> {
        let Opened { vault, locks, key, .. } = &*self.data;
        let row = match create_session(vault, locks, new)? {
            Created::Began(row) | Created::Existed(row) => row,
        };
        Ok(reply::session(vault, &key.public(), &row, self.quiet_since())?)
    }

    fn append(
        &self,
        id: &SessionId,
        piece: StreamPiece<'_>,
        storage: StorageOptions,
    ) -> anyhow::Result<Appended> {
        let Opened { vault, locks, .. } = &*self.data;
        let appended =
            append_stream(vault, locks, self.honoured(storage), self.clock.moment(), id, piece)?;
        self.tell(id);
        Ok(Appended {
            offset: appended.offset,
            root: appended.root,
            root_offset: appended.root_offset,
            chunk_count: appended.chunk_count,
        })
    }

    fn kept(
        &self,
        id: &SessionId,
        visit: &mut dyn FnMut(KeptPart<'_>) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        const PAGE: usize = 1_000;
        let source = StoredSession::open_live(&self.data.vault, &self.data.locks, id)?;
        let content = source.shape().content_bytes;
        let mut next = 0;
        loop {
            let references = source.references(next, PAGE)?;
            let Some(last) = references.last() else { break };
            next = last.index + 1;
            // Behind the content stand pages.
            for reference in references.iter().filter(|reference| reference.offset < content) {
                if !visit(KeptPart::Chunk(reference.chunk, u64::from(reference.length)))? {
                    return Ok(());
                }
            }
        }
        let tail = source.tail(0..source.tail_bytes())?;
        if !tail.is_empty() {
            visit(KeptPart::Bytes(&tail))?;
        }
        Ok(())
    }

    fn seal(&self, id: &SessionId, request: &SealRequest) -> anyhow::Result<()> {
        let Opened { vault, locks, key, .. } = &*self.data;
        let storage = StorageOptions::default();
        seal_session(vault, locks, key, self.honoured(storage), self.clock.moment(), id, request)?;
        self.tell(id);
        Ok(())
    }

    fn may_anchor(&self, new: Option<&SessionId>) -> anyhow::Result<()> {
        self.chain_is_at_hand()?;
        let is_there = is_store(&chain_folder(&self.home))?;
        let Some(id) = new.filter(|_| is_there) else { return Ok(()) };
        let is_sealed = match get_session(&self.data.vault, id) {
            Ok(session) => session.sealed.is_some(),
            Err(OpError::NoSession(_)) => false,
            // Beginning the session reports the error.
            Err(_) => return Ok(()),
        };
        if is_sealed {
            return Ok(());
        }
        let chain = self.chain(false)?;
        let own = self.data.key.public();
        let taken = anchored_by(chain.chain.as_ref(), id, &own)?;
        chain.close()?;
        match taken {
            None => Ok(()),
            Some(taken) => anyhow::bail!(
                "session {id} is anchored in block {} already, with the root {}, by this store, which \
                 does not have it any more: data-chain/ is an older copy, so put the newer one back, or \
                 choose another id",
                taken.height,
                taken.root
            ),
        }
    }

    fn anchor(&self, id: &SessionId) -> anyhow::Result<Session> {
        let chain = self
            .chain(true)
            .with_context(|| format!("session {id} is sealed, but not anchored yet"))?;
        let Opened { vault, key, .. } = &*self.data;
        let delivered =
            deliver_anchors(vault, &key.public(), &Embedded { chain: &chain, clock: &self.clock })?;
        // Of the session itself it is the error.
        let others = delivered.failed.iter().filter(|(failed, _)| failed != id);
        *self.undelivered.lock() =
            others.map(|(failed, why)| (failed.clone(), why.to_string())).collect();
        chain.close()?;
        self.tell(id);
        let session = self.session(id)?;
        let is_anchored = session.anchor.as_ref().is_some_and(|at| at.block_index.is_some());
        // One that failed before its turn came may have kept it from being delivered.
        let why = delivered.failed.iter().find(|(failed, _)| failed == id);
        let why = why.or(delivered.failed.last()).filter(|_| !is_anchored);
        match why {
            Some((_, why)) => anyhow::bail!("session {id} is sealed, but not anchored yet: {why}"),
            None => Ok(session),
        }
    }

    fn undelivered(&self) -> Vec<String> {
        let failed = std::mem::take(&mut *self.undelivered.lock());
        let said = |(id, why)| format!("session {id} is sealed, but not anchored yet: {why}");
        failed.into_iter().map(said).collect()
    }
}
