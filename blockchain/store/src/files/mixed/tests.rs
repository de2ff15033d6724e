//! Whole stores of which one half is in files, over every other half there is: collected, scrubbed, verified and their
//! index made anew.

use std::sync::Arc;

use lucid_core::digest::ChunkId;

use super::{LogElsewhere, open_with_chunks, open_with_log};
use crate::codec::{Compression, Packer};
use crate::contract::blobs::Blobs;
use crate::contract::fact_log::{FactLog, Position};
use crate::contract::index::{Changes, Index as _, Project};
use crate::crypt::Cipher;
use crate::files::audit::{OtherHalf, audit_with};
use crate::files::disk::Disk;
use crate::files::disk::simulated::SimulatedDisk;
use crate::files::{Limits, UnopenedStore};
use crate::memory::blobs::MemoryBlobs;
use crate::memory::fact_log::MemoryLog;
use crate::memory::index::MemoryIndex;
use crate::vault::Vault;
use crate::vault::collect::Names;
use crate::vault::committer::Submission;
use crate::vault::scrub::Cursor;
use crate::{Damage, StoreError};

const STORE: [u8; 16] = [7; 16];

/// Makes a row of every fact.
struct Rows;

impl Project for Rows {
    fn knows(&self, _kind: u8) -> bool {
        true
    }

    fn project(&self, fact: &[u8], changes: &mut Changes<'_>) -> Result<(), StoreError> {
        changes.put([&[0x40], fact].concat(), fact.to_vec());
        Ok(())
    }
}

/// The half that is not in files.
#[derive(Clone)]
enum Other {
    Log(Arc<dyn FactLog>, Position),
    Chunks(Arc<dyn Blobs>),
}

struct Tried {
    name: String,
    disk: Arc<dyn Disk>,
    other: Other,
}

impl Tried {
    fn open(&self, index: &Arc<MemoryIndex>) -> Vault {
        let unopened = UnopenedStore {
            disk: self.disk.clone(),
            store: STORE,
            cipher: Arc::new(Cipher::new(None)),
            index: index.clone(),
            project: Arc::new(Rows),
            accept_loss: false,
            limits: Limits { segment_bytes: 1_500, segment_records: 4, log_bytes: 1_500 },
        };
        let opened = match self.other.clone() {
            Other::Log(log, start) => {
                open_with_log(unopened, LogElsewhere { log, start }, &|_, _| true)
            }
            Other::Chunks(blobs) => open_with_chunks(unopened, blobs, &|_, _| true),
        };
        let vault = opened.unwrap();
        assert_eq!((vault.read_only(), vault.damage()), (None, vec![]), "{}", self.name);
        vault
    }

    fn damage(&self) -> Vec<Damage> {
        let other = match &self.other {
            Other::Log(log, _) => OtherHalf::Log(log.as_ref()),
            Other::Chunks(blobs) => OtherHalf::Chunks(blobs.as_ref()),
        };
        let cipher = Cipher::new(None);
        let found = audit_with(&self.disk, Some(&cipher), STORE, None, Some(other), &|_, _| {});
        let found = found.unwrap();
        assert!(found.commits > 8 && found.facts > 8 && found.chunks >= 8, "{}", self.name);
        // The folder of these tests has no keys.
        found.damage.into_iter().filter(|damage| !is_of_keys(&damage.file)).collect()
    }
}

fn is_of_keys(file: &str) -> bool {
    file.starts_with("keys") || file.starts_with("STORE")
}

/// Both forms, over memory and over every other half that is at hand, each holding nothing yet.
fn every_form(test: impl Fn(Tried)) {
    let tried = |name: &str, other| {
        test(Tried { name: name.to_owned(), disk: Arc::new(SimulatedDisk::new()), other });
    };
    tried("a log in memory", Other::Log(Arc::new(MemoryLog::new()), MemoryLog::start()));
    tried("chunks in memory", Other::Chunks(Arc::new(MemoryBlobs::new())));
    #[cfg(feature = "s3")]
    {
        use crate::s3::tests as s3;
        let objects = |objects| Other::Chunks(Arc::new(s3::in_objects(objects)));
        tried("objects", objects(s3::nothing()));
        tried("objects where calls fail", objects(s3::where_calls_fail()));
        s3::on_a_server(|blobs| tried("objects on a server", Other::Chunks(Arc::new(blobs))));
    }
    #[cfg(feature = "mongodb")]
    crate::mongo::servers::every_database(&|name, database| {
        let log = database.log();
        let start = log.start();
        tried(name, Other::Log(Arc::new(log), start));
    });
}

fn bytes(number: u32) -> Vec<u8> {
    let mut bytes = vec![0; 300];
    blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn keep(vault: &Vault, number: u32) {
    let (bytes, mut packer) = (bytes(number), Packer::new());
    let id = ChunkId::from(blake3::hash(&bytes));
    let chunk = vault.chunk(&mut packer, Compression::default(), false, &id, &bytes).unwrap();
    let fact = vault.fact(&mut packer, [&[0x10], number.to_be_bytes().as_slice()].concat());
    let (chunks, facts) = (vec![chunk], vec![fact.unwrap()]);
    vault.commit(Submission { chunks, facts, ..Submission::default() }).unwrap();
}

fn is_there(vault: &Vault, number: u32) -> bool {
    let id = ChunkId::from(blake3::hash(&bytes(number)));
    let read = vault.read_chunk(&mut Packer::new(), &id).unwrap();
    assert!(read.as_ref().is_none_or(|read| *read == bytes(number)));
    read.is_some()
}

#[test]
fn a_store_in_two_halves_is_looked_after_like_any_other() {
    every_form(|tried| {
        let name = &tried.name;
        let index = Arc::new(MemoryIndex::new());
        let vault = tried.open(&index);
        (0..12).for_each(|number| keep(&vault, number));
        drop(vault);
        assert_eq!(tried.damage(), [], "{name}");

        // What was just brought in is asked for, and stays; so another process collects.
        let vault = tried.open(&index);
        let mut live = Names::default();
        (0..12).step_by(3).for_each(|number| {
            live.add(&vault.cipher().chunk_name(&ChunkId::from(blake3::hash(&bytes(number)))));
        });
        live.settle();
        let collection = vault.begin_collection().unwrap();
        let done = collection.run(&live, &|_, _| Ok(true), &mut |_, _| true).unwrap();
        assert_eq!((done.chunks_removed, done.units_damaged), (8, 0), "{name}");
        assert!(done.units_replaced > 0, "{name}");
        drop(collection);
        (20..24).for_each(|number| keep(&vault, number));
        let packed = vault.begin_collection().unwrap().repack(9, 1, true, &mut |_, _| true);
        assert!(packed.unwrap().units_replaced > 0, "{name}");
        let scrubbed = vault.scrub(Cursor::default(), u64::MAX, &|_| true).unwrap();
        assert_eq!((scrubbed.findings, scrubbed.next), (vec![], None), "{name}");
        vault.close().unwrap();
        drop(vault);
        assert_eq!(tried.damage(), [], "{name}");

        let rows = |index: &MemoryIndex| index.scan(&[0], &[0xff], usize::MAX, false).unwrap();
        let before = rows(&index);
        let anew = Arc::new(MemoryIndex::new());
        for index in [&index, &anew] {
            let vault = tried.open(index);
            for number in 0..30_u32 {
                let is = (20..24).contains(&number) || (number < 12 && number.is_multiple_of(3));
                assert_eq!(is_there(&vault, number), is, "{name}: {number}");
            }
        }
        assert!(rows(&index) == before && rows(&anew) == before, "{name}");
    });
}
