//! A folder whose store is in a database: how the database becomes a store, and the folder one of its copies.
//!
//! The root key and the key that signs are in the folder, or where the operator keeps them: each copy is given them, and
//! only `lucid init` makes them, for a store that is new. What else there is of identity and keys is created once in
//! the database, so every copy finds the same: the data keys, wrapped; what signs; the form; and the id last, so a
//! database with an id is a whole store. A start that is killed on the way is run again and goes on.
//!
//! The folder's label is a copy of what the database says, and so is its `data.keys`: what is asked of a folder beside
//! its owner, or before a server, is answered by them.

use std::path::Path;

use lucid_core::sign::SigningKey;
use zeroize::Zeroizing;

use super::identity::{Identity, is_keyed, keep_or_make};
use super::keys::{self, is_there};
use super::label::{Labels, label_lines, label_value};
use super::{KEYS, Options, ROOT_KEY, STORE, STORE_TITLE, StoreId};
use crate::StoreError;
use crate::backend::servers::Servers;
use crate::backend::{Keeper, Kept};
use crate::contract::lock::{Created, Lock};
use crate::crypt::{Secret, random};
use crate::files::disk::{self, Disk};

/// The value that says what the store is, but for its id.
const FORM: &str = "FORM";

/// Makes the database a store, or this folder a copy of the store that it is.
pub(super) fn create(
    disk: &dyn Disk,
    options: &Options,
    servers: &Servers,
    lock: &dyn Lock,
) -> Result<(), StoreError> {
    let Found { there, form } = look(disk, options, servers, lock)?;
    let keyed = form.unwrap_or(options.encrypt);
    let making = || StoreError::io("making a new store");
    disk.create_folder(KEYS).map_err(making())?;
    disk.create_folder("").map_err(making())?;
    let seed = keep_or_make(&Labels::new(disk), &signing_name(options), "ed25519")?;
    if keyed {
        keys::settle_elsewhere(disk, lock, options)?;
    }
    check_signer(options, servers, lock, &seed)?;
    if form.is_none() {
        let form = form_of(options, servers.kept(), keyed);
        lock.create(FORM, form.as_bytes())?;
        // Another start may have been faster, with another form: this one is run again and told so.
        form_there(options, servers, lock)?;
    }
    let id = match there {
        Some(id) => id,
        None => servers.settle(random()?)?,
    };
    let kept = servers.kept();
    let copy = if serves_one(options, kept) { Some(random()?) } else { None };
    let identity = Identity { id, keyed, kept, copy };
    let label = identity.label(options.service, &options.now);
    let (Created::Here | Created::There(_)) = Labels::new(disk).create(STORE, label.as_bytes())?;
    Ok(())
}

/// What a database is, for a folder that is none of its copies yet.
pub(super) struct Found {
    /// The id of its store, if it has one.
    there: Option<[u8; 16]>,
    /// Whether the names of that are under keys, as far as it was made.
    form: Option<bool>,
}

/// Looks at a database that a new folder is to be a copy of, and refuses what cannot be used: nothing is made yet, there
/// or here.
pub(super) fn look(
    disk: &dyn Disk,
    options: &Options,
    servers: &Servers,
    lock: &dyn Lock,
) -> Result<Found, StoreError> {
    let there = servers.store()?;
    check_expected(options, servers, there)?;
    check_bucket(servers, there)?;
    let form = form_there(options, servers, lock)?;
    let keyed = form.unwrap_or(options.encrypt);
    keys::fit(options, keyed)?;
    check_given(disk, options, servers, keyed, there.is_some())?;
    if serves_one(options, servers.kept())
        && let Some(owner) = Owner::read(lock)?
    {
        return Err(owner.refusal(servers));
    }
    if there.is_none() && !servers.is_unused()? {
        return Err(StoreError::Folder(format!(
            "{} has commits and does not say whose they are: it was put back in part; put it back whole, or name \
             another database in MONGO_URL",
            servers.database_title()
        )));
    }
    Ok(Found { there, form })
}

