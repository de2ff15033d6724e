//! Chunks in a bucket, where calls fail and processes end.

mod given;
mod proxied;
mod servers;
mod whole;

pub(crate) use proxied::over_http;

use std::sync::Arc;
use std::time::Duration;

use lucid_core::digest::{ChunkId, ChunkName};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};

use super::bucket::{Bucket, Patience};
use super::faulty::{Call, Fault, FaultyStore};
use super::object::{FOLDER, Key};
use super::{S3Blobs, Settings, numbers, opening, reached};
use crate::codec::{Compression, Packer};
use crate::contract::blobs::{Blobs, Origin, Placement, UnitState, Units as _, Written};
use crate::crypt::{Cipher, random};
use crate::frame::Record;
use crate::remote::Driver;
use crate::{CommitError, StoreError};

const STORE: [u8; 16] = [7; 16];
const PREFIX: &str = "of/a/store";

/// Long enough for a machine that does much else, with pauses that do not show.
const PATIENT: Patience = Patience {
    call: Duration::from_secs(120),
    attempt: Duration::from_secs(60),
    pause: Duration::from_millis(1),
    tries: u32::MAX,
    spare: None,
};

/// A bucket that holds nothing.
pub(crate) fn nothing() -> Arc<dyn ObjectStore> {
    Arc::new(InMemory::new())
}

/// A bucket that holds nothing, of which most calls fail once or twice.
pub(crate) fn where_calls_fail() -> Arc<dyn ObjectStore> {
    use Fault::{Fails, LosesReply, None, Short, Throttled};
    let faults = [Fails, None, LosesReply, Throttled, None, Short];
    Arc::new(FaultyStore::with(nothing(), &faults))
}

/// The chunks of a store in a bucket.
pub(crate) fn in_objects(objects: Arc<dyn ObjectStore>) -> S3Blobs {
    opened(&objects, PATIENT).unwrap()
}

/// Tries the chunks of a store on the server that the environment names, if it names one.
pub(crate) fn on_a_server(test: impl FnOnce(S3Blobs)) {
    let Some(mut settings) = server() else { return };
    settings.prefix = format!("lucid-tests/{}", hex::encode(random::<8>().unwrap()));
    let driver = Driver::start().unwrap();
    test(super::open(&settings, STORE, driver.clone()).unwrap());
    let bucket = opening::connect(&settings, driver).unwrap();
    assert_eq!(bucket.list("probe", None).unwrap(), [], "nothing of a probe stays");
    for folder in [FOLDER, numbers::FOLDER, reached::FOLDER] {
        for (name, _) in bucket.list(folder, None).unwrap() {
            bucket.delete(folder, &name).unwrap();
        }
    }
}

/// Where servers are to be there, tests do not pass for want of them.
#[test]
fn a_run_that_is_to_have_servers_has_one() {
    #[expect(clippy::disallowed_methods, reason = "it says which servers this run of tests has")]
    let required = std::env::var("LUCID_TEST_SERVERS").is_ok_and(|value| value == "required");
    assert!(!required || server().is_some(), "LUCID_TEST_S3_ENDPOINT is to name a server");
}

#[expect(clippy::disallowed_methods, reason = "the environment of the tests names the server")]
fn given(name: &str) -> Option<String> {
    std::env::var(format!("LUCID_TEST_S3_{name}")).ok().filter(|value| !value.is_empty())
}

fn server() -> Option<Settings> {
    let endpoint = given("ENDPOINT")?;
    provide();
    let needed = |name: &str| given(name).unwrap_or_else(|| panic!("LUCID_TEST_S3_{name}"));
    Some(Settings {
        endpoint,
        bucket: needed("BUCKET"),
        region: given("REGION").unwrap_or_default(),
        prefix: "lucid-tests".into(),
        access_key: needed("ACCESS_KEY_ID"),
        secret_key: needed("SECRET_ACCESS_KEY").into(),
        path_style: given("PATH_STYLE").is_none_or(|value| value == "true" || value == "1"),
        deadline: Duration::from_secs(60),
    })
}

/// Installs the provider of cryptography, as the services do.
fn provide() {
    let _installed_before = rustls::crypto::ring::default_provider().install_default();
}

fn bucket(objects: &Arc<dyn ObjectStore>, patience: Patience) -> Bucket {
    let (driver, prefix) = (Driver::start().unwrap(), Path::parse(PREFIX).unwrap());
    Bucket::new(objects.clone(), driver, prefix, patience, "the bucket".into())
}

