//! What is done to the keys of an encrypted store: a new epoch, another root key, a passphrase.
//!
//! `data.keys` holds the keys that encrypt and name everything, wrapped under the root key; nothing
//! that is stored changes when they are wrapped anew. `DataFolder` opens them with every start,
//! `lucid keys` changes them here.
//!
//! Invariant: regardless of the moment of a crash, a root key that is where it should be opens one of the two
//! copies. A new root key is therefore in `next.key` before anything is wrapped under it, and [`settle`]
//! finishes, or takes back, what was interrupted.
//!
//! In one file because wrapping, rotating and reading keys are the sides of one file, `data.keys`.

mod export;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use zeroize::Zeroizing;

use super::identity::{
    Identity, is_keyed, key_id, key_lines, key_of, read_key, read_outside_key, read_store,
    write_key,
};
use super::label::{
    Labels, Lines, copy_name, label_lines, label_value, neither, parse_label, read_copy,
    with_checksum, write_label,
};
use super::lock::lock;
use super::{
    DATA_KEYS, DATA_KEYS_TITLE, KEY_TITLE, KEYS, OnlyRead, Options, ROOT_KEY, ToRead, is_store,
    link,
};
use crate::backend::servers::Servers;
use crate::backend::{Keeper, Kept};
use crate::contract::lock::{Created, Lock};
use crate::crypt::{self, Keyring, Secret, Unopened, random};
use crate::files::disk::real::RealDisk;
use crate::files::disk::{self, Disk};
use crate::files::log;
use crate::frame::{RecordKind, Scanner, Step};
use crate::{Damage, StoreError};

pub use export::{ExportVerdict, KeyExport, VERIFIED, VERIFIED_TITLE, export_warning, key_export};

/// A new root key, until it is the root key.
const NEXT_KEY: &str = "next.key";
/// The line that says how a passphrase becomes a root key, and the one with its salt.
const KDF: &str = "kdf";
const SALT: &str = "salt";
/// The second recommendation of RFC 9106: 64 MiB, three passes, four lanes.
const RECOMMENDED: Derivation = Derivation { memory_kib: 65_536, passes: 3, lanes: 4 };
/// What a file may ask for at most: beyond it, opening would be an attack.
const MEMORY_KIB_MAX: u32 = 4 << 20;

/// A passphrase, or where it is.
#[derive(Clone, PartialEq, Eq)]
pub enum Passphrase {
    /// In a file; the line's end is no part of it.
    File(PathBuf),
    /// As it was typed.
    Text(Zeroizing<String>),
}

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "Passphrase(in {})", path.display()),
            Self::Text(_) => f.write_str("Passphrase(typed)"),
        }
    }
}

impl Passphrase {
    fn read(&self) -> Result<Zeroizing<String>, StoreError> {
        let text = match self {
            Self::Text(text) => text.clone(),
            Self::File(path) => {
                let read = std::fs::read_to_string(path);
                let context = format!("reading the passphrase {}", path.display());
                let text = Zeroizing::new(read.map_err(StoreError::io(context))?);
                Zeroizing::new(text.trim_end_matches(['\n', '\r']).to_owned())
            }
        };
        match text.is_empty() {
            true => Err(StoreError::Key("an empty passphrase protects nothing".into())),
            false => Ok(text),
        }
    }
}

/// What Argon2id is to cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Derivation {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Derivation {
    fn to_text(self) -> String {
        format!("argon2id m={} t={} p={}", self.memory_kib, self.passes, self.lanes)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix("argon2id ")?.split(' ');
        let mut number = |name: &str| parts.next()?.strip_prefix(name)?.parse().ok();
        let found = Self { memory_kib: number("m=")?, passes: number("t=")?, lanes: number("p=")? };
        let bounded =
            found.memory_kib <= MEMORY_KIB_MAX && found.passes <= 100 && found.lanes <= 64;
        (parts.next().is_none() && bounded && found.to_text() == text).then_some(found)
    }

    fn derive(self, passphrase: &str, salt: &[u8]) -> Result<Secret, StoreError> {
        let wrong = |fault: &dyn std::fmt::Display| {
            StoreError::Key(format!("the passphrase cannot be made a key: {fault}"))
        };
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(32))
            .map_err(|fault| wrong(&fault))?;
        let mut key = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase.as_bytes(), salt, key.as_mut_slice())
            .map_err(|fault| wrong(&fault))?;
        Ok(key)
    }
}

