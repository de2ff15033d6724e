//! Folders whose store is in a database, over the scripted server: made, opened again, copied, and refused.

#![cfg(feature = "mongodb")]

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::codec::Packer;
use crate::contract::index::{Changes, Index, Project};
use crate::files::UnopenedStore;
use crate::files::folder::keys::{Keys, NewRoot};
use crate::files::folder::{DataFolder, Expected, Options, StoreId, is_store};
use crate::mongo::scripted::Scripted;
use crate::vault::Vault;
use crate::vault::committer::Submission;

/// Makes a row of every fact.
struct Rows;

impl Project for Rows {
    fn knows(&self, _kind: u8) -> bool {
        true
    }

    fn project(&self, fact: &[u8], changes: &mut Changes<'_>) -> Result<(), StoreError> {
        changes.put([&[0x40], fact].concat(), fact.to_vec());
        Ok(())
    }
}

fn given(url: &str, makes_keys: bool) -> Given {
    Given { mongo: Some(MongoAt::new("MONGO_URL", url)), makes_keys, ..Given::default() }
}

/// How a block-manager opens its folder: it has no chunks.
fn options(given: Given) -> Options {
    Options {
        service: "block-manager",
        signing_key: "block",
        create: true,
        expected: None,
        encrypt: true,
        root_key_file: None,
        passphrase: None,
        owner: "a test".into(),
        reserve: Default::default(),
        now: "2026-01-01T00:00:00Z".into(),
        given,
    }
}

fn open(root: &Path, options: &Options) -> Result<(DataFolder, Vault), StoreError> {
    join(DataFolder::open(root, options)?, false)
}

fn join(folder: DataFolder, accept_loss: bool) -> Result<(DataFolder, Vault), StoreError> {
    let join = |index: Arc<dyn Index>| {
        let unopened = UnopenedStore {
            disk: folder.disk.clone(),
            store: folder.store,
            cipher: folder.cipher.clone(),
            index,
            project: Arc::new(Rows),
            accept_loss,
            limits: Default::default(),
        };
        opening::open_without_chunks(&folder, unopened)
    };
    let vault = folder.join(join, |error: &StoreError| Some(error))?;
    Ok((folder, vault))
}

/// Opens a folder with an index that is made anew, and goes on with what the database has.
fn accept_loss(root: &Path, options: &Options) -> (DataFolder, Vault) {
    let folder = DataFolder::open(root, options).unwrap();
    folder.remove_index().unwrap();
    join(folder, true).unwrap()
}

#[test]
fn older_data_is_refused_until_its_loss_is_accepted_and_then_other_folders_make_their_index_anew() {
    let (server, home) = (Scripted::start(), tempfile::tempdir().unwrap());
    let (url, collection) = (server.url("db"), "block_manager.log");
    let (first, second) = (home.path().join("first"), home.path().join("second"));
    let with = options(given(&url, false));
    let (_, vault) = open(&first, &options(given(&url, true))).unwrap();
    keep(&vault, "one");
    let backup = server.meddle(collection, |log| log.clone());
    assert_eq!(backup.len(), 1);
    keep(&vault, "two");
    drop(vault);
    give_keys(&first, &second);
    drop(open(&second, &with).unwrap());

    server.meddle(collection, |log| log.clone_from(&backup));
    for root in [&first, &second] {
        let why = refusal(root, &with);
        assert!(why.contains("was put back to older data"), "{why}");
        assert!(why.contains("`lucid reindex --accept-loss`"), "{why}");
    }
    let (folder, vault) = accept_loss(&second, &with);
    keep(&vault, "another two");
    assert_eq!(kept(&vault), ["another two", "one"]);
    drop((folder, vault));
    for root in [&first, &second] {
        let (_, vault) = open(root, &with).unwrap();
        assert_eq!(kept(&vault), ["another two", "one"], "{}", root.display());
    }
}

fn refusal(root: &Path, options: &Options) -> String {
    match open(root, options) {
        Ok(_) => panic!("{} is opened", root.display()),
        Err(error) => error.to_string(),
    }
}

fn keep(vault: &Vault, text: &str) {
    let plain = [&[0x10], text.as_bytes()].concat();
    let facts = vec![vault.fact(&mut Packer::new(), plain).unwrap()];
    vault.commit(Submission { facts, ..Submission::default() }).unwrap();
}

fn kept(vault: &Vault) -> Vec<String> {
    let rows = vault.index().scan(&[0x40], &[0x41], usize::MAX, false).unwrap();
    rows.into_iter().map(|(_, fact)| String::from_utf8(fact[1..].to_vec()).unwrap()).collect()
}

/// Copies what a second copy of a store is given: the keys that are never in the database.
fn give_keys(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.join("keys")).unwrap();
    for name in ["root.key", "root.key.copy", "block.key", "block.key.copy"] {
        std::fs::copy(from.join("keys").join(name), to.join("keys").join(name)).unwrap();
    }
}

