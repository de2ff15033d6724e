//! Keys on a disk that can lose power at any call.

use super::*;
use crate::files::disk::simulated::SimulatedDisk;

fn options(passphrase: Option<&str>, root_key_file: Option<&Path>) -> Options {
    Options {
        service: "data-chain",
        signing_key: "recorder",
        expected: None,
        create: true,
        encrypt: true,
        root_key_file: root_key_file.map(Path::to_owned),
        passphrase: passphrase.map(|text| Passphrase::Text(Zeroizing::new(text.to_owned()))),
        owner: "a test".into(),
        reserve: Default::default(),
        given: Default::default(),
        now: "2026-01-01T00:00:00Z".into(),
    }
}

fn store() -> SimulatedDisk {
    let disk = SimulatedDisk::new();
    super::super::create(&disk, &options(None, None)).unwrap();
    disk
}

fn open(disk: &dyn Disk, options: &Options) -> Result<DataKeys, StoreError> {
    let keys = DataKeys::open(disk, options, &mut Vec::new())?;
    keys.keyring()?;
    Ok(keys)
}

fn dedup(keys: &DataKeys) -> Secret {
    keys.secret("dedup").unwrap()
}

/// Opens with the old key or the new one, settles, and opens again.
fn assert_opens(disk: &SimulatedDisk, ways: &[&Options], wanted: &Secret, what: &str) {
    let opened = ways.iter().find_map(|options| Some((open(disk, options).ok()?, *options)));
    let Some((keys, way)) = opened else { panic!("{what}: no key opens the store") };
    assert_eq!(dedup(&keys), *wanted, "{what}");
    settle(disk, &keys).unwrap();
    assert!(!is_there(disk, NEXT_KEY).unwrap(), "{what}");
    let again = open(disk, way).unwrap_or_else(|error| panic!("{what}: after settling, {error}"));
    assert_eq!(dedup(&again), *wanted, "{what}");
}

/// Everything that a passphrase or a key passes through.
#[test]
fn passphrases_and_keys_are_wiped_when_dropped_and_never_shown() {
    fn is_wiped<T: zeroize::ZeroizeOnDrop>() {}
    fn are_wiped<T: zeroize::ZeroizeOnDrop>(_: &T) {}
    is_wiped::<Secret>();
    is_wiped::<Zeroizing<String>>();
    let typed = Passphrase::Text(Zeroizing::new("hunter2".into()));
    assert_eq!(format!("{typed:?}"), "Passphrase(typed)");
    if let Passphrase::Text(text) = &typed {
        are_wiped(text);
    }
    let root = NewRoot::Passphrase(typed);
    assert!(!format!("{root:?}").contains("hunter2"));
    let lines = Lines::from([("secret".to_owned(), Zeroizing::new("hunter2".to_owned()))]);
    lines.values().for_each(are_wiped);
    let epochs = BTreeMap::from([(1, Zeroizing::new([0x5a; 32]))]);
    let keyring = Keyring::new(Zeroizing::new([0x5a; 32]), epochs).unwrap();
    assert!(!format!("{:?}", crypt::Cipher::new(Some(keyring))).contains("90, 90"));
}

#[test]
fn power_may_fail_at_any_call_of_a_rewrap_or_a_rotation() {
    let folder = tempfile::tempdir().unwrap();
    let outside = folder.path().join("outside.key");
    write_outside_key(&outside, &Zeroizing::new([7; 32])).unwrap();
    let word = Passphrase::Text(Zeroizing::new("correct horse".to_owned()));
    let (plain, with_file) = (options(None, None), options(None, Some(&outside)));
    let with_word = options(Some("correct horse"), None);
    let ways = [&plain, &with_word, &with_file];
    for to in [NewRoot::Folder, NewRoot::File(outside.clone()), NewRoot::Passphrase(word)] {
        let disk = store();
        let keys = open(&disk, &plain).unwrap();
        let (wanted, before) = (dedup(&keys), disk.calls());
        rewrap(&disk, &keys, &to).unwrap();
        for calls in before..=disk.calls() {
            for seed in 0..2 {
                let after = disk.after_power_cut(calls, seed);
                assert_opens(&after, &ways, &wanted, &format!("{to:?} after {calls} calls"));
            }
        }
        let way = match to {
            NewRoot::Folder => &plain,
            NewRoot::File(_) => &with_file,
            NewRoot::Passphrase(_) => &with_word,
        };
        let now = open(&disk, way).unwrap();
        assert_ne!(now.root, keys.root, "{to:?}");
        // And back into the folder, which has a root key of its own again.
        rewrap(&disk, &now, &NewRoot::Folder).unwrap();
        assert_eq!(dedup(&open(&disk, &plain).unwrap()), wanted);
    }
    let disk = store();
    let keys = open(&disk, &plain).unwrap();
    let before = disk.calls();
    assert_eq!(rotate(&disk, &keys).unwrap(), 2);
    for calls in before..=disk.calls() {
        let after = disk.after_power_cut(calls, calls as u64);
        assert_opens(&after, &[&plain], &dedup(&keys), &format!("rotating, {calls} calls"));
    }
    let rotated = open(&disk, &plain).unwrap();
    assert_eq!(rotated.epochs().unwrap(), [1, 2]);
    assert_eq!(rotated.secret("epoch 1").unwrap(), keys.secret("epoch 1").unwrap());
}

#[test]
fn a_wrong_or_missing_passphrase_is_one_sentence() {
    let disk = store();
    let keys = open(&disk, &options(None, None)).unwrap();
    let word = Passphrase::Text(Zeroizing::new("right".to_owned()));
    rewrap(&disk, &keys, &NewRoot::Passphrase(word)).unwrap();
    assert!(open(&disk, &options(Some("right"), None)).is_ok());
    let refused = |options: &Options| open(&disk, options).map(|_| ()).unwrap_err().to_string();
    assert!(refused(&options(None, None)).contains("LUCID_PASSPHRASE_FILE"));
    assert!(refused(&options(Some("wrong"), None)).contains("not the one"));
    assert!(refused(&options(Some(""), None)).contains("empty"));
    assert!(!is_there(&disk, ROOT_KEY).unwrap(), "nothing in the folder opens it");
    assert!(!format!("{:?}", options(Some("right"), None)).contains("right"));
}

#[test]
fn what_derives_a_key_has_one_spelling_and_bounds() {
    assert_eq!(Derivation::parse(&RECOMMENDED.to_text()), Some(RECOMMENDED));
    for wrong in [
        "argon2id m=65536 t=3",
        "argon2id m=065536 t=3 p=4",
        "argon2id m=65536 t=3 p=4 x=1",
        "argon2id m=99999999 t=3 p=4",
        "argon2i m=65536 t=3 p=4",
        "",
    ] {
        assert_eq!(Derivation::parse(wrong), None, "{wrong}");
    }
}