/// Where a root key is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyPlace {
    /// In the folder.
    Folder,
    /// In a file elsewhere.
    File(PathBuf),
    /// In no file: it is derived from a passphrase.
    Passphrase,
}

/// The data keys' file, opened.
pub(super) struct DataKeys {
    lines: Lines,
    root: Secret,
    kept: KeyPlace,
    /// Whether the other copy says something else.
    is_torn: bool,
}

impl DataKeys {
    /// Finds the root key and opens one of the two copies with it.
    pub(super) fn open(
        disk: &dyn Disk,
        options: &Options,
        damage: &mut Vec<Damage>,
    ) -> Result<Self, StoreError> {
        Self::open_copies(read_copies(disk, damage)?, disk, options, damage)
    }

    /// The same of a store whose data keys are values of a database. The folder's own are a copy of them.
    pub(super) fn open_elsewhere(
        lock: &dyn Lock,
        disk: &dyn Disk,
        options: &Options,
        damage: &mut Vec<Damage>,
    ) -> Result<Self, StoreError> {
        Self::open_copies(vec![read_elsewhere(lock)?], disk, options, damage)
    }

    fn open_copies(
        copies: Vec<Lines>,
        disk: &dyn Disk,
        options: &Options,
        damage: &mut Vec<Damage>,
    ) -> Result<Self, StoreError> {
        let mut refused = None;
        let is_torn = copies.windows(2).any(|pair| pair.first() != pair.last());
        for lines in copies {
            match root_of(disk, options, &lines, damage) {
                Ok((root, kept)) => return Ok(Self { lines, root, kept, is_torn }),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        Err(refused.unwrap_or_else(|| StoreError::Key(format!("{KEYS}/{DATA_KEYS} is lost"))))
    }

    fn secret(&self, label: &str) -> Result<Secret, StoreError> {
        let wrapped = self.lines.get(label).and_then(|text| BASE64.decode(text).ok());
        wrapped.and_then(|wrapped| crypt::unwrap(&self.root, label, &wrapped)).ok_or_else(|| {
            StoreError::Key(format!("{KEYS}/{DATA_KEYS}: {label} does not open under the root key"))
        })
    }

    fn secrets(&self) -> Result<Vec<(String, Secret)>, StoreError> {
        let mut labels = vec!["dedup".to_owned()];
        labels.extend(self.epochs()?.into_iter().map(epoch_label));
        labels
            .into_iter()
            .map(|label| {
                let secret = self.secret(&label)?;
                Ok((label, secret))
            })
            .collect()
    }

    fn epochs(&self) -> Result<Vec<u32>, StoreError> {
        let labels = self.lines.keys().filter(|label| label.starts_with("epoch "));
        let mut epochs = labels
            .map(|label| {
                let number = label.trim_start_matches("epoch ").parse();
                number.map_err(|_| {
                    StoreError::Key(format!("{KEYS}/{DATA_KEYS}: {label:?} names no epoch"))
                })
            })
            .collect::<Result<Vec<u32>, _>>()?;
        epochs.sort_unstable();
        Ok(epochs)
    }

    /// A new data key, wrapped: its number, and its line.
    fn next_epoch(&self) -> Result<(u32, String, String), StoreError> {
        let newest = self.epochs()?.last().copied().unwrap_or_default();
        let number = newest
            .checked_add(1)
            .ok_or_else(|| StoreError::Key("there are no more numbers for data keys".into()))?;
        let label = epoch_label(number);
        let wrapped = crypt::wrap(&self.root, &label, &Zeroizing::new(random::<32>()?))?;
        Ok((number, label, BASE64.encode(wrapped)))
    }

    /// The keys, unwrapped.
    pub(super) fn keyring(&self) -> Result<Keyring, StoreError> {
        let mut epochs = BTreeMap::new();
        for number in self.epochs()? {
            epochs.insert(number, self.secret(&epoch_label(number))?);
        }
        Keyring::new(self.secret("dedup")?, epochs)
    }
}

fn epoch_label(number: u32) -> String {
    format!("epoch {number}")
}

/// The value of a database with a further data key.
fn epoch_name(number: u32) -> String {
    disk::join(KEYS, &epoch_label(number))
}

/// The data keys as the database of a store has them: those that it was made with, and each further one.
fn read_elsewhere(lock: &dyn Lock) -> Result<Lines, StoreError> {
    let name = disk::join(KEYS, DATA_KEYS);
    let lines = |name: &str, value: &[u8]| {
        let said = label_lines(value, DATA_KEYS_TITLE);
        said.map_err(|why| StoreError::Key(format!("{name} in the database: {why}")))
    };
    let Some(value) = lock.read(&name)? else {
        return Err(StoreError::Key(format!(
            "{name} is not in the database, and without it no root key opens anything: put the database back whole"
        )));
    };
    let mut keys = lines(&name, &value)?;
    for number in 2.. {
        let name = epoch_name(number);
        let Some(value) = lock.read(&name)? else { break };
        let label = epoch_label(number);
        keys.extend(lines(&name, &value)?.into_iter().filter(|(line, _)| *line == label));
    }
    Ok(keys)
}

/// Creates the data keys of a store in its database, unless they are there, and keeps a copy in the folder.
pub(super) fn settle_elsewhere(
    disk: &dyn Disk,
    lock: &dyn Lock,
    options: &Options,
) -> Result<(), StoreError> {
    let name = disk::join(KEYS, DATA_KEYS);
    if lock.read(&name)?.is_none() {
        // Whoever is faster: what is there then is opened.
        lock.create(&name, value_of(&new_lines(disk, options)?).as_bytes())?;
    }
    let keys = DataKeys::open_elsewhere(lock, disk, options, &mut Vec::new())?;
    keys.keyring()?;
    keep_copy(disk, &keys)
}

/// Keeps a copy of what the database has in the folder, where it is asked for beside the owner, without a server.
pub(super) fn keep_copy(disk: &dyn Disk, keys: &DataKeys) -> Result<(), StoreError> {
    let is_kept = match is_there(disk, DATA_KEYS)? {
        true => read_copies(disk, &mut Vec::new())
            .is_ok_and(|copies| copies.len() == 2 && copies.iter().all(|copy| *copy == keys.lines)),
        false => false,
    };
    if is_kept { Ok(()) } else { write_lines(disk, &keys.lines) }
}

/// Gives a database the wrapped data keys of this folder, whose store moves there. Where it has others, they were
/// changed here since an earlier move began.
pub(super) fn give(disk: &dyn Disk, lock: &dyn Lock, database: &str) -> Result<(), StoreError> {
    let copies = read_copies(disk, &mut Vec::new())?;
    let lines =
        copies.first().ok_or_else(|| StoreError::Key(format!("{KEYS}/{DATA_KEYS} is lost")))?;
    let name = disk::join(KEYS, DATA_KEYS);
    match lock.create(&name, value_of(lines).as_bytes())? {
        Created::Here => return Ok(()),
        Created::There(_) if read_elsewhere(lock)? == *lines => return Ok(()),
        Created::There(_) => {}
    }
    Err(StoreError::Key(format!(
        "{database} has other keys of this store than {KEYS}/{DATA_KEYS}, which changed since an earlier move began: \
         name an empty database in MONGO_URL"
    )))
}

fn value_of(lines: &Lines) -> Zeroizing<String> {
    let lines: Vec<(&str, Zeroizing<String>)> =
        lines.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
    label_value(DATA_KEYS_TITLE, &lines)
}

/// The sound copies of the data keys' file; there is at least one.
fn read_copies(disk: &dyn Disk, damage: &mut Vec<Damage>) -> Result<Vec<Lines>, StoreError> {
    let (mut sound, mut why) = (Vec::new(), Vec::new());
    for name in [DATA_KEYS.to_owned(), copy_name(DATA_KEYS)] {
        match read_copy(disk, &disk::join(KEYS, &name), DATA_KEYS_TITLE)? {
            Ok(lines) => sound.push(lines),
            Err(fault) => {
                why.push(fault.to_string());
                damage.push(fault);
            }
        }
    }
    match sound.is_empty() {
        true => Err(neither(&why)),
        false => Ok(sound),
    }
}

/// The root key that these lines are wrapped under.
fn root_of(
    disk: &dyn Disk,
    options: &Options,
    lines: &Lines,
    damage: &mut Vec<Damage>,
) -> Result<(Secret, KeyPlace), StoreError> {
    let wanted = lines.get("root").map_or("", |text| text.as_str());
    if lines.contains_key(KDF) {
        if options.root_key_file.is_some() {
            return Err(StoreError::Key(
                "the keys of this store are wrapped under a passphrase, so no key file opens it: leave \
                 --key-file (LUCID_MASTER_KEY_FILE) out"
                    .into(),
            ));
        }
        let Some(passphrase) = &options.passphrase else {
            return Err(StoreError::Key(
                "the keys of this store are wrapped under a passphrase: name the file that holds it \
                 with LUCID_PASSPHRASE_FILE"
                    .into(),
            ));
        };
        let key = derived(lines, &passphrase.read()?)?;
        return match key_id(&key) == wanted {
            true => Ok((key, KeyPlace::Passphrase)),
            false => Err(StoreError::Key(
                "the passphrase is not the one that the keys of this store are wrapped under"
                    .into(),
            )),
        };
    }
    if options.passphrase.is_some() {
        return Err(StoreError::Key(
            "the keys of this store are not wrapped under a passphrase: leave --passphrase-file \
             (LUCID_PASSPHRASE_FILE) out, or wrap them with `lucid keys rewrap --passphrase`"
                .into(),
        ));
    }
    let (key, kept) = match &options.root_key_file {
        Some(path) => (read_outside_key(path)?, KeyPlace::File(path.clone())),
        None => {
            if let Some(next) = peek(disk, NEXT_KEY)?.filter(|next| key_id(next) == wanted) {
                return Ok((next, KeyPlace::Folder));
            }
            let elsewhere = |why| format!("{why}, or name the file that has it with --key-file");
            let key = read_key(disk, ROOT_KEY, "root", damage).map_err(|error| match error {
                StoreError::Folder(why) => StoreError::Folder(elsewhere(why)),
                StoreError::Key(why) => StoreError::Key(elsewhere(why)),
                error => error,
            })?;
            (key, KeyPlace::Folder)
        }
    };
    if key_id(&key) == wanted {
        return Ok((key, kept));
    }
    Err(StoreError::Key(format!(
        "the root key is {}, and this store was made under {wanted}: give that key's file",
        key_id(&key)
    )))
}

/// Whether what was given could open a store at all: one with keys, and one of the two ways.
pub(super) fn fit(options: &Options, keyed: bool) -> Result<(), StoreError> {
    let why = match (&options.root_key_file, &options.passphrase) {
        (None, None) => return Ok(()),
        (Some(_), Some(_)) => {
            "a store opens with the key in a file or with a passphrase, and both were given \
             (--key-file, LUCID_MASTER_KEY_FILE; --passphrase-file, LUCID_PASSPHRASE_FILE): leave one out"
        }
        _ if !keyed => {
            "a store without encryption has no keys, so no key file and no passphrase protects it: leave \
             --key-file (LUCID_MASTER_KEY_FILE) and --passphrase-file (LUCID_PASSPHRASE_FILE) out"
        }
        _ => return Ok(()),
    };
    Err(StoreError::Key(why.into()))
}

/// The keys of a new store: those that are there, in both copies, or new ones.
pub(super) fn keep_or_make(disk: &dyn Disk, options: &Options) -> Result<(), StoreError> {
    if !is_there(disk, DATA_KEYS)? {
        return make(disk, options);
    }
    let keys = DataKeys::open(disk, options, &mut Vec::new()).map_err(super::identity::unusable)?;
    keys.keyring().map_err(super::identity::unusable)?;
    if keys.kept == KeyPlace::Folder {
        write_key(disk, ROOT_KEY, "root", &keys.root)?;
    }
    write_lines(disk, &keys.lines)
}

/// Makes the keys of a new store, wrapped as is asked for: a root key is in the folder only if nothing else
/// was.
fn make(disk: &dyn Disk, options: &Options) -> Result<(), StoreError> {
    write_lines(disk, &new_lines(disk, options)?)
}

/// New data keys, wrapped under the root key that is asked for.
fn new_lines(disk: &dyn Disk, options: &Options) -> Result<Lines, StoreError> {
    let mut lines = Lines::new();
    let elsewhere = options.root_key_file.is_some() || options.passphrase.is_some();
    if elsewhere && is_there(disk, ROOT_KEY)? {
        return Err(StoreError::Folder(format!(
            "{KEYS}/{ROOT_KEY} is there, and the keys of the new store are to be under another root: move \
             that file away, or leave the key file and the passphrase out to use it"
        )));
    }
    let root = match (&options.root_key_file, &options.passphrase) {
        (Some(path), _) => outside_key(path)?,
        (None, Some(passphrase)) => under_passphrase(&mut lines, passphrase)?,
        (None, None) => super::identity::keep_or_make(&Labels::new(disk), ROOT_KEY, "root")?,
    };
    lines.insert("root".into(), key_id(&root).into());
    for label in ["dedup".to_owned(), epoch_label(1)] {
        let wrapped = crypt::wrap(&root, &label, &Zeroizing::new(random::<32>()?))?;
        lines.insert(label, BASE64.encode(wrapped).into());
    }
    Ok(lines)
}

/// The key in a file elsewhere, which is made if it is not there.
fn outside_key(path: &Path) -> Result<Secret, StoreError> {
    if path.exists() {
        return read_outside_key(path);
    }
    let root = Zeroizing::new(random::<32>()?);
    write_outside_key(path, &root)?;
    Ok(root)
}

/// The root key that a passphrase makes, with a salt of its own.
fn under_passphrase(lines: &mut Lines, passphrase: &Passphrase) -> Result<Secret, StoreError> {
    lines.insert(KDF.into(), RECOMMENDED.to_text().into());
    lines.insert(SALT.into(), BASE64.encode(random::<16>()?).into());
    derived(lines, &passphrase.read()?)
}

fn derived(lines: &Lines, passphrase: &str) -> Result<Secret, StoreError> {
    let wrong = || {
        StoreError::Key(format!(
            "{KEYS}/{DATA_KEYS} does not say how a passphrase becomes its key; it was written by a \
             newer version of Lucid: use that version"
        ))
    };
    let how = lines.get(KDF).and_then(|text| Derivation::parse(text)).ok_or_else(wrong)?;
    let salt = lines.get(SALT).and_then(|text| BASE64.decode(text).ok()).ok_or_else(wrong)?;
    how.derive(passphrase, &salt)
}

/// A key of the folder, in whichever copy, if it is there and sound.
fn peek(disk: &dyn Disk, name: &str) -> Result<Option<Secret>, StoreError> {
    for name in [name.to_owned(), copy_name(name)] {
        if let Ok(lines) = read_copy(disk, &disk::join(KEYS, &name), KEY_TITLE)?
            && let Some(key) = key_of(&lines, "root")
        {
            return Ok(Some(key));
        }
    }
    Ok(None)
}

/// Whether one of the two copies of a label file is there, sound or not.
pub(super) fn is_there(disk: &dyn Disk, name: &str) -> Result<bool, StoreError> {
    let names = disk.list(KEYS).map_err(StoreError::io(format!("listing {KEYS}/")))?;
    Ok(names.iter().any(|found| found == name || *found == copy_name(name)))
}

fn remove(disk: &dyn Disk, name: &str) -> Result<(), StoreError> {
    for name in [name.to_owned(), copy_name(name)] {
        let path = disk::join(KEYS, &name);
        disk.unlink(&path).map_err(StoreError::io(format!("removing {path}")))?;
    }
    disk.sync_folder(KEYS).map_err(StoreError::io(format!("syncing {KEYS}/")))
}

fn write_lines(disk: &dyn Disk, lines: &Lines) -> Result<(), StoreError> {
    let lines: Vec<(&str, Zeroizing<String>)> =
        lines.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
    write_label(disk, KEYS, DATA_KEYS, DATA_KEYS_TITLE, &lines)
}

/// Finishes what a crash interrupted, in the direction that the copy that opened points to.
pub(super) fn settle(disk: &dyn Disk, keys: &DataKeys) -> Result<(), StoreError> {
    let stale = |name: &str| -> Result<bool, StoreError> {
        if !is_there(disk, name)? {
            return Ok(false);
        }
        let found = peek(disk, name)?;
        Ok(found.is_some_and(|key| key_id(&key) != key_id(&keys.root)))
    };
    let interrupted = is_there(disk, NEXT_KEY)?;
    let left_behind = keys.kept != KeyPlace::Folder && stale(ROOT_KEY)?;
    if !interrupted && !left_behind && !keys.is_torn {
        return Ok(());
    }
    write_lines(disk, &keys.lines)?;
    if keys.kept == KeyPlace::Folder && interrupted {
        write_key(disk, ROOT_KEY, "root", &keys.root)?;
    } else if left_behind {
        remove(disk, ROOT_KEY)?;
    }
    remove(disk, NEXT_KEY)
}

/// What the data keys are to be wrapped under.
#[derive(Debug, Clone)]
pub enum NewRoot {
    /// A root key made now, in the folder.
    Folder,
    /// The key in a file elsewhere, which is made if it is not there.
    File(PathBuf),
    /// A passphrase.
    Passphrase(Passphrase),
}

/// Wraps the data keys anew.
fn rewrap(disk: &dyn Disk, keys: &DataKeys, to: &NewRoot) -> Result<(), StoreError> {
    let mut lines = Lines::new();
    let root = match to {
        NewRoot::Folder => {
            let root = Zeroizing::new(random::<32>()?);
            write_key(disk, NEXT_KEY, "root", &root)?;
            root
        }
        NewRoot::File(path) => outside_key(path)?,
        NewRoot::Passphrase(passphrase) => under_passphrase(&mut lines, passphrase)?,
    };
    lines.insert("root".into(), key_id(&root).into());
    for (label, secret) in keys.secrets()? {
        let wrapped = BASE64.encode(crypt::wrap(&root, &label, &secret)?);
        lines.insert(label, wrapped.into());
    }
    write_lines(disk, &lines)?;
    match to {
        NewRoot::Folder => {
            write_key(disk, ROOT_KEY, "root", &root)?;
            remove(disk, NEXT_KEY)
        }
        _ => remove(disk, ROOT_KEY),
    }
}

/// Adds a data key; new records are encrypted under it, old ones stay as they are.
fn rotate(disk: &dyn Disk, keys: &DataKeys) -> Result<u32, StoreError> {
    let (number, label, wrapped) = keys.next_epoch()?;
    let mut lines = keys.lines.clone();
    lines.insert(label, wrapped.into());
    write_lines(disk, &lines)?;
    Ok(number)
}

/// The newest data key that a fact of the log is encrypted under. Everything that was acknowledged under a key
/// has facts, so chunks need not be looked at.
fn newest_in_use(disk: &dyn Disk, store: &[u8; 16]) -> Result<u32, StoreError> {
    let mut newest = 0;
    for number in log::listed(disk, store, log::FILE_MAX)?.files {
        let path = log::path(number);
        let Ok(file) = disk::find(disk, &path)? else { continue };
        let length = file.length().map_err(StoreError::io(format!("reading {path}")))?;
        let mut scanner = Scanner::new(file.as_ref(), &path, 0, length);
        while let Some(step) = scanner.step()? {
            if let Step::Record(_, header) = step
                && header.kind == RecordKind::Fact
            {
                newest = newest.max(header.epoch);
            }
        }
    }
    Ok(newest)
}

/// Writes a root key where there is no file yet. It has its name when it is whole: half a key would be in
/// the way of the next try, and of no use.
fn write_outside_key(path: &Path, key: &Secret) -> Result<(), StoreError> {
    let text = with_checksum(label_value(KEY_TITLE, &key_lines("root", key)).as_bytes());
    let context = || StoreError::io(format!("writing {}", path.display()));
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    // The file goes when it is dropped, however this ends.
    let mut file = tempfile::NamedTempFile::new_in(parent).map_err(context())?;
    file.write_all(&text).and_then(|()| file.as_file().sync_all()).map_err(context())?;
    file.persist_noclobber(path).map_err(|failed| match failed.error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            StoreError::Key(format!("{} is there already, and is not overwritten", path.display()))
        }
        _ => context()(failed.error),
    })?;
    super::making::sync_above(parent, path).map_err(context())
}

