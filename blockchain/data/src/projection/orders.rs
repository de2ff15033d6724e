//! Makes the orders of documents anew from the rows of documents and sessions, without reading the log: for an
//! index that an earlier version made, or in which places were lost.
//!
//! Places that lack are put in before those that nobody stands at are taken out. So whenever it is broken off,
//! the index is no worse than before, and doing it again ends it.

use lucid_store::StoreError;
use lucid_store::contract::index::{Change, Index};
use lucid_store::registry::data_chain::key::{DOCUMENT, IN_ORDER};

use super::SessionProjection;
use crate::document::{DocumentKind, Facets};
use crate::row;
use crate::row::documents::{DocumentCounts, DocumentName, DocumentRow, changes, changes_key};
use crate::row::orders::{
    Facet, KEPT, Standing, WITH_BEGINNINGS, block_named, by_index_end, by_index_key, facets,
    index_in, order_key, sessions_in_order_key,
};

/// Rows that are read and written together.
const BATCH: usize = 1_024;

/// What was found, and done about it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RemadeOrders {
    /// Documents that were looked at.
    pub documents: u64,
    /// Sessions of this store that were looked at.
    pub sessions: u64,
    /// Places that were missing.
    pub added: u64,
    /// Places at which nobody stands.
    pub removed: u64,
}

impl SessionProjection {
    /// Makes them anew. Nobody may write meanwhile.
    pub fn remake_orders(&self, index: &dyn Index) -> Result<RemadeOrders, StoreError> {
        let mut done = RemadeOrders::default();
        let mut counts = DocumentCounts::default();
        each(index, vec![DOCUMENT], vec![DOCUMENT + 1], |key, value| {
            let Some(name) = DocumentName::of_row(key) else { return Ok(Vec::new()) };
            let row = DocumentRow::open(&self.cipher, key, value)?;
            *counts.of(name.kind) += 1;
            done.documents += 1;
            let is_kept = name.kind == DocumentKind::Session
                && row::session(index, &self.cipher, &name.as_session())?.is_some();
            let orders = if is_kept { Vec::new() } else { self.document_orders(&name, &row) };
            let mut places = lacking(index, orders, &[])?;
            if let Facets::Block { index: number, .. } = row.facets {
                // Of two chains, one of which took the other's place, both have a block of that index.
                let at = by_index_key(number);
                if !self.is_block_of(index, number, index.get(&at)?)? {
                    places.push((at, Some(name.name.to_vec())));
                }
            }
            done.added += places.len() as u64;
            Ok(places)
        })?;
        each(index, row::time_prefix(), row::time_end(), |key, _| {
            let Some(name) = row::name_in(key) else { return Ok(Vec::new()) };
            let Some(session) = row::session(index, &self.cipher, &name)? else {
                return Ok(Vec::new());
            };
            done.sessions += 1;
            let places = lacking(index, self.session_orders(&name, &session), KEPT)?;
            done.added += places.len() as u64;
            Ok(places)
        })?;
        each(index, vec![IN_ORDER], vec![IN_ORDER + 1], |key, _| {
            let is_taken = self.is_taken(index, key)?;
            done.removed += u64::from(!is_taken);
            Ok(if is_taken { Vec::new() } else { vec![(key.to_vec(), None)] })
        })?;
        each(index, by_index_key(0), by_index_end(), |key, value| {
            let is_there = match index_in(key) {
                Some(number) => self.is_block_of(index, number, Some(value))?,
                None => false,
            };
            done.removed += u64::from(!is_there);
            Ok(if is_there { Vec::new() } else { vec![(key.to_vec(), None)] })
        })?;
        let changed = (changes(index)? + 1).to_be_bytes().to_vec();
        index.write(vec![
            (DocumentCounts::key(), Some(counts.encode())),
            (sessions_in_order_key(), Some(WITH_BEGINNINGS.to_vec())),
            (changes_key(), Some(changed)),
        ])?;
        index.flush()?;
        Ok(done)
    }

    /// Whether a document or a session stands at a place.
    fn is_taken(&self, index: &dyn Index, place: &[u8]) -> Result<bool, StoreError> {
        let kind = place.get(1).and_then(|code| DocumentKind::from_code(*code));
        let (Some(kind), Some(standing)) = (kind, Standing::in_key(place)) else {
            return Ok(false);
        };
        let name = standing.name(kind);
        if kind == DocumentKind::Session {
            let name = name.as_session();
            if let Some(row) = row::session(index, &self.cipher, &name)? {
                return Ok(self.session_orders(&name, &row).iter().any(|at| at == place));
            }
        }
        let row = DocumentRow::find(index, &self.cipher, &name)?;
        Ok(row.is_some_and(|row| self.document_orders(&name, &row).iter().any(|at| at == place)))
    }

    /// Whether a row names a block of this index.
    fn is_block_of(
        &self,
        index: &dyn Index,
        number: u64,
        named: Option<Vec<u8>>,
    ) -> Result<bool, StoreError> {
        let Some(name) = named.and_then(|value| block_named(&value)) else { return Ok(false) };
        let row = DocumentRow::find(index, &self.cipher, &name)?;
        Ok(row.is_some_and(
            |row| matches!(row.facets, Facets::Block { index, .. } if index == number),
        ))
    }

    /// Where a document stands.
    pub(super) fn document_orders(&self, name: &DocumentName, row: &DocumentRow) -> Vec<Vec<u8>> {
        let all = std::iter::once(Facet::All).chain(facets(&row.facets));
        all.map(|facet| order_key(&self.cipher, name, &facet, row.instant)).collect()
    }
}

/// Those of these places that do not have this value, to be put in.
fn lacking(
    index: &dyn Index,
    places: Vec<Vec<u8>>,
    value: &[u8],
) -> Result<Vec<Change>, StoreError> {
    let mut lacking = Vec::new();
    for place in places {
        if index.get(&place)?.as_deref() != Some(value) {
            lacking.push((place, Some(value.to_vec())));
        }
    }
    Ok(lacking)
}

/// Gives each row between two keys to `change`, and writes what comes of it.
fn each(
    index: &dyn Index,
    mut from: Vec<u8>,
    to: Vec<u8>,
    mut change: impl FnMut(&[u8], Vec<u8>) -> Result<Vec<Change>, StoreError>,
) -> Result<(), StoreError> {
    loop {
        let rows = index.scan(&from, &to, BATCH, false)?;
        let is_last = rows.len() < BATCH;
        let mut changes = Vec::new();
        for (key, value) in rows {
            changes.extend(change(&key, value)?);
            // The smallest key behind this one.
            from = [key.as_slice(), &[0]].concat();
        }
        if !changes.is_empty() {
            index.write(changes)?;
        }
        if is_last {
            return Ok(());
        }
    }
}
