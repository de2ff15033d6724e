//! Answers a query: the documents that a filter takes, in a total order, page by page.
//!
//! Documents stand in orders by time, each facet's in one of its own, and blocks in one by index. A query
//! walks the narrowest order that holds all it wants, so its cost follows what that order has, and compares
//! what the order does not say. The order is (time, keyed hash of the id), and for blocks the index unless only
//! a range of times is asked for. A cursor is the place of the last document that was given.

use lucid_core::time::Timestamp;
use lucid_store::contract::index::Index;
use lucid_store::vault::Vault;

use super::filter::Filter;
use super::get_document::{FoundDocument, Listed};
use crate::document::DocumentKind;
use crate::ops::OpError;
use crate::ops::sight::Sight;
use crate::row;
use crate::row::documents::{DocumentName, DocumentRow};
use crate::row::orders::{
    Facet, KEPT, Standing, block_named, by_index_end, by_index_key, index_in, sessions_in_order_key,
};

/// Documents of a page.
pub const LIMIT_MAX: usize = 1_000;
/// Documents that may be skipped by their number; a cursor skips any.
pub const OFFSET_MAX: usize = 10_000;
/// Bytes of texts after which a page ends.
pub const PAGE_BYTES_MAX: usize = 8 << 20;
/// Documents that one request looks at, where no order has just those that are wanted.
pub const EXAMINED_MAX: usize = 50_000;
/// A total is told exactly up to so many.
pub const TOTAL_MAX: usize = 100_000;
/// Rows that are read in one go, where that is not known to be too many.
const BATCH: usize = 256;

/// What is wanted.
#[derive(Debug, Clone)]
pub struct DocumentQuery {
    /// Documents about what.
    pub kind: DocumentKind,
    /// Which of them.
    pub filter: Filter,
    /// So many at most, up to [`LIMIT_MAX`].
    pub limit: usize,
    /// So many are skipped in front of them, up to [`OFFSET_MAX`]. A cursor says itself how many are left to skip.
    pub offset: usize,
    /// A page ends at so many bytes of texts, behind one document at least.
    pub bytes_max: usize,
    /// Behind which the page begins: [`DocumentPage::next`] of the one before.
    pub cursor: Option<Vec<u8>>,
    /// The newest first.
    pub descending: bool,
    /// Whether to say how many there are on all pages.
    pub total: bool,
    /// A stream that took nothing since then is unterminated.
    pub quiet_since: Timestamp,
    /// Of sessions, those that this sees.
    pub sight: Sight,
}

/// A page of documents.
#[derive(Debug, Clone)]
pub struct DocumentPage {
    /// The documents.
    pub documents: Vec<FoundDocument>,
    /// Where the next page begins, if there is one.
    pub next: Option<Vec<u8>>,
    /// Whether the page ends for what it has; otherwise because it looked at as much as one request may.
    pub complete: bool,
    /// How many there are, and whether that is all.
    pub total: Option<(usize, bool)>,
    /// Whether the same is answered until something is stored.
    pub lasting: bool,
}

/// Bytes of a cursor in front of the place.
const FINGERPRINT_BYTES: usize = 8;

impl DocumentQuery {
    /// What a cursor of this query begins with: it continues no other.
    fn fingerprint(&self) -> [u8; FINGERPRINT_BYTES] {
        let (filter, sight) = (self.filter.canonical(), self.sight.canonical());
        let text = format!("{:?} {} {filter}{sight}", self.kind, self.descending);
        let mut print = [0; FINGERPRINT_BYTES];
        for (to, from) in print.iter_mut().zip(blake3::hash(text.as_bytes()).as_bytes()) {
            *to = *from;
        }
        print
    }

    /// One text for queries that ask for the same page.
    pub fn canonical(&self) -> String {
        let Self { kind, filter, limit, offset, cursor, descending, total, .. } = self;
        let (filter, sight) = (filter.canonical(), self.sight.canonical());
        format!("{kind:?} {limit} {offset} {cursor:?} {descending} {total} {filter}{sight}")
    }

    /// Whether a document is wanted, and may be given.
    fn takes(&self, listed: &Listed) -> bool {
        listed.is_seen(&self.sight) && self.filter.takes(listed, self.quiet_since)
    }