fn opened(objects: &Arc<dyn ObjectStore>, patience: Patience) -> Result<S3Blobs, StoreError> {
    S3Blobs::over(bucket(objects, patience), STORE)
}

fn chunk(number: u8) -> (ChunkName, Record) {
    let bytes = [number; 40];
    let (cipher, id) = (Cipher::new(None), ChunkId::from(blake3::hash(&bytes)));
    let (name, how) = (cipher.chunk_name(&id), Compression::None);
    (name, cipher.chunk_record(&mut Packer::new(), how, false, &id, &bytes).unwrap())
}

fn write(blobs: &S3Blobs, chunks: &[u8]) -> Written {
    let mut records: Vec<Record> = chunks.iter().map(|number| chunk(*number).1).collect();
    blobs.write(&mut records).unwrap()
}

/// Writes chunks as of a commit that is known.
fn keep(blobs: &S3Blobs, chunks: &[u8]) -> Written {
    let written = write(blobs, chunks);
    blobs.settle(&written).unwrap();
    blobs.end(false).unwrap();
    written
}

/// Whether every chunk reads back.
fn reads(blobs: &S3Blobs, written: &Written) -> Result<(), StoreError> {
    written.places.iter().try_for_each(|(name, place)| blobs.read(name, place).map(|_| ()))
}

fn is_unavailable<T>(read: &Result<T, StoreError>) -> bool {
    matches!(read, Err(StoreError::Io { .. }))
}

fn is_damage<T>(read: &Result<T, StoreError>) -> bool {
    matches!(read, Err(StoreError::Damaged(_)))
}

/// The one object of units that is there.
fn only_object(objects: &Arc<dyn ObjectStore>) -> (Path, Vec<u8>) {
    let listed = bucket(objects, PATIENT).list(FOLDER, None).unwrap();
    let [(name, length)] = listed.as_slice() else { panic!("{listed:?}") };
    let part = bucket(objects, PATIENT).get(FOLDER, name, 0..*length).unwrap();
    (Path::parse(PREFIX).unwrap().join(FOLDER).join(name.as_str()), part.bytes.to_vec())
}

/// Puts bytes without any of the care that is taken elsewhere.
fn put_rashly(objects: &Arc<dyn ObjectStore>, path: &Path, bytes: Vec<u8>) {
    let (objects, path) = (objects.clone(), path.clone());
    let put = async move { objects.put(&path, bytes.into()).await.map(|_| ()) };
    Driver::start().unwrap().wait(PATIENT.call, put).unwrap().unwrap();
}

#[test]
fn what_fails_for_a_while_is_tried_again_until_it_works() {
    for fault in [Fault::Fails, Fault::LosesReply, Fault::Throttled, Fault::Stalls] {
        let faulty = FaultyStore::over(nothing());
        let objects: Arc<dyn ObjectStore> = Arc::new(faulty.clone());
        let attempt = Duration::from_millis(if fault == Fault::Stalls { 100 } else { 60_000 });
        let blobs = opened(&objects, Patience { attempt, ..PATIENT }).unwrap();
        let puts = faulty.calls(Call::Put);
        faulty.fail(Call::Put, FOLDER, fault, 3);
        let written = keep(&blobs, &[1, 2]);
        assert!(faulty.calls(Call::Put) >= puts + 4, "{fault:?}");
        faulty.fail(Call::Get, FOLDER, fault, 3);
        reads(&blobs, &written).unwrap();
        faulty.fail(Call::List, FOLDER, fault, 2);
        let again = opened(&objects, Patience { attempt, ..PATIENT }).unwrap();
        assert_eq!(again.numbers().unwrap(), [written.extent.unit], "{fault:?}");
        reads(&again, &written).unwrap();
        faulty.fail(Call::Delete, FOLDER, fault, 2);
        again.remove(&[written.extent.unit]).unwrap();
        assert!(opened(&objects, PATIENT).unwrap().numbers().unwrap().is_empty(), "{fault:?}");
    }
}

