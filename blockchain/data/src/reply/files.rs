//! What the entries of catalogues, and files that were found, look like on the wire.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lucid_api::v1::files::{FileAcl, FileAttribute, FileEntry, FileKind, name};
use lucid_api::v1::find::{DamagedCatalogue, FindLine, FoundFile};
use lucid_core::catalogue::{AclEntry, AclTag, Entry, EntryKind, FileTime};
use lucid_core::time::Timestamp;

use crate::ops::sessions::find_files::Step;

/// What became known of a search, if it is something.
pub fn find_line(step: &Step<'_>) -> Option<FindLine> {
    Some(match step {
        Step::Found(session, entry) => FindLine::Found(Box::new(FoundFile {
            session_id: session.id.to_string(),
            started_at: session.started_at.to_string(),
            entry: file_entry(entry),
        })),
        Step::Damaged(session, error) => FindLine::Damaged(DamagedCatalogue {
            session_id: session.id.to_string(),
            started_at: session.started_at.to_string(),
            damage: error.to_string(),
        }),
        Step::Looking => return None,
    })
}

fn acl(entries: &[AclEntry]) -> Vec<FileAcl> {
    let shown = entries.iter().map(|entry| {
        let (name, name_base64) = name(&entry.name);
        let is_named = entry.tag.is_named();
        FileAcl {
            tag: match entry.tag {
                AclTag::UserObj | AclTag::User => "user",
                AclTag::GroupObj | AclTag::Group => "group",
                AclTag::Mask => "mask",
                AclTag::Other => "other",
            }
            .to_owned(),
            permissions: entry.permissions,
            id: is_named.then_some(entry.id),
            name: Some(name).filter(|name| !name.is_empty()),
            name_base64,
        }
    });
    shown.collect()
}

/// An entry of a catalogue.
pub fn file_entry(entry: &Entry) -> FileEntry {
    let (path, path_base64) = name(&entry.path);
    let target = Some(&entry.target).filter(|target| !target.is_empty());
    let (target, target_base64) = match target.map(|target| name(target)) {
        Some((target, exact)) => (Some(target), exact),
        None => (None, None),
    };
    let attributes = entry.attributes.iter().map(|(key, value)| {
        let (name, name_base64) = name(key);
        FileAttribute { name, name_base64, value_base64: STANDARD.encode(value) }
    });
    FileEntry {
        path,
        path_base64,
        kind: match entry.kind {
            EntryKind::Folder => FileKind::Directory,
            EntryKind::File => FileKind::File,
            EntryKind::Symlink => FileKind::Symlink,
            EntryKind::HardLink => FileKind::Hardlink,
        },
        mode: entry.mode,
        uid: entry.owner.uid,
        gid: entry.owner.gid,
        user_name: owner(&entry.owner_name),
        group_name: owner(&entry.group_name),
        modified_at: time(entry.modified),
        target,
        target_base64,
        attributes: attributes.collect(),
        access_acl: acl(&entry.access_acl),
        default_acl: acl(&entry.default_acl),
        flags: entry.flags,
        hole_bytes: entry.holes.iter().map(|hole| hole.length).sum(),
        offset: entry.offset,
        length: entry.length,
        changed: entry.changed,
    }
}

fn owner(bytes: &[u8]) -> Option<String> {
    Some(bytes).filter(|bytes| !bytes.is_empty()).map(|bytes| name(bytes).0)
}

/// RFC 3339 with all nine digits, held within the years 1 to 9999.
fn time(time: FileTime) -> String {
    let seconds = Timestamp::from_micros(time.seconds.saturating_mul(1_000_000)).to_string();
    let whole = seconds.split('.').next().unwrap_or_default();
    format!("{whole}.{:09}Z", time.nanos)
}
