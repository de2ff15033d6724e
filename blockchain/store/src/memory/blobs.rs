//! Chunk records in memory: every write is a unit of its own, as with objects.

use std::collections::BTreeMap;

use lucid_core::digest::ChunkName;
use parking_lot::Mutex;

use crate::contract::blobs::{Blobs, Extent, Placement, Written};
use crate::files::log::HeadersDigest;
use crate::frame::{CipherId, Header, Sealed};
use crate::{CommitError, Damage, StoreError};

/// Records of one unit.
const RECORDS_MAX: usize = 50_000;

/// Units behind a lock. Any number of writers share them.
#[derive(Default)]
pub struct MemoryBlobs {
    units: Mutex<Units>,
}

#[derive(Default)]
struct Units {
    last: u32,
    kept: BTreeMap<u32, Vec<Sealed>>,
}

impl MemoryBlobs {
    /// No units.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many units there are.
    pub fn units(&self) -> usize {
        self.units.lock().kept.len()
    }
}

fn place(unit: u32, ordinal: u64, header: &Header) -> (ChunkName, Placement) {
    let placement = Placement {
        segment: unit,
        offset: ordinal,
        stored_length: header.stored_length,
        plain_length: header.plain_length,
        encrypted: header.cipher != CipherId::Plain,
    };
    (ChunkName::new(header.name), placement)
}

impl Blobs for MemoryBlobs {
    fn fits(&self, records: &[Sealed]) -> usize {
        records.len().min(RECORDS_MAX)
    }

    fn write(&self, records: &mut [Sealed]) -> Result<Written, CommitError> {
        let mut units = self.units.lock();
        units.last += 1;
        let unit = units.last;
        let mut digest = HeadersDigest::new();
        let mut places = Vec::with_capacity(records.len());
        for (ordinal, record) in (0_u64..).zip(records.iter_mut()) {
            record.header.sequence = ordinal;
            digest.add(&record.header);
            places.push(place(unit, ordinal, &record.header));
        }
        let to = records.len() as u64;
        units.kept.insert(unit, records.to_vec());
        let extent = Extent { unit, from: 0, to, digest: digest.finish(), first_sequence: 0 };
        Ok(Written { extent, places })
    }

    fn settle(&self, _written: &Written) -> Result<(), CommitError> {
        Ok(())
    }

    fn take_back(&self, written: &Written) -> Result<(), CommitError> {
        self.units.lock().kept.remove(&written.extent.unit);
        Ok(())
    }

    fn seal(&self, _now: bool) -> Result<(), CommitError> {
        Ok(())
    }

    fn places(&self, extent: &Extent) -> Result<Vec<(ChunkName, Placement)>, StoreError> {
        let units = self.units.lock();
        let records = units.kept.get(&extent.unit).map(Vec::as_slice).unwrap_or_default();
        let places = (0..).zip(records);
        Ok(places.map(|(ordinal, record)| place(extent.unit, ordinal, &record.header)).collect())
    }

    fn read(
        &self,
        name: &ChunkName,
        placement: &Placement,
    ) -> Result<(Header, Vec<u8>), StoreError> {
        let units = self.units.lock();
        let record = usize::try_from(placement.offset).ok().and_then(|ordinal| {
            units.kept.get(&placement.segment).and_then(|records| records.get(ordinal))
        });
        match record {
            Some(record) if record.header.name == *name.as_bytes() => {
                Ok((record.header.clone(), record.payload.clone()))
            }
            _ => {
                let unit = format!("unit {}", placement.segment);
                let why = "the chunk is not where it should be";
                Err(StoreError::Damaged(Damage::new(unit, placement.offset, why)))
            }
        }
    }
}