    /// How many are still to be skipped, and behind which place.
    fn place(&self) -> Result<Option<(usize, &[u8])>, OpError> {
        let Some(cursor) = &self.cursor else { return Ok(None) };
        let wrong = "cursor is none of an earlier page of this query: begin without one";
        let rest = cursor.strip_prefix(&self.fingerprint());
        let rest = rest.and_then(|rest| rest.split_first_chunk::<2>());
        let (skip, place) = rest.ok_or_else(|| OpError::Invalid(wrong.into()))?;
        Ok(Some((usize::from(u16::from_be_bytes(*skip)), place)))
    }

    fn cursor(&self, skip: usize, place: &[u8]) -> Vec<u8> {
        let skip = u16::try_from(skip).unwrap_or(u16::MAX).to_be_bytes();
        [self.fingerprint().as_slice(), &skip, place].concat()
    }
}

/// Answers a query.
pub fn query_documents(vault: &Vault, wanted: &DocumentQuery) -> Result<DocumentPage, OpError> {
    if let Some(hash) = &wanted.filter.hash {
        return by_hash(vault, wanted, hash);
    }
    let total = match wanted.total {
        true => Some(count(vault, wanted)?),
        false => None,
    };
    let (offset, place) = match wanted.place()? {
        Some((offset, place)) => (offset, Some(place)),
        None => (wanted.offset, None),
    };
    let mut walk = Walk::new(vault, wanted, place)?;
    let by_order = walk.is_exact;
    let mut page = DocumentPage {
        documents: Vec::new(),
        next: None,
        complete: true,
        total,
        // Sessions that are not listed now may be, without anything being stored: silence alone decides.
        lasting: wanted.filter.status.is_none(),
    };
    let (mut skipped, mut examined, mut bytes) = (0, 0, 0);
    // The last place that was looked at, and the last one whose document is on the page.
    let (mut last, mut shown): (Option<Place>, Option<Place>) = (None, None);
    let hides = !wanted.sight.has_all_sessions();
    while let Some(place) = walk.next()? {
        let is_full = page.documents.len() == wanted.limit || bytes >= wanted.bytes_max;
        let is_worn = !by_order && examined == EXAMINED_MAX;
        if (is_full && !hides) || is_worn {
            page.complete = is_full;
            page.next = last.map(|last| wanted.cursor(offset - skipped, &last.bytes()));
            return Ok(page);
        }
        let before = if hides { shown } else { last };
        if !is_full {
            last = Some(place);
        }
        examined += 1;
        if by_order && skipped < offset {
            skipped += 1;
            continue;
        }
        let Some(listed) = place.listed(vault, wanted.kind)? else { continue };
        if !wanted.takes(&listed) {
            continue;
        }
        if is_full {
            // One more that the caller sees: that there are others it is not told.
            page.next = last.map(|last| wanted.cursor(0, &last.bytes()));
            return Ok(page);
        }
        if skipped < offset {
            skipped += 1;
            continue;
        }
        let is_first = page.documents.is_empty();
        // What is surely too long is not even read.
        let is_surely_over = bytes + listed.least_text_bytes() > wanted.bytes_max;
        let found = match is_surely_over && !is_first {
            true => None,
            false => Some(listed.found(vault, wanted.quiet_since)?),
        };
        let found = found.filter(|found| is_first || bytes + found.text.len() <= wanted.bytes_max);
        let Some(found) = found else {
            // It begins the next page.
            page.next = before.map(|before| wanted.cursor(0, &before.bytes()));
            return Ok(page);
        };
        bytes += found.text.len();
        page.lasting &= match &listed {
            Listed::Document(..) => true,
            Listed::Session(session) => session.sealed.is_some(),
        };
        page.documents.push(found);
        shown = Some(place);
    }
    Ok(page)
}

