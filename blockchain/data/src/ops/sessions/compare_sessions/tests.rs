use std::collections::{BTreeMap, HashMap};

use lucid_core::catalogue::FileTime;
use lucid_core::digest::{ChunkId, LeafHash};
use lucid_core::page::PageWriter;
use lucid_core::session::Layout;
use parking_lot::Mutex;

use super::*;
use crate::source::Shape;

/// A session in memory, which notes what of it is read.
struct Sample {
    shape: Shape,
    references: Vec<Reference>,
    chunks: HashMap<ChunkId, Vec<u8>>,
    tail: Vec<u8>,
    read: Mutex<Vec<u64>>,
}

impl Sample {
    fn of(layout: Layout, content: &[u8], cut: usize, pages: &[Vec<u8>]) -> Self {
        let (mut references, mut chunks, mut offset) = (Vec::new(), HashMap::new(), 0);
        for bytes in content.chunks(cut).chain(pages.iter().map(Vec::as_slice)) {
            let (index, chunk) = (references.len() as u64, ChunkId::from(blake3::hash(bytes)));
            let length = u32::try_from(bytes.len()).unwrap();
            references.push(Reference {
                index,
                offset,
                length,
                chunk,
                leaf: LeafHash::new([0; 32]),
            });
            chunks.insert(chunk, bytes.to_vec());
            offset += u64::from(length);
        }
        let shape = Shape {
            id: "s".parse().unwrap(),
            layout,
            chunk_count: references.len() as u64,
            content_bytes: content.len() as u64,
            total_bytes: offset,
            ended_at: None,
        };
        Self { shape, references, chunks, tail: Vec::new(), read: Mutex::default() }
    }

    /// A folder of these entries; those that hold something say what.
    fn folder(entries: &BTreeMap<Vec<u8>, (Entry, Vec<u8>)>, cut: usize) -> Self {
        let (mut content, mut writer, mut pages) = (Vec::new(), PageWriter::new(), Vec::new());
        for (entry, bytes) in entries.values() {
            let (offset, length) = match bytes.is_empty() {
                true => (0, 0),
                false => (content.len() as u64, bytes.len() as u64),
            };
            content.extend_from_slice(bytes);
            let entry = Entry { offset, length, ..entry.clone() };
            pages.extend(writer.push(&entry.key(), &entry.encode().unwrap()).unwrap());
        }
        pages.extend(writer.finish().unwrap());
        Self::of(Layout::Tree, &content, cut, &pages)
    }

    fn live(cut_bytes: &[u8], tail: &[u8]) -> Self {
        let mut live = Self::of(Layout::Raw, cut_bytes, 7, &[]);
        live.shape.content_bytes += tail.len() as u64;
        live.tail = tail.to_vec();
        live
    }

    /// Chunks of content, and pages, that were read.
    fn read(&self) -> (usize, usize) {
        let read = std::mem::take(&mut *self.read.lock());
        let of_content =
            |index: &&u64| self.references[**index as usize].offset < self.shape.content_bytes;
        let content = read.iter().filter(of_content).count();
        (content, read.len() - content)
    }
}

impl SessionSource for Sample {
    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn references(&self, start: u64, limit: usize) -> Result<Vec<Reference>, OpError> {
        Ok(self.references.iter().skip(start as usize).take(limit).copied().collect())
    }

    fn chunk(&self, _: &mut Packer, reference: &Reference) -> Result<Vec<u8>, OpError> {
        self.read.lock().push(reference.index);
        Ok(self.chunks[&reference.chunk].clone())
    }

    fn tail_bytes(&self) -> u64 {
        self.tail.len() as u64
    }

    fn tail(&self, range: Range<u64>) -> Result<Cow<'_, [u8]>, OpError> {
        Ok(Cow::Borrowed(&self.tail[range.start as usize..range.end as usize]))
    }
}

type Entries = BTreeMap<Vec<u8>, (Entry, Vec<u8>)>;

