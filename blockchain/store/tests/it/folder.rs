//! Data folders of the operating system: who owns one, and what the few files cost that all hangs on.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use lucid_store::StoreError;
use lucid_store::codec::Packer;
use lucid_store::files::audit::audit;
use lucid_store::files::disk::Disk;
use lucid_store::files::folder::keys::{Keys, Passphrase};
use lucid_store::files::folder::{DataFolder, Options, ToRead, clock_fault};
use lucid_store::files::index::EmbeddedIndex;
use lucid_store::files::index::temporary::Room;
use lucid_store::files::{self, UnopenedStore};
use lucid_store::memory::index::MemoryIndex;
use lucid_store::vault::Vault;
use lucid_store::vault::scrub::Cursor;
use zeroize::Zeroizing;

use crate::bench::{Entry, chunk, facts_of, id_of, options, reads};

/// A new store, closed again.
fn made(encrypt: bool) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let folder = DataFolder::open(home.path(), &options(encrypt, None)).unwrap();
    assert!(folder.is_new && folder.damage.is_empty());
    assert_eq!(folder.cipher.is_encrypted(), encrypt);
    home
}

fn put_something_in(home: &Path) {
    let folder = DataFolder::open(home, &options(true, None)).unwrap();
    Entry::new(1, 1, vec![]).commit(&vault(&folder).unwrap()).unwrap();
}

fn refusal(home: &Path, options: &Options) -> String {
    match DataFolder::open(home, options) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("it opens"),
    }
}

fn vault(folder: &DataFolder) -> Result<Vault, StoreError> {
    vault_of(folder, false)
}

fn vault_of(folder: &DataFolder, accept_loss: bool) -> Result<Vault, StoreError> {
    files::open(UnopenedStore {
        disk: folder.disk.clone(),
        store: folder.store,
        cipher: folder.cipher.clone(),
        index: Arc::new(EmbeddedIndex::open(&folder.index_folder())?),
        project: Arc::new(crate::bench::Rows),
        accept_loss,
        limits: files::Limits::default(),
    })
}

#[test]
fn a_store_reopens_with_its_id_its_keys_and_its_content() {
    let home = made(true);
    let entry = Entry::new(1, 2, vec![chunk(1, 5_000)]);
    let (id, seed) = {
        let folder = DataFolder::open(home.path(), &options(true, None)).unwrap();
        assert!(!folder.is_new);
        let vault = vault(&folder).unwrap();
        entry.commit(&vault).unwrap();
        vault.close().unwrap();
        (folder.store, folder.signing_seed.clone())
    };
    let folder = DataFolder::open(home.path(), &options(true, None)).unwrap();
    assert_eq!((folder.store, folder.signing_seed.clone()), (id, seed));
    let vault = vault(&folder).unwrap();
    assert_eq!(reads(&vault, &entry.chunks[0]), Ok(true));
    drop(vault);
    let disk: Arc<dyn Disk> = folder.disk.clone();
    let found = audit(&disk, Some(&folder.cipher), folder.store, None, &|_, _| {}).unwrap();
    assert_eq!((found.damage, found.torn, found.unknown), (vec![], vec![], vec![]));
    assert_eq!((found.chunks, found.facts, found.commits), (1, 2, 1));
}

#[test]
fn nothing_in_an_encrypted_folder_tells_what_it_keeps() {
    let home = made(true);
    let folder = DataFolder::open(home.path(), &options(true, None)).unwrap();
    let text = b"the words that nobody may read, ".repeat(40);
    let entry = Entry::new(1, 1, vec![text.clone()]);
    let vault = vault(&folder).unwrap();
    entry.commit(&vault).unwrap();
    vault.close().unwrap();
    let id = id_of(&text);
    for place in ["log", "chunks"] {
        for file in fs::read_dir(home.path().join(place)).unwrap() {
            let bytes = fs::read(file.unwrap().path()).unwrap();
            let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|w| w == needle);
            assert!(!holds(&text[..16]) && !holds(id.as_bytes()), "{place}");
        }
    }
}

#[test]
fn an_empty_folder_without_leave_to_make_a_store_says_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    let text = refusal(home.path(), &Options { create: false, ..options(true, None) });
    assert!(
        text.ends_with(
            "holds no Lucid store; `lucid archive PATH` makes one, --data names another"
        ),
        "{text}"
    );
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0, "it leaves nothing behind");
}

#[test]
fn a_folder_in_use_names_its_holder() {
    let home = made(true);
    let _held = DataFolder::open(home.path(), &options(true, None)).unwrap();
    let text = refusal(home.path(), &options(true, None));
    assert!(text.contains("is in use by the tests (process "), "{text}");
}

