//! Archives that nobody made, restored: nothing outside the folder they are restored into changes.
//!
//! The input is a catalogue whose entries say what they like (names that lead upwards, links, names of
//! links, places beyond the content), on pages that are as they should be or altered, with references that
//! lie about lengths. Beside the target is a folder that everything tries to reach: by a link that was in the
//! target before, by links of the archive, by hard links, by `..`.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use lucid::folder::target::{Options, Target};
use lucid::output::{Output, OutputMode};
use lucid::progress::ProgressLine;
use lucid::restore::{Wishes, restore as put_back};
use lucid_core::catalogue::{Entry, EntryKind, FileTime, Owner};
use lucid_core::digest::LeafHash;
use lucid_core::page::PageWriter;
use lucid_core::session::Layout;
use lucid_data_chain::ops::OpError;
use lucid_data_chain::ops::sessions::chosen::Chosen;
use lucid_data_chain::row::Reference;
use lucid_data_chain::source::{SessionSource, Shape};
use lucid_store::codec::Packer;

use crate::bounds::within;
use crate::draw::{Draw, alter};
use crate::formats::SCRATCH;
use crate::worlds::OURS;

/// A session whose catalogue is the input's.
struct Hostile {
    shape: Shape,
    references: Vec<Reference>,
    chunks: Vec<Vec<u8>>,
}

impl SessionSource for Hostile {
    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn references(&self, start: u64, limit: usize) -> Result<Vec<Reference>, OpError> {
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        Ok(self.references.iter().skip(start).take(limit).copied().collect())
    }

    fn chunk(&self, _: &mut Packer, reference: &Reference) -> Result<Vec<u8>, OpError> {
        let at = usize::try_from(reference.index).unwrap_or(usize::MAX);
        let chunk = self.chunks.get(at).cloned();
        // Every source holds a chunk against its id and its length before it hands it out.
        let chunk = chunk.filter(|chunk| chunk.len() == reference.length as usize);
        chunk.ok_or_else(|| OpError::Missing(vec![reference.chunk]))
    }
}

/// An archive that nobody made: it may fail, and nothing outside its target changes.
pub fn restore(bytes: &[u8]) {
    let mut draw = Draw::new(bytes);
    let Some(source) = hostile(&mut draw) else { return };
    let (overwrite, numeric_owner, sparse) = (draw.flag(), draw.flag(), draw.flag());
    let (trust_times, dry_run) = (draw.flag(), draw.flag());
    let options = Options { overwrite, sync: false, numeric_owner, sparse, trust_times, dry_run };
    let wishes = Wishes { dry_run, delete: draw.flag().then(Vec::new) };
    let paths: Vec<Vec<u8>> = (0..draw.below(3)).map(|_| path(&mut draw)).collect();
    let sandbox = SCRATCH.path().join("restore");
    let laid = lay(&sandbox);
    assert!(laid.is_ok(), "{laid:?}");
    let before = seen(&sandbox);
    let target = Target::create(&sandbox.join("target"), options);
    let Ok(target) = target else { panic!("the target is there") };
    within("restore", bytes.len(), (512, 24 << 20), || {
        let output = Output::new(OutputMode { json: true, quiet: true, ..OutputMode::default() });
        let progress = ProgressLine::start(&output, "restoring", None);
        let _outcome = put_back(&source, target, Chosen::new(&paths), &wishes, &progress);
    });
    let after = seen(&sandbox);
    assert!(before == after, "outside the target: {before:?} became {after:?}");
}

/// The sandbox: a target with something in it, and beside it what must stay.
fn lay(sandbox: &Path) -> io::Result<()> {
    if sandbox.exists() {
        let target = sandbox.join("target");
        open_up(&target);
        fs::remove_dir_all(&target)?;
    } else {
        fs::create_dir_all(sandbox.join("outside/deep"))?;
        fs::write(sandbox.join("outside/file"), b"stays")?;
        fs::write(sandbox.join("outside/deep/file"), b"stays, too")?;
        fs::set_permissions(sandbox.join("outside/file"), fs::Permissions::from_mode(0o640))?;
        fs::write(sandbox.join("beside"), b"stays as well")?;
    }
    fs::create_dir_all(sandbox.join("target/a"))?;
    symlink("../outside", sandbox.join("target/link"))?;
    symlink("../outside/file", sandbox.join("target/name"))?;
    symlink(sandbox.join("outside"), sandbox.join("target/a/far"))?;
    fs::hard_link(sandbox.join("beside"), sandbox.join("target/twin"))
}

/// Folders may have been left as nobody can list them.
fn open_up(folder: &Path) {
    let _best = fs::set_permissions(folder, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}

/// What a file is, but for how many names it has: the target has one of them.
type Seen = Vec<(PathBuf, u32, u64, i64, u32, Vec<u8>)>;

/// Everything outside the target.
fn seen(sandbox: &Path) -> Seen {
    let mut found = Seen::new();
    let mut folders = vec![sandbox.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let Ok(meta) = fs::symlink_metadata(&path) else { continue };
            if path == sandbox.join("target") {
                continue;
            }
            let content = match meta.is_file() {
                true => fs::read(&path).unwrap_or_default(),
                false => Vec::new(),
            };
            found.push((
                path.clone(),
                meta.mode(),
                meta.len(),
                meta.mtime_nsec(),
                meta.uid(),
                content,
            ));
            if meta.is_dir() {
                folders.push(path);
            }
        }
    }
    found.sort();
    found
}