#[test]
fn a_put_that_is_given_up_surely_does_not_count() {
    for fault in [Fault::Fails, Fault::LosesReply, Fault::Throttled, Fault::Stalls, Fault::Refused]
    {
        let faulty = FaultyStore::over(nothing());
        let objects: Arc<dyn ObjectStore> = Arc::new(faulty.clone());
        let attempt = Duration::from_secs(if fault == Fault::Stalls { 1 } else { 60 });
        let blobs = opened(&objects, Patience { attempt, tries: 3, ..PATIENT }).unwrap();
        faulty.fail(Call::Put, FOLDER, fault, 3);
        let puts = faulty.calls(Call::Put);
        let written = write(&blobs, &[1]);
        let settled = blobs.settle(&written);
        assert!(matches!(&settled, Err(CommitError::Failed(_))), "{fault:?}: {settled:?}");
        assert!(!settled.unwrap_err().maybe_applied());
        let tries = if fault == Fault::Refused { 1 } else { 3 };
        assert_eq!(faulty.calls(Call::Put), puts + tries, "{fault:?}");
        // Neither does it matter whether it can be deleted, which is tried once.
        faulty.fail(Call::Delete, FOLDER, Fault::Fails, 3);
        let deletes = faulty.calls(Call::Delete);
        blobs.take_back(&written).unwrap();
        assert_eq!(faulty.calls(Call::Delete), deletes + 1);
        assert!(is_damage(&reads(&blobs, &written)), "{fault:?}");
        assert!(blobs.numbers().unwrap().is_empty(), "{fault:?}");
        faulty.repair();
        // Whatever became of it: the next process gives its number to nothing else.
        let next = in_objects(objects);
        let later = keep(&next, &[2]);
        assert!(later.extent.unit > written.extent.unit, "{fault:?}");
        reads(&next, &later).unwrap();
        let has_it = next.numbers().unwrap().contains(&written.extent.unit);
        assert_eq!(has_it, matches!(fault, Fault::LosesReply | Fault::Stalls), "{fault:?}");
    }
}

#[test]
fn a_unit_is_open_until_its_commit_is_known() {
    let blobs = in_objects(nothing());
    let written = write(&blobs, &[1]);
    reads(&blobs, &written).unwrap();
    assert!(blobs.numbers().unwrap().is_empty());
    blobs.settle(&written).unwrap();
    assert_eq!(blobs.numbers().unwrap(), [written.extent.unit]);
    assert_eq!(blobs.state(written.extent.unit).unwrap(), UnitState::Open);
    blobs.end(false).unwrap();
    assert!(matches!(blobs.state(written.extent.unit).unwrap(), UnitState::Ended(_)));
}

#[test]
fn what_a_killed_process_leaves_is_named_by_nothing() {
    let objects = nothing();
    let blobs = in_objects(objects.clone());
    let named = keep(&blobs, &[1]);
    // Between its put and its commit.
    let written = write(&blobs, &[2]);
    blobs.settle(&written).unwrap();
    drop(blobs);
    let blobs = in_objects(objects.clone());
    assert_eq!(blobs.numbers().unwrap(), [named.extent.unit, written.extent.unit]);
    assert_eq!(blobs.places(&named.extent).unwrap(), named.places);
    // The number is another's for nobody: neither while it is there nor when it is gone.
    let next = keep(&blobs, &[3]);
    blobs.remove(&[written.extent.unit, next.extent.unit]).unwrap();
    drop(blobs);
    let blobs = in_objects(objects.clone());
    let last = keep(&blobs, &[4]);
    assert!(last.extent.unit > next.extent.unit && next.extent.unit > written.extent.unit);
    // While a unit is made of others: before its put nothing is there, and behind it what it was made of.
    let mut making = blobs.begin(0, Origin { replaces: vec![1], level: 3 }).unwrap();
    let (header, payload) = blobs.read(&named.places[0].0, &named.places[0].1).unwrap();
    making.add(&header, &payload).unwrap();
    let before = blobs.numbers().unwrap();
    assert_eq!(in_objects(objects.clone()).numbers().unwrap(), before);
    let made = making.number();
    making.finish().unwrap();
    drop(blobs);
    let blobs = in_objects(objects);
    assert_eq!(blobs.numbers().unwrap(), [before, vec![made]].concat());
    reads(&blobs, &named).unwrap();
}

