//! How a reader's chunks are asked for.

use lucid_core::digest::LeafHash;
use parking_lot::Mutex;

use super::*;

const LENGTH: u64 = 10;
const CHUNKS: u64 = 300;

/// A session whose chunks are their index's last byte, ten times, and what was asked of it.
struct Counted {
    shape: Shape,
    /// The first chunk and the one behind the last, of each call.
    asked: Mutex<Vec<(u64, u64)>>,
    /// A chunk that no run gets past.
    broken: Option<u64>,
    /// Whether such a run is refused as a whole.
    refuses: bool,
}

impl Counted {
    fn new(broken: Option<u64>, refuses: bool) -> Self {
        let shape = Shape {
            id: "s".parse().unwrap(),
            layout: Layout::Raw,
            chunk_count: CHUNKS,
            content_bytes: CHUNKS * LENGTH,
            total_bytes: CHUNKS * LENGTH,
            ended_at: None,
        };
        Self { shape, asked: Mutex::default(), broken, refuses }
    }

    /// What was asked for since the last look.
    fn asked(&self) -> Vec<(u64, u64)> {
        std::mem::take(&mut self.asked.lock())
    }
}

fn bytes(index: u64) -> Vec<u8> {
    vec![index as u8; LENGTH as usize]
}

impl SessionSource for Counted {
    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn references(&self, start: u64, limit: usize) -> Result<Vec<Reference>, OpError> {
        let all = (start..CHUNKS).take(limit).map(|index| Reference {
            index,
            offset: index * LENGTH,
            length: LENGTH as u32,
            chunk: blake3::hash(&bytes(index)).into(),
            leaf: LeafHash::new([0; 32]),
        });
        Ok(all.collect())
    }

    fn chunk(&self, _: &mut Packer, reference: &Reference) -> Result<Vec<u8>, OpError> {
        self.asked.lock().push((reference.index, reference.index + 1));
        Ok(bytes(reference.index))
    }

    fn chunks(&self, wanted: &[Reference]) -> Option<ChunkRun<'_>> {
        let (first, last) = (wanted.first()?.index, wanted.last()?.index);
        self.asked.lock().push((first, last + 1));
        let broken = self.broken.filter(|broken| (first..=last).contains(broken));
        if self.refuses && broken.is_some() {
            return None;
        }
        Some(Box::new((first..=last).map(move |index| match broken {
            Some(broken) if broken == index => Err(OpError::Broken("it stops".into())),
            _ => Ok(bytes(index)),
        })))
    }
}

fn read(source: &Counted, cursor: &mut Cursor<'_>, range: Range<u64>) -> Vec<(u64, u64)> {
    let mut all = Vec::new();
    let take = |piece: &[u8]| {
        all.extend_from_slice(piece);
        Ok(())
    };
    cursor.read(range.clone(), take).unwrap();
    let wanted: Vec<u8> = range.map(|at| (at / LENGTH) as u8).collect();
    assert!(all == wanted);
    source.asked()
}

#[test]
fn who_reads_on_is_given_more_and_more_in_one_go_and_nothing_behind_the_range() {
    let source = Counted::new(None, false);
    let mut cursor = Cursor::new(&source);
    let asked = read(&source, &mut cursor, 5..1_505);
    assert_eq!(asked, [(0, 1), (1, 3), (3, 7), (7, 15), (15, 31), (31, 63), (63, 127), (127, 151)]);
    // Going on, it is as if the range had been longer.
    assert_eq!(read(&source, &mut cursor, 1_505..2_000), [(151, 200)]);
    // Elsewhere it begins anew, with one.
    assert_eq!(read(&source, &mut cursor, 100..130), [(10, 11), (11, 13)]);
    assert_eq!(read(&source, &mut cursor, 2_995..3_000), [(299, 300)]);
    // What lies in one chunk is read once.
    assert_eq!(read(&source, &mut cursor, 2_991..2_999), []);
}

#[test]
fn what_a_run_does_not_give_is_asked_for_alone() {
    let source = Counted::new(Some(5), false);
    let mut cursor = Cursor::new(&source);
    let asked = read(&source, &mut cursor, 0..120);
    assert_eq!(asked, [(0, 1), (1, 3), (3, 7), (5, 6), (6, 8), (8, 12)]);
    let source = Counted::new(Some(5), true);
    let mut cursor = Cursor::new(&source);
    let asked = read(&source, &mut cursor, 0..120);
    assert_eq!(
        asked,
        [(0, 1), (1, 3), (3, 7), (3, 4), (4, 6), (4, 5), (5, 7), (5, 6), (6, 8), (8, 12)]
    );
}
