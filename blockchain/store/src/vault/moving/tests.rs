//! Stores that move to MongoDB and S3, and back: real servers where there are some, and stand-ins that fail.

use std::sync::Arc;

use lucid_core::digest::ChunkId;

use super::{Move, MoveError, Moved};
use crate::codec::{Compression, Packer};
use crate::contract::blobs::Blobs;
use crate::contract::fact_log::{FactLog, Position};
use crate::contract::index::{Changes, Project};
use crate::crypt::Cipher;
use crate::memory::blobs::MemoryBlobs;
use crate::memory::fact_log::MemoryLog;
use crate::memory::index::MemoryIndex;
use crate::vault::committer::Submission;
use crate::vault::{Elsewhere, Vault};

/// Keeps facts under the place that they came in.
struct InOrder;

impl Project for InOrder {
    fn knows(&self, _kind: u8) -> bool {
        true
    }

    fn project(&self, fact: &[u8], changes: &mut Changes<'_>) -> Result<(), crate::StoreError> {
        let mut number = 0_u32;
        while changes.get(&key(number))?.is_some() {
            number += 1;
        }
        changes.put(key(number), fact.to_vec());
        Ok(())
    }
}

fn key(number: u32) -> Vec<u8> {
    [&[0x40], number.to_be_bytes().as_slice()].concat()
}

fn facts(vault: &Vault) -> Vec<Vec<u8>> {
    let rows = vault.index().scan(&[0x40], &[0x41], usize::MAX, false).unwrap();
    rows.into_iter().map(|(_, fact)| fact).collect()
}

fn chunk(number: u8) -> Vec<u8> {
    (0..300).map(|at: u32| number ^ u8::try_from(at * 7 % 256).unwrap()).collect()
}

fn open(log: Arc<dyn FactLog>, blobs: Arc<dyn Blobs>, start: Position) -> Vault {
    let index = Arc::new(MemoryIndex::new());
    let (cipher, project) = (Arc::new(Cipher::new(None)), Arc::new(InOrder));
    Vault::open_elsewhere(Elsewhere { log, blobs, start, cipher, index, project }).unwrap()
}

fn in_memory() -> Vault {
    open(Arc::new(MemoryLog::new()), Arc::new(MemoryBlobs::new()), MemoryLog::start())
}

/// A store with facts and chunks that came in many commits.
fn source() -> Vault {
    let (vault, mut packer) = (in_memory(), Packer::new());
    for number in 0..30_u8 {
        let bytes = chunk(number);
        let id = ChunkId::from(blake3::hash(&bytes));
        let how = Compression::default();
        let chunks = vec![vault.chunk(&mut packer, how, false, &id, &bytes).unwrap()];
        let facts = vec![vault.fact(&mut packer, vec![0x10, number]).unwrap()];
        vault.commit(Submission { chunks, facts, ..Submission::default() }).unwrap();
    }
    vault
}

fn is_the_same(vault: &Vault, as_in: &Vault, what: &str) {
    assert_eq!(facts(vault), facts(as_in), "{what}");
    for number in 0..30 {
        let bytes = chunk(number);
        let id = ChunkId::from(blake3::hash(&bytes));
        let read = vault.read_chunk(&mut Packer::new(), &id).unwrap();
        assert_eq!(read, Some(bytes), "{what}");
    }
}

fn moved(from: &Vault, to: &Vault) -> Result<Moved, MoveError> {
    Move::new(from, to).run(&mut |_, _, _| true)
}

/// Moves there until nothing fails any more, and back into memory.
#[cfg(any(feature = "mongodb", feature = "s3"))]
fn there_and_back(what: &str, reopen: &dyn Fn() -> Vault) {
    let from = source();
    let mut tries = 0;
    let there = loop {
        tries += 1;
        match moved(&from, &reopen()) {
            Ok(done) => break done,
            Err(error) => assert!(tries < 40, "{what}: {error}"),
        }
    };
    let whole = reopen().whole().unwrap();
    is_the_same(&whole, &from, what);
    let home = in_memory();
    let back = moved(&whole, &home).unwrap();
    assert_eq!((back.digest, back.chunks, back.facts), (there.digest, 30, 30), "{what}");
    is_the_same(&home.whole().unwrap(), &from, what);
}

#[cfg(feature = "mongodb")]
#[test]
fn a_store_moves_into_every_database_and_back() {
    crate::mongo::servers::every_database(&|name, database| {
        let blobs = MemoryBlobs::new();
        there_and_back(name, &|| {
            let log = database.log();
            let start = log.start();
            open(Arc::new(log), Arc::new(blobs.clone()), start)
        });
    });
}

#[cfg(feature = "s3")]
#[test]
fn a_store_moves_into_objects_and_back() {
    use crate::s3::tests as s3;
    for (name, objects) in [("objects", s3::nothing()), ("failing objects", s3::where_calls_fail())]
    {
        let log = Arc::new(MemoryLog::new());
        there_and_back(name, &|| {
            let blobs = s3::in_objects(objects.clone());
            open(log.clone(), Arc::new(blobs), MemoryLog::start())
        });
    }
    s3::on_a_server(|blobs| {
        let log = Arc::new(MemoryLog::new());
        there_and_back("objects on a server", &|| {
            open(log.clone(), Arc::new(blobs.clone()), MemoryLog::start())
        });
    });
}

/// The connection is lost at each insert in turn, with the insert done or not.
#[cfg(feature = "mongodb")]
#[test]
fn a_connection_that_is_lost_for_good_at_any_insert_costs_nothing_but_time() {
    use crate::mongo::scripted::{Ending, Scripted};
    use crate::mongo::servers::{SHORT, open as connect};
    let from = source();
    for ending in [Ending::Cut, Ending::ReplyLost, Ending::WriteConcern] {
        for good in 0..6 {
            let server = Scripted::start();
            let database = connect(&server, SHORT);
            let blobs = MemoryBlobs::new();
            let reopen = || {
                let log = database.log();
                let start = log.start();
                open(Arc::new(log), Arc::new(blobs.clone()), start)
            };
            server.script(|script| script.after(good, [ending; 3]));
            let first = moved(&from, &reopen());
            server.script(|script| script.next.clear());
            if first.is_err() {
                moved(&from, &reopen()).unwrap();
            }
            is_the_same(&reopen().whole().unwrap(), &from, &format!("{ending:?} after {good}"));
        }
    }
}
