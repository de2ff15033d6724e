//! What is known of the units of a bucket, and the calls that change it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;

use super::bucket::Bucket;
use super::failure::Failure;
use super::numbers::{self, MADE, Numbers};
use super::object::{Draft, FOLDER, Head, Key};
use super::reached::Notes;
use super::unit::{Listed, Object, title};
use crate::contract::blobs::{Missed, Origin, UnitKind};
use crate::crypt::random;
use crate::{Damage, StoreError};

/// A store's units in a bucket.
pub struct Shared {
    /// Where they are.
    pub bucket: Bucket,
    /// The store.
    pub store: [u8; 16],
    /// Gives them numbers.
    pub numbers: Numbers,
    /// Says how far the log has come.
    pub notes: Notes,
    /// Those that are known; never held while a call is on its way.
    pub units: Mutex<State>,
    /// An object that was missed twice so far apart is damaged.
    pub missed_for: Duration,
}

/// What is known of them.
#[derive(Default)]
pub struct State {
    /// Those that are there, or may be.
    pub known: BTreeMap<u32, Known>,
    /// Units that were taken back or removed by this process.
    pub gone: BTreeSet<u32>,
    /// Units that were written, and it is not known yet whether a commit names them.
    pub undecided: BTreeSet<u32>,
    /// Units that have to be there and that no list has: when each was missed first.
    pub unlisted: BTreeMap<u32, Instant>,
}

/// A unit.
#[derive(Clone)]
pub struct Known {
    /// The name of its object.
    pub key: Key,
    /// Bytes of its object.
    pub length: u64,
    /// How far it has come.
    pub stage: Stage,
    /// Whether its first record was read, or written, and says that it is this store's.
    pub is_ours: bool,
    /// Another object has its number, so nobody knows which of the two is meant.
    pub is_double: bool,
    /// When it was missed first.
    pub missed: Option<Instant>,
}

/// How far a unit has come.
#[derive(Clone)]
pub enum Stage {
    /// It is not put yet.
    Drafted(Bytes),
    /// No put was answered well.
    Unsure,
    /// It is there.
    There,
}

impl Known {
    /// One that the list has.
    pub fn listed(key: Key, length: u64) -> Self {
        let stage = Stage::There;
        Self { key, length, stage, is_ours: false, is_double: false, missed: None }
    }

    /// Whether its object is there.
    pub fn is_there(&self) -> bool {
        matches!(self.stage, Stage::There)
    }
}

impl State {
    /// Takes in an object of the list.
    pub fn add(&mut self, name: &str, length: u64) {
        let key = Key::parse(name);
        let unit = key.and_then(|key| u32::try_from(key.number).ok());
        let Some((key, unit)) = key.zip(unit.filter(|unit| numbers::kind(*unit).is_some())) else {
            tracing::warn!(name, "an object in the place of units is none");
            return;
        };
        let known = self.known.entry(unit).or_insert_with(|| Known::listed(key, length));
        if known.key != key {
            tracing::error!(name, other = %known.key, "two objects have one number");
            known.is_double = true;
        }
    }
}

impl Shared {
    /// Begins a unit with this number.
    pub fn draft(&self, number: u32, origin: Origin) -> Result<Draft, StoreError> {
        let key = Key { number: number.into(), random: u64::from_le_bytes(random()?) };
        let kind = if number & MADE == 0 { UnitKind::Written } else { UnitKind::Made };
        let Origin { replaces, level } = origin;
        Draft::begin(&Head { store: self.store, key, kind, level, replaces }, number)
    }

    /// A unit, if it is known.
    pub fn find(&self, unit: u32) -> Option<Known> {
        self.units.lock().known.get(&unit).cloned()
    }

    /// Whether this process took it back or removed it.
    fn is_gone(&self, unit: u32) -> bool {
        self.units.lock().gone.contains(&unit)
    }

