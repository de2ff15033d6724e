//! Whether what opens a store was seen to do so outside of it: `lucid keys verify-export` tries a file, and a folder
//! remembers for which root key one was found good.
//!
//! What is remembered names the root key. So it is of no account once the data keys are wrapped under another one,
//! which no older export opens; a new data key is wrapped under the same root key, and changes nothing. Nothing hangs
//! on the file: it is there once, and where it is damaged the export is verified again.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{DataKeys, KDF, KeyPlace, Keys, Passphrase, derived, key_id, read_copies};
use crate::crypt::Secret;
use crate::files::disk::real::RealDisk;
use crate::files::disk::{self, Disk};
use crate::files::folder::identity::{read_outside_key, read_plain};
use crate::files::folder::label::{Lines, label_value, read_copy, with_checksum};
use crate::files::folder::{KEYS, is_store, no_store};
use crate::{Damage, StoreError};

/// The file in `keys/` that says which root key an export was verified of.
pub const VERIFIED: &str = "verified";
/// Its first line.
pub const VERIFIED_TITLE: &str = "lucid-verified-export/v1";

/// What is known of an export of the root key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyExport {
    /// One was found to open the store at this time.
    Verified(String),
    /// None was, of the root key that there is now.
    NotVerified,
    /// There is no root key to export: the keys are wrapped under a passphrase, which every start is given.
    Passphrase,
    /// There is nothing to export: the store is not encrypted.
    NotEncrypted,
    /// It cannot be read whether one was.
    Unknown(String),
}

impl KeyExport {
    /// It in a word.
    pub fn state(&self) -> &'static str {
        match self {
            Self::Verified(_) => "verified",
            Self::NotVerified => "not_verified",
            Self::Passphrase => "passphrase",
            Self::NotEncrypted => "not_encrypted",
            Self::Unknown(_) => "unknown",
        }
    }

    /// When one was verified, if so.
    pub fn verified_at(&self) -> Option<&str> {
        match self {
            Self::Verified(at) => Some(at),
            _ => None,
        }
    }

    /// Why it is not known, if so.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Unknown(why) => Some(why),
            _ => None,
        }
    }

    /// What a folder says of the root key that its data keys are wrapped under.
    pub(in crate::files::folder) fn known(
        disk: &dyn Disk,
        keys: &DataKeys,
        damage: &mut Vec<Damage>,
    ) -> Self {
        Self::of(disk, &keys.lines, damage)
    }

    fn of(disk: &dyn Disk, keys: &Lines, damage: &mut Vec<Damage>) -> Self {
        let path = disk::join(KEYS, VERIFIED);
        let unknown = |error: &dyn std::fmt::Display| Self::Unknown(error.to_string());
        let noted = match disk.open(&path) {
            Ok(None) => None,
            Ok(Some(_)) => match read_copy(disk, &path, VERIFIED_TITLE) {
                Ok(Ok(lines)) => Some(lines),
                Ok(Err(fault)) => {
                    let unknown = unknown(&fault);
                    damage.push(fault);
                    return unknown;
                }
                Err(error) => return unknown(&error),
            },
            Err(error) => return unknown(&error),
        };
        let is_of_this = |lines: &Lines| lines.get("root") == keys.get("root");
        match noted.filter(is_of_this).and_then(|lines| lines.get("at").map(|at| at.to_string())) {
            Some(at) => Self::Verified(at),
            None if keys.contains_key(KDF) => Self::Passphrase,
            None => Self::NotVerified,
        }
    }
}

/// What is known of an export of a folder's root key, beside the folder's owner and without any key.
pub fn key_export(root: &Path) -> Result<KeyExport, StoreError> {
    if !is_store(root)? {
        return Err(no_store(root));
    }
    let disk = RealDisk::for_reading(root);
    if read_plain(&disk)? {
        return Ok(KeyExport::NotEncrypted);
    }
    let copies = read_copies(&disk, &mut Vec::new())?;
    let first = copies.first().map(|keys| KeyExport::of(&disk, keys, &mut Vec::new()));
    Ok(first.unwrap_or(KeyExport::NotVerified))
}