/// A name: of what is in the target, or leads out of it, or anything.
fn path(draw: &mut Draw<'_>) -> Vec<u8> {
    let parts: [&[u8]; 14] = [
        b"a", b"b", b"link", b"name", b"far", b"..", b".", b"", b"/", b"outside", b"file", b"twin",
        b"new", b"deep",
    ];
    let mut path = Vec::new();
    for at in 0..=draw.below(4) {
        if at > 0 {
            path.push(b'/');
        }
        match draw.once_in(12) {
            true => path.extend(draw.bytes(9)),
            false => path.extend(draw.of(&parts).copied().unwrap_or_default()),
        }
    }
    if draw.once_in(16) {
        path = SCRATCH.path().join("restore/outside/file").as_os_str().as_bytes().to_vec();
    }
    path
}

fn entry(draw: &mut Draw<'_>, content_bytes: u64) -> (Vec<u8>, Vec<u8>) {
    let kinds = [
        EntryKind::File,
        EntryKind::File,
        EntryKind::Folder,
        EntryKind::Symlink,
        EntryKind::HardLink,
    ];
    let kind = draw.of(&kinds).copied().unwrap_or(EntryKind::File);
    let (name, length) = (path(draw), u64::from(draw.byte()));
    let mut entry = Entry {
        path: b"x".to_vec(),
        kind,
        mode: draw.short() & 0o7777,
        modified: FileTime {
            seconds: draw.number().cast_signed(),
            nanos: draw.short() % 1_000_000_000,
        },
        owner: Owner::default(),
        ..Entry::bare()
    };
    match kind {
        EntryKind::File => {
            entry.offset = u64::from(draw.short()) % content_bytes.saturating_add(1);
            entry.length = length.min(content_bytes - entry.offset);
            if draw.once_in(12) {
                (entry.offset, entry.length) = (draw.number(), draw.number());
            }
        }
        EntryKind::Symlink | EntryKind::HardLink => entry.target = path(draw),
        EntryKind::Folder => {}
    }
    // The key is the path, sound or not; the value does not repeat it.
    let mut value = entry.encode().unwrap_or_else(|_| draw.bytes(40));
    if draw.once_in(10) {
        value.push(0);
        alter(draw, &mut value);
    }
    let key = name.iter().map(|byte| if *byte == b'/' { 0 } else { *byte }).collect();
    (key, value)
}

fn hostile(draw: &mut Draw<'_>) -> Option<Hostile> {
    let mut chunks: Vec<Vec<u8>> = (0..draw.below(4)).map(|_| draw.filled(200)).collect();
    chunks.retain(|chunk| !chunk.is_empty());
    let content_bytes = chunks.iter().map(Vec::len).sum::<usize>() as u64;
    let mut entries: Vec<_> = (0..draw.below(12)).map(|_| entry(draw, content_bytes)).collect();
    // Most of the time there is a root, or nothing is restored at all.
    let root = Entry { path: Vec::new(), kind: EntryKind::Folder, mode: 0o755, ..Entry::bare() };
    entries.extend(root.encode().ok().map(|value| (root.key(), value)));
    entries.sort();
    entries.dedup_by(|one, other| one.0 == other.0);
    let mut writer = PageWriter::new();
    let mut pages = Vec::new();
    for (key, value) in &entries {
        pages.extend(writer.push(key, value).ok()?);
    }
    pages.extend(writer.finish().ok()?);
    if draw.once_in(8)
        && let Some(page) = pages.first_mut()
    {
        alter(draw, page);
    }
    chunks.extend(pages);
    let mut references = Vec::new();
    let mut offset = 0;
    for (index, chunk) in (0..).zip(&chunks) {
        let mut length = u32::try_from(chunk.len()).ok()?;
        if draw.once_in(24) {
            length = draw.short();
        }
        references.push(Reference {
            index,
            offset: if draw.once_in(24) { draw.number() } else { offset },
            length,
            chunk: blake3::hash(chunk).into(),
            leaf: LeafHash::new([0; 32]),
        });
        offset += chunk.len() as u64;
    }
    let world = OURS.first()?;
    let shape = Shape {
        id: world.manifest.session_id.clone(),
        layout: Layout::Tree,
        chunk_count: if draw.once_in(24) { draw.number() } else { chunks.len() as u64 },
        content_bytes: if draw.once_in(24) { draw.number() } else { content_bytes },
        total_bytes: if draw.once_in(24) { draw.number() } else { offset },
        ended_at: None,
    };
    Some(Hostile { shape, references, chunks })
}