fn put(entries: &mut Entries, path: &str, kind: EntryKind, holds: &str) {
    let path = path.as_bytes().to_vec();
    let target = if kind == EntryKind::Symlink { holds.as_bytes().to_vec() } else { Vec::new() };
    let bytes = if kind == EntryKind::File { holds.as_bytes().to_vec() } else { Vec::new() };
    let entry = Entry { path: path.clone(), kind, mode: 0o640, target, ..Entry::bare() };
    entries.insert(catalogue::path_key(&path), (entry, bytes));
}

fn differences(before: &Sample, after: &Sample, below: &str) -> Vec<String> {
    let mut said = Vec::new();
    compare_folders(before, after, below.as_bytes(), &mut |difference| {
        let (sign, entry) = match difference {
            Difference::Added(entry) => ("+".to_owned(), entry),
            Difference::Removed(entry) => ("-".to_owned(), entry),
            Difference::Changed { after, in_what, .. } => {
                let signs = [(in_what.kind, "T"), (in_what.content, "M"), (in_what.metadata, "U")];
                (signs.iter().filter(|(is, _)| *is).map(|(_, sign)| *sign).collect(), after)
            }
        };
        said.push(format!("{sign} {}", String::from_utf8_lossy(&entry.path)));
        ControlFlow::Continue(())
    })
    .unwrap();
    said
}

fn small() -> Entries {
    let mut entries = Entries::new();
    put(&mut entries, "", EntryKind::Folder, "");
    put(&mut entries, "a", EntryKind::Folder, "");
    put(&mut entries, "a/one", EntryKind::File, "one");
    put(&mut entries, "a/two", EntryKind::File, "two");
    put(&mut entries, "a.b", EntryKind::File, "beside");
    put(&mut entries, "link", EntryKind::Symlink, "a/one");
    put(&mut entries, "thing", EntryKind::File, "a file");
    entries
}

#[test]
fn each_difference_is_told_once_in_the_order_of_paths() {
    let before = small();
    let mut after = before.clone();
    after.remove(&catalogue::path_key(b"a/one"));
    put(&mut after, "a/three", EntryKind::File, "three");
    put(&mut after, "a/two", EntryKind::File, "owt");
    put(&mut after, "link", EntryKind::Symlink, "a/two");
    put(&mut after, "thing", EntryKind::Folder, "");
    put(&mut after, "thing/in", EntryKind::File, "inside");
    after.get_mut(b"a.b".as_slice()).unwrap().0.mode = 0o600;
    let other = after.get_mut(b"a".as_slice()).unwrap();
    other.0.modified = FileTime { seconds: 7, nanos: 0 };
    let (one, two) = (Sample::folder(&before, 5), Sample::folder(&after, 5));
    assert_eq!(
        differences(&one, &two, ""),
        ["U a", "- a/one", "+ a/three", "M a/two", "U a.b", "M link", "T thing", "+ thing/in"]
    );
    let back = differences(&two, &one, "");
    assert_eq!(
        back,
        ["U a", "+ a/one", "- a/three", "M a/two", "U a.b", "M link", "T thing", "- thing/in"]
    );
    assert_eq!(differences(&one, &two, "a"), ["U a", "- a/one", "+ a/three", "M a/two"]);
    assert_eq!(differences(&one, &two, "thing"), ["T thing", "+ thing/in"]);
    assert_eq!(differences(&one, &two, "none"), Vec::<String>::new());
}

#[test]
fn what_a_catalogue_was_never_asked_for_is_no_difference() {
    let before = small();
    let mut after = before.clone();
    let (entry, _) = after.get_mut(b"a".as_slice()).unwrap();
    (entry.owner_name, entry.flags) = (b"ann".to_vec(), Some(4));
    let (one, two) = (Sample::folder(&before, 5), Sample::folder(&after, 5));
    assert_eq!(differences(&one, &two, ""), Vec::<String>::new());
    let mut third = after.clone();
    third.get_mut(b"a".as_slice()).unwrap().0.owner_name = b"bob".to_vec();
    assert_eq!(differences(&two, &Sample::folder(&third, 5), ""), ["U a"]);
}

