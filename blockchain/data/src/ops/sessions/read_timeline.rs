//! Where in a recording a span of time is: by the pages of its timeline, read from a folder or a
//! server alike.

use lucid_core::session::Layout;
use lucid_core::time::Timestamp;
use lucid_core::timeline::{Mark, PlacedPage, Span, TimelineFault, Within};

use crate::ops::sessions::read_session::{Pages, reference};
use crate::ops::{Clash, OpError};
use crate::source::{SessionSource, Shape};

/// The bytes of a span, and the chunks of the pages that say so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundSpan {
    /// The bytes of the content, and whether it is known that they came in the span.
    pub within: Within,
    /// The chunks, ascending.
    pub pages: Vec<u64>,
}

/// From when to when there is something in a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeRange {
    /// Its first mark.
    pub from: Timestamp,
    /// Its last mark. What came then came in the second that this begins.
    pub to: Timestamp,
    /// By how many seconds each may be wrong.
    pub doubt_seconds: u64,
}

/// Whether a session keeps a timeline, and is sealed.
fn has_timeline(shape: &Shape) -> bool {
    shape.layout == Layout::Raw && shape.total_bytes > shape.content_bytes
}

/// Finds the first and the last mark of a recording that is sealed; none, if it has no timeline.
pub fn find_time_range(source: &dyn SessionSource) -> Result<Option<TimeRange>, OpError> {
    if !has_timeline(source.shape()) {
        return Ok(None);
    }
    let mut pages = Pages::find(source)?;
    let chunk = pages.first_chunk();
    let (_, first) = pages.leaf_page(&Mark::key_at(i64::MIN))?;
    let (_, last) = pages.leaf_page(&Mark::key_at(i64::MAX))?;
    let read = |bytes| {
        let placed = PlacedPage::read(bytes, chunk, false, false)?;
        let [first, last] = placed.ends()?.ok_or(TimelineFault::Mark)?;
        let at =
            |mark: Mark| Timestamp::from_micros_exactly(mark.micros).ok_or(TimelineFault::Mark);
        Ok((at(first)?, at(last)?, placed.doubt()?.unwrap_or(0)))
    };
    let (from, _, doubt) = read(&first).map_err(unsound)?;
    let (_, to, other) = read(&last).map_err(unsound)?;
    match from <= to && doubt == other {
        true => {
            let doubt_seconds = Within { bytes: 0..0, doubt }.doubt_seconds();
            Ok(Some(TimeRange { from, to, doubt_seconds }))
        }
        false => Err(unsound(TimelineFault::Mark)),
    }
}

/// Finds a span of time in a recording that is sealed.
pub fn find_span(source: &dyn SessionSource, span: &Span) -> Result<FoundSpan, OpError> {
    let shape = source.shape();
    if !has_timeline(shape) {
        return Err(OpError::Conflict(
            Clash::WrongLayout,
            format!(
                "session {} has no timeline: only a recording that was appended to with times has one, \
             once it is sealed",
                shape.id
            ),
        ));
    }
    let mut pages = Pages::find(source)?;
    let first = pages.first_chunk();
    let mut loaded: Vec<(u64, Vec<u8>)> = Vec::new();
    // Any page of marks tells the doubt.
    let (_, any) = pages.leaf_page(&Mark::key_at(span.from))?;
    let doubt = PlacedPage::read(&any, first, false, false).and_then(|placed| placed.doubt());
    for bound in span.bounds(doubt.map_err(unsound)?.unwrap_or(0)) {
        let (ordinal, bytes) = pages.leaf_page(&Mark::key_at(bound))?;
        let chunk = first + u64::from(ordinal);
        // Where the page ends before the moment, the next one shows what follows.
        let reaches =
            PlacedPage::read(&bytes, chunk, false, false).map_err(unsound)?.reaches(bound);
        loaded.push((chunk, bytes));
        if !reaches && chunk + 1 < shape.chunk_count {
            loaded.push((chunk + 1, pages.load(ordinal + 1)?));
        }
    }
    loaded.sort_by_key(|(chunk, _)| *chunk);
    loaded.dedup_by_key(|(chunk, _)| *chunk);
    let placed = loaded
        .iter()
        .map(|(chunk, bytes)| {
            PlacedPage::read(bytes, *chunk, *chunk == first, *chunk + 1 == shape.chunk_count)
        })
        .collect::<Result<Vec<_>, _>>()
        .map_err(unsound)?;
    let within = span.bytes(&placed, shape.content_bytes).map_err(|fault| match fault {
        TimelineFault::Backwards => OpError::Invalid(fault.to_string()),
        _ => unsound(fault),
    })?;
    // What follows the content must be where the session says that its pages begin.
    match reference(source, first)?.offset == shape.content_bytes {
        true => {
            Ok(FoundSpan { within, pages: loaded.into_iter().map(|(chunk, _)| chunk).collect() })
        }
        false => Err(OpError::Unsound("the timeline does not begin where the content ends".into())),
    }
}

fn unsound(fault: TimelineFault) -> OpError {
    OpError::Unsound(format!("the timeline: {fault}"))
}