#[test]
fn another_stores_bucket_is_refused_and_its_units_are_left_alone() {
    let objects = nothing();
    let ours = in_objects(objects.clone());
    let written = keep(&ours, &[1]);
    let refused = S3Blobs::over(bucket(&objects, PATIENT), [8; 16]).unwrap_err();
    assert!(refused.to_string().contains("is another store's"), "{refused}");
    // Where only a unit came to be in the wrong place.
    let (path, bytes) = only_object(&objects);
    let elsewhere = nothing();
    put_rashly(&elsewhere, &path, bytes);
    let theirs = S3Blobs::over(bucket(&elsewhere, PATIENT), [8; 16]).unwrap();
    let unit = written.extent.unit;
    assert_eq!(theirs.state(unit).unwrap(), UnitState::Damaged);
    assert_eq!(theirs.entries(unit).unwrap(), None);
    assert!(theirs.origin(unit).unwrap().is_err());
    assert!(theirs.contents(unit, 0).unwrap().unwrap().chunks.is_empty());
    theirs.remove(&[unit]).unwrap();
    assert_eq!(theirs.numbers().unwrap(), [unit], "it stays");
}

#[test]
fn an_object_that_is_not_found_is_damaged_once_it_was_missed_twice() {
    let faulty = FaultyStore::over(nothing());
    let objects: Arc<dyn ObjectStore> = Arc::new(faulty.clone());
    let written = keep(&in_objects(objects.clone()), &[1]);
    let unit = written.extent.unit;
    let open = |missed_for| {
        S3Blobs::missing_twice_in(bucket(&objects, PATIENT), STORE, missed_for).unwrap()
    };
    let missed = |blobs: &S3Blobs| {
        faulty.fail(Call::Get, FOLDER, Fault::NotFound, 1);
        blobs.contents(unit, 0)
    };
    let blobs = open(Duration::ZERO);
    faulty.fail(Call::Get, FOLDER, Fault::NotFound, 1);
    let read = reads(&blobs, &written);
    assert!(is_unavailable(&read), "{read:?}");
    assert!(read.unwrap_err().to_string().contains("is not there now"));
    assert!(is_unavailable(&missed(&blobs)));
    // It was there meanwhile, so that does not count.
    assert_eq!(blobs.contents(unit, 0).unwrap().unwrap().chunks, written.places);
    assert!(is_unavailable(&missed(&blobs)));
    let damage = missed(&blobs).unwrap().unwrap_err();
    assert_eq!(blobs.place_of(&damage), Some((unit, 0)));
    // Twice in a short time is once.
    let blobs = open(Duration::from_secs(3_600));
    assert!(is_unavailable(&missed(&blobs)) && is_unavailable(&missed(&blobs)));
    assert_eq!(blobs.numbers().unwrap(), [unit], "it is looked for again");
}

#[test]
fn a_unit_that_was_put_since_the_list_was_read_is_found() {
    let objects = nothing();
    let (reader, writer) = (in_objects(objects.clone()), in_objects(objects));
    let written = keep(&writer, &[1]);
    assert_eq!(reader.places(&written.extent).unwrap(), written.places);
    let written = keep(&writer, &[1]);
    reads(&reader, &written).unwrap();
    assert_eq!(reader.numbers().unwrap(), writer.numbers().unwrap());
    let (name, place) = written.places[0];
    let nowhere = Placement { unit: written.extent.unit + 1, ..place };
    let read = reader.read(&name, &nowhere);
    assert!(is_unavailable(&read), "{read:?}");
    assert_eq!(reader.sequence(&name, &nowhere).unwrap(), None);
    assert_eq!(reader.entries(nowhere.unit).unwrap(), None);
}

#[test]
fn short_answers_are_asked_for_again_and_wrong_ones_are_damage() {
    let faulty = FaultyStore::over(nothing());
    let blobs = in_objects(Arc::new(faulty.clone()));
    let written = keep(&blobs, &[1]);
    faulty.fail(Call::Get, FOLDER, Fault::Short, 3);
    reads(&blobs, &written).unwrap();
    let gets = faulty.calls(Call::Get);
    faulty.fail(Call::Get, FOLDER, Fault::Wrong, 1);
    assert!(is_damage(&reads(&blobs, &written)));
    assert_eq!(faulty.calls(Call::Get), gets + 1);
    reads(&blobs, &written).unwrap();
}

