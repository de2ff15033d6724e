//! Which numbers units get: none twice, whatever became of the unit that had it.
//!
//! A number that was given out once is one unit's for ever, also when that unit was taken back or removed, and when its
//! object comes to be there long after, because a put was on its way when its process ended. So what is listed does not
//! tell which number is free. Numbers are therefore taken a thousand at a time, and a *mark* in the bucket says up to
//! where they are taken, before the first of them is used. The next process takes the next thousand.
//!
//! Two processes that take numbers at the same time put marks of the same thousand. Each lists the marks after it has
//! put its own, so at least one sees the other's, and leaves the thousand to it and takes another. Nothing
//! in this rests on conditional puts, which some servers ignore.
//!
//! A mark also says whose bucket it is, so another store's is not written into by a slip of the pen.

use parking_lot::Mutex;

use lucid_core::wire::{Reader, WireFault, Writer};

use super::bucket::Bucket;
use super::failure::{Failure, Kind};
use super::object::{Key, named};
use crate::crypt::random;
use crate::frame::{HEADER_BYTES, Header, Record, RecordKind};
use crate::{StoreError, contract::blobs::UnitKind};

/// The folder of the marks below a store's prefix.
pub const FOLDER: &str = "given";

/// What a mark calls itself.
const ROLE: &str = "numbers";

/// Numbers that are taken at a time.
const SPAN: u32 = 1_024;

/// Set in the numbers of units that are made of others.
pub const MADE: u32 = 1 << 31;

/// Numbers above this are the last tenth of them.
const FEW_LEFT: u32 = MADE / 10 * 9;

/// So often a thousand is left to others before that is given up.
const LEFT_MAX: usize = 20;

/// How a unit with a number came to be.
pub fn kind(unit: u32) -> Option<UnitKind> {
    match (unit & MADE, unit & !MADE) {
        (_, 0) => None,
        (0, _) => Some(UnitKind::Written),
        _ => Some(UnitKind::Made),
    }
}

/// What a mark says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The store that takes the numbers.
    pub store: [u8; 16],
    /// The last one that is taken, and what tells the marks of two processes apart.
    pub key: Key,
}

impl Mark {
    /// The record.
    pub fn to_record(&self) -> Result<Record, StoreError> {
        let mut to = Writer::new();
        to.raw(&self.store).text(ROLE).u64(self.key.number).u64(self.key.random);
        named(RecordKind::File, to.finish())
    }

    /// Reads the payload.
    pub fn decode(payload: &[u8]) -> Result<Self, WireFault> {
        let mut from = Reader::new(payload);
        let store = from.array("store id")?;
        if from.text("role")? != ROLE {
            return Err(WireFault::Invalid { what: "role" });
        }
        let number = from.u64("last number")?;
        let key = Key { number, random: from.u64("random number")? };
        from.finish()?;
        Ok(Self { store, key })
    }

    /// Reads a whole mark; `None` when it is damaged.
    fn read(bytes: &[u8]) -> Option<Self> {
        let (header, payload) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        let header = Header::decode(header).ok()?;
        header.matches(payload).then(|| Self::decode(payload).ok()).flatten()
    }
}

/// Gives out numbers.
pub struct Numbers {
    store: [u8; 16],
    /// All that were taken before it was opened were not above this.
    begun: u32,
    /// The last one that was given out, and the last one that is taken. Held while more are taken.
    at: Mutex<(u32, u32)>,
}

impl Numbers {
    /// Takes the first numbers behind all that were ever taken, and behind the units that are there.
    pub fn open(bucket: &Bucket, store: [u8; 16], behind: u32) -> Result<Self, StoreError> {
        of_this(bucket, store)?;
        let at = take(bucket, store, behind)?;
        Ok(Self { store, begun: at.0, at: Mutex::new(at) })
    }

    /// Takes none before the first one is asked for: of who only reads, none is. What is put from now on has a number
    /// behind all that were taken by now.
    pub fn to_read(bucket: &Bucket, store: [u8; 16], behind: u32) -> Result<Self, StoreError> {
        of_this(bucket, store)?;
        let taken = marks(bucket)?.into_iter().map(|(key, _)| key.number).max().unwrap_or(0);
        let begun = u32::try_from(taken).unwrap_or(0).max(behind);
        Ok(Self { store, begun, at: Mutex::new((begun, begun)) })
    }

    /// Whether a number was taken after this was opened, here or by another process.
    pub fn is_taken_since(&self, unit: u32) -> bool {
        unit & !MADE > self.begun
    }

    /// Up to where numbers are taken, by any process.
    pub fn taken(&self, bucket: &Bucket) -> Result<u32, StoreError> {
        let listed = marks(bucket)?.into_iter().map(|(key, _)| key.number).max().unwrap_or(0);
        Ok(u32::try_from(listed).unwrap_or(MADE - 1).max(self.at.lock().1))
    }

    /// Gives out no number up to this line any more.
    pub fn rise(&self, line: u32) {
        let mut at = self.at.lock();
        at.0 = at.0.max(line & !MADE);
    }

