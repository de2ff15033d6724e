//! Recordings: their marks, the timeline they become, and what is said of a writer that is gone.

use std::time::Duration;

use lucid_core::cut::ChunkProfile;
use lucid_core::manifest::{End, Manifest};
use lucid_core::session::SessionId;
use lucid_core::time::Timestamp;
use lucid_core::timeline::{Recorded, Span};
use lucid_data_chain::ops::OpError;
use lucid_data_chain::ops::proofs::prove_session::{manifest_text, named};
use lucid_data_chain::ops::proofs::verify_session::verify_session;
use lucid_data_chain::ops::sessions::append_stream::{StreamPiece, append_stream};
use lucid_data_chain::ops::sessions::get_session::get_session;
use lucid_data_chain::ops::sessions::list_sessions::{SessionFilter, list_sessions};
use lucid_data_chain::ops::sessions::read_session::{StoredSession, read_range};
use lucid_data_chain::ops::sessions::read_timeline::find_span;
use lucid_data_chain::ops::sessions::remove_session::remove_session;
use lucid_data_chain::ops::sessions::seal_session::{SealRequest, seal_session};
use lucid_data_chain::row::{self, SessionName, SessionStage};
use lucid_store::clock::{Clock, ClockDrift, Moment};

use super::store::{KEEPING, NOW, Store, moment};
use crate::sample::noise;

/// Records a piece at each of these seconds after [`NOW`], and seals.
fn record(store: &Store, session: &str, pieces: &[(Option<f64>, &[u8])]) -> SessionId {
    let id = store.begin(session, ChunkProfile::fixed(1_024).unwrap());
    let mut offset = 0;
    for (second, bytes) in pieces {
        offset = store.append_at(&id, offset, bytes, *second).unwrap().offset;
    }
    store.seal(&id);
    id
}

fn between(store: &Store, id: &SessionId, from: f64, to: f64) -> Result<Vec<u8>, OpError> {
    let source = StoredSession::open(&store.vault, id)?;
    let at = |second: f64| NOW.as_micros() + (second * 1e6) as i64;
    let found = find_span(&source, &Span { from: at(from), to: at(to) })?;
    let mut bytes = Vec::new();
    read_range(&source, found.within.bytes, |some| {
        bytes.extend_from_slice(some);
        Ok(())
    })?;
    Ok(bytes)
}

fn manifest(store: &Store, id: &SessionId) -> Manifest {
    let (name, _) = named(&store.vault, id).unwrap();
    Manifest::parse(manifest_text(&store.vault, &name).unwrap().as_bytes()).unwrap()
}

#[test]
fn a_recording_is_found_by_the_clock() {
    let store = Store::new();
    let id = record(
        &store,
        "s",
        &[
            (Some(180.0), b"one "),
            (Some(180.5), b"more "),
            (Some(300.0), b"two "),
            (Some(300.9), b"still two "),
            (Some(420.0), b"three"),
        ],
    );
    let at = |from, to| String::from_utf8(between(&store, &id, from, to).unwrap()).unwrap();
    assert_eq!(at(180.0, 420.0), "one more two still two ");
    assert_eq!(at(240.0, 360.0), "two still two ");
    assert_eq!(at(180.9, 181.0), "one more ");
    assert_eq!(at(190.0, 200.0), "");
    assert_eq!(at(0.0, 9_999.0), "one more two still two three");
    assert!(matches!(between(&store, &id, 9.0, 9.0), Err(OpError::Invalid(_))));
    let manifest = manifest(&store, &id);
    assert_eq!(manifest.content_bytes, 28);
    assert!(manifest.total_bytes > 28 && manifest.chunk_count == 2);
    assert!(verify_session(&store.vault, &id, 1, &|_| true).unwrap().is_sound());
    // The log alone says the same.
    let again = Store::open(&store.disk);
    assert_eq!(again.index.rows(), store.index.rows());
    // Sealing again is answered alike, whichever way chunks are counted.
    for count in [None, Some(1), Some(2)] {
        let request = SealRequest { expected_chunk_count: count, ..SealRequest::default() };
        let Store { vault, locks, key, .. } = &store;
        let row = seal_session(vault, locks, key, KEEPING, moment(NOW), &id, &request);
        assert_eq!(row.unwrap().chunk_count(), 2);
    }
}