#[test]
fn a_store_is_made_by_who_may_make_keys_and_opened_by_all_who_are_given_them() {
    let (server, home) = (Scripted::start(), tempfile::tempdir().unwrap());
    let url = server.url("db");
    let (first, second) = (home.path().join("first"), home.path().join("second"));

    // A service makes no keys, and nothing at all.
    let why = refusal(&first, &options(given(&url, false)));
    assert!(why.contains("run `lucid init` with the same variables"), "{why}");
    assert!(why.contains("block.key and root.key"), "{why}");
    assert_eq!(server.inserts(), 0);
    assert!(!is_store(&first).unwrap() && !first.join("keys").exists());

    let (folder, vault) = open(&first, &options(given(&url, true))).unwrap();
    let store = folder.store;
    assert_eq!(folder.kept, Kept { log: Keeper::MongoDb, chunks: Keeper::Folder });
    assert!(vault.cipher().is_encrypted());
    keep(&vault, "one");
    drop((folder, vault));
    let (folder, vault) = open(&first, &options(given(&url, false))).unwrap();
    keep(&vault, "two");
    assert_eq!(kept(&vault), ["one", "two"]);
    folder.remove_index().unwrap();
    drop((folder, vault));

    // An index is made of the log, and so is one of another folder, once that is given the keys.
    let (_, vault) = open(&first, &options(given(&url, false))).unwrap();
    assert_eq!(kept(&vault), ["one", "two"]);
    for makes_keys in [false, true] {
        let why = refusal(&second, &options(given(&url, makes_keys)));
        assert!(why.contains("has a store, whose keys are given and not made"), "{why}");
        assert!(!second.join("keys").exists());
    }
    give_keys(&first, &second);
    let (folder, vault) = open(&second, &options(given(&url, false))).unwrap();
    assert_eq!((folder.store, folder.is_new), (store, true));
    assert_eq!(kept(&vault), ["one", "two"]);

    // The same database has the store of another service beside it.
    let other = Options { service: "data-chain", ..options(given(&url, true)) };
    let other = DataFolder::open(&home.path().join("other"), &other).unwrap();
    assert_ne!(other.store, store);
}

#[test]
fn an_interrupted_making_is_gone_on_with_under_the_same_keys() {
    let home = tempfile::tempdir().unwrap();
    let counted = Scripted::start();
    let before = counted.inserts();
    open(&home.path().join("whole"), &options(given(&counted.url("db"), true))).unwrap();
    let inserts = counted.inserts() - before;
    assert!(inserts >= 5, "{inserts}");
    for good in 0..inserts {
        let server = Scripted::start();
        let root = home.path().join(format!("after-{good}"));
        let options = options(given(&server.url("db"), true));
        // The driver's three tries each are refused.
        server
            .script(|script| script.after(good, [crate::mongo::scripted::Ending::Refused(13); 3]));
        // All but the last one end the making: that tells this history from another, and is not asked for yet.
        match open(&root, &options) {
            Err(error) => {
                let why = error.to_string();
                assert!(why.contains("it was refused"), "after {good}: {why}");
            }
            Ok(_) => assert_eq!(good, inserts - 1),
        }
        let (folder, vault) = open(&root, &options).unwrap();
        keep(&vault, "one");
        let store = folder.store;
        drop((folder, vault));
        let (folder, vault) = open(&root, &options).unwrap();
        assert_eq!((folder.store, kept(&vault)), (store, vec!["one".to_owned()]), "after {good}");
    }
}

#[test]
fn another_stores_database_and_an_emptied_one_are_refused_before_anything_is_written() {
    let (server, home) = (Scripted::start(), tempfile::tempdir().unwrap());
    let (url, root) = (server.url("db"), home.path().join("one"));
    drop(open(&root, &options(given(&url, true))).unwrap());

    let other = Scripted::start();
    drop(open(&home.path().join("two"), &options(given(&other.url("db"), true))).unwrap());
    let before = other.inserts();
    let why = refusal(&root, &options(given(&other.url("db"), true)));
    assert!(why.contains("and the folder is of store"), "{why}");
    assert_eq!(other.inserts(), before);

    let empty = Scripted::start();
    let why = refusal(&root, &options(given(&empty.url("db"), true)));
    assert!(why.contains("it was emptied, or is another one"), "{why}");
    assert_eq!(empty.inserts(), 0);

    let why = refusal(&root, &options(Given::default()));
    assert!(why.contains("is in MongoDB, and no variable says where: set MONGO_URL"), "{why}");

    // Commits without a word of whose they are were put back in part.
    server.meddle("block_manager.locks", Vec::clear);
    let (_, vault) = {
        let whole = Scripted::start();
        let opened = open(&home.path().join("whole"), &options(given(&whole.url("db"), true)));
        let opened = opened.unwrap();
        keep(&opened.1, "one");
        let commits = whole.meddle("block_manager.log", |all| all.clone());
        server.meddle("block_manager.log", |all| *all = commits);
        opened
    };
    drop(vault);
    let why = refusal(&home.path().join("three"), &options(given(&url, true)));
    assert!(why.contains("has commits and does not say whose they are"), "{why}");
}

