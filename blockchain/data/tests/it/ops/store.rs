//! A store whose disk is simulated.

use std::sync::Arc;

use lucid_core::cut::ChunkProfile;
use lucid_core::digest::ChunkId;
use lucid_core::session::{Layout, SessionId};
use lucid_core::sign::SigningKey;
use lucid_core::time::Timestamp;
use lucid_core::timeline::Recorded;
use lucid_data_chain::opened::SessionLocks;
use lucid_data_chain::ops::OpError;
use lucid_data_chain::ops::chunks::store_chunks::{StorageOptions, store_chunks};
use lucid_data_chain::ops::sessions::append_stream::{StreamPiece, StreamPosition, append_stream};
use lucid_data_chain::ops::sessions::create_session::{Created, NewSession, create_session};
use lucid_data_chain::ops::sessions::get_session::get_session;
use lucid_data_chain::ops::sessions::seal_session::{SealRequest, seal_session};
use lucid_data_chain::ops::sight::Sight;
use lucid_data_chain::projection::SessionProjection;
use lucid_data_chain::row::SessionRow;
use lucid_store::clock::Moment;
use lucid_store::codec::Compression;
use lucid_store::contract::index::Index;
use lucid_store::crypt::Cipher;
use lucid_store::files::Limits;
use lucid_store::files::disk::Disk;
use lucid_store::files::disk::faulty::FaultyDisk;
use lucid_store::files::disk::simulated::SimulatedDisk;
use lucid_store::files::{self, UnopenedStore};
use lucid_store::memory::blobs::MemoryBlobs;
use lucid_store::memory::fact_log::MemoryLog;
use lucid_store::memory::index::MemoryIndex;
use lucid_store::vault::{Elsewhere, Vault};

use crate::sample::id;

pub const KEEPING: StorageOptions =
    StorageOptions { compression: Compression::Lz4, encrypt: false };
pub const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

pub struct Store {
    pub vault: Vault,
    pub locks: SessionLocks,
    pub key: SigningKey,
    pub disk: SimulatedDisk,
    pub index: Arc<MemoryIndex>,
}

impl Store {
    pub fn new() -> Self {
        Self::open(&SimulatedDisk::new())
    }

    /// Opens what is on the disk with an empty index, so everything is found in the log again.
    pub fn open(disk: &SimulatedDisk) -> Self {
        Self::open_as(disk, [1; 32])
    }

    /// The same of a store whose anchors are signed by a key of its own.
    pub fn open_as(disk: &SimulatedDisk, seed: [u8; 32]) -> Self {
        let key = SigningKey::from_seed(seed);
        Self::open_on(disk, Arc::new(disk.clone()), key, Arc::new(MemoryIndex::new()))
    }

    /// The same store as its next process finds it, its index included.
    pub fn resumed(self) -> Self {
        self.vault.close().unwrap();
        let disk = Arc::new(self.disk.clone());
        Self::open_on(&self.disk, disk, SigningKey::from_seed([1; 32]), self.index.clone())
    }

    /// The same over a disk that fails.
    pub fn open_over(disk: &SimulatedDisk, faulty: &FaultyDisk) -> Self {
        let (key, index) = (SigningKey::from_seed([1; 32]), Arc::new(MemoryIndex::new()));
        Self::open_on(disk, Arc::new(faulty.clone()), key, index)
    }

    fn open_on(
        disk: &SimulatedDisk,
        over: Arc<dyn Disk>,
        key: SigningKey,
        index: Arc<MemoryIndex>,
    ) -> Self {
        let locks = SessionLocks::default();
        Self::open_with(disk, over, key, (index.clone(), index), locks)
    }

    /// The same over an index that goes through another.
    pub fn open_with(
        disk: &SimulatedDisk,
        over: Arc<dyn Disk>,
        key: SigningKey,
        (index, through): (Arc<MemoryIndex>, Arc<dyn Index>),
        locks: SessionLocks,
    ) -> Self {
        let cipher = Arc::new(Cipher::new(None));
        let vault = files::open(UnopenedStore {
            disk: over,
            store: [1; 16],
            cipher: cipher.clone(),
            index: through,
            project: Arc::new(SessionProjection::new(cipher, key.public())),
            accept_loss: false,
            limits: Limits::default(),
        })
        .unwrap();
        Self { vault, locks, key, disk: disk.clone(), index }
    }

    /// One of several over the same log and the same chunks, with an index of its own.
    pub fn open_shared(
        log: &Arc<MemoryLog>,
        blobs: &Arc<MemoryBlobs>,
        (index, through): (Arc<MemoryIndex>, Arc<dyn Index>),
    ) -> Self {
        let (cipher, key) = (Arc::new(Cipher::new(None)), SigningKey::from_seed([1; 32]));
        let vault = Vault::open_elsewhere(Elsewhere {
            log: log.clone(),
            blobs: blobs.clone(),
            start: MemoryLog::start(),
            cipher: cipher.clone(),
            index: through,
            project: Arc::new(SessionProjection::new(cipher, key.public())),
        })
        .unwrap();
        Self { vault, locks: SessionLocks::none(), key, disk: SimulatedDisk::new(), index }
    }

    pub fn begin(&self, session: &str, profile: ChunkProfile) -> SessionId {
        let id: SessionId = session.parse().unwrap();
        let request = NewSession { id: Some(id.clone()), ..new_session(profile) };
        let created = create_session(&self.vault, &self.locks, request).unwrap();
        assert!(matches!(created, Created::Began(_)));
        id
    }

    pub fn store(&self, chunks: &[&[u8]]) -> Vec<(ChunkId, u32)> {
        store_chunks(&self.vault, KEEPING, 2, NOW, None, chunks).unwrap();
        chunks.iter().map(|chunk| (id(chunk), chunk.len() as u32)).collect()
    }

    pub fn append(
        &self,
        id: &SessionId,
        offset: u64,
        bytes: &[u8],
    ) -> Result<StreamPosition, OpError> {
        self.append_at(id, offset, bytes, None)
    }

    /// Appends what was recorded so many seconds after [`NOW`].
    pub fn append_at(
        &self,
        id: &SessionId,
        offset: u64,
        bytes: &[u8],
        seconds: Option<f64>,
    ) -> Result<StreamPosition, OpError> {
        let at = |seconds: f64| Timestamp::from_micros(NOW.as_micros() + (seconds * 1e6) as i64);
        let told = seconds.map(at);
        let piece = StreamPiece { offset, bytes, recorded: told.map(Recorded::on_time) };
        let now = moment(told.unwrap_or(NOW));
        append_stream(&self.vault, &self.locks, KEEPING, now, id, piece)
    }

    pub fn seal(&self, session: &SessionId) -> SessionRow {
        let Self { vault, locks, key, .. } = self;
        let last = get_session(vault, session).unwrap().appended_at;
        let now = last.map_or(NOW, |last| last.max(NOW));
        let request = SealRequest::default();
        seal_session(vault, locks, key, KEEPING, moment(now), session, &request).unwrap()
    }
}

/// The moment at which a clock tells this that nobody ever set.
pub fn moment(wall: Timestamp) -> Moment {
    Moment { wall, steady: wall.as_micros() }
}

pub fn new_session(profile: ChunkProfile) -> NewSession {
    NewSession {
        sight: Sight::everything(),
        retain_until: None,
        source: None,
        terminal: None,
        id: None,
        user: "ann".into(),
        layout: Layout::Raw,
        public: false,
        profile,
        metadata: Default::default(),
        started_at: NOW,
        one_shot: false,
        own_copies: false,
    }
}