    /// The next number, behind this one.
    pub fn next(&self, bucket: &Bucket, behind: u32) -> Result<u32, StoreError> {
        let mut at = self.at.lock();
        let mut next = at.0.max(behind & !MADE).saturating_add(1);
        if next > at.1 {
            *at = take(bucket, self.store, next - 1)?;
            next = at.0 + 1;
        }
        at.0 = next;
        Ok(next)
    }
}

/// The store whose numbers were taken last; `None` where none ever were, or the mark of that is damaged.
pub(super) fn store_there(bucket: &Bucket) -> Result<Option<[u8; 16]>, StoreError> {
    for _ in 0..LEFT_MAX {
        let listed = marks(bucket)?;
        let Some((key, bytes)) = listed.iter().max() else { return Ok(None) };
        match bucket.get(FOLDER, &key.to_string(), 0..*bytes) {
            Ok(mark) => {
                let mark = Mark::read(&mark.bytes);
                if mark.is_none() {
                    tracing::warn!(%key, bucket = bucket.title, "a mark of numbers is damaged");
                }
                return Ok(mark.map(|mark| mark.store));
            }
            // Another process took the next thousand since, and has deleted this mark: its own is there now.
            Err(failure) if failure.kind == Kind::Absent && marks(bucket)? != listed => {}
            Err(failure) => return Err(failed(bucket, "reading", key)(failure)),
        }
    }
    Err(taken_all_the_time(bucket))
}

/// Refuses a bucket that is another store's.
fn of_this(bucket: &Bucket, store: [u8; 16]) -> Result<(), StoreError> {
    match store_there(bucket)?.is_some_and(|there| there != store) {
        false => Ok(()),
        true => Err(StoreError::Folder(format!(
            "{} is another store's: give this one a bucket or a prefix of its own",
            bucket.title
        ))),
    }
}

fn marks(bucket: &Bucket) -> Result<Vec<(Key, u64)>, StoreError> {
    let listed = bucket.list(FOLDER, None).map_err(|failure| {
        StoreError::io(format!("listing {FOLDER}/ in {}", bucket.title))(failure.into_io())
    })?;
    Ok(listed.iter().filter_map(|(name, bytes)| Some((Key::parse(name)?, *bytes))).collect())
}

fn failed(bucket: &Bucket, what: &str, key: &Key) -> impl FnOnce(Failure) -> StoreError {
    let context = format!("{what} {FOLDER}/{key} in {}", bucket.title);
    move |failure| StoreError::io(context)(failure.into_io())
}

/// Takes a thousand numbers, and says behind which they begin and which is the last.
fn take(bucket: &Bucket, store: [u8; 16], behind: u32) -> Result<(u32, u32), StoreError> {
    for left in 0..LEFT_MAX {
        let mut taken = marks(bucket)?.into_iter().map(|(key, _)| key.number).max().unwrap_or(0);
        if left > 0 {
            // Those who left one together do not meet in the next one.
            let [passed] = random()?;
            taken = taken.saturating_add(u64::from(SPAN) * u64::from(passed % 16));
        }
        let begin = taken.max(behind.into()).checked_next_multiple_of(SPAN.into());
        let begin = begin.and_then(|begin| u32::try_from(begin).ok());
        let end = begin.and_then(|begin| begin.checked_add(SPAN)).filter(|end| *end < MADE);
        let Some((begin, end)) = begin.zip(end) else {
            return Err(StoreError::Folder(format!(
                "{} has had {} units, which is all that one store can tell apart: begin another store, in a \
                 prefix of its own",
                bucket.title,
                MADE - 1
            )));
        };
        if end > FEW_LEFT {
            let left = MADE - end;
            tracing::warn!(left, bucket = bucket.title, "few numbers are left for units");
        }
        let key = Key { number: end.into(), random: u64::from_le_bytes(random()?) };
        let Record { header, payload } = Mark { store, key }.to_record()?;
        let bytes = [header.encode().as_slice(), &payload].concat();
        let put = bucket.put(FOLDER, &key.to_string(), bytes.into());
        put.map_err(failed(bucket, "putting", &key))?;
        let there: Vec<Key> = marks(bucket)?.into_iter().map(|(key, _)| key).collect();
        if there.iter().any(|other| other.number == key.number && *other != key) {
            continue;
        }
        // Only the highest counts. One that stays is deleted by the next that are taken.
        for older in there.iter().filter(|other| other.number < key.number) {
            if let Err(failure) = bucket.delete_once(FOLDER, &older.to_string()) {
                tracing::warn!(%failure, key = %older, "an old mark of numbers stays");
            }
        }
        return Ok((begin, end));
    }
    Err(taken_all_the_time(bucket))
}

fn taken_all_the_time(bucket: &Bucket) -> StoreError {
    let bucket = &bucket.title;
    StoreError::Folder(format!("other processes take the numbers of {bucket} all the time"))
}