#[test]
fn a_folder_of_files_is_not_hidden_by_a_variable() {
    let (server, home) = (Scripted::start(), tempfile::tempdir().unwrap());
    let (_, vault) = open(home.path(), &options(Given::default())).unwrap();
    keep(&vault, "one");
    drop(vault);
    let why = refusal(home.path(), &options(given(&server.url("db"), true)));
    assert!(why.contains("MONGO_URL is set, and the log of the store in"), "{why}");
    assert_eq!(server.inserts(), 0);
    let (_, vault) = open(home.path(), &options(Given::default())).unwrap();
    assert_eq!(kept(&vault), ["one"]);
}

#[test]
fn the_store_that_is_expected_is_found_in_its_database() {
    let (server, home) = (Scripted::start(), tempfile::tempdir().unwrap());
    let (url, first) = (server.url("db"), home.path().join("first"));
    let (folder, _) = open(&first, &options(given(&url, true))).unwrap();
    let expect = |id| {
        let expected = Some(Expected { id: StoreId(id), said_by: "LUCID_STORE_ID".into() });
        Options { expected, ..options(given(&url, false)) }
    };
    let second = home.path().join("second");
    give_keys(&first, &second);
    let why = refusal(&second, &expect([9; 16]));
    assert!(why.contains("and LUCID_STORE_ID says that store 0909"), "{why}");
    assert_eq!(open(&second, &expect(folder.store)).unwrap().0.store, folder.store);
    let empty = Scripted::start();
    let third = home.path().join("third");
    give_keys(&first, &third);
    let why =
        refusal(&third, &Options { given: given(&empty.url("db"), false), ..expect(folder.store) });
    assert!(why.contains("has no store, and LUCID_STORE_ID says"), "{why}");
    assert_eq!(empty.inserts(), 0);
}

#[test]
fn keys_that_are_not_the_stores_are_refused_and_named() {
    let (server, home) = (Scripted::start(), tempfile::tempdir().unwrap());
    let url = server.url("db");
    let at = |name: &str| home.path().join(name);
    drop(open(&at("first"), &options(given(&url, true))).unwrap());
    let stranger = Scripted::start();
    drop(open(&at("stranger"), &options(given(&stranger.url("db"), true))).unwrap());

    give_keys(&at("stranger"), &at("root"));
    let why = refusal(&at("root"), &options(given(&url, false)));
    assert!(why.contains("and this store was made under"), "{why}");

    give_keys(&at("first"), &at("signer"));
    for name in ["block.key", "block.key.copy"] {
        let from = at("stranger").join("keys").join(name);
        std::fs::copy(from, at("signer").join("keys").join(name)).unwrap();
    }
    let why = refusal(&at("signer"), &options(given(&url, false)));
    assert!(why.contains("is not the key that signs for the store in"), "{why}");
    assert!(!is_store(&at("signer")).unwrap());
}

#[test]
fn a_new_data_key_is_every_copys_and_another_root_key_is_refused() {
    let (server, home) = (Scripted::start(), tempfile::tempdir().unwrap());
    let url = server.url("db");
    let (first, second) = (home.path().join("first"), home.path().join("second"));
    let (_, vault) = open(&first, &options(given(&url, true))).unwrap();
    keep(&vault, "one");
    drop(vault);
    give_keys(&first, &second);
    drop(open(&second, &options(given(&url, false))).unwrap());

    let with = options(given(&url, false));
    let keys = Keys::open(&first, &with).unwrap();
    assert_eq!(keys.rotate().unwrap(), 2);
    assert_eq!(keys.list().unwrap().epochs, [1, 2]);
    let why = keys.rewrap(&NewRoot::Folder).unwrap_err().to_string();
    assert!(why.contains("where what is created stays"), "{why}");
    drop(keys);
    let (_, vault) = open(&first, &with).unwrap();
    keep(&vault, "two");
    drop(vault);
    let (_, vault) = open(&second, &with).unwrap();
    assert_eq!(kept(&vault), ["one", "two"]);
    drop(vault);
    assert_eq!(Keys::open(&second, &with).unwrap().rotate().unwrap(), 3);
    let keys = Keys::open(&first, &options(Given::default())).unwrap();
    let why = keys.rotate().unwrap_err().to_string();
    assert!(why.contains("no variable says where"), "{why}");
}