#[test]
fn a_folder_of_the_other_service_is_refused() {
    let home = made(true);
    let other = Options { service: "block-manager", signing_key: "block", ..options(true, None) };
    assert_eq!(
        refusal(home.path(), &other),
        "the folder belongs to data-chain, not to block-manager"
    );
}

#[test]
fn either_copy_of_the_small_files_is_enough_and_the_other_is_named() {
    let home = made(true);
    let mut tried = 0;
    for (place, name) in [
        ("", "STORE"),
        ("", "STORE.copy"),
        ("keys/", "root.key"),
        ("keys/", "root.key.copy"),
        ("keys/", "data.keys"),
        ("keys/", "data.keys.copy"),
        ("keys/", "recorder.key"),
        ("keys/", "recorder.key.copy"),
    ] {
        let path = home.path().join(place).join(name);
        let sound = fs::read(&path).unwrap();
        let named = format!("{place}{name}");
        let opens_with = |why: &str| {
            let folder = DataFolder::open(home.path(), &options(true, None)).unwrap();
            assert_eq!(folder.damage.len(), 1, "{named}: {:?}", folder.damage);
            assert_eq!(
                (folder.damage[0].file.as_str(), folder.damage[0].why.as_str()),
                (named.as_str(), why)
            );
        };
        fs::remove_file(&path).unwrap();
        opens_with("the file is missing");
        for offset in (0..sound.len()).step_by(5) {
            let mut flipped = sound.clone();
            flipped[offset] ^= 1;
            fs::write(&path, &flipped).unwrap();
            let folder = DataFolder::open(home.path(), &options(true, None)).unwrap();
            assert_eq!(folder.damage.len(), 1, "{named} flipped at {offset}");
            assert_eq!(folder.damage[0].file, named);
            tried += 1;
        }
        fs::write(&path, &sound).unwrap();
    }
    assert!(tried > 200, "{tried}");
    assert_eq!(DataFolder::open(home.path(), &options(true, None)).unwrap().damage, []);
}

#[test]
fn both_copies_lost_is_one_clear_sentence() {
    for (place, name) in
        [("", "STORE"), ("keys/", "data.keys"), ("keys/", "root.key"), ("keys/", "recorder.key")]
    {
        let home = made(true);
        put_something_in(home.path());
        fs::remove_file(home.path().join(place).join(name)).unwrap();
        fs::remove_file(home.path().join(place).join(format!("{name}.copy"))).unwrap();
        let text = refusal(home.path(), &options(true, None));
        assert!(text.contains(name), "{text}");
        assert!(text.contains("from a copy"), "{text}");
        assert!(!text.contains('\n'), "{text}");
    }
}

#[test]
fn a_root_key_kept_elsewhere_opens_the_store_and_no_other_key_does() {
    let keys = made(true);
    let root_key = keys.path().join("keys/root.key");
    let home = tempfile::tempdir().unwrap();
    let outside = options(true, Some(root_key.clone()));
    drop(DataFolder::open(home.path(), &outside).unwrap());
    assert!(!home.path().join("keys/root.key").exists(), "it is not copied into the folder");
    drop(DataFolder::open(home.path(), &outside).unwrap());

    let other = made(true);
    let wrong = options(true, Some(other.path().join("keys/root.key")));
    let text = refusal(home.path(), &wrong);
    assert!(
        text.starts_with("the root key is ") && text.ends_with("give that key's file"),
        "{text}"
    );

    let text = refusal(home.path(), &options(true, None));
    assert!(text.contains("keys/root.key") && text.contains("missing"), "{text}");

    let text = refusal(home.path(), &options(true, Some(home.path().join("nothing.key"))));
    assert!(text.contains("reading the root key"), "{text}");

    let mut bytes = fs::read(&root_key).unwrap();
    bytes[30] ^= 1;
    let damaged = home.path().join("damaged.key");
    fs::write(&damaged, bytes).unwrap();
    let text = refusal(home.path(), &options(true, Some(damaged)));
    assert!(text.contains("holds no sound root key"), "{text}");
}