/// The bytes, and by how many seconds they may have come earlier or later.
fn told(store: &Store, id: &SessionId, from: f64, to: f64) -> (String, u64) {
    let source = StoredSession::open(&store.vault, id).unwrap();
    let at = |second: f64| NOW.as_micros() + (second * 1e6) as i64;
    let found = find_span(&source, &Span { from: at(from), to: at(to) }).unwrap();
    let bytes = between(store, id, from, to).unwrap();
    (String::from_utf8(bytes).unwrap(), found.within.doubt_seconds())
}

#[test]
fn a_clock_that_was_ahead_while_a_stream_came_hides_nothing_of_it() {
    const AHEAD: f64 = 7_200.0;
    let store = Store::new();
    // Two hours ahead from the beginning on, then set right: the first bytes came at second 0, too.
    let pieces: [(Option<f64>, &[u8]); 4] = [
        (Some(AHEAD), b"one "),
        (Some(AHEAD + 10.0), b"two "),
        (Some(11.0), b"three "),
        (Some(30.0), b"four"),
    ];
    let all = "one two three four";
    let id = record(&store, "s", &pieces);
    for (from, to) in [(0.0, 15.0), (15.0, 40.0), (0.0, 40.0), (AHEAD - 5.0, AHEAD + 40.0)] {
        assert_eq!(told(&store, &id, from, to), (all.into(), 7_200), "{from} to {to}");
    }
    assert_eq!(told(&store, &id, -90_000.0, -80_000.0).0, "", "nothing can have come then");
    assert_eq!(told(&store, &id, 80_000.0, 90_000.0).0, "");
    assert_eq!(Store::open(&store.disk).index.rows(), store.index.rows(), "the log says the same");
    assert!(verify_session(&store.vault, &id, 1, &|_| true).unwrap().is_sound());
}

#[test]
fn a_clock_that_moves_in_the_middle_of_a_stream_makes_its_times_uncertain_by_as_much() {
    let store = Store::new();
    let year_2099 = 2_300_000_000.0;
    let before_1970 = -2_000_000_000.0;
    let a_stream = |session: &str, seconds: [f64; 3]| {
        let pieces: Vec<_> = seconds.iter().map(|second| (Some(*second), &b"some "[..])).collect();
        record(&store, session, &pieces)
    };
    let doubt = |id: &SessionId| told(&store, id, 0.0, 1.0).1;
    assert_eq!(doubt(&a_stream("on", [0.0, 10.0, 20.0])), 0);
    assert_eq!(doubt(&a_stream("ahead", [0.0, year_2099, year_2099 + 5.0])), 0, "nobody sees that");
    assert_eq!(doubt(&a_stream("back", [0.0, 100.0, 40.0])), 61);
    assert_eq!(doubt(&a_stream("little", [0.0, 100.0, 99.5])), 0, "times are exact to a second");
    assert_eq!(doubt(&a_stream("2099", [0.0, year_2099, 20.0])), 2_299_999_981);
    assert_eq!(doubt(&a_stream("1970", [0.0, before_1970, 20.0])), 2_000_000_001);
    assert_eq!(doubt(&a_stream("both", [before_1970, year_2099, 0.0])), 2_300_000_001);
    // Set back after the last bytes and before the seal.
    let id = store.begin("sealed", ChunkProfile::default());
    store.append_at(&id, 0, b"some", Some(500.0)).unwrap();
    let Store { vault, locks, key, .. } = &store;
    let request = SealRequest::default();
    seal_session(vault, locks, key, KEEPING, moment(NOW.plus_seconds(100)), &id, &request).unwrap();
    assert_eq!(told(&store, &id, 95.0, 110.0), ("some".into(), 401));
}