/// Has the database serve this folder alone, if what is in the folder makes it the only one that can be served: the one
/// that asks first is the one. That is known by the folder's label, not by a lease: it may always come back.
pub(super) fn claim(
    root: &Path,
    options: &Options,
    servers: &Servers,
    lock: &dyn Lock,
    identity: &Identity,
) -> Result<(), StoreError> {
    if !serves_one(options, identity.kept) {
        return Ok(());
    }
    let Some(copy) = identity.copy else {
        return Err(StoreError::Folder(format!(
            "{STORE} of {} does not say which folder it is, and {} serves one alone: put {STORE} back from a copy",
            root.display(),
            servers.database_title()
        )));
    };
    let path = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
    let ours = Owner { copy, host: host(), path: path.display().to_string() };
    let owner = match Owner::read(lock)? {
        Some(owner) => owner,
        None => match lock.create(OWNER, ours.value().as_bytes())? {
            Created::Here => return Ok(()),
            Created::There(value) => Owner::of(&value)?,
        },
    };
    if owner.copy == copy { Ok(()) } else { Err(owner.refusal(servers)) }
}

/// Whether the database can serve one folder alone: the one that has the chunks.
fn serves_one(options: &Options, kept: Kept) -> bool {
    options.service == "data-chain" && kept.log == Keeper::MongoDb && kept.chunks == Keeper::Folder
}

/// The value that says whose the database is.
const OWNER: &str = "OWNER";
/// Its title.
const OWNER_TITLE: &str = "lucid-owner/v1";

/// The folder that a database serves alone.
struct Owner {
    copy: [u8; 16],
    /// Where it was when it asked first, for people.
    host: String,
    path: String,
}

/// What this machine is called.
fn host() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    name.chars().filter(|c| !c.is_control()).collect()
}

impl Owner {
    fn value(&self) -> Zeroizing<String> {
        let Self { copy, host, path } = self;
        let path: String = path.chars().filter(|c| !c.is_control()).collect();
        let lines = [("copy", hex::encode(copy)), ("host", host.clone()), ("path", path)]
            .map(|(key, value)| (key, Zeroizing::new(value)));
        label_value(OWNER_TITLE, &lines)
    }

    fn read(lock: &dyn Lock) -> Result<Option<Self>, StoreError> {
        lock.read(OWNER)?.map(|value| Self::of(&value)).transpose()
    }

    fn of(value: &[u8]) -> Result<Self, StoreError> {
        let wrong =
            |why: &str| StoreError::Folder(format!("the value {OWNER} of the database: {why}"));
        let lines = label_lines(value, OWNER_TITLE).map_err(wrong)?;
        let line = |name: &str| lines.get(name).map_or("", |text| text.as_str());
        let mut copy = [0; 16];
        hex::decode_to_slice(line("copy"), &mut copy).map_err(|_| wrong("it names no folder"))?;
        Ok(Self { copy, host: line("host").to_owned(), path: line("path").to_owned() })
    }

    fn refusal(&self, servers: &Servers) -> StoreError {
        let Self { host, path, .. } = self;
        StoreError::Folder(format!(
            "{} serves the folder {path} on {host} alone, which has the chunks: start the service there, or, if that \
             folder is gone, put its {STORE}, {KEYS}/ and chunks/ back from a copy and start with that",
            servers.database_title()
        ))
    }
}

