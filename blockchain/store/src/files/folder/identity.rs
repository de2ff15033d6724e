//! Which store a folder is, and its keys as they lie there.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use zeroize::Zeroizing;

use super::label::{Labels, Lines, label_lines, label_value, parse_label, read_label, write_label};
use super::{KEY_TITLE, KEYS, Options, STORE, STORE_TITLE, keys};
use crate::backend::{Kept, bare_form};
use crate::contract::lock::{Created, Lock};
use crate::crypt::{Secret, random};
use crate::files::disk::{self, Disk};
use crate::{Damage, StoreError};

/// Makes the files of a new store: the keys first, `STORE` last, so a folder with `STORE` is whole.
/// Keys that a start left behind when it was interrupted, or that the operator put there, are kept.
pub(super) fn create(disk: &dyn Disk, options: &Options) -> Result<(), StoreError> {
    let making = || StoreError::io("making a new store");
    disk.create_folder(KEYS).map_err(making())?;
    disk.create_folder("").map_err(making())?;
    let lock = Labels::new(disk);
    keep_or_make(&lock, &format!("{}.key", options.signing_key), "ed25519")?;
    keys::fit(options, options.encrypt)?;
    if options.encrypt {
        keys::keep_or_make(disk, options)?;
    }
    let identity =
        Identity { id: random()?, keyed: options.encrypt, kept: options.given.kept(), copy: None };
    // If another start created the store meanwhile, this one opens it.
    let (Created::Here | Created::There(_)) =
        lock.create(STORE, identity.label(options.service, &options.now).as_bytes())?;
    Ok(())
}

/// The key of this name; a new one if there is none.
pub(super) fn keep_or_make(lock: &dyn Lock, name: &str, kind: &str) -> Result<Secret, StoreError> {
    let new = Zeroizing::new(random::<32>()?);
    let value = label_value(KEY_TITLE, &key_lines(kind, &new));
    let created = lock.create(&disk::join(KEYS, name), value.as_bytes());
    match created.map_err(|error| unusable(error.into()))? {
        Created::Here => Ok(new),
        Created::There(value) => label_lines(&value, KEY_TITLE)
            .map_err(|fault| StoreError::Key(format!("{KEYS}/{name}: {fault}")))
            .and_then(|lines| key_of(&lines, kind).ok_or_else(|| no_key(name, kind)))
            .map_err(unusable),
    }
}

/// Why a key that lies there without its store cannot be used; it is not written over. An error of the operating
/// system stays as it is: it says nothing about the key.
pub(super) fn unusable(why: StoreError) -> StoreError {
    if matches!(why, StoreError::Io { .. }) {
        return why;
    }
    StoreError::Folder(format!(
        "{KEYS}/ holds keys and no {STORE} file is beside it, so they are to be those of a new store, and \
         cannot be: {why}; or move {KEYS}/ away to have new keys made"
    ))
}

/// The line of a label that tells a folder from every other.
const COPY: &str = "copy";

/// What `STORE` says.
pub(super) struct Identity {
    pub(super) id: [u8; 16],
    /// Whether names and payloads are under keys.
    pub(super) keyed: bool,
    /// What is kept where.
    pub(super) kept: Kept,
    /// What tells this folder from every other, where a database serves one folder alone.
    pub(super) copy: Option<[u8; 16]>,
}

impl Identity {
    /// What is written into `STORE`, but for its checksum.
    pub(super) fn label(&self, service: &str, created: &str) -> Zeroizing<String> {
        let form = if self.keyed { "keyed" } else { "plain" };
        let mut lines = vec![
            ("id", hex::encode(self.id)),
            ("service", service.to_owned()),
            ("names", self.kept.names(form)),
            ("created", created.to_owned()),
        ];
        lines.extend(self.kept.lines());
        lines.extend(self.copy.map(|copy| (COPY, hex::encode(copy))));
        let lines: Vec<_> =
            lines.into_iter().map(|(key, value)| (key, Zeroizing::new(value))).collect();
        label_value(STORE_TITLE, &lines)
    }
}

/// Whether names are under keys, as the line of a label says it.
pub(super) fn is_keyed(names: &str) -> Option<bool> {
    match bare_form(names) {
        "keyed" => Some(true),
        "plain" => Some(false),
        _ => None,
    }
}

