//! Bytes, cuts and folders to test with.

use lucid_core::catalogue::{Entry, EntryKind, FileTime, Owner};
use lucid_core::cut::ChunkProfile;
use lucid_core::digest::ChunkId;
use lucid_core::page::PageWriter;

/// Bytes that do not compress, the same for the same seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

/// What an archive makes of a whole stream.
pub fn cut(profile: ChunkProfile, bytes: &[u8]) -> Vec<&[u8]> {
    let (mut rest, mut chunks) = (bytes, Vec::new());
    while let Some(length) = profile.next_cut(rest, true) {
        let (chunk, after) = rest.split_at(length);
        chunks.push(chunk);
        rest = after;
    }
    chunks
}

pub fn id(bytes: &[u8]) -> ChunkId {
    blake3::hash(bytes).into()
}

/// An archived folder: its content, and the pages of its catalogue.
pub struct Folder {
    pub content: Vec<u8>,
    pub entries: Vec<Entry>,
    pub pages: Vec<Vec<u8>>,
}

/// A folder of these files (paths in depth-first order), below a folder `d` and with a link.
pub fn folder(files: &[(&[u8], &[u8])]) -> Folder {
    let mut content = Vec::new();
    let mut entries = vec![entry(b"", EntryKind::Folder)];
    for (path, bytes) in files {
        let offset = content.len() as u64;
        content.extend_from_slice(bytes);
        let length = bytes.len() as u64;
        entries.push(Entry { offset, length, ..entry(path, EntryKind::File) });
    }
    entries.push(Entry { target: files[0].0.to_vec(), ..entry(b"zz-link", EntryKind::Symlink) });
    Folder { content, pages: pages(&entries), entries }
}

/// The pages of a catalogue.
pub fn pages(entries: &[Entry]) -> Vec<Vec<u8>> {
    let mut writer = PageWriter::new();
    let mut pages = Vec::new();
    for entry in entries {
        pages.extend(writer.push(&entry.key(), &entry.encode().unwrap()).unwrap());
    }
    pages.extend(writer.finish().unwrap());
    pages
}

fn entry(path: &[u8], kind: EntryKind) -> Entry {
    Entry {
        path: path.to_vec(),
        kind,
        mode: 0o640,
        modified: FileTime { seconds: 1_700_000_000, nanos: 123_456_789 },
        owner: Owner { uid: 1000, gid: 100 },
        ..Entry::bare()
    }
}
