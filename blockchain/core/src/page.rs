//! The pages of an appendix: a sorted map, cut so that one entry is found by reading a few pages.
//!
//! A catalogue ([`crate::catalogue`]) and a recording's timeline are kept in pages, each of them a
//! chunk of the session. Leaf pages come first, in order of their keys, then pages that index them,
//! level on level, until there is one: the root, which is the session's last chunk. [`PageWriter`]
//! makes them in one pass; [`find`], [`find_floor`], [`scan`] and [`scan_prefix`] read them through
//! a callback, and [`Descent`] is for those who load pages some other way.
//!
//! Keys are unique and ascending. A page is at most [`PAGE_BYTES_MAX`] long, unless it could not
//! hold less: one entry, or two keys of an index (one key alone would index nothing away).

use std::ops::ControlFlow;

use crate::limits::{CHUNK_BYTES_MAX, PAGE_BYTES_MAX, PATH_BYTES_MAX};
use crate::wire::{Reader, WireFault, Writer};

/// How a page begins.
pub const MAGIC: [u8; 4] = *b"LPG1";
/// The longest key; two of them always fit into a page.
pub const KEY_BYTES_MAX: usize = PATH_BYTES_MAX;
/// Magic, level, ordinal and count.
const HEADER_BYTES: usize = 4 + 1 + 4 + 4;

/// Why something is not a page, or cannot become one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PageFault {
    /// Bytes that are not encoded like a page.
    #[error("not a page: {0}")]
    Wire(#[from] WireFault),
    /// A page that breaks a rule that every page keeps.
    #[error("page {ordinal} is not sound: {rule}")]
    Unsound {
        /// What the page says its ordinal is.
        ordinal: u32,
        /// The rule.
        rule: &'static str,
    },
    /// A sound page in another one's place.
    #[error(
        "page {wanted} of level {level} is wanted, page {found} of level {found_level} was given"
    )]
    Misplaced {
        /// The ordinal asked for.
        wanted: u32,
        /// The level expected there.
        level: u8,
        /// The ordinal of the page given.
        found: u32,
        /// The level of the page given.
        found_level: u8,
    },
    /// An entry that does not come after the one before.
    #[error("key {key:02x?} does not come after the one before")]
    Order {
        /// The beginning of the key.
        key: Vec<u8>,
    },
    /// An entry that not even a page of its own can hold.
    #[error("an entry of {bytes} bytes fits into no page")]
    EntryTooLarge {
        /// Key and value together.
        bytes: usize,
    },
    /// More pages than ordinals.
    #[error("there are more pages than can be numbered")]
    TooMany,
}

/// A page, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<'a> {
    ordinal: u32,
    level: u8,
    entries: Vec<(&'a [u8], &'a [u8])>,
    children: Vec<(&'a [u8], u32)>,
}

impl<'a> Page<'a> {
    /// Reads a page and checks every rule that can be checked without its neighbours.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, PageFault> {
        let mut r = Reader::new(bytes);
        if r.array("a page's magic")? != MAGIC {
            return Err(WireFault::Invalid { what: "a page's magic" }.into());
        }
        let level = r.u8("a page's level")?;
        let ordinal = r.u32("a page's ordinal")?;
        let count = r.u32("a page's count")?;
        let least = if level == 0 { 1 } else { 2 };
        if bytes.len() > PAGE_BYTES_MAX && count > least {
            return Err(PageFault::Unsound { ordinal, rule: "it is too long" });
        }
        let mut page = Self { ordinal, level, entries: Vec::new(), children: Vec::new() };
        // Vectors grow as entries are found: a count alone reserves nothing.
        for _ in 0..count {
            let key = r.bytes("a page's key")?;
            if level == 0 {
                page.entries.push((key, r.bytes("a page's value")?));
            } else {
                page.children.push((key, r.u32("a page's child")?));
            }
        }
        r.finish()?;
        page.check()?;
        Ok(page)
    }

    fn check(&self) -> Result<(), PageFault> {
        let need = |kept: bool, rule| {
            if kept { Ok(()) } else { Err(PageFault::Unsound { ordinal: self.ordinal, rule }) }
        };
        need(
            self.keys().next().is_some() || (self.level == 0 && self.ordinal == 0),
            "it is empty",
        )?;
        need(self.keys().all(|key| key.len() <= KEY_BYTES_MAX), "a key is too long")?;
        need(self.keys().zip(self.keys().skip(1)).all(|(a, b)| a < b), "keys do not ascend")?;
        let children = || self.children.iter().map(|(_, child)| *child);
        let in_a_row = children().zip(children().skip(1)).all(|(a, b)| a.checked_add(1) == Some(b));
        need(in_a_row, "its children do not stand in a row")?;
        need(children().all(|child| child < self.ordinal), "a child comes after it")
    }

    fn keys(&self) -> impl Iterator<Item = &'a [u8]> {
        let entries = self.entries.iter().map(|(key, _)| *key);
        entries.chain(self.children.iter().map(|(key, _)| *key))
    }

    /// The page's number in the appendix.
    pub fn ordinal(&self) -> u32 {
        self.ordinal
    }

    /// Zero for a page of entries, otherwise how many levels of pages are below it.
    pub fn level(&self) -> u8 {
        self.level
    }

    /// Keys and values of a leaf page; nothing for an index page.
    pub fn entries(&self) -> &[(&'a [u8], &'a [u8])] {
        &self.entries
    }

    /// First keys and ordinals of the pages below an index page; nothing for a leaf page.
    pub fn children(&self) -> &[(&'a [u8], u32)] {
        &self.children
    }

    /// The value kept under a key.
    pub fn get(&self, key: &[u8]) -> Option<&'a [u8]> {
        self.floor(key).filter(|(found, _)| *found == key).map(|(_, value)| value)
    }

    /// The entry with the greatest key that is not above `key`.
    pub fn floor(&self, key: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
        let after = self.entries.partition_point(|(found, _)| *found <= key);
        self.entries.get(after.checked_sub(1)?).copied()
    }

    /// The child below which `key` is, if it is anywhere.
    fn child(&self, key: &[u8]) -> Option<u32> {
        let after = self.children.partition_point(|(first, _)| *first <= key);
        self.children.get(after.saturating_sub(1)).map(|(_, child)| *child)
    }
}