/// Refuses another store than the folder's label says, and a key that signs for another one.
pub(super) fn check(
    options: &Options,
    servers: &Servers,
    lock: &dyn Lock,
    store: [u8; 16],
    seed: &Secret,
) -> Result<(), StoreError> {
    let database = servers.database_title();
    match servers.store()? {
        Some(there) if there == store => check_signer(options, servers, lock, seed),
        Some(there) => Err(StoreError::Folder(format!(
            "{database} has store {}, and the folder is of store {}: name the database of that one in MONGO_URL, or \
             the folder of this one",
            StoreId(there),
            StoreId(store),
        ))),
        None => Err(StoreError::Folder(format!(
            "{database} has no store, and the folder is of store {}: it was emptied, or is another one; name the \
             database of the store in MONGO_URL, or put it back from a copy",
            StoreId(store),
        ))),
    }
}

fn signing_name(options: &Options) -> String {
    format!("{}.key", options.signing_key)
}

fn check_expected(
    options: &Options,
    servers: &Servers,
    there: Option<[u8; 16]>,
) -> Result<(), StoreError> {
    let Some(expected) = &options.expected else { return Ok(()) };
    let (said_by, wanted, database) = (&expected.said_by, expected.id, servers.database_title());
    match there {
        Some(there) if there == wanted.0 => Ok(()),
        Some(there) => Err(StoreError::Folder(format!(
            "{database} has store {}, and {said_by} says that store {wanted} is there: name the database that has it, \
             or set {said_by} to {} if this store is meant",
            StoreId(there),
            StoreId(there),
        ))),
        None => Err(StoreError::Folder(format!(
            "{database} has no store, and {said_by} says that store {wanted} is there: name the database that has it, \
             or unset {said_by} to begin a new store"
        ))),
    }
}

/// A bucket is of this store, or of none yet.
fn check_bucket(servers: &Servers, there: Option<[u8; 16]>) -> Result<(), StoreError> {
    match servers.bucket_of()? {
        Some(bucket) if Some(bucket) != there => Err(StoreError::Folder(format!(
            "{} has chunks of store {}, which is not the one in {}: give this one a bucket or a LUCID_S3_PREFIX of \
             its own",
            servers.titles().pop().unwrap_or_default(),
            StoreId(bucket),
            servers.database_title(),
        ))),
        _ => Ok(()),
    }
}

fn form_of(options: &Options, kept: Kept, keyed: bool) -> Zeroizing<String> {
    let names = if keyed { "keyed" } else { "plain" };
    let mut lines = vec![("service", options.service.to_owned()), ("names", kept.names(names))];
    lines.extend(kept.lines());
    let lines: Vec<_> =
        lines.into_iter().map(|(key, value)| (key, Zeroizing::new(value))).collect();
    label_value(STORE_TITLE, &lines)
}

/// Whether the names of the store that is there are under keys, if it has a form. One of another service, or whose
/// parts are kept otherwise, is refused.
fn form_there(
    options: &Options,
    servers: &Servers,
    lock: &dyn Lock,
) -> Result<Option<bool>, StoreError> {
    let database = servers.database_title();
    let Some(value) = lock.read(FORM)? else { return Ok(None) };
    let lines = label_lines(&value, STORE_TITLE)
        .map_err(|why| StoreError::Folder(format!("the value {FORM} of {database}: {why}")))?;
    let line = |name: &str| lines.get(name).map(|text| text.as_str());
    let service = line("service").unwrap_or_default();
    if service != options.service {
        return Err(StoreError::Folder(format!(
            "{database} belongs to {service}, not to {}: name another database in MONGO_URL",
            options.service
        )));
    }
    let (Some(kept), Some(keyed)) = (Kept::read(line), line("names").and_then(is_keyed)) else {
        return Err(StoreError::newer(format_args!("the store in {database}")));
    };
    if kept != servers.kept() {
        return Err(StoreError::Folder(format!(
            "the store in {database} has {kept}, and this is given {}: set the LUCID_S3_ variables as its first copy \
             has them",
            servers.kept()
        )));
    }
    Ok(Some(keyed))
}

