//! A recording's timeline: where in its bytes each moment is.
//!
//! Appending adds a [`Mark`] whenever one is [`due`]. The bytes from a mark to the next one came in the
//! second that the mark begins, so the bytes of a [`Span`] are those of all marks whose second touches
//! it. [`Span::bytes`] finds them by the pages around the two ends ([`Placed`]): a reader loads those,
//! a checker is shown them in a bundle, and both ask here.
//!
//! Keys are times that sort as bytes, so marks ascend in time; [`due`] makes offsets ascend with
//! them.

use std::ops::Range;

use crate::page::{Page, PageFault};
use crate::wire::{Reader, WireFault, Writer};

/// At most one mark a second: a day's recording has a timeline of some megabytes.
pub const MARK_MICROS_MIN: i64 = 1_000_000;

/// The sign bit, flipped so that times before 1970 sort before those after.
const SIGN: u64 = 1 << 63;

/// A moment and how many bytes had been recorded by then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mark {
    /// Microseconds since 1970.
    pub micros: i64,
    /// Bytes of content before this moment.
    pub offset: u64,
}

impl Mark {
    /// The page key of a moment.
    pub fn key_at(micros: i64) -> [u8; 8] {
        (micros.cast_unsigned() ^ SIGN).to_be_bytes()
    }

    /// The page key of this mark.
    pub fn key(&self) -> [u8; 8] {
        Self::key_at(self.micros)
    }

    /// The page value of this mark.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.u64(self.offset);
        w.finish()
    }

    /// Reads a mark from its page key and value.
    pub fn decode(key: &[u8], value: &[u8]) -> Result<Self, WireFault> {
        let mut r = Reader::new(key);
        let micros = (u64::from_be_bytes(r.array("a mark's time")?) ^ SIGN).cast_signed();
        r.finish()?;
        let mut r = Reader::new(value);
        let offset = r.u64("a mark's offset")?;
        r.finish()?;
        Ok(Self { micros, offset })
    }
}

/// Whether a mark is wanted after `last`: a second has passed, and bytes have come. A clock that was
/// set back marks nothing until it has caught up.
pub fn due(last: Option<&Mark>, next: &Mark) -> bool {
    last.is_none_or(|last| {
        next.micros.saturating_sub(last.micros) >= MARK_MICROS_MIN && next.offset > last.offset
    })
}

/// Why pages do not say where a span's bytes are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimelineFault {
    /// A span that ends where it begins, or before.
    #[error("a span of time ends after it begins")]
    Backwards,
    /// Pages that leave room for another mark, or do not reach an end.
    #[error("the pages shown do not say which mark comes first after a moment")]
    Incomplete,
    /// A page that is none.
    #[error(transparent)]
    Page(#[from] PageFault),
    /// A mark that is none, or one beyond the content.
    #[error("the timeline holds a mark that is not sound")]
    Mark,
}

/// A page of a timeline, and where it stands in the session.
#[derive(Debug, Clone)]
pub struct Placed<'a> {
    page: Page<'a>,
    chunk: u64,
    is_first: bool,
    is_last: bool,
}

impl<'a> Placed<'a> {
    /// Reads a page that is chunk `chunk`; `is_first` and `is_last` of all pages.
    pub fn read(
        bytes: &'a [u8],
        chunk: u64,
        is_first: bool,
        is_last: bool,
    ) -> Result<Self, TimelineFault> {
        Ok(Self { page: Page::decode(bytes)?, chunk, is_first, is_last })
    }

    /// Whether a mark after this moment is on the page.
    pub fn reaches(&self, moment: i64) -> bool {
        let key = Mark::key_at(moment);
        self.page.entries().last().is_some_and(|(last, _)| *last > key.as_slice())
    }
}

/// A span of time, from one moment to before another, in microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Span {
    /// Its first moment.
    pub from: i64,
    /// The moment after its last.
    pub to: i64,
}

impl Span {
    /// The moments behind which the marks stand that begin and end its bytes.
    pub fn bounds(&self) -> [i64; 2] {
        [self.from.saturating_sub(MARK_MICROS_MIN), self.to.saturating_sub(1)]
    }