/// What is known of a store's keys without telling them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyListing {
    /// The root key's id.
    pub root: String,
    /// Where it is.
    pub kept: KeyPlace,
    /// The data keys, by number; the last one encrypts.
    pub epochs: Vec<u32>,
}

/// The keys of a folder that nobody uses meanwhile.
pub struct Keys {
    root: PathBuf,
    disk: Arc<dyn Disk>,
    options: Options,
    keyed: bool,
    /// What is kept where: the data keys are where the log is.
    kept: Kept,
    only_read: Option<OnlyRead>,
    _lock: Option<File>,
}

impl Keys {
    /// Locks the folder; no key need be at hand yet.
    pub fn open(root: &Path, options: &Options) -> Result<Self, StoreError> {
        Self::find(root)?;
        let lock = lock(root, options).map_err(|error| StoreError::unwritable(root, error))?;
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(root));
        let Identity { keyed, kept, .. } = read_store(disk.as_ref(), options, &mut Vec::new())?;
        let (root, options, lock) = (root.to_owned(), options.clone(), Some(lock));
        Ok(Self { root, disk, options, keyed, kept, only_read: None, _lock: lock })
    }

    /// Opens the keys of a folder that nothing is written to, to list them.
    pub fn read(root: &Path, options: &Options, to_read: &ToRead) -> Result<Self, StoreError> {
        Self::find(root)?;
        let (only_read, lock) = OnlyRead::begin(root, to_read)?;
        let disk = only_read.disk(root);
        let Identity { keyed, kept, .. } =
            only_read.keys(root, read_store(disk.as_ref(), options, &mut Vec::new()))?;
        only_read.settle();
        let (root, options, only_read) = (root.to_owned(), options.clone(), Some(only_read));
        Ok(Self { root, disk, options, keyed, kept, only_read, _lock: lock })
    }

    fn find(root: &Path) -> Result<(), StoreError> {
        if !is_store(root)? {
            let root = root.display();
            return Err(StoreError::Folder(format!("{root} holds no Lucid store")));
        }
        link::check(root)
    }

    /// What to say of a folder that is only read.
    pub fn only_read(&self) -> Option<&OnlyRead> {
        self.only_read.as_ref()
    }

    /// Whether the store is encrypted at all.
    pub fn is_keyed(&self) -> bool {
        self.keyed
    }

    fn data_keys(&self) -> Result<DataKeys, StoreError> {
        if !self.keyed {
            return Err(StoreError::Key(
                "the store was made without encryption and has no such keys".into(),
            ));
        }
        let keys = DataKeys::open(self.disk.as_ref(), &self.options, &mut Vec::new())?;
        // A key that only has the right id would be found out too late.
        keys.keyring()?;
        if self.only_read.is_none() && self.kept.log == Keeper::Folder {
            settle(self.disk.as_ref(), &keys)?;
        }
        Ok(keys)
    }

    /// The seed of the key that signs what this store makes.
    pub fn signing_seed(&self) -> Result<Secret, StoreError> {
        let name = format!("{}.key", self.options.signing_key);
        read_key(self.disk.as_ref(), &name, "ed25519", &mut Vec::new())
    }

    /// What keys there are.
    pub fn list(&self) -> Result<KeyListing, StoreError> {
        let keys = self.data_keys()?;
        Ok(KeyListing { root: key_id(&keys.root), kept: keys.kept.clone(), epochs: keys.epochs()? })
    }

    /// Adds a data key for all that is new; returns its number.
    pub fn rotate(&self) -> Result<u32, StoreError> {
        if self.kept.log == Keeper::MongoDb {
            return self.rotate_elsewhere();
        }
        let disk = self.disk.as_ref();
        let keys = self.data_keys()?;
        let newest = keys.epochs()?.last().copied().unwrap_or_default();
        let store = read_store(disk, &self.options, &mut Vec::new())?.id;
        // Or two keys would have one number, and neither file would open everything.
        match newest_in_use(disk, &store)? {
            used if used > newest => Err(StoreError::Key(Unopened::NoKey(used).to_string())),
            _ => rotate(disk, &keys),
        }
    }

    /// Adds a data key to those that the database has. Of two that are added at once one is the next for everybody.
    fn rotate_elsewhere(&self) -> Result<u32, StoreError> {
        let options = &self.options;
        options.given.fits(&self.root, self.kept)?;
        let servers = Servers::reach(&options.given, options.service)?;
        let lock = servers.as_ref().and_then(|servers| servers.lock());
        let (Some(servers), Some(lock)) = (servers, lock) else {
            return Err(StoreError::Key("the database of this store cannot be reached".into()));
        };
        let disk = self.disk.as_ref();
        let store = read_store(disk, options, &mut Vec::new())?.id;
        super::elsewhere::check(options, &servers, lock.as_ref(), store, &self.signing_seed()?)?;
        let keys = DataKeys::open_elsewhere(lock.as_ref(), disk, options, &mut Vec::new())?;
        let (number, label, wrapped) = keys.next_epoch()?;
        let lines = [("root".to_owned(), key_id(&keys.root).into()), (label, wrapped.into())];
        let value = value_of(&Lines::from(lines));
        lock.create(&epoch_name(number), value.as_bytes())?;
        let keys = DataKeys::open_elsewhere(lock.as_ref(), disk, options, &mut Vec::new())?;
        keys.keyring()?;
        keep_copy(disk, &keys)?;
        Ok(number)
    }

    /// Writes the root key to a file that is not there yet; returns its id.
    pub fn export(&self, to: &Path) -> Result<String, StoreError> {
        let keys = self.data_keys()?;
        if keys.kept == KeyPlace::Passphrase {
            return Err(StoreError::Key(
                "the keys are wrapped under a passphrase: there is no root key to export".into(),
            ));
        }
        write_outside_key(to, &keys.root)?;
        Ok(key_id(&keys.root))
    }

    /// Puts the root key in a file back into the folder, if it is the one that the store was made
    /// under; `None` if it is another store's.
    pub fn import(&self, from: &Path) -> Result<Option<String>, StoreError> {
        let key = read_outside_key(from)?;
        let id = key_id(&key);
        let disk = self.disk.as_ref();
        let copies = if self.keyed { read_copies(disk, &mut Vec::new())? } else { Vec::new() };
        let under = |lines: &Lines| {
            lines.get("root").is_some_and(|root| **root == id) && !lines.contains_key(KDF)
        };
        let Some(lines) = copies.into_iter().find(under) else { return Ok(None) };
        let keys = DataKeys { lines, root: key, kept: KeyPlace::Folder, is_torn: false };
        keys.keyring()?;
        write_key(disk, ROOT_KEY, "root", &keys.root)?;
        Ok(Some(id))
    }

    /// Wraps the data keys under another root key; nothing that is stored changes. What a database has once stays there,
    /// so those of a store in a database are refused: who has the old root key could open them for ever.
    pub fn rewrap(&self, to: &NewRoot) -> Result<(), StoreError> {
        if self.kept.log == Keeper::MongoDb {
            return Err(StoreError::Key(
                "the data keys of this store are in MongoDB, where what is created stays: to have them under another \
                 root key, move the store into its folder with `lucid migrate`, wrap them there, and move it back"
                    .into(),
            ));
        }
        rewrap(self.disk.as_ref(), &self.data_keys()?, to)
    }
}

/// What the keys of a store open with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpensWith {
    /// A root key, in the folder or in a file elsewhere.
    Key,
    /// A passphrase.
    Passphrase,
    /// Nothing: it was made without encryption.
    Nothing,
}

/// What the keys of a folder open with, so that a passphrase can be asked for in time, and so that of two
/// folders each is given what is its own. `None` if it holds no store, or one that opening will complain of.
pub fn opens_with(root: &Path) -> Option<OpensWith> {
    let read = |path: PathBuf, title| {
        let copy = path.with_file_name(copy_name(path.file_name()?.to_str()?));
        [path, copy].into_iter().find_map(|path| {
            let text = Zeroizing::new(std::fs::read_to_string(path).ok()?);
            parse_label(&text, title).ok()
        })
    };
    let label = read(root.join(super::STORE), super::STORE_TITLE)?;
    if label.get("names").and_then(|names| is_keyed(names)) == Some(false) {
        return Some(OpensWith::Nothing);
    }
    let keys = read(root.join(KEYS).join(DATA_KEYS), DATA_KEYS_TITLE)?;
    Some(if keys.contains_key(KDF) { OpensWith::Passphrase } else { OpensWith::Key })
}

#[cfg(test)]
mod tests;