#[cfg(unix)]
#[test]
fn keys_are_readable_by_their_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = made(true);
    for file in fs::read_dir(home.path().join("keys")).unwrap() {
        let mode = file.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn a_store_that_lost_its_name_is_not_made_anew() {
    let home = made(true);
    put_something_in(home.path());
    fs::remove_file(home.path().join("STORE")).unwrap();
    fs::remove_file(home.path().join("STORE.copy")).unwrap();
    let text = refusal(home.path(), &options(true, None));
    assert!(text.contains("but no STORE file: put STORE back from a copy"), "{text}");
    assert!(home.path().join("keys/data.keys").exists());
}

#[test]
fn keys_that_are_there_without_a_store_are_kept_and_never_written_over() {
    let whole = made(true);
    let keys = |home: &Path| {
        let names = fs::read_dir(home.join("keys")).unwrap().map(|file| file.unwrap());
        let mut files: Vec<_> =
            names.map(|file| (file.file_name(), fs::read(file.path()).unwrap())).collect();
        files.sort();
        files
    };
    let with = |change: &dyn Fn(&Path)| {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("keys")).unwrap();
        for (name, bytes) in keys(whole.path()) {
            fs::write(home.path().join("keys").join(name), bytes).unwrap();
        }
        change(&home.path().join("keys"));
        home
    };
    let remove = |keys: &Path, name: &str| fs::remove_file(keys.join(name)).unwrap();
    // One copy of each is enough.
    for copy in ["", ".copy"] {
        let home = with(&|keys| {
            for name in ["recorder.key", "root.key", "data.keys"] {
                remove(keys, &format!("{name}{copy}"));
            }
        });
        let folder = DataFolder::open(home.path(), &options(true, None)).unwrap();
        assert!(folder.is_new && folder.damage.is_empty(), "{:?}", folder.damage);
        assert_eq!(keys(home.path()), keys(whole.path()));
    }
    // What cannot be used is refused, and stays as it is.
    for name in ["recorder.key", "root.key", "data.keys"] {
        let home = with(&|keys| {
            for name in [name.to_owned(), format!("{name}.copy")] {
                let bytes = fs::read(keys.join(&name)).unwrap();
                fs::write(keys.join(&name), &bytes[..bytes.len() - 9]).unwrap();
            }
        });
        let before = keys(home.path());
        for _ in 0..2 {
            let text = refusal(home.path(), &options(true, None));
            assert!(text.contains(name) && text.contains("move keys/ away"), "{text}");
            assert_eq!(keys(home.path()), before);
        }
    }
    // A first start that was refused for another reason clears nothing away, either.
    let home = tempfile::tempdir().unwrap();
    let nowhere = home.path().join("nowhere");
    let no_passphrase =
        Options { passphrase: Some(Passphrase::File(nowhere)), ..options(true, None) };
    refusal(home.path(), &no_passphrase);
    for (name, bytes) in keys(whole.path()) {
        fs::write(home.path().join("keys").join(name), bytes).unwrap();
    }
    DataFolder::open(home.path(), &options(true, None)).unwrap();
    assert_eq!(keys(home.path()), keys(whole.path()));
    // A root key that would not be the one of the new store is not removed.
    let home = with(&|keys| ["data.keys", "data.keys.copy"].iter().for_each(|n| remove(keys, n)));
    let before = keys(home.path());
    let text = Zeroizing::new("a long enough passphrase".to_owned());
    let options = Options { passphrase: Some(Passphrase::Text(text)), ..options(true, None) };
    for _ in 0..2 {
        let text = refusal(home.path(), &options);
        assert!(text.contains("root.key") && text.contains("move"), "{text}");
        assert_eq!(keys(home.path()), before);
    }
}

#[test]
fn a_first_start_that_was_interrupted_is_finished_by_the_next() {
    let whole = made(true);
    let mut names: Vec<_> =
        fs::read_dir(whole.path().join("keys")).unwrap().map(|f| f.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names.len(), 6);
    // For every part of the keys that may have been there when the power went.
    for part in 0..1u32 << names.len() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("keys")).unwrap();
        fs::create_dir(home.path().join("run")).unwrap();
        fs::write(home.path().join("run/making"), []).unwrap();
        for (at, name) in names.iter().enumerate().filter(|(at, _)| part >> at & 1 == 1) {
            let bytes = fs::read(whole.path().join("keys").join(name)).unwrap();
            // Of some only a beginning.
            let length =
                if (part as usize + at).is_multiple_of(3) { bytes.len() / 2 } else { bytes.len() };
            fs::write(home.path().join("keys").join(name), &bytes[..length]).unwrap();
        }
        let folder = DataFolder::open(home.path(), &options(true, None)).unwrap();
        assert!(folder.is_new && folder.damage.is_empty(), "part {part}: {:?}", folder.damage);
        let aside = home.path().join("run/unfinished-keys-1");
        let kept = fs::read_dir(aside).map_or(0, Iterator::count);
        assert_eq!(kept, part.count_ones() as usize, "nothing is removed");
        drop(folder);
        let folder = DataFolder::open(home.path(), &options(true, None)).unwrap();
        assert!(!folder.is_new && folder.damage.is_empty(), "part {part}");
    }
}