/// Whose clock times a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Times {
    /// Its recorder's, who says when it went back.
    Recorders,
    /// The service's.
    Ours,
}

/// A stream that takes bytes, over which the clock that times it is set.
struct Watched<'a> {
    store: &'a Store,
    id: SessionId,
    times: Times,
    clock: Clock,
    pace: ClockDrift,
    offset: u64,
}

impl<'a> Watched<'a> {
    fn begin(store: &'a Store, session: &str, times: Times) -> Self {
        let id = store.begin(session, ChunkProfile::default());
        let clock = Clock::by_hand(NOW);
        let mut watched = Self { store, id, times, clock, pace: ClockDrift::default(), offset: 0 };
        watched.take();
        watched
    }

    /// So much time passes, and then the clock is set ahead by so many seconds, or back.
    fn after(&mut self, quiet: u64, set: i64) -> &mut Self {
        self.clock.pass(Duration::from_secs(quiet));
        self.clock.turn(self.clock.now().plus_seconds(set));
        self
    }

    /// What the service's clock tells.
    fn moment(&self) -> Moment {
        let now = self.clock.moment();
        match self.times {
            Times::Ours => now,
            Times::Recorders => moment(Timestamp::from_micros(NOW.as_micros() + now.steady)),
        }
    }

    fn take(&mut self) {
        let Store { vault, locks, .. } = self.store;
        let now = self.clock.moment();
        let back = self.pace.went_back(&now);
        let recorded = match self.times {
            Times::Recorders => Some(Recorded { at: now.wall, back }),
            // The first time makes it keep a timeline.
            Times::Ours => (self.offset == 0).then_some(Recorded::on_time(now.wall)),
        };
        let piece = StreamPiece { offset: self.offset, bytes: b"some ", recorded };
        let taken = append_stream(vault, locks, KEEPING, self.moment(), &self.id, piece).unwrap();
        self.offset = taken.offset;
        self.pace.note(back);
    }

    /// Seals, and says by how many seconds the times may be wrong.
    fn doubt(&mut self) -> u64 {
        let Store { vault, locks, key, .. } = self.store;
        let clock_back = match self.times {
            Times::Recorders => self.pace.went_back(&self.clock.moment()),
            Times::Ours => 0,
        };
        let request = SealRequest { clock_back, ..SealRequest::default() };
        seal_session(vault, locks, key, KEEPING, self.moment(), &self.id, &request).unwrap();
        told(self.store, &self.id, 0.0, 1.0).1
    }
}

#[test]
fn a_step_back_after_a_pause_is_not_taken_for_a_shorter_one_nor_for_none() {
    let store = Store::new();
    for times in [Times::Recorders, Times::Ours] {
        let begin = |what: &str| Watched::begin(&store, &format!("{times:?}-{what}"), times);
        let mut by_less = begin("by-less");
        by_less.after(600, -300).take();
        assert_eq!(by_less.doubt(), 301, "{times:?}");
        // It came 600 s after the beginning, though it was told as 300 s: no absence is proved there.
        let around = told(&store, &by_less.id, 595.0, 605.0);
        assert_eq!(around, ("some ".into(), 301), "{times:?}");
        assert_eq!(told(&store, &by_less.id, 903.0, 990.0).0, "", "nothing can have come then");

        let mut by_more = begin("by-more");
        by_more.after(600, -3_600).take();
        by_more.after(10, 0).take();
        assert_eq!(by_more.doubt(), 3_601, "{times:?}");

        let mut twice = begin("twice");
        for _ in 0..2 {
            twice.after(600, -3_600).take();
        }
        assert_eq!(twice.doubt(), 7_201, "{times:?}");

        // Within the second of the mark before.
        let mut soon = begin("soon");
        soon.after(0, -2).take();
        soon.after(100, 0).take();
        assert!((3..=4).contains(&soon.doubt()), "{times:?}");

        let mut sealed = begin("sealed");
        assert_eq!(sealed.after(600, -300).doubt(), 301, "{times:?}: behind the last bytes");
        let mut both = begin("both");
        both.after(600, -300).take();
        assert_eq!(both.after(600, -300).doubt(), 601, "{times:?}: and behind the last bytes");

        for (what, quiet, set) in
            [("pause", 86_400, 0), ("slewed", 600, -1), ("ahead", 600, 3_600), ("asleep", 0, 600)]
        {
            let mut right = begin(what);
            right.after(quiet, set).take();
            assert_eq!(right.doubt(), 0, "{times:?}: {what}");
        }
    }
    let again = Store::open(&store.disk);
    assert_eq!(again.index.rows(), store.index.rows(), "the log alone says the same");
}

