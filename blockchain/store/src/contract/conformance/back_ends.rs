//! Every pair of a log and a keeper of chunks there is, each holding nothing yet.

use std::sync::Arc;

use crate::StoreError;
use crate::contract::blobs::Blobs;
use crate::contract::fact_log::{FactLog, Position};
use crate::contract::index::{Changes, Project};
use crate::crypt::Cipher;
use crate::files::disk::Disk;
use crate::files::disk::faulty::FaultyDisk;
use crate::files::disk::simulated::SimulatedDisk;
use crate::files::units::FileUnits;
use crate::files::{self, ChunksAre, Limits, LogElsewhere, ToRecover, mixed};
use crate::measured::{MeasuredBlobs, MeasuredLog};
use crate::memory::blobs::MemoryBlobs;
use crate::memory::fact_log::MemoryLog;
use crate::memory::index::MemoryIndex;
use crate::vault::Followed;
use crate::vault::projection::Projection;

/// Two or three commits a file, so that every test crosses files.
const TINY: Limits = Limits { segment_bytes: 1_500, segment_records: 4, log_bytes: 1_500 };

/// A log with its chunks, and where it ends. A keeper of chunks alone is tried beside a [`MemoryLog`].
pub(super) struct Tried {
    pub(super) log: Arc<dyn FactLog>,
    pub(super) blobs: Arc<dyn Blobs>,
    pub(super) at: Position,
}

/// Makes nothing of facts.
struct Nothing;

impl Project for Nothing {
    fn knows(&self, _kind: u8) -> bool {
        true
    }

    fn project(&self, _fact: &[u8], _changes: &mut Changes<'_>) -> Result<(), StoreError> {
        Ok(())
    }
}

pub(super) fn in_files(disk: Arc<dyn Disk>) -> Tried {
    let units = Arc::new(FileUnits::new(disk.clone(), [7; 16]));
    let opened = files::recover(ToRecover {
        disk: &disk,
        store: [7; 16],
        cipher: &Cipher::new(None),
        index: &MemoryIndex::new(),
        projection: &Projection::new(units, Arc::new(Nothing)),
        accept_loss: false,
        limits: TINY,
        progress: &|_, _| true,
        chunks: ChunksAre::Here,
    });
    tried(opened.unwrap())
}

fn tried(Followed { log, blobs, at, loss, damage, .. }: Followed) -> Tried {
    assert_eq!((loss, Vec::from(damage)), (None, vec![]));
    Tried { log, blobs, at }
}

/// Segments on this disk, under a log that is kept elsewhere.
pub(super) fn under_a_log(disk: Arc<dyn Disk>, log: Arc<dyn FactLog>, start: Position) -> Tried {
    let units = Arc::new(FileUnits::new(disk.clone(), [7; 16]));
    let parts = ToRecover {
        disk: &disk,
        store: [7; 16],
        cipher: &Cipher::new(None),
        index: &MemoryIndex::new(),
        projection: &Projection::new(units, Arc::new(Nothing)),
        accept_loss: false,
        limits: TINY,
        progress: &|_, _| true,
        chunks: ChunksAre::LogElsewhere,
    };
    tried(mixed::recover_with_log(parts, LogElsewhere { log, start }).unwrap())
}

/// A log on this disk, whose chunks are kept elsewhere.
pub(super) fn beside_chunks(disk: Arc<dyn Disk>, blobs: Arc<dyn Blobs>) -> Tried {
    let parts = ToRecover {
        disk: &disk,
        store: [7; 16],
        cipher: &Cipher::new(None),
        index: &MemoryIndex::new(),
        projection: &Projection::new(blobs.clone(), Arc::new(Nothing)),
        accept_loss: false,
        limits: TINY,
        progress: &|_, _| true,
        chunks: ChunksAre::Elsewhere(blobs.as_ref()),
    };
    tried(mixed::recover_with_chunks(parts, blobs.clone()).unwrap())
}

fn disk() -> Arc<dyn Disk> {
    Arc::new(SimulatedDisk::new())
}

fn in_memory() -> Tried {
    let (log, blobs) = (Arc::new(MemoryLog::new()), Arc::new(MemoryBlobs::new()));
    Tried { log, blobs, at: MemoryLog::start() }
}

/// Back-ends that hold nothing yet, each under its name.
pub(super) fn every_back_end(test: impl Fn(&str, Tried)) {
    test("memory", in_memory());
    let Tried { log, blobs, at } = in_memory();
    let (log, blobs) = (Arc::new(MeasuredLog::over(log)), Arc::new(MeasuredBlobs::over(blobs)));
    test("measured", Tried { log, blobs, at });
    test("files", in_files(Arc::new(SimulatedDisk::new())));
    let slow = FaultyDisk::over(Arc::new(SimulatedDisk::new()));
    slow.shorten_reads(301);
    test("files, read in pieces", in_files(Arc::new(slow)));
    let log = Arc::new(MemoryLog::new());
    test("segments under a log elsewhere", under_a_log(disk(), log, MemoryLog::start()));
    let blobs = Arc::new(MemoryBlobs::new());
    test("a log in files beside chunks elsewhere", beside_chunks(disk(), blobs));
    #[cfg(feature = "s3")]
    {
        use crate::s3::tests as s3;
        test("objects", beside_memory(s3::in_objects(s3::nothing())));
        test("objects, where calls fail", beside_memory(s3::in_objects(s3::where_calls_fail())));
        s3::on_a_server(|blobs| test("objects on a server", beside_memory(blobs)));
        s3::over_http(|name, blobs| test(name, beside_memory(blobs)));
        for (name, objects) in [
            ("a log in files beside objects", s3::nothing()),
            ("a log in files beside objects where calls fail", s3::where_calls_fail()),
        ] {
            test(name, beside_chunks(disk(), Arc::new(s3::in_objects(objects))));
        }
        s3::on_a_server(|blobs| {
            test(
                "a log in files beside objects on a server",
                beside_chunks(disk(), Arc::new(blobs)),
            );
        });
    }
    #[cfg(feature = "mongodb")]
    crate::mongo::servers::every_database(&|name, database| {
        let log = database.log();
        let at = log.start();
        test(name, Tried { log: Arc::new(log), blobs: Arc::new(MemoryBlobs::new()), at });
    });
    #[cfg(feature = "mongodb")]
    crate::mongo::servers::every_database(&|name, database| {
        let log = database.log();
        let start = log.start();
        let name = format!("segments under the log of a database, {name}");
        test(&name, under_a_log(disk(), Arc::new(log), start));
    });
}

/// Chunks elsewhere, beside a log in memory.
#[cfg(feature = "s3")]
fn beside_memory(blobs: impl Blobs + 'static) -> Tried {
    Tried { log: Arc::new(MemoryLog::new()), blobs: Arc::new(blobs), at: MemoryLog::start() }
}