    /// Its object, to be read.
    pub fn object(&self, unit: u32, known: &Known) -> Object<'_> {
        let draft = match &known.stage {
            Stage::Drafted(bytes) => Some(bytes.clone()),
            Stage::Unsure | Stage::There => None,
        };
        let (key, length) = (known.key, known.length);
        Object { bucket: &self.bucket, store: self.store, unit, key, length, draft }
    }

    /// A unit that must be there. What was removed here is damage, and what the list lacks is looked for once more.
    pub fn demand(&self, unit: u32, at: u64) -> Result<Known, StoreError> {
        let known = match self.find(unit) {
            None if self.is_gone(unit) => None,
            None => {
                let context = format!("reading {} in {}", title(unit), self.bucket.title);
                let absent =
                    || io::Error::new(io::ErrorKind::NotFound, "the object is not there now");
                Some(self.look_for(unit)?.ok_or_else(|| StoreError::io(context)(absent()))?)
            }
            known => known,
        };
        match known {
            None => Err(StoreError::Damaged(missing(unit, at))),
            Some(known) if known.is_double => Err(StoreError::Damaged(double(unit, at))),
            Some(known) => Ok(known),
        }
    }

    /// Asks the bucket for a unit.
    fn look_for(&self, unit: u32) -> Result<Option<Known>, StoreError> {
        let name = format!("{unit:016x}");
        let context = || format!("looking for {} in {}", title(unit), self.bucket.title);
        let page = self.bucket.page(FOLDER, Some(&name), 2);
        let page = page.map_err(|failure| StoreError::io(context())(failure.into_io()))?;
        let mut units = self.units.lock();
        page.iter()
            .filter(|(found, _)| found.starts_with(&name))
            .for_each(|(found, length)| units.add(found, *length));
        Ok(units.known.get(&unit).cloned())
    }

    /// Asks the bucket for a unit that has to be there.
    pub fn look_again(&self, unit: u32) -> Result<Missed, StoreError> {
        if self.is_gone(unit) {
            return Ok(Missed::Lost);
        }
        let is_there = self.find(unit).is_some() || self.look_for(unit)?.is_some();
        let mut units = self.units.lock();
        if is_there {
            units.unlisted.remove(&unit);
            return Ok(Missed::There);
        }
        let before = units.unlisted.get(&unit).copied();
        units.unlisted.entry(unit).or_insert_with(Instant::now);
        Ok(match before {
            Some(since) if since.elapsed() >= self.missed_for => Missed::Lost,
            _ => Missed::NotNow,
        })
    }

    /// Puts a unit. It stays known whether or not that is answered, so that it can be removed.
    pub fn put(&self, unit: u32, key: Key, bytes: Bytes) -> Result<(), Failure> {
        self.bucket.put(FOLDER, &key.to_string(), bytes)?;
        if let Some(known) = self.units.lock().known.get_mut(&unit) {
            known.stage = Stage::There;
        }
        Ok(())
    }

    /// Whether a unit is another store's, by its first record, which is read once.
    pub fn foreign(&self, unit: u32, known: &Known) -> Result<Option<Damage>, StoreError> {
        if known.is_ours {
            return Ok(None);
        }
        let foreign = self.object(unit, known).foreign()?;
        if foreign.is_none()
            && let Some(known) = self.units.lock().known.get_mut(&unit)
        {
            known.is_ours = true;
        }
        Ok(foreign)
    }

    /// What is in a unit that is part of this store and can be told from others.
    pub fn listed(&self, unit: u32) -> Result<Option<Listed>, StoreError> {
        let known = match self.find(unit) {
            // What others put since the list was read has a number behind those that were taken by then.
            None if self.numbers.is_taken_since(unit) && !self.is_gone(unit) => {
                self.look_for(unit)?
            }
            known => known,
        };
        let Some(known) = known.filter(|known| !known.is_double) else { return Ok(None) };
        if self.foreign(unit, &known)?.is_some() {
            return Ok(None);
        }
        self.object(unit, &known).list().map(Some)
    }
}

/// A unit that is not there.
pub fn missing(unit: u32, at: u64) -> Damage {
    Damage::new(title(unit), at, "the unit is not there")
}

/// A unit of which nobody knows which object it is.
pub fn double(unit: u32, at: u64) -> Damage {
    Damage::new(title(unit), at, "two objects have the unit's number")
}