#[test]
fn what_is_not_acknowledged_is_said_again_and_whoever_is_removed_leaves_nothing() {
    let store = Store::new();
    let mut stream = Watched::begin(&store, "s", Times::Ours);
    stream.after(600, -300);
    // A piece that goes elsewhere is refused, and the next one still tells of the step.
    let piece = StreamPiece { offset: 99, bytes: b"bytes", recorded: None };
    let Store { vault, locks, key, .. } = &store;
    let refused = append_stream(vault, locks, KEEPING, stream.moment(), &stream.id, piece);
    assert!(matches!(refused, Err(OpError::Offset { .. })));
    stream.take();
    assert_eq!(locks.clock_back(&stream.id, &stream.moment()), 0, "its marks say so");
    stream.after(0, -600);
    assert_eq!(locks.clock_back(&stream.id, &stream.moment()), 900_000_000);
    remove_session(vault, locks, key, (NOW, None), &stream.id, "").unwrap();
    assert_eq!(locks.clock_back(&stream.id, &stream.moment()), 0);
    // A stream without times is not watched.
    let id = store.begin("untimed", ChunkProfile::default());
    store.append(&id, 0, b"bytes").unwrap();
    let back = Moment { wall: NOW, steady: i64::MAX };
    assert_eq!(locks.clock_back(&id, &back), 0);
}

#[test]
fn a_session_without_times_has_no_timeline() {
    let store = Store::new();
    let id = record(&store, "s", &[(None, b"some bytes")]);
    assert_eq!(manifest(&store, &id).appendix, None);
    assert!(matches!(between(&store, &id, 0.0, 1.0), Err(OpError::Conflict(..))));
    let open = store.begin("open", ChunkProfile::default());
    store.append_at(&open, 0, b"bytes", Some(1.0)).unwrap();
    assert!(matches!(between(&store, &open, 0.0, 1.0), Err(OpError::Conflict(..))), "not sealed");
}

#[test]
fn a_long_timeline_has_several_pages_and_every_second_is_found() {
    let store = Store::new();
    let id = store.begin("s", ChunkProfile::fixed(4_096).unwrap());
    for second in 0..6_000u64 {
        let text = format!("{second:05}\n");
        store.append_at(&id, second * 6, text.as_bytes(), Some(second as f64)).unwrap();
    }
    store.seal(&id);
    assert!(manifest(&store, &id).chunk_count > 9 + 3);
    for second in [0, 1, 2_000, 2_729, 2_730, 2_731, 5_459, 5_460, 5_461, 5_999] {
        let from = f64::from(second);
        let found = between(&store, &id, from + 0.000_001, from + 0.9).unwrap();
        assert!(found.ends_with(format!("{second:05}\n").as_bytes()), "{second}: {found:?}");
        assert!(found.len() <= 12);
    }
    assert!(between(&store, &id, 6_001.0, 7_000.0).unwrap().is_empty());
}

