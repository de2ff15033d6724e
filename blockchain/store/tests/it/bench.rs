//! What the tests work with: small stores on simulated disks, with facts that name their chunks.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use lucid_core::digest::ChunkId;
use lucid_store::codec::{Compression, Packer};
use lucid_store::contract::index::{Changes, Index, Project};
use lucid_store::crypt::Cipher;
use lucid_store::files::Limits;
use lucid_store::files::audit::{Audit, audit};
use lucid_store::files::disk::simulated::SimulatedDisk;
use lucid_store::files::disk::{Disk, read_all};
use lucid_store::files::folder::{DataFolder, Options};
use lucid_store::files::{self, UnopenedStore};
use lucid_store::memory::index::MemoryIndex;
use lucid_store::vault::Vault;
use lucid_store::vault::committer::{Committed, Submission};
use lucid_store::{CommitError, StoreError};

/// The first byte of the facts of these tests.
const FACT: u8 = 0x10;
/// The first byte of the rows made of them.
const ROW: u8 = 0x40;

/// Files of a few records, so that a short script rolls them.
pub const SMALL: Limits =
    Limits { segment_bytes: 3_000, segment_records: 500_000, log_bytes: 1_700 };

/// Which store, and what opens it.
#[derive(Clone)]
pub struct Store {
    pub id: [u8; 16],
    pub cipher: Arc<Cipher>,
    /// `STORE` and the keys, as they lie in the folder.
    labels: BTreeMap<String, Vec<u8>>,
}

impl Store {
    /// The same keys in every test of a run: making them is slow.
    pub fn new(encrypted: bool) -> Self {
        static STORES: OnceLock<[Store; 2]> = OnceLock::new();
        let stores = STORES.get_or_init(|| [Self::make(false), Self::make(true)]);
        stores[usize::from(encrypted)].clone()
    }

    fn make(encrypt: bool) -> Self {
        let home = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(home.path(), &options(encrypt, None)).unwrap();
        let mut labels = BTreeMap::new();
        for place in ["", "keys"] {
            for name in folder.disk.list(place).unwrap() {
                let path = files::disk::join(place, &name);
                if !name.ends_with('/') {
                    let bytes = read_all(folder.disk.as_ref(), &path).unwrap().unwrap();
                    labels.insert(path, bytes);
                }
            }
        }
        Self { id: folder.store, cipher: folder.cipher.clone(), labels }
    }

    /// A disk that holds `STORE` and the keys, durably, and nothing else.
    pub fn disk(&self) -> SimulatedDisk {
        let disk = SimulatedDisk::new();
        disk.create_folder("keys").unwrap();
        for (path, bytes) in &self.labels {
            let file = disk.create(path).unwrap();
            file.append(&[bytes]).unwrap();
            file.sync().unwrap();
        }
        disk.sync_folder("keys").unwrap();
        disk.sync_folder("").unwrap();
        disk.after_power_cut(disk.calls(), 0)
    }

    /// Every byte of it, judged.
    pub fn audit(&self, disk: Arc<dyn Disk>) -> Result<Audit, StoreError> {
        audit(&disk, Some(&self.cipher), self.id, None, &|_, _| {})
    }

    pub fn open(
        &self,
        disk: &SimulatedDisk,
        index: &Arc<MemoryIndex>,
    ) -> Result<Vault, StoreError> {
        self.open_with(disk, index.clone(), SMALL, false)
    }

    pub fn open_with(
        &self,
        disk: &SimulatedDisk,
        index: Arc<dyn Index>,
        limits: Limits,
        accept_loss: bool,
    ) -> Result<Vault, StoreError> {
        self.open_on(Arc::new(disk.clone()), index, limits, accept_loss)
    }

    pub fn open_on(
        &self,
        disk: Arc<dyn Disk>,
        index: Arc<dyn Index>,
        limits: Limits,
        accept_loss: bool,
    ) -> Result<Vault, StoreError> {
        files::open(UnopenedStore {
            disk,
            store: self.id,
            cipher: self.cipher.clone(),
            index,
            project: Arc::new(Rows),
            accept_loss,
            limits,
        })
    }
}

