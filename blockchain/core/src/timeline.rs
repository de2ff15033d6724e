//! A recording's timeline: where in its bytes each moment is.
//!
//! Appending adds a [`Mark`] whenever one is [`due`]. The bytes from a mark to the next one came in the
//! second that the mark begins, so the bytes of a [`Span`] are those of all marks whose second touches
//! it. [`Span::bytes`] finds them by the pages around the two ends ([`PlacedPage`]): a reader loads those,
//! a checker is shown them in a bundle, and both ask here.
//!
//! Keys are times that sort as bytes, so marks ascend in time; [`due`] makes offsets ascend with
//! them.
//!
//! A clock that goes back while a stream comes was wrong before or after that, and nobody knows since
//! when. So a recorder marks that too, and what it saw at most is the *doubt* of all the timeline's times
//! ([`ClockDoubts`]): every one of its marks carries it, so that no page can be shown without. A span then has
//! all bytes that may have come in it, and is empty only if none can have. The time that such a clock
//! told last, before it went back, does not say how far it went back, since no bytes may have come for
//! hours: the program that read the clock says that ([`Recorded`]), and two marks keep it.
//!
//! In one file because a timeline's format, its search and its proof are one definition; more than a third are its
//! tests.

use std::ops::Range;

use crate::page::{Page, PageFault};
use crate::time::Timestamp;
use crate::wire::{Reader, WireFault, Writer};

/// At most one mark a second: a day's recording has a timeline of some megabytes.
pub const MARK_MICROS_MIN: i64 = 1_000_000;

/// The length of a mark's value with a doubt.
const DOUBTED_BYTES: usize = 16;

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

    /// The page value of this mark, in a timeline of such a doubt, in microseconds. Without doubt it is
    /// what it was before there was any; with it, readers of then refuse it.
    pub fn encode(&self, doubt: u64) -> Vec<u8> {
        let mut w = Writer::new();
        w.u64(self.offset);
        if doubt > 0 {
            w.u64(doubt);
        }
        w.finish()
    }

    /// Reads a mark from its page key and value, and the doubt that it carries.
    pub fn decode(key: &[u8], value: &[u8]) -> Result<(Self, u64), WireFault> {
        let mut r = Reader::new(key);
        let micros = (u64::from_be_bytes(r.array("a mark's time")?) ^ SIGN).cast_signed();
        r.finish()?;
        let mut r = Reader::new(value);
        let offset = r.u64("a mark's offset")?;
        let doubt = match value.len() {
            DOUBTED_BYTES => r.u64("a mark's doubt")?,
            _ => 0,
        };
        r.finish()?;
        match value.len() == DOUBTED_BYTES && doubt == 0 {
            true => Err(WireFault::Invalid { what: "a mark's doubt" }),
            false => Ok((Self { micros, offset }, doubt)),
        }
    }
}

/// Whether a mark is wanted after the one made before: by the clock a second has passed, forwards or
/// backwards, and bytes have come. That the clock went back is told between two of them, too.
pub fn due(last: Option<&Mark>, next: &Mark) -> bool {
    last.is_none_or(|last| {
        let has_more =
            next.offset > last.offset || next.offset == last.offset && next.micros < last.micros;
        next.micros.abs_diff(last.micros) >= MARK_MICROS_MIN.unsigned_abs() && has_more
    })
}

/// When bytes were recorded, by a clock that was watched for going back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Recorded {
    /// What the clock told.
    pub at: Timestamp,
    /// By how many microseconds it has gone back since it told of bytes before, if it has.
    pub back: u64,
}

impl Recorded {
    /// What a clock told that has not gone back.
    pub fn on_time(at: Timestamp) -> Self {
        Self { at, back: 0 }
    }

    /// The marks that bytes at this offset make after the one made before. Where the clock went back they
    /// are two: what it would have told, and what it told.
    pub fn marks(&self, last: Option<&Mark>, offset: u64) -> Vec<Mark> {
        let told = Mark { micros: self.at.as_micros(), offset };
        let without = (self.back > 0).then(|| {
            let on = told.micros.saturating_add_unsigned(self.back);
            // Within the second of the mark before it would not be one.
            let on = last.map_or(on, |last| on.max(last.micros.saturating_add(MARK_MICROS_MIN)));
            Mark { micros: Timestamp::from_micros(on).as_micros(), offset }
        });
        let mut marks = Vec::new();
        for mark in without.into_iter().chain([told]) {
            if due(marks.last().or(last), &mark) {
                marks.push(mark);
            }
        }
        marks
    }
}

/// How far a clock went back, by the moments that it told one after another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClockDoubts {
    latest: Option<i64>,
    most: u64,
}