/// Each bit of an object once another one, each end of it lost: no other bytes come out than went in, nobody takes the
/// unit for another, and what is not hit is still read.
#[test]
fn altered_objects_are_damaged_and_never_read_as_something_else() {
    let objects: Arc<dyn ObjectStore> = Arc::new(FaultyStore::over(nothing()));
    let blobs = in_objects(objects.clone());
    let kept: Vec<_> = [1, 2].map(chunk).into();
    let mut making = blobs.begin(0, Origin { replaces: vec![3, 4], level: 5 }).unwrap();
    for (_, record) in &kept {
        making.add(&record.header, &record.payload).unwrap();
    }
    let unit = making.number();
    making.finish().unwrap();
    let UnitState::Ended(sound) = blobs.state(unit).unwrap() else { panic!("it has ended") };
    let origin = blobs.origin(unit).unwrap().unwrap();
    let (path, bytes) = only_object(&objects);
    // Met by the process that knows how it was, and by one that does not.
    let flipped = (0..bytes.len()).map(|at| {
        let mut altered = bytes.clone();
        altered[at] ^= 1 << (at % 8);
        (altered, at % 2 == 0)
    });
    let cut = |is_new| (0..bytes.len()).map(move |length| (length, is_new));
    let cut =
        cut(false).chain(cut(true)).map(|(length, is_new)| (bytes[..length].to_vec(), is_new));
    for (number, (altered, is_new)) in flipped.chain(cut).enumerate() {
        put_rashly(&objects, &path, altered);
        let reopened = is_new.then(|| in_objects(objects.clone()));
        let blobs = reopened.as_ref().unwrap_or(&blobs);
        let mut hit = 0;
        for (entry, (_, record)) in sound.entries.iter().zip(&kept) {
            match blobs.read(&entry.name, &entry.placement) {
                // The header names its payload, and who opens it compares them.
                Ok((header, payload)) => {
                    assert_eq!(header.encode(), record.header.encode());
                    assert_eq!(header.matches(&payload), payload == record.payload);
                    hit += u32::from(payload != record.payload);
                }
                Err(StoreError::Damaged(damage)) => {
                    assert_eq!(blobs.place_of(&damage), Some(entry.placement.place()));
                    hit += 1;
                }
                // A header that matches its checksum and is of a later version cannot be made by one bit.
                Err(error) => panic!("{number}: {error}"),
            }
        }
        assert!(hit < 2 || number >= bytes.len(), "one bit costs one record");
        let looked = blobs.origin(unit).unwrap();
        assert!(looked.as_ref().is_ok_and(|now| *now == origin) || looked.is_err(), "{number}");
        let contents = blobs.contents(unit, 0).unwrap().unwrap();
        let all = contents.chunks.len() == 2;
        assert!(all || !contents.damage.is_empty(), "{number}: {contents:?}");
        for (name, place) in contents.chunks {
            let mut known = sound.entries.iter();
            assert!(known.any(|one| (one.name, one.placement) == (name, place)), "{number}");
        }
        match blobs.state(unit).unwrap() {
            UnitState::Ended(now) => assert_eq!(now.entries, sound.entries, "{number}"),
            state => assert_eq!(state, UnitState::Damaged, "{number}"),
        }
    }
}

#[test]
fn two_objects_of_one_number_are_damage_and_both_stay() {
    let objects = nothing();
    let written = keep(&in_objects(objects.clone()), &[1]);
    let (path, bytes) = only_object(&objects);
    let twin = Key { number: written.extent.unit.into(), random: 1 };
    let folder = Path::parse(PREFIX).unwrap().join(FOLDER);
    put_rashly(&objects, &folder.clone().join(twin.to_string()), bytes.clone());
    put_rashly(&objects, &folder.join("no-unit"), bytes);
    let blobs = in_objects(objects.clone());
    assert!(is_damage(&reads(&blobs, &written)));
    assert!(blobs.contents(written.extent.unit, 0).unwrap().is_err());
    blobs.remove(&[written.extent.unit]).unwrap();
    assert_eq!(bucket(&objects, PATIENT).list(FOLDER, None).unwrap().len(), 3, "{path}");
}

#[test]
fn many_objects_are_listed_a_page_at_a_time() {
    let objects = nothing();
    let folder = Path::parse(PREFIX).unwrap().join("many");
    let names: Vec<String> = (0..2_500).map(|number| format!("{number:05}")).collect();
    let (to, paths) = (objects.clone(), names.clone());
    let put = async move {
        for name in paths {
            to.put(&folder.clone().join(name), vec![1, 2, 3].into()).await.unwrap();
        }
    };
    Driver::start().unwrap().wait(PATIENT.call, put).unwrap();
    let faulty = FaultyStore::over(objects);
    let objects: Arc<dyn ObjectStore> = Arc::new(faulty.clone());
    let listed = bucket(&objects, PATIENT).list("many", None).unwrap();
    assert_eq!(listed, names.into_iter().map(|name| (name, 3)).collect::<Vec<_>>());
    assert_eq!(faulty.calls(Call::List), 3);
}
