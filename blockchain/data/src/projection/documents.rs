//! What a stored document means for the index, and where the sessions of this store stand among documents.

use lucid_core::block::Parent;
use lucid_core::digest::BlockHash;
use lucid_core::time::Timestamp;
use lucid_store::StoreError;
use lucid_store::contract::index::Changes;

use super::SessionProjection;
use crate::document::{Document, DocumentKind, Facets, Source};
use crate::fact::{PART_BYTES, Stored};
use crate::row::documents::{
    DocumentCounts, DocumentName, DocumentRow, EarlierRow, Text, changes_key, read_changes,
    session_facets,
};
use crate::row::orders::{Facet, KEPT, beginnings, block_named, by_index_key, facets, order_key};
use crate::row::synchronised::SynchronisedRow;
use crate::row::{SessionName, SessionRow};

/// Pages of a text of which the last part has not come; above all numbers of pages.
const ARRIVING: u32 = 1 << 31;

/// A document on its way into the index.
struct Arriving<'a> {
    document: &'a Document,
    text: &'a str,
    source: Source,
    at: Timestamp,
    /// The block it is, or is in.
    block: Option<(u64, BlockHash)>,
    /// When the block says that was.
    block_time: Option<Timestamp>,
}

impl SessionProjection {
    pub(super) fn stored(&self, fact: Stored, changes: &mut Changes<'_>) -> Result<(), StoreError> {
        let name = DocumentName::of(&self.cipher, fact.kind, &fact.id);
        if fact.part + 1 < fact.parts {
            return self.put(changes, name.page_key(ARRIVING | fact.part), &fact.bytes);
        }
        let mut bytes = Vec::new();
        for part in 0..fact.part {
            let key = name.page_key(ARRIVING | part);
            // A part that was lost to damage: what is read below is then no document.
            bytes.extend(self.get(changes, &key)?.unwrap_or_default());
            changes.remove(key);
        }
        bytes.extend(fact.bytes);
        let read =
            String::from_utf8(bytes).map_err(|_| "it is no text".to_owned()).and_then(|text| {
                let document = Document::of_taken(fact.kind, fact.source, &text)
                    .map_err(|why| why.to_string())?;
                Ok((text, document))
            });
        let (text, document) = match read {
            Ok(read) => read,
            Err(why) => {
                tracing::error!(why, "a document of the log is none and was passed over");
                return Ok(());
            }
        };
        let block = match document.facets {
            Facets::Block { index, hash, .. } => Some((index, hash)),
            _ => None,
        };
        let (source, at, block_time) = (fact.source, fact.at, document.instant);
        if let (Source::Synchronised, Some((index, hash)), Some(time)) = (source, block, block_time)
        {
            let known = changes.get(&SynchronisedRow::key())?;
            let known = known.map(|row| SynchronisedRow::decode(&row)).transpose()?;
            // Another first block than the one that is known begins the chain that takes its place: that it does
            // was judged when it was taken.
            let begins = index == 0 && known.is_some_and(|known| known.genesis != hash);
            let of_it = known.filter(|_| !begins);
            // Blocks that were lost to damage are missed; one that was taken twice changes nothing.
            if of_it.is_none_or(|known| known.last.index < index) {
                let row = SynchronisedRow {
                    genesis: of_it.map_or(hash, |known| known.genesis),
                    origin: known.map_or(hash, |known| known.origin),
                    last: Parent { index, hash, time },
                    is_signed: document.is_signed || of_it.is_some_and(|known| known.is_signed),
                };
                changes.put(SynchronisedRow::key(), row.encode());
            }
        }
        let arriving = Arriving { document: &document, text: &text, source, at, block, block_time };
        self.take_document(&arriving, changes)?;
        for transaction in &document.transactions {
            let document = &Document::of_transaction(transaction);
            let text = transaction.text();
            self.take_document(&Arriving { document, text, ..arriving }, changes)?;
        }
        changed(changes)
    }