/// The block of a hash, if it is wanted.
fn by_hash(vault: &Vault, wanted: &DocumentQuery, hash: &str) -> Result<DocumentPage, OpError> {
    wanted.place()?;
    let name = DocumentName::of(vault.cipher(), wanted.kind, hash);
    let row = DocumentRow::find(vault.index(), vault.cipher(), &name)?;
    let listed = row.map(|row| Listed::Document(name, Box::new(row)));
    let taken = listed.filter(|listed| wanted.takes(listed));
    let total = usize::from(taken.is_some());
    let shown = taken.filter(|_| wanted.offset == 0 && wanted.cursor.is_none());
    let found = shown.map(|listed| listed.found(vault, wanted.quiet_since)).transpose()?;
    Ok(DocumentPage {
        documents: found.into_iter().collect(),
        next: None,
        complete: true,
        total: wanted.total.then_some((total, true)),
        lasting: true,
    })
}

/// How many documents are wanted on all pages together, as far as one request may look.
fn count(vault: &Vault, wanted: &DocumentQuery) -> Result<(usize, bool), OpError> {
    let mut walk = Walk { batch: BATCH, ..Walk::new(vault, wanted, None)? };
    let by_order = walk.is_exact;
    let (mut count, mut examined) = (0, 0);
    while let Some(place) = walk.next()? {
        if count == TOTAL_MAX || (!by_order && examined == EXAMINED_MAX) {
            return Ok((count, false));
        }
        examined += 1;
        let is_wanted = by_order
            || place.listed(vault, wanted.kind)?.is_some_and(|listed| wanted.takes(&listed));
        count += usize::from(is_wanted);
    }
    Ok((count, true))
}

/// Where something stands in the order of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Index(u64, [u8; 16]),
    /// And whether a session of this store stands there.
    Standing(Standing, bool),
}

impl Place {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Index(index, _) => index.to_be_bytes().to_vec(),
            Self::Standing(standing, _) => standing.bytes().to_vec(),
        }
    }

    fn listed(&self, vault: &Vault, kind: DocumentKind) -> Result<Option<Listed>, OpError> {
        match self {
            Self::Standing(standing, is_kept) => Listed::at(vault, kind, *standing, *is_kept),
            Self::Index(_, name) => {
                let name = DocumentName { kind, name: *name };
                let row = DocumentRow::find(vault.index(), vault.cipher(), &name)?;
                Ok(row.map(|row| Listed::Document(name, Box::new(row))))
            }
        }
    }
}

/// All places of a query's order, from where the page begins.
struct Walk<'a> {
    index: &'a dyn Index,
    descending: bool,
    lanes: Vec<Lane>,
    /// Whether everything that stands there is wanted.
    is_exact: bool,
    /// Rows of a lane that are read in one go.
    batch: usize,
}

/// Rows whose keys are in the order of a query behind a prefix. Several are walked side by side.
struct Lane {
    from: Vec<u8>,
    to: Vec<u8>,
    /// Places that were read and not given, the next one last.
    read: Vec<Place>,
    is_read: bool,
}

impl<'a> Walk<'a> {
    fn new(
        vault: &'a Vault,
        wanted: &DocumentQuery,
        behind: Option<&[u8]>,
    ) -> Result<Self, OpError> {
        let index = vault.index();
        let descending = wanted.descending;
        let is_ordered =
            wanted.kind != DocumentKind::Session || index.get(&sessions_in_order_key())?.is_some();
        let is_exact = is_ordered
            && wanted.sight.has_all_sessions()
            && wanted.filter.is_answered_by_its_order(wanted.kind);
        let lanes = lanes(vault, wanted, is_ordered)
            .into_iter()
            .map(|(prefix, from, to)| {
                let mut lane = Lane {
                    from: [prefix.as_slice(), &from].concat(),
                    to: [prefix.as_slice(), &to].concat(),
                    read: Vec::new(),
                    is_read: false,
                };
                if let Some(place) = behind {
                    let at = [prefix.as_slice(), place].concat();
                    match descending {
                        true => lane.to = lane.to.min(at),
                        false => lane.from = lane.from.max(after(at)),
                    }
                }
                lane
            })
            .collect();
        // Where every row is wanted, those of the page and the one behind it are enough.
        let page = wanted.offset.saturating_add(wanted.limit).saturating_add(1);
        let batch = if is_exact { page.min(BATCH) } else { BATCH };
        Ok(Self { index, descending, lanes, is_exact, batch })
    }