/// The way from the root down to the leaf page where a key is, if it is anywhere.
///
/// The caller loads the page that [`Descent::wants`] names and hands it to [`Descent::step`], until
/// that says that the page was the last one.
#[derive(Debug, Clone)]
pub struct Descent<'k> {
    key: &'k [u8],
    ordinal: u32,
    level: Option<u8>,
}

impl<'k> Descent<'k> {
    /// Starts at the root page.
    pub fn new(root: u32, key: &'k [u8]) -> Self {
        Self { key, ordinal: root, level: None }
    }

    /// The ordinal of the next page.
    pub fn wants(&self) -> u32 {
        self.ordinal
    }

    /// Goes one page down; `true` if `page` is the leaf page.
    pub fn step(&mut self, page: &Page<'_>) -> Result<bool, PageFault> {
        let level = self.level.unwrap_or(page.level);
        in_place(page, self.ordinal, level)?;
        // Levels only fall, so no page can lead in a circle.
        match page.child(self.key) {
            Some(child) => {
                self.ordinal = child;
                self.level = Some(level.saturating_sub(1));
                Ok(false)
            }
            None => Ok(true),
        }
    }
}

fn in_place(page: &Page<'_>, wanted: u32, level: u8) -> Result<(), PageFault> {
    if page.ordinal == wanted && page.level == level {
        return Ok(());
    }
    Err(PageFault::Misplaced { wanted, level, found: page.ordinal, found_level: page.level })
}

/// Why a walk over pages ended early.
#[derive(Debug, thiserror::Error)]
pub enum PageWalkError<E> {
    /// A page could not be loaded.
    #[error("{0}")]
    Load(E),
    /// A page was loaded and is wrong.
    #[error(transparent)]
    Page(#[from] PageFault),
}

/// An entry and the page it is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// The page's ordinal.
    pub ordinal: u32,
    /// The entry's key.
    pub key: Vec<u8>,
    /// The entry's value.
    pub value: Vec<u8>,
}

/// The entry with this key.
pub fn find<B: AsRef<[u8]>, E>(
    root: u32,
    key: &[u8],
    load: impl FnMut(u32) -> Result<B, E>,
) -> Result<Option<Hit>, PageWalkError<E>> {
    Ok(find_floor(root, key, load)?.filter(|hit| hit.key == key))
}

/// The entry with the greatest key that is not above `key`.
pub fn find_floor<B: AsRef<[u8]>, E>(
    root: u32,
    key: &[u8],
    mut load: impl FnMut(u32) -> Result<B, E>,
) -> Result<Option<Hit>, PageWalkError<E>> {
    let mut descent = Descent::new(root, key);
    loop {
        let bytes = load(descent.wants()).map_err(PageWalkError::Load)?;
        let page = Page::decode(bytes.as_ref())?;
        if descent.step(&page)? {
            let (key, value) = match page.floor(key) {
                Some(found) => found,
                None => return Ok(None),
            };
            let hit = Hit { ordinal: page.ordinal, key: key.to_vec(), value: value.to_vec() };
            return Ok(Some(hit));
        }
    }
}