    fn take_document(
        &self,
        arriving: &Arriving<'_>,
        changes: &mut Changes<'_>,
    ) -> Result<(), StoreError> {
        let Arriving { document, text, source, at, block, block_time } = *arriving;
        let name = DocumentName::of(&self.cipher, document.kind, &document.id);
        let key = name.row_key();
        let old = changes.get(&key)?;
        let old = old.map(|value| DocumentRow::open(&self.cipher, &key, value)).transpose()?;
        let instant = document.instant.or(block_time).or(old.as_ref().map(|old| old.instant));
        let mut row = DocumentRow {
            id: document.id.clone(),
            source,
            stored_at: at,
            instant: instant.unwrap_or(at),
            digest: document.digest,
            block,
            earlier: 0,
            facets: document.facets.clone(),
            text: Text::Pages(0),
        };
        if let Some(mut old) = old {
            let is_same = old.digest == row.digest;
            let is_update = name.kind == DocumentKind::Session && source == old.source;
            if !is_same && !is_update && source <= old.source {
                // It contradicts what is known from as good a source.
                let earlier = (source, at, false);
                self.put_earlier(changes, &name, &mut old, earlier, text.to_owned())?;
                return self.put(changes, key, &old.encode());
            }
            if is_same && source <= old.source {
                old.block = old.block.or(block);
                return self.put(changes, key, &old.encode());
            }
            row.earlier = old.earlier;
            if !is_same {
                let before = self.text_of(changes, &name, &old)?;
                let earlier = (old.source, old.stored_at, true);
                self.put_earlier(changes, &name, &mut row, earlier, before)?;
            }
            self.take_row_out(changes, &name, &old);
        } else {
            count(changes, |counts| *counts.of(name.kind) += 1)?;
            self.drop_entry(changes, &name)?;
        }
        row.text = self.put_text(changes, &name, text)?;
        if !self.is_kept(changes, &name)? {
            for key in self.document_orders(&name, &row) {
                changes.put(key, Vec::new());
            }
        }
        if let Facets::Block { index, .. } = row.facets {
            self.give_way(changes, index, &name, &mut row)?;
            changes.put(by_index_key(index), name.name.to_vec());
        }
        self.put(changes, key, &row.encode())
    }

    /// A block that was posted for the index of one that is taken from the chain is no document any more, but is
    /// kept beside the one that is. One of a chain whose place another took stays, and is found by its hash and
    /// its time.
    fn give_way(
        &self,
        changes: &mut Changes<'_>,
        index: u64,
        name: &DocumentName,
        row: &mut DocumentRow,
    ) -> Result<(), StoreError> {
        let rival = changes.get(&by_index_key(index))?.and_then(|rival| block_named(&rival));
        let Some(rival) = rival.filter(|rival| rival != name) else { return Ok(()) };
        let key = rival.row_key();
        let Some(value) = changes.get(&key)? else { return Ok(()) };
        let old = DocumentRow::open(&self.cipher, &key, value)?;
        if old.source == Source::Synchronised {
            return Ok(());
        }
        let text = self.text_of(changes, &rival, &old)?;
        self.put_earlier(changes, name, row, (old.source, old.stored_at, true), text)?;
        self.take_row_out(changes, &rival, &old);
        changes.remove(key);
        count(changes, |counts| counts.blocks = counts.blocks.saturating_sub(1))
    }

    /// Takes a document's text, and its places in the orders, away.
    fn take_row_out(&self, changes: &mut Changes<'_>, name: &DocumentName, old: &DocumentRow) {
        for key in self.document_orders(name, old) {
            changes.remove(key);
        }
        if let Text::Pages(pages) = old.text {
            (0..pages).for_each(|page| changes.remove(name.page_key(page)));
        }
    }

    fn put_text(
        &self,
        changes: &mut Changes<'_>,
        name: &DocumentName,
        text: &str,
    ) -> Result<Text, StoreError> {
        if Document::is_inline(text) {
            return Ok(Text::Inline(text.to_owned()));
        }
        let mut pages = 0;
        for page in text.as_bytes().chunks(PART_BYTES) {
            self.put(changes, name.page_key(pages), page)?;
            pages += 1;
        }
        Ok(Text::Pages(pages))
    }