/// How a data-chain opens its folder: with segments in it, as no bucket is given.
fn with_segments(url: &str, makes_keys: bool) -> Options {
    Options { service: "data-chain", ..options(given(url, makes_keys)) }
}

fn open_with_segments(root: &Path, options: &Options) -> Result<(DataFolder, Vault), StoreError> {
    let folder = DataFolder::open(root, options)?;
    let unopened = UnopenedStore {
        disk: folder.disk.clone(),
        store: folder.store,
        cipher: folder.cipher.clone(),
        index: folder.index()?,
        project: Arc::new(Rows),
        accept_loss: false,
        limits: Default::default(),
    };
    let vault = opening::open(&folder, unopened, &|_, _| true)?;
    Ok((folder, vault))
}

#[test]
fn a_database_beside_segments_serves_the_folder_that_has_them_and_names_it_to_any_other() {
    let (server, home) = (Scripted::start(), tempfile::tempdir().unwrap());
    let (url, first) = (server.url("db"), home.path().join("first"));
    let (folder, vault) = open_with_segments(&first, &with_segments(&url, true)).unwrap();
    let bytes = b"what is in a segment";
    let id = lucid_core::digest::ChunkId::from(blake3::hash(bytes));
    let mut packer = Packer::new();
    let chunk = vault.chunk(&mut packer, Default::default(), true, &id, bytes).unwrap();
    vault.commit(Submission { chunks: vec![chunk], ..Submission::default() }).unwrap();
    keep(&vault, "one");
    drop((folder, vault));

    let second = home.path().join("second");
    give_keys(&first, &second);
    let why = match open_with_segments(&second, &with_segments(&url, false)) {
        Ok(_) => panic!("a second folder is served"),
        Err(error) => error.to_string(),
    };
    let named = format!("serves the folder {} on ", first.display());
    assert!(why.contains(&named) && why.contains("alone, which has the chunks"), "{why}");
    assert!(!is_store(&second).unwrap());

    // It is known by its label, wherever it is, and however it ended.
    let moved = home.path().join("moved");
    std::fs::rename(&first, &moved).unwrap();
    let (folder, vault) = open_with_segments(&moved, &with_segments(&url, false)).unwrap();
    assert_eq!(kept(&vault), ["one"]);
    assert_eq!(vault.read_chunk(&mut packer, &id).unwrap().as_deref(), Some(&bytes[..]));
    folder.remove_index().unwrap();
    drop((folder, vault));
    let (folder, vault) = open_with_segments(&moved, &with_segments(&url, false)).unwrap();
    assert_eq!(vault.read_chunk(&mut packer, &id).unwrap().as_deref(), Some(&bytes[..]));
    let found = opening::audit(&folder.disk, folder.kept, &vault, folder.store, &|_, _| ());
    let found = found.unwrap();
    assert_eq!((found.damage, found.chunks), (Vec::new(), 1));
    drop((folder, vault));

    // A label that was put back from before it said which folder it is does not claim to be it.
    for name in ["STORE", "STORE.copy"] {
        let path = moved.join(name);
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text
            .lines()
            .filter(|line| !line.starts_with("copy:") && !line.starts_with("checksum:"));
        let bare: String = lines.map(|line| format!("{line}\n")).collect();
        let sum = blake3::hash(bare.as_bytes()).to_hex();
        std::fs::write(&path, format!("{bare}checksum: {}\n", &sum[..32])).unwrap();
    }
    let why = match open_with_segments(&moved, &with_segments(&url, false)) {
        Ok(_) => panic!("a folder without a name is served"),
        Err(error) => error.to_string(),
    };
    assert!(why.contains("does not say which folder it is"), "{why}");
}

#[test]
fn a_store_without_encryption_has_no_keys_to_be_given_but_the_one_that_signs() {
    let (server, home) = (Scripted::start(), tempfile::tempdir().unwrap());
    let (url, first) = (server.url("db"), home.path().join("first"));
    let plain = |makes_keys| Options { encrypt: false, ..options(given(&url, makes_keys)) };
    let (_, vault) = open(&first, &plain(true)).unwrap();
    keep(&vault, "one");
    let second = home.path().join("second");
    let why = refusal(&second, &plain(false));
    assert!(why.contains("put block.key of its first copy"), "{why}");
    std::fs::create_dir_all(second.join("keys")).unwrap();
    for name in ["block.key", "block.key.copy"] {
        std::fs::copy(first.join("keys").join(name), second.join("keys").join(name)).unwrap();
    }
    // What the database says of encryption counts, not what a start was told.
    let (folder, vault) = open(&second, &options(given(&url, false))).unwrap();
    assert!(!folder.cipher.is_encrypted());
    assert_eq!(kept(&vault), ["one"]);
}