impl ClockDoubts {
    /// Takes the next moment; whether it is later than all before.
    pub fn take(&mut self, micros: i64) -> bool {
        let Some(latest) = self.latest.filter(|latest| *latest >= micros) else {
            self.latest = Some(micros);
            return true;
        };
        self.went_back(latest, micros);
        false
    }

    /// Notes that the clock told the second moment after the first, which is later. The second that a
    /// mark begins may have passed before that.
    pub fn went_back(&mut self, from: i64, to: i64) {
        self.went_back_by(from.abs_diff(to));
    }

    /// Notes that the clock went back by so many microseconds.
    pub fn went_back_by(&mut self, by: u64) {
        if by > 0 {
            self.most = self.most.max(by.saturating_add(MARK_MICROS_MIN.unsigned_abs()));
        }
    }

    /// The doubt of every time that the clock told, in microseconds.
    pub fn most(&self) -> u64 {
        self.most
    }
}

/// What a timeline says of a span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Within {
    /// The bytes that came in it, or may have; there may be none.
    pub bytes: Range<u64>,
    /// How wrong the clock may have been, in microseconds. Above zero, the bytes may also have come up
    /// to so long before or after the span.
    pub doubt: u64,
}

impl Within {
    /// Whether there are bytes of which nobody knows whether they came in the span.
    pub fn is_doubtful(&self) -> bool {
        self.doubt > 0 && !self.bytes.is_empty()
    }

    /// The doubt in whole seconds.
    pub fn doubt_seconds(&self) -> u64 {
        self.doubt.div_ceil(MARK_MICROS_MIN.unsigned_abs())
    }
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
pub struct PlacedPage<'a> {
    page: Page<'a>,
    chunk: u64,
    is_first: bool,
    is_last: bool,
}

impl<'a> PlacedPage<'a> {
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

    /// The doubt of the timeline, by this page; `None` if there are no marks on it.
    pub fn doubt(&self) -> Result<Option<u64>, TimelineFault> {
        let entries = self.page.entries();
        let Some((key, value)) = entries.first().filter(|_| self.page.level() == 0) else {
            return Ok(None);
        };
        Mark::decode(key, value).map(|(_, doubt)| Some(doubt)).map_err(|_| TimelineFault::Mark)
    }