    fn next(&mut self) -> Result<Option<Place>, OpError> {
        for lane in &mut self.lanes {
            lane.fill(self.index, self.descending, self.batch)?;
        }
        let heads = self.lanes.iter().filter_map(|lane| lane.read.last());
        let first = match self.descending {
            true => heads.max(),
            false => heads.min(),
        };
        let Some(first) = first.copied() else { return Ok(None) };
        for lane in &mut self.lanes {
            // What stands in two of them is given once.
            lane.read.pop_if(|head| *head == first);
        }
        Ok(Some(first))
    }
}

/// The key right behind this one.
fn after(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}

impl Lane {
    fn fill(&mut self, index: &dyn Index, descending: bool, batch: usize) -> Result<(), OpError> {
        if !self.read.is_empty() || self.is_read || self.from >= self.to {
            return Ok(());
        }
        let rows = index.scan(&self.from, &self.to, batch, descending)?;
        self.is_read = rows.len() < batch;
        if let Some((last, _)) = rows.last() {
            match descending {
                true => self.to.clone_from(last),
                false => self.from = after(last.clone()),
            }
        }
        let place = |(key, value): &(Vec<u8>, Vec<u8>)| match block_named(value) {
            Some(block) => index_in(key).map(|index| Place::Index(index, block.name)),
            None => {
                let is_kept = value == KEPT || row::is_time_row(key);
                Standing::in_key(key).map(|standing| Place::Standing(standing, is_kept))
            }
        };
        self.read = rows.iter().rev().filter_map(place).collect();
        Ok(())
    }
}

/// A lane's prefix, and where behind it the lane begins and ends.
type Bounds = (Vec<u8>, Vec<u8>, Vec<u8>);

/// `is_ordered`: whether the sessions of this store stand in their orders.
fn lanes(vault: &Vault, wanted: &DocumentQuery, is_ordered: bool) -> Vec<Bounds> {
    let (filter, kind, cipher) = (&wanted.filter, wanted.kind, vault.cipher());
    let by_time = filter.from.is_some() || filter.to.is_some();
    if kind == DocumentKind::Block && (filter.index_range.is_some() || !by_time) {
        let (from, to) = filter.index_range.unwrap_or((0, u64::MAX));
        let end = to.checked_add(1).map_or_else(by_index_end, by_index_key);
        return vec![split(by_index_key(from), end)];
    }
    let first = |at: Timestamp| Standing::first(at).bytes().to_vec();
    let from = filter.from.map_or_else(Vec::new, first);
    // A session that was active then had begun.
    let to = [filter.to, filter.active_at].into_iter().flatten().min();
    let to = to.and_then(|to| to.as_micros().checked_add(1)).map(Timestamp::from_micros);
    let to = to.map_or_else(|| vec![0xff; 25], first);
    let facets = filter.narrowest();
    let prefixes = match (facets.is_empty(), is_ordered) {
        (false, true) => facets.iter().map(|facet| facet.prefix(cipher, kind)).collect(),
        (false, false) => {
            // An index that an earlier version made has sessions of this store in the order of time alone.
            let mut all: Vec<_> = facets.iter().map(|facet| facet.prefix(cipher, kind)).collect();
            all.push(row::time_prefix());
            all
        }
        (true, _) => {
            let mut all = vec![Facet::All.prefix(cipher, kind)];
            if kind == DocumentKind::Session {
                all.push(row::time_prefix());
            }
            all
        }
    };
    prefixes.into_iter().map(|prefix| (prefix, from.clone(), to.clone())).collect()
}

/// The whole keys of a range as a lane: with no prefix but the byte that both begin with, if they do.
fn split(from: Vec<u8>, to: Vec<u8>) -> Bounds {
    match (from.split_first(), to.split_first()) {
        (Some((first, rest)), Some((other, end))) if first == other => {
            (vec![*first], rest.to_vec(), end.to_vec())
        }
        (Some((first, rest)), _) => (vec![*first], rest.to_vec(), vec![0xff; 9]),
        _ => (from, Vec::new(), to),
    }
}