/// Visits every entry whose key is `from` or above, in order, until `visit` breaks off; it is given
/// the page's ordinal, the key and the value.
pub fn scan<B: AsRef<[u8]>, E>(
    root: u32,
    from: &[u8],
    mut load: impl FnMut(u32) -> Result<B, E>,
    mut visit: impl FnMut(u32, &[u8], &[u8]) -> ControlFlow<()>,
) -> Result<(), PageWalkError<E>> {
    let mut descent = Descent::new(root, from);
    let mut arrived = false;
    let mut ordinal = root;
    // Leaf pages stand in a row before all index pages: after the first, the next is the next.
    while ordinal <= root {
        let bytes = load(ordinal).map_err(PageWalkError::Load)?;
        let page = Page::decode(bytes.as_ref())?;
        if !arrived {
            arrived = descent.step(&page)?;
            ordinal = descent.wants();
        }
        if arrived {
            if page.level > 0 {
                return Ok(());
            }
            in_place(&page, ordinal, 0)?;
            for (key, value) in page.entries.iter().filter(|(key, _)| *key >= from) {
                if visit(ordinal, key, value).is_break() {
                    return Ok(());
                }
            }
            ordinal = ordinal.saturating_add(1);
        }
    }
    Ok(())
}

/// Visits every entry whose key begins with `prefix`, in order, like [`scan`].
pub fn scan_prefix<B: AsRef<[u8]>, E>(
    root: u32,
    prefix: &[u8],
    load: impl FnMut(u32) -> Result<B, E>,
    mut visit: impl FnMut(u32, &[u8], &[u8]) -> ControlFlow<()>,
) -> Result<(), PageWalkError<E>> {
    scan(root, prefix, load, |ordinal, key, value| {
        if !key.starts_with(prefix) {
            return ControlFlow::Break(());
        }
        visit(ordinal, key, value)
    })
}

/// Makes pages out of entries that arrive in order. Besides one page it keeps the first key of every
/// page so far.
#[derive(Debug, Default)]
pub struct PageWriter {
    pending: OpenPage,
    last_key: Option<Vec<u8>>,
    ordinal: u32,
    written: Vec<(Vec<u8>, u32)>,
}

impl PageWriter {
    /// An appendix without entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an entry, and gives back the page that it did not fit into.
    pub fn push(&mut self, key: &[u8], value: &[u8]) -> Result<Option<Vec<u8>>, PageFault> {
        let bytes = 4 + key.len() + 4 + value.len();
        if key.len() > KEY_BYTES_MAX || bytes > CHUNK_BYTES_MAX - HEADER_BYTES {
            return Err(PageFault::EntryTooLarge { bytes });
        }
        if self.last_key.as_deref().is_some_and(|last| last >= key) {
            let key = key.iter().take(80).copied().collect();
            return Err(PageFault::Order { key });
        }
        let full = if self.pending.takes(bytes, 1) { None } else { Some(self.close()?) };
        if self.pending.count == 0 {
            self.pending.first_key = key.to_vec();
        }
        self.pending.body.bytes(key).bytes(value);
        self.pending.count += 1;
        self.last_key = Some(key.to_vec());
        Ok(full)
    }

    /// How many entries' pages are finished so far, in pages.
    pub fn pages(&self) -> u32 {
        self.ordinal
    }

    /// The pages that remain: the last leaf page, then the index; the last of them is the root.
    pub fn finish(mut self) -> Result<Vec<Vec<u8>>, PageFault> {
        let mut pages = vec![self.close()?];
        let mut below = std::mem::take(&mut self.written);
        let mut level = 0;
        while below.len() > 1 {
            level += 1;
            let mut draft = OpenPage::new(level);
            for (key, child) in below {
                if !draft.takes(4 + key.len() + 4, 2) {
                    let full = std::mem::replace(&mut draft, OpenPage::new(level));
                    pages.push(self.number(full)?);
                }
                draft.body.bytes(&key).u32(child);
                draft.count += 1;
                if draft.count == 1 {
                    draft.first_key = key;
                }
            }
            pages.push(self.number(draft)?);
            below = std::mem::take(&mut self.written);
        }
        Ok(pages)
    }

    fn close(&mut self) -> Result<Vec<u8>, PageFault> {
        let draft = std::mem::take(&mut self.pending);
        self.number(draft)
    }

    /// Gives a draft its ordinal, and notes it for the level above.
    fn number(&mut self, draft: OpenPage) -> Result<Vec<u8>, PageFault> {
        let ordinal = self.ordinal;
        self.ordinal = ordinal.checked_add(1).ok_or(PageFault::TooMany)?;
        let mut page = Writer::new();
        page.raw(&MAGIC).u8(draft.level).u32(ordinal).u32(draft.count).raw(&draft.body.finish());
        self.written.push((draft.first_key, ordinal));
        Ok(page.finish())
    }
}

/// A page that still grows.
#[derive(Debug, Default)]
struct OpenPage {
    level: u8,
    count: u32,
    first_key: Vec<u8>,
    body: Writer,
}

impl OpenPage {
    fn new(level: u8) -> Self {
        Self { level, ..Self::default() }
    }

    /// Whether `bytes` more still fit, or have to because the page holds fewer than `least` yet.
    fn takes(&self, bytes: usize, least: u32) -> bool {
        self.count < least || HEADER_BYTES + self.body.len() + bytes <= PAGE_BYTES_MAX
    }
}

#[cfg(test)]
mod tests;