/// A folder with so many files that its catalogue has several pages.
fn large() -> Entries {
    let mut entries = Entries::new();
    put(&mut entries, "", EntryKind::Folder, "");
    for number in 0..4_000 {
        put(
            &mut entries,
            &format!("{number:05}"),
            EntryKind::File,
            &format!("content {number:05}"),
        );
    }
    entries
}

#[test]
fn only_chunks_around_what_changed_are_read() {
    let before = large();
    let one = Sample::folder(&before, 1_000);
    let mut after = before.clone();
    put(&mut after, "02000", EntryKind::File, "CONTENT 02000");
    let two = Sample::folder(&after, 1_000);
    one.read();
    two.read();
    assert_eq!(differences(&one, &two, ""), ["M 02000"]);
    // The file begins in one chunk of a thousand bytes, and others begin or end there.
    assert_eq!((one.read().0, two.read().0), (1, 1));
}

#[test]
fn files_that_moved_within_chunks_are_the_same() {
    let before = large();
    let mut after = before.clone();
    put(&mut after, "00001", EntryKind::File, "longer than it was");
    after.remove(b"03000".as_slice());
    let (one, two) = (Sample::folder(&before, 1_000), Sample::folder(&after, 777));
    assert_eq!(differences(&one, &two, ""), ["M 00001", "- 03000"]);
}

#[test]
fn equal_pages_of_equal_content_are_not_read() {
    let before = large();
    let (one, same) = (Sample::folder(&before, 1_000), Sample::folder(&before, 1_000));
    let leaves = one.references.len() as u64 - one.shape.content_bytes.div_ceil(1_000) - 1;
    assert!(leaves >= 4, "{leaves}");
    one.read();
    same.read();
    assert_eq!(differences(&one, &same, ""), Vec::<String>::new());
    // The root, twice, and the first page.
    assert_eq!((one.read(), same.read()), ((0, 3), (0, 3)));
    let mut after = before.clone();
    after.get_mut(b"00007".as_slice()).unwrap().0.mode = 0o600;
    after.get_mut(b"03999".as_slice()).unwrap().0.mode = 0o600;
    let other = Sample::folder(&after, 1_000);
    other.read();
    assert_eq!(differences(&one, &other, ""), ["U 00007", "U 03999"]);
    // Of the pages between only the index behind them is looked at.
    assert!(other.read().1 < leaves as usize + 3, "nothing was passed over");
}

#[test]
fn recordings_are_compared_as_wholes_regardless_of_their_cuts() {
    let text: Vec<u8> = (0..200).collect();
    let raw = |bytes: &[u8], cut| Sample::of(Layout::Raw, bytes, cut, &[]);
    let same = |one: &Sample, two: &Sample| {
        let both = [have_same_content(one, two).unwrap(), have_same_content(two, one).unwrap()];
        assert_eq!(both[0], both[1]);
        both[0]
    };
    let one = raw(&text, 50);
    assert!(same(&one, &raw(&text, 50)));
    assert_eq!(one.read().0, 0, "equal chunks tell enough");
    assert!(same(&one, &raw(&text, 33)));
    assert!(!same(&one, &raw(&text[1..], 50)));
    let mut other = text.clone();
    other[199] = 0;
    assert!(!same(&one, &raw(&other, 50)));
    assert!(!same(&one, &raw(&other, 33)));
    assert!(same(&one, &Sample::live(&text[..120], &text[120..])));
    assert!(!same(&one, &Sample::live(&other[..120], &other[120..])));
    assert!(same(&Sample::live(&[], &text), &Sample::live(&text, &[])));
    assert!(same(&raw(&[], 5), &raw(&[], 7)));
}