/// What an operator is to be warned of, if anything: of which of these folders no export was verified.
pub fn export_warning(folders: &[(PathBuf, KeyExport)]) -> Option<String> {
    let missing = folders.iter().filter(|(_, export)| *export == KeyExport::NotVerified);
    let missing: Vec<String> = missing.map(|(root, _)| root.display().to_string()).collect();
    let mut sentences: Vec<String> = folders
        .iter()
        .filter_map(|(root, export)| {
            let (root, why) = (root.display(), export.why()?);
            Some(format!(
                "it is not known whether an export of the root key of {root} was verified: {why}"
            ))
        })
        .collect();
    if !missing.is_empty() {
        sentences.push(format!(
            "no export of the root key of {} was verified, and without that key everything under it is lost: while \
             nobody uses the store, run `lucid keys export FILE` (of the chain: --of block-manager) and `lucid keys \
             verify-export FILE`, and keep FILE elsewhere",
            missing.join(" and of ")
        ));
    }
    (!sentences.is_empty()).then(|| sentences.join("; "))
}

/// What a file is to a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExportVerdict {
    /// What is in it opens the store; the id of the root key.
    Opens(String),
    /// It does not, and why.
    Wrong(String),
}

impl Keys {
    /// Whether what is in a file opens the store: an export of the root key, or the passphrase where there is one.
    /// That it does is remembered in the folder.
    pub fn verify_export(&self, from: &Path) -> Result<ExportVerdict, StoreError> {
        if !self.keyed {
            return Err(StoreError::Key(
                "the store was made without encryption and has no root key".into(),
            ));
        }
        let disk = self.disk.as_ref();
        let copies = read_copies(disk, &mut Vec::new())?;
        let mut why = String::new();
        for lines in copies {
            let root = match root_in(from, &lines)? {
                Ok(root) => root,
                Err(wrong) => {
                    why = wrong;
                    continue;
                }
            };
            let id = key_id(&root);
            let keys = DataKeys { lines, root, kept: KeyPlace::File(from.into()), is_torn: false };
            keys.keyring()?;
            self.note_verified(&id)?;
            return Ok(ExportVerdict::Opens(id));
        }
        Ok(ExportVerdict::Wrong(why))
    }

    fn note_verified(&self, root: &str) -> Result<(), StoreError> {
        let lines = [("root", root.to_owned()), ("at", self.options.now.clone())]
            .map(|(key, value)| (key, Zeroizing::new(value)));
        let text = with_checksum(label_value(VERIFIED_TITLE, &lines).as_bytes());
        let written = disk::replace(self.disk.as_ref(), KEYS, VERIFIED, &text);
        written.map_err(StoreError::io(format!("writing {KEYS}/{VERIFIED}")))
    }
}

/// The root key that a file holds, or makes, if it is that of these data keys; else why it is not.
fn root_in(from: &Path, keys: &Lines) -> Result<Result<Secret, String>, StoreError> {
    let wanted = keys.get("root").map_or("", |root| root.as_str());
    let is_passphrase = keys.contains_key(KDF);
    let read = match is_passphrase {
        false => read_outside_key(from),
        true => match Passphrase::File(from.into()).read() {
            Ok(text) => Ok(derived(keys, &text)?),
            Err(error) => Err(error),
        },
    };
    let root = match read {
        Ok(root) => root,
        // What is in it is nothing that could open any store.
        Err(StoreError::Key(why)) => return Ok(Err(why)),
        Err(StoreError::Io { kind: ErrorKind::InvalidData, context, reason }) => {
            return Ok(Err(format!("{context}: {reason}")));
        }
        Err(error) => return Err(error),
    };
    Ok(match (key_id(&root) == wanted, is_passphrase) {
        (true, _) => Ok(root),
        (false, true) => Err("the store opens with another passphrase".to_owned()),
        (false, false) => {
            Err(format!("it holds root key {}, and the store opens with {wanted}", key_id(&root)))
        }
    })
}