#[test]
fn a_plain_store_has_no_root_key_and_its_chunks_their_own_names() {
    let home = made(false);
    assert!(!home.path().join("keys/root.key").exists());
    let folder = DataFolder::open(home.path(), &options(true, None)).unwrap();
    assert!(!folder.cipher.is_encrypted(), "how it was made is what counts");
    let id = id_of(b"x");
    assert_eq!(folder.cipher.chunk_name(&id).as_bytes(), id.as_bytes());
}

#[test]
fn an_index_that_was_deleted_comes_back_as_it_was() {
    let home = made(true);
    let folder = DataFolder::open(home.path(), &options(true, None)).unwrap();
    let entries: Vec<_> = (0..5).map(|n| Entry::new(n * 10, 3, vec![chunk(n, 900)])).collect();
    {
        let vault = vault(&folder).unwrap();
        for entry in &entries {
            entry.commit(&vault).unwrap();
        }
    }
    let rows = |vault: &Vault| vault.index().scan(&[], &[0xff], usize::MAX, false).unwrap();
    let before = rows(&vault(&folder).unwrap());
    fs::remove_dir_all(folder.index_folder()).unwrap();
    assert_eq!(rows(&vault(&folder).unwrap()), before);
    let memory = Arc::new(MemoryIndex::new());
    drop(
        files::open(UnopenedStore {
            disk: folder.disk.clone(),
            store: folder.store,
            cipher: folder.cipher.clone(),
            index: memory.clone(),
            project: Arc::new(crate::bench::Rows),
            accept_loss: false,
            limits: files::Limits::default(),
        })
        .unwrap(),
    );
    assert_eq!(memory.rows().into_iter().collect::<Vec<_>>(), before);
}

fn to_read(home: &Path) -> ToRead {
    let room = Room { scratch: home.to_owned(), memory_bytes_max: 1 << 20 };
    ToRead { why: "the tests say so".into(), room }
}

#[test]
fn a_folder_is_not_read_beside_its_owner_nor_owned_while_it_is_read() {
    let (home, scratch) = (made(true), tempfile::tempdir().unwrap());
    let how = to_read(scratch.path());
    let owner = DataFolder::open(home.path(), &options(true, None)).unwrap();
    let refused = DataFolder::read(home.path(), &options(true, None), &how).err().unwrap();
    let place = home.path().display();
    assert_eq!(
        refused.to_string(),
        format!(
            "{place} is in use by the tests (process {}), and is not read beside it: ask that with \
             --server, or wait until it has ended",
            std::process::id()
        )
    );
    drop(owner);
    let first = DataFolder::read(home.path(), &options(true, None), &how).unwrap();
    let second = DataFolder::read(home.path(), &options(true, None), &how).unwrap();
    let said = first.only_read().unwrap();
    assert_eq!(said.why(), format!("nothing is written to {place}: the tests say so"));
    assert_eq!(said.doubt(), None);
    drop(first);
    assert_eq!(
        refusal(home.path(), &options(true, None)),
        format!("{place} is being read, and not to be changed")
    );
    drop(second);
    DataFolder::open(home.path(), &options(true, None)).unwrap();
}

#[test]
fn an_index_of_another_log_is_left_aside_where_it_cannot_be_rebuilt() {
    let (home, scratch) = (made(true), tempfile::tempdir().unwrap());
    let entry = Entry::new(1, 1, vec![chunk(1, 5_000)]);
    let other = made(true);
    for home in [&home, &other] {
        let folder = DataFolder::open(home.path(), &options(true, None)).unwrap();
        entry.commit(&vault(&folder).unwrap()).unwrap();
    }
    fs::remove_dir_all(home.path().join("index")).unwrap();
    fs::rename(other.path().join("index"), home.path().join("index")).unwrap();
    let as_owner = DataFolder::open(home.path(), &options(true, None)).unwrap();
    assert!(vault(&as_owner).err().unwrap().to_string().contains("lucid reindex"));
    drop(as_owner);
    for scratch in [scratch.path().to_owned(), scratch.path().join("absent")] {
        let how = to_read(&scratch);
        let folder = DataFolder::read(home.path(), &options(true, None), &how).unwrap();
        let join = |index| {
            files::open(UnopenedStore {
                disk: folder.disk.clone(),
                store: folder.store,
                cipher: folder.cipher.clone(),
                index,
                project: Arc::new(crate::bench::Rows),
                accept_loss: false,
                limits: files::Limits::default(),
            })
        };
        let vault = folder.join(join, |error: &StoreError| Some(error)).unwrap();
        assert_eq!(reads(&vault, &entry.chunks[0]), Ok(true));
        let refused = Entry::new(2, 1, vec![]).commit(&vault).unwrap_err();
        assert!(refused.to_string().ends_with("the tests say so"), "{refused}");
    }
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
}