pub(super) fn read_store(
    disk: &dyn Disk,
    options: &Options,
    damage: &mut Vec<Damage>,
) -> Result<Identity, StoreError> {
    let lines = read_label(disk, "", STORE, STORE_TITLE, damage)?;
    let service = lines.get("service").map_or("", |text| text.as_str());
    if service != options.service {
        return Err(StoreError::Folder(format!(
            "the folder belongs to {service}, not to {}",
            options.service
        )));
    }
    let mut id = [0; 16];
    let text = lines.get("id").map_or("", |text| text.as_str());
    hex::decode_to_slice(text, &mut id)
        .map_err(|_| StoreError::Folder(format!("{STORE} has no store id")))?;
    let newer = |what: &str| {
        StoreError::Folder(format!(
            "{STORE} names no {what}; it was written by a newer version of Lucid: use that version"
        ))
    };
    let keyed = lines.get("names").and_then(|text| is_keyed(text));
    let keyed = keyed.ok_or_else(|| newer("form of names"))?;
    let kept = Kept::read(|line| lines.get(line).map(|text| text.as_str()));
    let kept = kept.ok_or_else(|| newer("place of its log or chunks that is known"))?;
    let copy = lines.get(COPY).and_then(|text| {
        let mut copy = [0; 16];
        hex::decode_to_slice(text.as_str(), &mut copy).ok().map(|()| copy)
    });
    Ok(Identity { id, keyed, kept, copy })
}

/// Whether the store is one without encryption.
pub(super) fn read_plain(disk: &dyn Disk) -> Result<bool, StoreError> {
    let lines = read_label(disk, "", STORE, STORE_TITLE, &mut Vec::new())?;
    Ok(lines.get("names").and_then(|names| is_keyed(names)) == Some(false))
}

/// Which store it is, if `STORE` says so plainly.
pub(crate) fn store_id(disk: &dyn Disk) -> Option<[u8; 16]> {
    let lines = read_label(disk, "", STORE, STORE_TITLE, &mut Vec::new()).ok()?;
    let mut id = [0; 16];
    hex::decode_to_slice(lines.get("id")?.as_str(), &mut id).ok()?;
    Some(id)
}

/// A key's id: tells a wrong key from a damaged one without telling the key.
pub(super) fn key_id(secret: &Secret) -> String {
    hex::encode(blake3::derive_key("lucid-store 2026 key id", secret.as_slice()))
        .chars()
        .take(16)
        .collect()
}

pub(super) fn write_key(
    disk: &dyn Disk,
    name: &str,
    kind: &str,
    key: &Secret,
) -> Result<(), StoreError> {
    write_label(disk, KEYS, name, KEY_TITLE, &key_lines(kind, key))
}

pub(super) fn key_lines(kind: &str, key: &Secret) -> [(&'static str, Zeroizing<String>); 3] {
    [("kind", kind.to_owned()), ("id", key_id(key)), ("secret", BASE64.encode(key.as_slice()))]
        .map(|(key, value)| (key, Zeroizing::new(value)))
}

pub(super) fn read_key(
    disk: &dyn Disk,
    name: &str,
    kind: &str,
    damage: &mut Vec<Damage>,
) -> Result<Secret, StoreError> {
    let lines = read_label(disk, KEYS, name, KEY_TITLE, damage)?;
    key_of(&lines, kind).ok_or_else(|| no_key(name, kind))
}

fn no_key(name: &str, kind: &str) -> StoreError {
    StoreError::Key(format!("{KEYS}/{name} holds no {kind} key; put it back from a copy"))
}

pub(super) fn key_of(lines: &Lines, kind: &str) -> Option<Secret> {
    let bytes = Zeroizing::new(BASE64.decode(lines.get("secret")?).ok()?);
    let secret = Zeroizing::new(<[u8; 32]>::try_from(bytes.as_slice()).ok()?);
    (lines.get("kind")?.as_str() == kind && **lines.get("id")? == key_id(&secret)).then_some(secret)
}

pub(super) fn read_outside_key(path: &Path) -> Result<Secret, StoreError> {
    let text = Zeroizing::new(
        std::fs::read_to_string(path)
            .map_err(StoreError::io(format!("reading the root key {}", path.display())))?,
    );
    parse_label(&text, KEY_TITLE).ok().and_then(|lines| key_of(&lines, "root")).ok_or_else(|| {
        StoreError::Key(format!(
            "{} holds no sound root key; it must be a root.key file as made by `lucid`",
            path.display()
        ))
    })
}