#[test]
fn a_timeline_is_sealed_as_a_whole_or_not_at_all() {
    let store = Store::new();
    let id = store.begin("s", ChunkProfile::fixed(1_024).unwrap());
    let content = noise(1, 3_000);
    for (number, piece) in content.chunks(500).enumerate() {
        store.append_at(&id, number as u64 * 500, piece, Some(number as f64 * 2.0)).unwrap();
    }
    let before = store.disk.calls();
    let sealed = store.seal(&id);
    for calls in before..=store.disk.calls() {
        let after = Store::open(&store.disk.after_power_cut(calls, calls as u64));
        let row = get_session(&after.vault, &id).unwrap();
        match &row.sealed {
            None => assert_eq!(row.offset(), 3_000, "no page counts as content"),
            Some(seal) => assert_eq!(Some(seal), sealed.sealed.as_ref()),
        }
        // What is left of the session can still be sealed, to the same content.
        let row = after.seal(&id);
        assert_eq!(row.sealed.map(|seal| seal.content_bytes), Some(3_000));
        assert_eq!(between(&after, &id, 0.0, 99.0).unwrap(), content);
    }
}

#[test]
fn a_silent_stream_is_unterminated_until_it_goes_on_or_is_sealed_as_such() {
    let store = Store::new();
    let id = store.begin("s", ChunkProfile::default());
    let status = |quiet_since: i64| {
        let row = get_session(&store.vault, &id).unwrap();
        row.status(NOW.plus_seconds(quiet_since))
    };
    assert_eq!(status(9_999), SessionStage::Active, "nothing was ever appended");
    store.append_at(&id, 0, b"bytes", Some(10.0)).unwrap();
    assert_eq!((status(10), status(11)), (SessionStage::Active, SessionStage::Unterminated));
    let unterminated = |quiet_since| {
        let filter = SessionFilter {
            status: Some(SessionStage::Unterminated),
            quiet_since: Some(NOW.plus_seconds(quiet_since)),
            ..SessionFilter::default()
        };
        list_sessions(&store.vault, &filter, 9, None).unwrap().sessions.len()
    };
    assert_eq!((unterminated(10), unterminated(11)), (0, 1));
    store.append_at(&id, 5, b" more", Some(20.0)).unwrap();
    assert_eq!(status(11), SessionStage::Active, "it goes on");
    let request = SealRequest { end: End::Unterminated, ..SealRequest::default() };
    let Store { vault, locks, key, .. } = &store;
    let later = moment(NOW.plus_seconds(5_000));
    let row = seal_session(vault, locks, key, KEEPING, later, &id, &request).unwrap();
    assert_eq!(row.sealed.unwrap().end, End::Unterminated);
    assert_eq!(status(9_999), SessionStage::Sealed);
    let manifest = manifest(&store, &id);
    assert_eq!(manifest.end, End::Unterminated);
    assert_eq!(manifest.ended_at, NOW.plus_seconds(20), "that is when the last bytes came");
}

#[test]
fn keystrokes_share_rows_and_lose_nothing() {
    let store = Store::new();
    let id = store.begin("s", ChunkProfile::fixed(16_384).unwrap());
    let content = noise(7, 20_000);
    for (offset, byte) in (0..).zip(&content) {
        store.append(&id, offset, std::slice::from_ref(byte)).unwrap();
        if [1_023, 1_024, 1_025, 16_382].contains(&offset) {
            let source = StoredSession::open_live(&store.vault, &store.locks, &id).unwrap();
            let mut read = Vec::new();
            read_range(&source, 0..offset + 1, |some| {
                read.extend_from_slice(some);
                Ok(())
            })
            .unwrap();
            assert_eq!(read, content[..read.len()]);
        }
    }
    let name = SessionName::of(store.vault.cipher(), &id);
    let rows = row::tail_rows(store.vault.index(), &name).unwrap().len();
    assert!(rows < 8, "{rows} rows hold {} bytes", 20_000 - 16_384);
    store.seal(&id);
    assert!(row::tail_rows(store.vault.index(), &name).unwrap().is_empty());
    assert!(verify_session(&store.vault, &id, 1, &|_| true).unwrap().is_sound());
    assert_eq!(Store::open(&store.disk).index.rows(), store.index.rows());
}