#[test]
fn an_older_copy_of_the_data_keys_is_no_damage_and_is_not_built_on() {
    let home = made(true);
    let options = options(true, None);
    let keys = |name: &str| home.path().join("keys").join(name);
    let copies = ["data.keys", "data.keys.copy"];
    let older = copies.map(|name| fs::read(keys(name)).unwrap());
    assert_eq!(Keys::open(home.path(), &options).unwrap().rotate().unwrap(), 2);
    let newest = copies.map(|name| fs::read(keys(name)).unwrap());
    let put = |texts: &[Vec<u8>; 2]| {
        for (name, text) in copies.iter().zip(texts) {
            fs::write(keys(name), text).unwrap();
        }
    };
    let entry = Entry::new(7, 1, vec![chunk(7, 300)]);
    entry.commit(&vault(&DataFolder::open(home.path(), &options).unwrap()).unwrap()).unwrap();
    put(&older);
    {
        // With its index it opens, and what is read is refused, and not marked as damaged.
        let folder = DataFolder::open(home.path(), &options).unwrap();
        let opened = vault(&folder).unwrap();
        let read = opened.read_chunk(&mut Packer::new(), &id_of(&entry.chunks[0]));
        assert!(
            matches!(&read, Err(StoreError::Key(why)) if why.contains("older copy")),
            "{read:?}"
        );
        assert!(matches!(
            opened.scrub(Cursor::default(), u64::MAX, &|_| true),
            Err(StoreError::Key(_))
        ));
        assert_eq!(opened.damage(), []);
        // An audit reads on, and names what it could not open.
        let disk = folder.disk.clone();
        let found = audit(&disk, Some(&folder.cipher), folder.store, None, &|_, _| {}).unwrap();
        assert_eq!(found.damage, []);
        assert!(!found.unopened.is_empty());
        assert!(found.unopened.iter().all(|record| record.why.contains("older copy")), "{found:?}");
    }
    {
        let folder = DataFolder::open(home.path(), &options).unwrap();
        folder.remove_index().unwrap();
        let refused = vault(&folder).map(drop);
        assert!(
            matches!(&refused, Err(StoreError::Key(why)) if why.contains("--accept-loss")),
            "{refused:?}"
        );
    }
    {
        // An operator who has no newer copy goes on without the facts, which stay where they are.
        let folder = DataFolder::open(home.path(), &options).unwrap();
        let opened = vault_of(&folder, true).unwrap();
        let damage = opened.damage();
        assert!(damage.iter().any(|damage| damage.why.contains("older copy")), "{damage:?}");
        assert_eq!(facts_of(opened.index()), Vec::<Vec<u8>>::new());
        opened.close().unwrap();
    }
    let rotated = Keys::open(home.path(), &options).unwrap().rotate();
    assert!(matches!(rotated, Err(StoreError::Key(_))), "{rotated:?}");
    put(&newest);
    let folder = DataFolder::open(home.path(), &options).unwrap();
    folder.remove_index().unwrap();
    let opened = vault(&folder).unwrap();
    assert_eq!((reads(&opened, &entry.chunks[0]), opened.damage()), (Ok(true), vec![]));
    assert_eq!(facts_of(opened.index()).len(), 1);
}

#[test]
fn a_clock_over_an_hour_before_the_newest_file_of_the_log_is_not_believed() {
    let home = made(true);
    put_something_in(home.path());
    let log = home.path().join("log/00000001.log");
    let written = fs::metadata(&log).unwrap().modified().unwrap();
    let written = written.duration_since(std::time::UNIX_EPOCH).unwrap().as_micros() as i64;
    let hour = 3_600_000_000;
    assert_eq!(clock_fault(home.path(), written), None);
    assert_eq!(clock_fault(home.path(), written - hour), None);
    assert_eq!(clock_fault(home.path(), written + 1_000 * hour), None, "it may have rested");
    let why = clock_fault(home.path(), written - 2 * hour).unwrap();
    assert!(why.contains("120 minutes") && why.contains("00000001.log"), "{why}");
    let none = home.path().join("none");
    assert_eq!(clock_fault(&none, 0), None, "there is nothing to compare with");
    for before_1970 in [-1, -86_400_000_000, i64::MIN] {
        for root in [home.path(), &none] {
            let why = clock_fault(root, before_1970).unwrap();
            assert!(why.contains("before 1970"), "{why}");
        }
    }
}