    fn text_of(
        &self,
        changes: &Changes<'_>,
        name: &DocumentName,
        row: &DocumentRow,
    ) -> Result<String, StoreError> {
        let pages = match &row.text {
            Text::Inline(text) => return Ok(text.clone()),
            Text::Pages(pages) => *pages,
        };
        let mut bytes = Vec::new();
        for page in 0..pages {
            bytes.extend(self.get(changes, &name.page_key(page))?.unwrap_or_default());
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Keeps a text besides the document's own.
    fn put_earlier(
        &self,
        changes: &mut Changes<'_>,
        name: &DocumentName,
        row: &mut DocumentRow,
        (source, stored_at, was_current): (Source, Timestamp, bool),
        text: String,
    ) -> Result<(), StoreError> {
        let earlier = EarlierRow { source, stored_at, was_current, text };
        self.put(changes, name.earlier_key(row.earlier), &earlier.encode())?;
        row.earlier += 1;
        Ok(())
    }

    /// Whether a session of this store has this name: what was said of it before it began is listed no more.
    fn is_kept(&self, changes: &Changes<'_>, name: &DocumentName) -> Result<bool, StoreError> {
        let is_session = name.kind == DocumentKind::Session;
        Ok(is_session && changes.get(&name.as_session().session_key())?.is_some())
    }

    /// Puts a session of this store where its status, its user and what is said of it are looked for. A document
    /// of that id, from before the session began, gives way.
    pub(super) fn put_in_orders(
        &self,
        changes: &mut Changes<'_>,
        name: &SessionName,
        session: &SessionRow,
    ) -> Result<(), StoreError> {
        if let Some((document, row)) = self.document_of(changes, name)? {
            for key in self.document_orders(&document, &row) {
                changes.remove(key);
            }
        }
        for key in self.session_orders(name, session) {
            changes.put(key, KEPT.to_vec());
        }
        changed(changes)
    }

    /// What was said of a session before it began here.
    fn document_of(
        &self,
        changes: &Changes<'_>,
        name: &SessionName,
    ) -> Result<Option<(DocumentName, DocumentRow)>, StoreError> {
        let name = DocumentName::of_session(name);
        let key = name.row_key();
        let row = changes.get(&key)?;
        row.map(|value| Ok((name, DocumentRow::open(&self.cipher, &key, value)?))).transpose()
    }

    /// Takes it away from there.
    pub(super) fn take_out_of_orders(
        &self,
        changes: &mut Changes<'_>,
        name: &SessionName,
        session: &SessionRow,
    ) -> Result<(), StoreError> {
        for key in self.session_orders(name, session) {
            changes.remove(key);
        }
        if let Some((document, row)) = self.document_of(changes, name)? {
            for key in self.document_orders(&document, &row) {
                changes.put(key, Vec::new());
            }
        }
        changed(changes)
    }

    /// Where a session of this store stands among documents.
    pub(super) fn session_orders(&self, name: &SessionName, session: &SessionRow) -> Vec<Vec<u8>> {
        let name = DocumentName::of_session(name);
        // That it was silent for long is not of the session, but of the time at which that is asked.
        let status = session.status(Timestamp::from_micros(i64::MIN));
        let of = session_facets(session, status.as_str());
        let key = |facet: Facet<'_>| order_key(&self.cipher, &name, &facet, session.started_at);
        facets(&of).into_iter().chain(beginnings(session.id.as_str())).map(key).collect()
    }
}

fn count(
    changes: &mut Changes<'_>,
    change: impl FnOnce(&mut DocumentCounts),
) -> Result<(), StoreError> {
    let mut counts = match changes.get(&DocumentCounts::key())? {
        Some(value) => DocumentCounts::decode(&value)?,
        None => DocumentCounts::default(),
    };
    change(&mut counts);
    changes.put(DocumentCounts::key(), counts.encode());
    Ok(())
}

/// Says that answers of queries may be others from here on.
fn changed(changes: &mut Changes<'_>) -> Result<(), StoreError> {
    let count = changes.get(&changes_key())?.map_or(Ok(0), |row| read_changes(&row))?;
    changes.put(changes_key(), (count + 1).to_be_bytes().to_vec());
    Ok(())
}