    /// The first and the last mark on the page; `None` if there are none.
    pub fn ends(&self) -> Result<Option<[Mark; 2]>, TimelineFault> {
        let entries = self.page.entries();
        let ends = entries.first().zip(entries.last()).filter(|_| self.page.level() == 0);
        let Some(((first, first_value), (last, last_value))) = ends else { return Ok(None) };
        let mark = |key: &[u8], value: &[u8]| {
            Mark::decode(key, value).map(|(mark, _)| mark).map_err(|_| TimelineFault::Mark)
        };
        Ok(Some([mark(first, first_value)?, mark(last, last_value)?]))
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
    /// The moments behind which the marks stand that begin and end its bytes, in a timeline of such a
    /// doubt.
    pub fn bounds(&self, doubt: u64) -> [i64; 2] {
        [
            self.from.saturating_sub(MARK_MICROS_MIN).saturating_sub_unsigned(doubt),
            self.to.saturating_sub(1).saturating_add_unsigned(doubt),
        ]
    }

    /// Which bytes of the content were recorded in it, by the pages around its bounds, in order.
    /// There may be none.
    pub fn bytes(
        &self,
        pages: &[PlacedPage<'_>],
        content_bytes: u64,
    ) -> Result<Within, TimelineFault> {
        if self.from >= self.to {
            return Err(TimelineFault::Backwards);
        }
        let mut doubts = Vec::new();
        for placed in pages {
            doubts.extend(placed.doubt()?);
        }
        let doubt = *doubts.first().ok_or(TimelineFault::Incomplete)?;
        if doubts.iter().any(|other| *other != doubt) {
            return Err(TimelineFault::Mark);
        }
        let [before, last] = self.bounds(doubt);
        let offset = |after| {
            let found = first_after(pages, after)?;
            if found.is_some_and(|(_, other)| other != doubt) {
                return Err(TimelineFault::Mark);
            }
            let offset = found.map_or(content_bytes, |(mark, _)| mark.offset);
            if offset <= content_bytes { Ok(offset) } else { Err(TimelineFault::Mark) }
        };
        let (start, end) = (offset(before)?, offset(last)?);
        match start <= end {
            true => Ok(Within { bytes: start..end, doubt }),
            false => Err(TimelineFault::Mark),
        }
    }
}

/// The first mark after a moment; `None` if none follows. Pages that leave room for another one are
/// refused: what is found is first only if the entry before it is shown, too, or there is none.
fn first_after(
    pages: &[PlacedPage<'_>],
    moment: i64,
) -> Result<Option<(Mark, u64)>, TimelineFault> {
    let key = Mark::key_at(moment);
    let mut before: Option<&PlacedPage<'_>> = None;
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
        assert!(due(Some(&last), &mark(4_000_000, 11)), "a clock that went back says so");
        assert!(!due(Some(&last), &mark(4_000_001, 11)));
        assert!(due(Some(&last), &mark(4_000_000, 10)), "also before any bytes come");
        assert!(!due(Some(&last), &mark(4_000_001, 10)));
        assert!(!due(Some(&last), &mark(4_000_000, 9)));
        assert!(due(Some(&mark(i64::MIN, 1)), &mark(i64::MAX, 2)));
    }

    #[test]
    fn bytes_behind_a_step_back_make_two_marks_that_say_how_far_it_was() {
        let mark = |micros, offset| Mark { micros, offset };
        let marks = |at: i64, back: u64, last: Option<Mark>| {
            Recorded { at: Timestamp::from_micros(at), back }.marks(last.as_ref(), 7)
        };
        let last = Some(mark(100 * SECOND, 5));
        assert_eq!(marks(700 * SECOND, 0, last), [mark(700 * SECOND, 7)]);
        assert_eq!(marks(100 * SECOND + 1, 0, last), []);
        // Five minutes back after ten in which nothing came.
        let both = [mark(700 * SECOND, 7), mark(400 * SECOND, 7)];
        assert_eq!(marks(400 * SECOND, 300_000_000, last), both);
        assert_eq!(marks(400 * SECOND, 300_000_000, None), both);
        // In the second of the mark before, and hardly a step.
        let both = [mark(101 * SECOND, 7), mark(99 * SECOND + 300_000, 7)];
        assert_eq!(marks(99 * SECOND + 300_000, 1_200_000, last), both);
        // Told by another clock that was ahead.
        let ahead = Some(mark(900 * SECOND, 5));
        let both = [mark(901 * SECOND, 7), mark(400 * SECOND, 7)];
        assert_eq!(marks(400 * SECOND, 300_000_000, ahead), both);
        // Where time ends.
        let end = Timestamp::from_micros(i64::MAX).as_micros();
        assert_eq!(marks(0, u64::MAX, last), [mark(end, 7), mark(0, 7)]);
        assert_eq!(marks(0, u64::MAX, Some(mark(end, 5))), [mark(0, 7)]);
        for at in [0, 400 * SECOND, 99 * SECOND] {
            for back in [1_000_000, 1_000_001, 7_200_000_000] {
                let mut doubts = ClockDoubts::default();
                doubts.take(100 * SECOND);
                let marks = marks(at, back, last);
                for mark in &marks {
                    doubts.take(mark.micros);
                }
                assert!(doubts.most() > back, "{at} {back}");
                let replayed = marks
                    .iter()
                    .try_fold(last, |last, mark| due(last.as_ref(), mark).then_some(Some(*mark)));
                assert!(replayed.is_some(), "the log is taken as it was written");
            }
        }
    }

    #[test]
    fn a_clock_is_doubted_by_the_most_that_it_went_back() {
        let mut doubts = ClockDoubts::default();
        for (moment, is_latest) in
            [(10, true), (12, true), (12, false), (5, false), (11, false), (13, true)]
        {
            assert_eq!(doubts.take(moment * SECOND), is_latest, "{moment}");
        }
        assert_eq!(doubts.most(), 8_000_000, "and the second that a mark begins");
        assert_eq!(ClockDoubts::default().most(), 0);
        doubts.take(i64::MAX);
        doubts.take(i64::MIN);
        assert_eq!(doubts.most(), u64::MAX);
    }

    #[test]
    fn marks_are_frozen() {
        let mark = Mark { micros: 1_700_000_000_000_000, offset: 258 };
        assert_eq!(hex::encode(mark.key()), "80060a24181e4000");
        assert_eq!(hex::encode(mark.encode(0)), "0201000000000000");
        assert_eq!(hex::encode(mark.encode(3)), "02010000000000000300000000000000");
    }

    proptest! {
        #[test]
        fn marks_read_back_and_sort_by_time(a in any::<i64>(), b in any::<i64>(), offset in any::<u64>(), doubt in 0u64..3) {
            let mark = Mark { micros: a, offset };
            prop_assert_eq!(Mark::decode(&mark.key(), &mark.encode(doubt)), Ok((mark, doubt)));
            prop_assert_eq!(Mark::key_at(a).cmp(&Mark::key_at(b)), a.cmp(&b));
        }

        #[test]
        fn other_lengths_are_refused(key in proptest::collection::vec(any::<u8>(), 0..12), value in proptest::collection::vec(any::<u8>(), 0..20)) {
            let sound = key.len() == 8
                && (value.len() == 8 || value.len() == 16 && value[8..] != [0; 8]);
            prop_assert_eq!(Mark::decode(&key, &value).is_ok(), sound);
        }
    }
    const SECOND: i64 = MARK_MICROS_MIN;

    fn pages(marks: &[Mark]) -> Vec<Vec<u8>> {
        doubted(marks, 0)
    }

    fn doubted(marks: &[Mark], doubt: u64) -> Vec<Vec<u8>> {
        let mut writer = PageWriter::new();
        let mut pages = Vec::new();
        for mark in marks {
            pages.extend(writer.push(&mark.key(), &mark.encode(doubt)).unwrap());
        }
        pages.extend(writer.finish().unwrap());
        pages
    }

    fn placed(pages: &[Vec<u8>]) -> Vec<PlacedPage<'_>> {
        pages
            .iter()
            .enumerate()
            .map(|(n, bytes)| {
                PlacedPage::read(bytes, 7 + n as u64, n == 0, n + 1 == pages.len()).unwrap()
            })
            .collect()
    }

    #[test]
    fn a_span_has_the_bytes_of_every_second_it_touches() {
        let mark = |second: i64, offset| Mark { micros: second * SECOND, offset };
        let pages = pages(&[mark(180, 0), mark(300, 10), mark(420, 20)]);
        let pages = placed(&pages);
        let bytes = |from: i64, to: i64| {
            let span = Span { from: from * SECOND, to: to * SECOND };
            let within = span.bytes(&pages, 30).unwrap();
            assert!(!within.is_doubtful());
            within.bytes
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
            Ok(Within { bytes: 20..30, doubt: 0 })
        );
        assert_eq!(Span { from: 5, to: 5 }.bytes(&pages, 30), Err(TimelineFault::Backwards));
        assert_eq!(
            Span { from: 420 * SECOND, to: i64::MAX }.bytes(&pages, 15),
            Err(TimelineFault::Mark)
        );
    }

    #[test]
    fn in_doubt_a_span_has_whatever_may_have_come_in_it() {
        let mark = |second: i64, offset| Mark { micros: second * SECOND, offset };
        let marks = [mark(180, 0), mark(300, 10), mark(420, 20)];
        let at = |doubt: u64, from: i64, to: i64| {
            let pages = doubted(&marks, doubt);
            let span = Span { from: from * SECOND, to: to * SECOND };
            let within = span.bytes(&placed(&pages), 30).unwrap();
            assert_eq!(within.is_doubtful(), !within.bytes.is_empty());
            within.bytes
        };
        assert_eq!(at(60_000_000, 181, 300), 0..20, "until 360 and from 121 on");
        assert_eq!(at(60_000_000, 482, 999), 30..30, "nothing can have come");
        assert_eq!(at(60_000_000, 0, 120), 0..0);
        assert_eq!(at(60_000_000, 0, 121), 0..10);
        assert_eq!(at(u64::MAX, 5_000_000, 5_000_001), 0..30, "nothing is known");
        // Pages that do not agree cannot be of one timeline.
        let (one, other) = (doubted(&marks, 5), doubted(&marks, 6));
        let both = [placed(&one), placed(&other)].concat();
        assert_eq!(Span { from: 0, to: 9 }.bytes(&both, 30), Err(TimelineFault::Mark));
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
            Mark::decode(last, &0u64.to_le_bytes()).unwrap().0.micros
        };
        for n in 0..ends {
            let moment = behind(n);
            let both = first_after(&all[n..n + 2], moment);
            let wanted = marks.iter().find(|mark| mark.micros > moment).map(|mark| (*mark, 0));
            assert_eq!(both, Ok(wanted), "page {n} and the one behind it");
            assert_eq!(first_after(&all[n..=n], moment), Err(TimelineFault::Incomplete));
            let alone = first_after(&all[n + 1..=n + 1], moment);
            assert_eq!(alone, Err(TimelineFault::Incomplete), "page {} alone", n + 1);
            assert_eq!(first_after(&all[n..=n], moment - 1).unwrap().unwrap().0.micros, moment);
        }
        assert_eq!(first_after(&all[..1], -5).unwrap(), Some((marks[0], 0)));
        assert_eq!(first_after(&[], 0), Err(TimelineFault::Incomplete));
    }
}
