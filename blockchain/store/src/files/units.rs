//! Segments as wholes: what is in one that has ended.

use std::sync::Arc;

use lucid_core::digest::ChunkName;

use crate::StoreError;
use crate::contract::blobs::{Entry, Placement, UnitKind, Units};
use crate::files::disk::{self, Disk};
use crate::files::rewrite::foreign;
use crate::files::segment::{self, Footer};
use crate::frame;

/// The segments of a folder.
#[derive(Clone)]
pub struct FileUnits {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) store: [u8; 16],
}

impl FileUnits {
    /// Those of this store on this disk.
    pub fn new(disk: Arc<dyn Disk>, store: [u8; 16]) -> Self {
        Self { disk, store }
    }
}

impl Units for FileUnits {
    fn kind(&self, unit: u32) -> Option<UnitKind> {
        match segment::is_rewritten(unit) {
            true => Some(UnitKind::Made),
            false => segment::is_number(unit).then_some(UnitKind::Written),
        }
    }

    fn entries(&self, unit: u32) -> Result<Option<Vec<Entry>>, StoreError> {
        let path = segment::path(unit);
        let file = match disk::find(self.disk.as_ref(), &path)? {
            Ok(file) if foreign(file.as_ref(), unit, &self.store)?.is_none() => file,
            _ => return Ok(None),
        };
        let footer = match Footer::find(file.as_ref(), unit)? {
            Some(Ok((_, footer))) => footer,
            // The footer is damaged, or its trailer is; the audit names it. The records are still there.
            _ => {
                let length = file.length().map_err(StoreError::io(format!("opening {path}")))?;
                Footer::of(file.as_ref(), unit, length, &mut Vec::new())?
            }
        };
        Ok(Some(footer.entries.into_iter().map(Entry::from).collect()))
    }

    fn sequence(&self, name: &ChunkName, at: &Placement) -> Result<Option<u64>, StoreError> {
        let path = segment::path(at.unit);
        let Ok(file) = disk::find(self.disk.as_ref(), &path)? else { return Ok(None) };
        let header = frame::read_header(file.as_ref(), &path, at.offset)?.and_then(Result::ok);
        Ok(header.filter(|header| header.name == *name.as_bytes()).map(|header| header.sequence))
    }
}
