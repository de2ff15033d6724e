//! Audits `STORE` and the files in `keys/`: two copies each, both sound and both the same; but for the note of an
//! export that was verified, on which nothing hangs.

use super::Audit;
use crate::backend::bare_form;
use crate::files::disk::{self, Disk};
use crate::files::folder::{self, Lines, copy_name, keys, read_copy};
use crate::{Damage, StoreError};

/// Reads both copies of every label file.
pub(super) fn audit(disk: &dyn Disk, found: &mut Audit) -> Result<(), StoreError> {
    let keyed = audit_pair(disk, "", folder::STORE, folder::STORE_TITLE, found)?
        .is_some_and(|lines| lines.get("names").is_some_and(|names| bare_form(names) == "keyed"));
    let names =
        disk.list(folder::KEYS).map_err(StoreError::io(format!("listing {}/", folder::KEYS)))?;
    let mut bases: Vec<String> = Vec::new();
    if keyed {
        // Without it an encrypted store cannot be opened, so it is missed even when both copies are
        // gone. The root key may rightly be elsewhere.
        bases.push(folder::DATA_KEYS.into());
    }
    for name in names {
        found.files += 1;
        if name == keys::VERIFIED {
            let noted = read_copy(disk, &disk::join(folder::KEYS, &name), keys::VERIFIED_TITLE)?;
            found.damage.extend(noted.err());
            continue;
        }
        let base = name.strip_suffix(".copy").unwrap_or(&name);
        if title_of(base).is_none() {
            found.files -= 1;
            found.unknown.push(format!("{}/{name}", folder::KEYS));
        } else if !bases.iter().any(|known| known == base) {
            bases.push(base.to_owned());
        }
    }
    if !bases.iter().any(|base| base.ends_with(".key") && base != folder::ROOT_KEY) {
        found.damage.push(Damage::new(folder::KEYS, 0, "the key that signs is missing"));
    }
    for base in &bases {
        if let Some(title) = title_of(base) {
            audit_pair(disk, folder::KEYS, base, title, found)?;
        }
    }
    Ok(())
}

fn title_of(base: &str) -> Option<&'static str> {
    match base {
        folder::DATA_KEYS => Some(folder::DATA_KEYS_TITLE),
        _ if base.len() > ".key".len() && base.ends_with(".key") => Some(folder::KEY_TITLE),
        _ => None,
    }
}

fn audit_pair(
    disk: &dyn Disk,
    folder: &str,
    name: &str,
    title: &str,
    found: &mut Audit,
) -> Result<Option<Lines>, StoreError> {
    let path = disk::join(folder, name);
    let copy = disk::join(folder, &copy_name(name));
    let mut sound: Option<Lines> = None;
    for path in [&path, &copy] {
        match (read_copy(disk, path, title)?, &sound) {
            (Ok(lines), None) => sound = Some(lines),
            (Ok(lines), Some(first)) if lines != *first => found.damage.push(Damage::new(
                path.as_str(),
                0,
                "the two copies of the file differ",
            )),
            (Ok(_), Some(_)) => {}
            (Err(damage), _) => found.damage.push(damage),
        }
    }
    Ok(sound)
}