    /// Which bytes of the content were recorded in it, by the pages around its bounds, in order.
    /// There may be none.
    pub fn bytes(
        &self,
        pages: &[Placed<'_>],
        content_bytes: u64,
    ) -> Result<Range<u64>, TimelineFault> {
        if self.from >= self.to {
            return Err(TimelineFault::Backwards);
        }
        let [before, last] = self.bounds();
        let offset = |after| {
            let mark = first_after(pages, after)?;
            let offset = mark.map_or(content_bytes, |mark| mark.offset);
            if offset <= content_bytes { Ok(offset) } else { Err(TimelineFault::Mark) }
        };
        let (start, end) = (offset(before)?, offset(last)?);
        if start <= end { Ok(start..end) } else { Err(TimelineFault::Mark) }
    }
}

/// The first mark after a moment; `None` if none follows. Pages that leave room for another one are
/// refused: what is found is first only if the entry before it is shown, too, or there is none.
fn first_after(pages: &[Placed<'_>], moment: i64) -> Result<Option<Mark>, TimelineFault> {
    let key = Mark::key_at(moment);
    let mut before: Option<&Placed<'_>> = None;
    for placed in pages {
        let follows =
            before.is_some_and(|before| before.chunk.checked_add(1) == Some(placed.chunk));
        if placed.page.level() > 0 {
            // The pages of the index begin where those of marks end.
            if follows && before.is_some_and(|before| before.page.level() == 0) {
                return Ok(None);
            }
        } else {
            let entries = placed.page.entries();
            let at = entries.partition_point(|(found, _)| *found <= key.as_slice());
            if let Some((found, value)) = entries.get(at) {
                if at == 0 && !placed.is_first && !follows {
                    return Err(TimelineFault::Incomplete);
                }
                return Mark::decode(found, value).map(Some).map_err(|_| TimelineFault::Mark);
            }
            if placed.is_last {
                return Ok(None);
            }
        }
        before = Some(placed);
    }
    Err(TimelineFault::Incomplete)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::page::PageWriter;

    use super::*;

    #[test]
    fn marks_are_a_second_apart_and_move_on() {
        let mark = |micros, offset| Mark { micros, offset };
        assert!(due(None, &mark(0, 0)));
        let last = mark(5_000_000, 10);
        assert!(due(Some(&last), &mark(6_000_000, 11)));
        assert!(!due(Some(&last), &mark(5_999_999, 11)));
        assert!(!due(Some(&last), &mark(7_000_000, 10)));
        assert!(!due(Some(&last), &mark(1_000_000, 11)));
    }

    #[test]
    fn marks_are_frozen() {
        let mark = Mark { micros: 1_700_000_000_000_000, offset: 258 };
        assert_eq!(hex::encode(mark.key()), "80060a24181e4000");
        assert_eq!(hex::encode(mark.encode()), "0201000000000000");
    }

    proptest! {
        #[test]
        fn marks_read_back_and_sort_by_time(a in any::<i64>(), b in any::<i64>(), offset in any::<u64>()) {
            let mark = Mark { micros: a, offset };
            prop_assert_eq!(Mark::decode(&mark.key(), &mark.encode()), Ok(mark));
            prop_assert_eq!(Mark::key_at(a).cmp(&Mark::key_at(b)), a.cmp(&b));
        }

        #[test]
        fn other_lengths_are_refused(key in proptest::collection::vec(any::<u8>(), 0..12), value in proptest::collection::vec(any::<u8>(), 0..12)) {
            let sound = key.len() == 8 && value.len() == 8;
            prop_assert_eq!(Mark::decode(&key, &value).is_ok(), sound);
        }
    }
    const SECOND: i64 = MARK_MICROS_MIN;

    fn pages(marks: &[Mark]) -> Vec<Vec<u8>> {
        let mut writer = PageWriter::new();
        let mut pages = Vec::new();
        for mark in marks {
            pages.extend(writer.push(&mark.key(), &mark.encode()).unwrap());
        }
        pages.extend(writer.finish().unwrap());
        pages
    }

    fn placed(pages: &[Vec<u8>]) -> Vec<Placed<'_>> {
        pages
            .iter()
            .enumerate()
            .map(|(n, bytes)| {
                Placed::read(bytes, 7 + n as u64, n == 0, n + 1 == pages.len()).unwrap()
            })
            .collect()
    }

    #[test]
    fn a_span_has_the_bytes_of_every_second_it_touches() {
        let mark = |second: i64, offset| Mark { micros: second * SECOND, offset };
        let pages = pages(&[mark(180, 0), mark(300, 10), mark(420, 20)]);
        let pages = placed(&pages);
        let bytes = |from: i64, to: i64| {
            Span { from: from * SECOND, to: to * SECOND }.bytes(&pages, 30).unwrap()
        };
        assert_eq!(bytes(180, 420), 0..20);
        assert_eq!(bytes(240, 360), 10..20);
        assert_eq!(bytes(181, 300), 10..10, "a quiet time");
        assert_eq!(bytes(0, 180), 0..0);
        assert_eq!(bytes(0, 181), 0..10);
        assert_eq!(bytes(420, 9_999), 20..30);
        assert_eq!(bytes(421, 9_999), 30..30);
        assert_eq!(
            Span { from: 420 * SECOND + 999_999, to: i64::MAX }.bytes(&pages, 30),
            Ok(20..30)
        );
        assert_eq!(Span { from: 5, to: 5 }.bytes(&pages, 30), Err(TimelineFault::Backwards));
        assert_eq!(
            Span { from: 420 * SECOND, to: i64::MAX }.bytes(&pages, 15),
            Err(TimelineFault::Mark)
        );
    }

    #[test]
    fn pages_that_leave_room_for_another_mark_do_not_do() {
        let marks: Vec<_> =
            (0..6_000).map(|n| Mark { micros: n * SECOND, offset: n as u64 }).collect();
        let all = pages(&marks);
        let all = placed(&all);
        assert!(all.len() > 3, "there are pages of marks and one above them");
        let ends = all.iter().position(|placed| placed.page.level() > 0).unwrap();
        let behind = |n: usize| {
            let (last, _) = *all[n].page.entries().last().unwrap();
            Mark::decode(last, &0u64.to_le_bytes()).unwrap().micros
        };
        for n in 0..ends {
            let moment = behind(n);
            let both = first_after(&all[n..n + 2], moment);
            let wanted = marks.iter().find(|mark| mark.micros > moment).copied();
            assert_eq!(both, Ok(wanted), "page {n} and the one behind it");
            assert_eq!(first_after(&all[n..=n], moment), Err(TimelineFault::Incomplete));
            let alone = first_after(&all[n + 1..=n + 1], moment);
            assert_eq!(alone, Err(TimelineFault::Incomplete), "page {} alone", n + 1);
            assert_eq!(first_after(&all[n..=n], moment - 1).unwrap().unwrap().micros, moment);
        }
        assert_eq!(first_after(&all[..1], -5).unwrap(), Some(marks[0]));
        assert_eq!(first_after(&[], 0), Err(TimelineFault::Incomplete));
    }
}