/// Refuses to make keys that are to be given: those of a store that is there, and by who is not there to make any.
fn check_given(
    disk: &dyn Disk,
    options: &Options,
    servers: &Servers,
    keyed: bool,
    is_there_already: bool,
) -> Result<(), StoreError> {
    if options.given.makes_keys && !is_there_already {
        return Ok(());
    }
    let mut missing = Vec::new();
    if !is_there(disk, &signing_name(options))? {
        missing.push(signing_name(options));
    }
    let root_is_given = match (&options.root_key_file, &options.passphrase) {
        (Some(path), _) => path.exists(),
        (None, passphrase) => passphrase.is_some() || is_there(disk, ROOT_KEY)?,
    };
    if keyed && !root_is_given {
        missing.push(ROOT_KEY.to_owned());
    }
    if missing.is_empty() {
        return Ok(());
    }
    let (missing, database) = (missing.join(" and "), servers.database_title());
    Err(StoreError::Key(match is_there_already {
        true => format!(
            "{database} has a store, whose keys are given and not made: put {missing} of its first copy into \
             {KEYS}/ of this folder, or name the root key with LUCID_MASTER_KEY_FILE"
        ),
        false => format!(
            "{database} has no store yet, and the keys of one are given, not made by a start: run `lucid init` with \
             the same variables, or put {missing} into {KEYS}/"
        ),
    }))
}

/// What signs for a store is the same in every copy of it.
fn check_signer(
    options: &Options,
    servers: &Servers,
    lock: &dyn Lock,
    seed: &Secret,
) -> Result<(), StoreError> {
    let name = disk::join(KEYS, &format!("{}.public", options.signing_key));
    let own = SigningKey::from_seed(**seed).public().to_string();
    let there = match lock.read(&name)? {
        Some(there) => there,
        None => match lock.create(&name, own.as_bytes())? {
            Created::Here => return Ok(()),
            Created::There(there) => there,
        },
    };
    if there.as_slice() == own.as_bytes() {
        return Ok(());
    }
    Err(StoreError::Key(format!(
        "{KEYS}/{} is not the key that signs for the store in {}: put that of its first copy into {KEYS}/",
        signing_name(options),
        servers.database_title(),
    )))
}

/// A store that is to be kept in a database from then on.
pub(super) struct Adopted<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) options: &'a Options,
    pub(super) servers: &'a Servers,
    pub(super) lock: &'a dyn Lock,
    pub(super) store: [u8; 16],
    pub(super) keyed: bool,
    pub(super) seed: &'a Secret,
    /// Whether it is only seen that nothing is in the way.
    pub(super) only_look: bool,
}

/// Makes the database the place of a store that is, with its id, its form and its keys, unless it is that already. One
/// that has another store is refused before anything is made.
pub(super) fn adopt(adopted: &Adopted<'_>) -> Result<(), StoreError> {
    let Adopted { disk, options, servers, lock, store, keyed, seed, only_look } = *adopted;
    let database = servers.database_title();
    let there = servers.store()?;
    if let Some(there) = there
        && there != store
    {
        return Err(StoreError::Folder(format!(
            "{database} has store {}, and store {} is to move there: name an empty database in MONGO_URL",
            StoreId(there),
            StoreId(store),
        )));
    }
    check_bucket(servers, Some(store))?;
    let form = form_there(options, servers, lock)?;
    if form.is_some_and(|there| there != keyed) || (there.is_none() && !servers.is_unused()?) {
        return Err(StoreError::Folder(format!(
            "{database} holds something else than a part of store {}: name an empty database in MONGO_URL",
            StoreId(store),
        )));
    }
    if only_look {
        return Ok(());
    }
    check_signer(options, servers, lock, seed)?;
    if keyed {
        keys::give(disk, lock, database)?;
    }
    if form.is_none() {
        let form = form_of(options, servers.kept(), keyed);
        lock.create(FORM, form.as_bytes())?;
    }
    if servers.settle(store)? == store {
        Ok(())
    } else {
        adopt(&Adopted { only_look: true, ..*adopted })
    }
}