/// How a data-chain's folder is opened.
pub fn options(encrypt: bool, root_key_file: Option<PathBuf>) -> Options {
    Options {
        service: "data-chain",
        signing_key: "recorder",
        expected: None,
        create: true,
        encrypt,
        root_key_file,
        passphrase: None,
        owner: "the tests".into(),
        reserve: Default::default(),
        given: Default::default(),
        now: "2026-01-01T00:00:00Z".into(),
    }
}

/// Keeps each fact under its number.
pub struct Rows;

impl Project for Rows {
    fn knows(&self, _kind: u8) -> bool {
        true
    }

    fn project(&self, fact: &[u8], changes: &mut Changes<'_>) -> Result<(), StoreError> {
        if let Some((&FACT, rest)) = fact.split_first()
            && let Some(number) = rest.first_chunk::<4>()
        {
            changes.put([&[ROW], number.as_slice()].concat(), fact.to_vec());
        }
        Ok(())
    }
}

/// A chunk's bytes: `size` of them, all different from those of any other number.
pub fn chunk(number: u32, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

pub fn id_of(bytes: &[u8]) -> ChunkId {
    blake3::hash(bytes).into()
}

/// A fact: its number, and the chunks it names.
pub fn fact(number: u32, chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = [&[FACT], number.to_be_bytes().as_slice()].concat();
    for chunk in chunks {
        bytes.extend_from_slice(id_of(chunk).as_bytes());
    }
    bytes
}

/// Facts with the chunks they name, to be made durable together.
#[derive(Clone, Default, Debug)]
pub struct Entry {
    pub facts: Vec<Vec<u8>>,
    pub chunks: Vec<Vec<u8>>,
}

impl Entry {
    /// `facts` facts from `number` on, each of which names all chunks.
    pub fn new(number: u32, facts: u32, chunks: Vec<Vec<u8>>) -> Self {
        Self { facts: (number..number + facts).map(|n| fact(n, &chunks)).collect(), chunks }
    }

    pub fn submission(&self, vault: &Vault) -> Submission {
        let mut packer = Packer::new();
        let encrypted = vault.cipher().is_encrypted();
        let mut submission = Submission::default();
        for bytes in &self.chunks {
            let id = id_of(bytes);
            submission.chunks.push(
                vault.chunk(&mut packer, Compression::default(), encrypted, &id, bytes).unwrap(),
            );
            submission.requires.push(vault.cipher().chunk_name(&id));
        }
        for plain in &self.facts {
            submission.facts.push(vault.fact(&mut packer, plain.clone()).unwrap());
        }
        submission
    }

    pub fn commit(&self, vault: &Vault) -> Result<Committed, CommitError> {
        vault.commit(self.submission(vault))
    }
}

/// Every fact that the index shows.
pub fn facts_of(index: &dyn Index) -> Vec<Vec<u8>> {
    let rows = index.scan(&[ROW], &[ROW + 1], usize::MAX, false).unwrap();
    rows.into_iter().map(|(_, fact)| fact).collect()
}

/// Whether a chunk reads back as it was; anything but absence or its bytes is an error.
pub fn reads(vault: &Vault, bytes: &[u8]) -> Result<bool, String> {
    match vault.read_chunk(&mut Packer::new(), &id_of(bytes)) {
        Ok(None) => Ok(false),
        Ok(Some(read)) if read == bytes => Ok(true),
        Ok(Some(_)) => Err("wrong bytes were read".into()),
        Err(error) => Err(error.to_string()),
    }
}

/// An index that holds these rows.
pub fn index_of(rows: &BTreeMap<Vec<u8>, Vec<u8>>) -> Arc<MemoryIndex> {
    let index = MemoryIndex::new();
    index.write(rows.iter().map(|(k, v)| (k.clone(), Some(v.clone()))).collect()).unwrap();
    Arc::new(index)
}

/// A copy of the disk without one file.
pub fn without(disk: &SimulatedDisk, path: &str) -> SimulatedDisk {
    let copy = disk.fork();
    copy.unlink(path).unwrap();
    copy
}

/// Every file on the disk, by path.
pub fn files(disk: &SimulatedDisk) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for folder in ["", "keys", "log", "chunks"] {
        for name in disk.list(folder).unwrap() {
            let path = files::disk::join(folder, &name);
            if !name.ends_with('/') {
                files.insert(path.clone(), read_all(disk, &path).unwrap().unwrap());
            }
        }
    }
    files
}
