//! One damaged file anywhere in a closed store: found, named, never returned as data, and in nobody
//! else's way.
//!
//! Each case works on a fresh copy of one small store, with its indexes and without. Thousands of cases
//! call in process what the command calls; a few per file run the command itself. `LUCID_DAMAGE=all`
//! flips every byte of the small files and many more of the large ones.

use std::{
    collections::BTreeMap,
    fs,
    io::Read as _,
    ops::{ControlFlow, Range},
    path::{Path, PathBuf},
};

use lucid::{
    cmd,
    place::{Findings, Place, local::Local},
};
use lucid_core::{catalogue::EntryKind, session::SessionId, time::Timestamp};
use lucid_data_chain::{
    Opened,
    opened::{FOLDER_OWNER, SIGNING_KEY},
    ops::{
        proofs::prove_session::WantedProof,
        sessions::list_sessions::SessionFilter,
        sessions::read_session::{StoredSession, read_range, visit_entries},
    },
    source::SessionSource,
};
use lucid_store::clock::Clock;
use lucid_store::files::folder::Options;
use lucid_store::files::segment;
use tempfile::TempDir;

use super::home::{Home, Ran, copy, noise, prose};
use super::server::Server;

/// A file of a session, by session and path; a raw session has the path `""`.
type Name = (String, String);

/// A closed store, and what is in it.
struct Original {
    home: Home,
    contents: BTreeMap<Name, Vec<u8>>,
    /// The bytes of segment 1 that each file needs: its chunks, and the catalogue it is found by.
    needs: BTreeMap<Name, Vec<Range<u64>>>,
    /// How far the log went when each session was as it is.
    log_ends: BTreeMap<String, u64>,
    blocks: u64,
}

/// When the store is looked at: later than anything in it.
fn later() -> Timestamp {
    Timestamp::from_micros(4_000_000_000_000_000)
}

impl Original {
    fn new() -> Self {
        let home = Home::new();
        home.file("one/large", noise(1, 1_300_000));
        home.file("one/small", prose(2, 3_000));
        home.file("one/other", noise(3, 40_000));
        home.file("two/large", noise(1, 1_300_000));
        home.file("two/own", noise(4, 60_000));
        home.file("live", noise(5, 70_000));
        home.file("open", noise(6, 50_000));
        let mut log_ends = BTreeMap::new();
        let log = home.data().join("data-chain/log/00000001.log");
        let mut note = |session: &str| {
            log_ends.insert(session.to_owned(), fs::metadata(&log).unwrap().len());
        };
        home.archive("one", &home.at("one"));
        note("one");
        home.archive("two", &home.at("two"));
        note("two");
        home.done(&[&"append", &home.at("live"), &"--session", &"live"]);
        note("live");
        let open = home.at("open");
        home.done(&[&"append", &open, &"--session", &"open", &"--keep-open"]);
        note("open");
        let mut contents = BTreeMap::new();
        for (session, path) in
            [("one", "large"), ("one", "small"), ("one", "other"), ("two", "large"), ("two", "own")]
        {
            let bytes = fs::read(home.at(session).join(path)).unwrap();
            contents.insert((session.to_owned(), path.to_owned()), bytes);
        }
        contents.insert(("live".into(), String::new()), noise(5, 70_000));
        let needs = needs(&home, &contents);
        home.assert_sound();
        Self { home, contents, needs, log_ends, blocks: 3 }
    }

    /// Files outside `index/` and `run/`, relative to the store.
    fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut waiting = vec![self.home.data().to_owned()];
        while let Some(folder) = waiting.pop() {
            for found in fs::read_dir(folder).unwrap() {
                let found = found.unwrap();
                if !found.file_type().unwrap().is_dir() {
                    files.push(found.path().strip_prefix(self.home.data()).unwrap().to_owned());
                } else if !["index", "run"].iter().any(|derived| found.file_name() == *derived) {
                    waiting.push(found.path());
                }
            }
        }
        files.sort();
        assert!(files.len() > 20, "{files:?}");
        files
    }

    fn length(&self, file: &Path) -> u64 {
        fs::metadata(self.home.data().join(file)).unwrap().len()
    }

    /// Whether damage to a file may cost the content of a session's file.
    fn may_cost(&self, damage: &Damage, indexed: bool, name: &Name) -> bool {
        if damage.file == Path::new("data-chain/chunks/00000001.seg") {
            let needed = &self.needs[name];
            return match damage.how {
                How::Flip(at) => needed.iter().any(|range| range.contains(&at)),
                How::Cut(to) => needed.iter().any(|range| range.end > to),
                How::Deleted => true,
            };
        }
        if damage.file == Path::new("data-chain/log/00000001.log") && !indexed {
            return match damage.how {
                // A fact belongs to one session; which one is decided by counting.
                How::Flip(_) => true,
                How::Cut(to) => self.log_ends[&name.0] > to,
                How::Deleted => true,
            };
        }
        false
    }
}

/// Where in segment 1 everything is that each file needs.
fn needs(home: &Home, contents: &BTreeMap<Name, Vec<u8>>) -> BTreeMap<Name, Vec<Range<u64>>> {
    let options = Options {
        service: FOLDER_OWNER,
        signing_key: SIGNING_KEY,
        expected: None,
        create: false,
        encrypt: true,
        root_key_file: None,
        passphrase: None,
        owner: "a test".into(),
        reserve: Default::default(),
        given: Default::default(),
        now: later().to_string(),
    };
    let opened = Opened::open(&home.data().join(FOLDER_OWNER), &options).unwrap();
    let mut needs = BTreeMap::new();
    for name in contents.keys() {
        let source = StoredSession::open(&opened.vault, &name.0.parse().unwrap()).unwrap();
        let shape = source.shape().clone();
        let mut range = 0..shape.content_bytes;
        if !name.1.is_empty() {
            visit_entries(&source, name.1.as_bytes(), None, |entry| {
                range = entry.offset..entry.offset + entry.length;
                ControlFlow::Break(())
            })
            .unwrap();
        }
        let references = source.references(0, 1_000).unwrap();
        let needed = references
            .iter()
            .filter(|at| {
                at.offset >= shape.content_bytes
                    || (at.offset < range.end && at.end() > range.start)
            })
            .map(|reference| {
                let place = opened.vault.placement(&reference.chunk).unwrap().unwrap();
                assert_eq!(place.unit, 1);
                let header = lucid_store::frame::HEADER_BYTES as u64;
                place.offset..place.offset + header + u64::from(place.stored_length)
            })
            .collect();
        needs.insert(name.clone(), needed);
    }
    opened.close().unwrap();
    assert_eq!(segment::path(1), "chunks/00000001.seg");
    needs
}

#[derive(Debug, Clone, Copy)]
enum How {
    Flip(u64),
    Cut(u64),
    Deleted,
}

#[derive(Debug)]
struct Damage {
    file: PathBuf,
    how: How,
}

impl Damage {
    fn inflict(&self, store: &Path) {
        let path = store.join(&self.file);
        match self.how {
            How::Flip(at) => {
                let mut bytes = fs::read(&path).unwrap();
                let at = usize::try_from(at).unwrap();
                bytes[at] ^= 1 << (at % 8);
                fs::write(path, bytes).unwrap();
            }
            How::Cut(to) => {
                fs::File::options().write(true).open(path).unwrap().set_len(to).unwrap();
            }
            How::Deleted => fs::remove_file(path).unwrap(),
        }
    }

    /// Whether a line of what was found is about this.
    fn is_named(&self, line: &str) -> bool {
        let Some(rest) = line.strip_prefix(self.file.to_str().unwrap()) else { return false };
        let Some(offset) = rest.strip_prefix(" at byte ") else { return false };
        let offset: u64 = offset.split(':').next().unwrap().parse().unwrap();
        match self.how {
            How::Flip(at) => offset <= at,
            How::Cut(to) => offset <= to,
            How::Deleted => offset == 0,
        }
    }
}

/// A copy of the store, gone at the end.
struct Copied {
    folder: TempDir,
}

impl Copied {
    fn of(original: &Original, indexed: bool) -> Self {
        // Nothing here is about durability, so it may be kept in memory.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        copy(original.home.data(), folder.path());
        if !indexed {
            for service in ["data-chain", "block-manager"] {
                fs::remove_dir_all(folder.path().join(service).join("index")).unwrap();
            }
        }
        Self { folder }
    }

    fn home(&self) -> cmd::Home {
        cmd::Home {
            blocks: None,
            data: self.folder.path().to_owned(),
            server: None,
            key_file: None,
            limit_upload: None,
            limit_download: None,
            token_file: None,
            ca: None,
            pin: None,
            passphrase_file: None,
            profile: None,
            expected: None,
            reserve: None,
            read_only: false,
            reading: None,
            beside: false,
            typed: None,
            heard: Default::default(),
            given: Default::default(),
        }
    }
}

/// What a place gives for a file: its bytes, or why not.
fn read(place: &dyn Place, name: &Name) -> Result<Vec<u8>, String> {
    let id: SessionId = name.0.parse().unwrap();
    let source = place.source(&id).map_err(|error| format!("{error:#}"))?;
    let source = source.as_ref();
    let mut bytes = Vec::new();
    let mut range = None;
    if name.1.is_empty() {
        range = Some(0..source.shape().content_bytes);
    } else {
        visit_entries(source, name.1.as_bytes(), None, |entry| {
            assert_eq!(entry.kind, EntryKind::File);
            range = Some(entry.offset..entry.offset + entry.length);
            ControlFlow::Break(())
        })
        .map_err(|error| error.to_string())?;
    }
    let range = range.ok_or("it is not in the catalogue")?;
    read_range(source, range, |part| {
        bytes.extend_from_slice(part);
        Ok(())
    })
    .map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// Damages a copy and looks at it the way the command does.
fn try_damage(original: &Original, damage: &Damage, indexed: bool) {
    let case = format!("{damage:?}, indexed: {indexed}");
    let copied = Copied::of(original, indexed);
    let store = copied.folder.path();
    damage.inflict(store);
    let length = |file: &Path| fs::metadata(store.join(file)).map_or(0, |seen| seen.len());
    let before = length(&damage.file);
    let local = Local::open(&copied.home(), "test", &Clock::by_hand(later()));
    let place: Box<dyn Place> = match local {
        Ok(local) => Box::new(local),
        Err(error) => panic!("{case}: the store does not open: {error:#}"),
    };
    let found: Findings = place.verify_all(&|_, _| {}).unwrap_or_else(|e| panic!("{case}: {e:#}"));
    assert!(!found.is_sound(), "{case}: nothing was found");
    assert!(found.damage.iter().any(|line| damage.is_named(line)), "{case}: not named: {found:#?}");
    // A chain file's damage costs its block at most; anything else costs none.
    let lost_blocks = original.blocks.saturating_sub(found.blocks);
    match (damage.file.starts_with("block-manager/blocks"), damage.how) {
        (true, How::Flip(_)) => assert!(lost_blocks <= 1, "{case}: {found:#?}"),
        (true, _) => {}
        (false, _) => assert_eq!(lost_blocks, 0, "{case}: {found:#?}"),
    }
    let mut lost = Vec::new();
    for (name, wanted) in &original.contents {
        match read(place.as_ref(), name) {
            Ok(bytes) if bytes == *wanted => {}
            // Of a stream whose end is lost with the end of the log, the beginning may be left; the
            // place says that there may have been more.
            Ok(bytes) => assert!(
                name.1.is_empty() && wanted.starts_with(&bytes) && place.loss().is_some(),
                "{case}: {name:?} came back wrong"
            ),
            Err(why) => {
                assert!(original.may_cost(damage, indexed, name), "{case}: {name:?}: {why}");
                lost.push(name.0.as_str());
            }
        }
    }
    lost.dedup();
    let in_log = damage.file == Path::new("data-chain/log/00000001.log");
    if let (true, How::Flip(_)) = (in_log, damage.how) {
        assert!(lost.len() <= 1, "{case}: one fact costs {lost:?}");
    }
    let mut listed = 0;
    let sessions = place.sessions(&SessionFilter::default(), &mut |session| {
        let id: SessionId = session.session_id.parse()?;
        listed += 1;
        if session.merkle_root.is_some() && (indexed || !in_log) {
            place.prove(&id, &WantedProof::Session)?;
        }
        Ok(())
    });
    sessions.unwrap_or_else(|error| panic!("{case}: {error:#}"));
    if !in_log || indexed {
        assert_eq!(listed, original.log_ends.len(), "{case}");
    }
    place.close().unwrap_or_else(|error| panic!("{case}: {error:#}"));
    let is_file_of_records = ["log", "seg", "blk"]
        .iter()
        .any(|kind| damage.file.extension().is_some_and(|e| e == *kind))
        || damage.file.starts_with("block-manager/blocks");
    if is_file_of_records && !matches!(damage.how, How::Deleted) {
        assert!(length(&damage.file) >= before, "{case}: damage was cut off as if it were torn");
    }
}

/// What is tried on each file.
fn cases(original: &Original) -> Vec<Damage> {
    let all = std::env::var("LUCID_DAMAGE").is_ok_and(|how| how == "all");
    let mut cases = Vec::new();
    for file in original.files() {
        let length = original.length(&file);
        let count = match (all, length < 1_000) {
            (true, true) => length,
            (true, false) => 400,
            (false, true) => 5,
            (false, false) => 24,
        };
        let step = (length / count.max(1)).max(1);
        let spread = (0..length).step_by(usize::try_from(step).unwrap());
        let mut hows: Vec<How> = spread.chain([length - 1]).map(How::Flip).collect();
        hows.extend([0, length / 2, length - 1].map(How::Cut));
        hows.push(How::Deleted);
        cases.extend(hows.into_iter().map(|how| Damage { file: file.clone(), how }));
    }
    cases
}

#[test]
fn damage_is_found_and_named_and_costs_only_what_it_hit() {
    let original = Original::new();
    for damage in cases(&original) {
        try_damage(&original, &damage, true);
    }
}

#[test]
fn damage_is_found_and_named_without_the_index() {
    let original = Original::new();
    for damage in cases(&original) {
        try_damage(&original, &damage, false);
    }
}

#[test]
fn damage_in_the_last_commit_before_the_clean_close_is_no_torn_tail() {
    let original = Original::new();
    for file in ["data-chain/log/00000001.log", "block-manager/log/00000001.log"] {
        let length = original.length(Path::new(file));
        for back in [1, 20, 40, 60, 90, 120, 150, 200, 260, 330, 400] {
            for indexed in [true, false] {
                let damage = Damage { file: file.into(), how: How::Flip(length - back) };
                try_damage(&original, &damage, indexed);
            }
        }
    }
}

#[test]
fn the_command_names_damaged_cut_and_missing_files_and_ends_with_1() {
    let original = Original::new();
    for file in original.files() {
        let length = original.length(&file);
        for (turn, how) in
            [How::Flip(length / 2), How::Cut(length / 2), How::Deleted].into_iter().enumerate()
        {
            let copied = Copied::of(&original, (turn + file.as_os_str().len()) % 2 == 0);
            let damage = Damage { file: file.clone(), how };
            damage.inflict(copied.folder.path());
            let home = Home::new().with_data(copied.folder.path().to_owned());
            let ran = home.run(&[&"verify", &"--all"]);
            assert_eq!(ran.code, 1, "{damage:?}: {}{}", ran.err, ran.text());
            let named = ran
                .err
                .lines()
                .filter_map(|line| line.strip_prefix("warning: "))
                .any(|line| damage.is_named(line));
            assert!(named, "{damage:?}: {}", ran.err);
        }
    }
}

#[test]
fn a_store_that_lost_the_end_of_its_log_never_looks_whole() {
    let original = Original::new();
    let log: PathBuf = "data-chain/log/00000001.log".into();
    let half = original.log_ends["one"];
    for how in [How::Cut(0), How::Cut(half), How::Cut(original.length(&log) - 1), How::Deleted] {
        for indexed in [true, false] {
            let copied = Copied::of(&original, indexed);
            let damage = Damage { file: log.clone(), how };
            damage.inflict(copied.folder.path());
            let home = Home::new().with_data(copied.folder.path().to_owned());
            let (out, file) = (home.at("out"), home.file("new", "new"));
            let verbs: [&[&dyn AsRef<std::ffi::OsStr>]; 7] = [
                &[&"ls"],
                &[&"show", &"live"],
                &[&"cat", &"live"],
                &[&"restore", &"two", &"-o", &out],
                &[&"prove", &"two", &"-o", &home.at("bundle")],
                &[&"verify", &"two"],
                &[&"archive", &file],
            ];
            for verb in verbs {
                let ran = home.run(verb);
                let told = format!("{damage:?}, {indexed}: {}{}", ran.err, ran.text());
                assert!(matches!(ran.code, 1 | 74), "{told}");
                assert!(ran.err.contains("log/00000001.log"), "{damage:?}, {indexed}: {}", ran.err);
            }
            if indexed {
                assert_eq!(home.run(&[&"ls"]).lines().len(), 1 + original.log_ends.len());
            }
        }
    }
    // The operator can go on without what is lost, knowingly.
    let copied = Copied::of(&original, false);
    Damage { file: log, how: How::Cut(half) }.inflict(copied.folder.path());
    let home = Home::new().with_data(copied.folder.path().to_owned());
    let refused = home.run(&[&"archive", &original.home.at("two")]);
    assert!(matches!(refused.code, 1 | 74), "{}", refused.err);
    home.run(&[&"reindex", &"--accept-loss"]);
    let name = ("one".to_owned(), "large".to_owned());
    assert!(home.done(&[&"cat", &"one", &"large"]).out == original.contents[&name]);
    home.archive("two-again", &original.home.at("two"));
}

#[test]
fn a_damaged_chunk_costs_its_files_and_the_rest_is_restored() {
    let original = Original::new();
    let name = ("one".to_owned(), "large".to_owned());
    let at = original.needs[&name][0].start + 200;
    let damage = Damage { file: "data-chain/chunks/00000001.seg".into(), how: How::Flip(at) };
    let copied = Copied::of(&original, true);
    damage.inflict(copied.folder.path());
    let home = Home::new().with_data(copied.folder.path().to_owned());
    let out = home.at("out");
    let ran = home.run(&[&"restore", &"one", &"-o", &out]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("\"large\" was not restored"), "{}", ran.err);
    assert!(ran.err.contains("chunks/00000001.seg at byte"), "{}", ran.err);
    for whole in ["small", "other"] {
        let name = ("one".to_owned(), whole.to_owned());
        assert!(fs::read(out.join(whole)).unwrap() == original.contents[&name]);
    }
    assert!(
        !out.join("large").exists(),
        "a file that is not whole is not left behind as if it were"
    );
    let cat = home.run(&[&"cat", &"one", &"large"]);
    assert_eq!(cat.code, 1);
    assert!(cat.complaint().contains("chunks/00000001.seg at byte"), "{}", cat.err);
    assert!(original.contents[&name].starts_with(&cat.out), "what came out is what was kept");

    // The same content once more replaces the damaged record, for every session that refers to it.
    let again = home.archive("again", &original.home.at("one"));
    assert!(again["bytes_new"].as_u64().unwrap() > 0, "{again:#}");
    for session in ["one", "two"] {
        assert!(home.done(&[&"cat", &session, &"large"]).out == original.contents[&name]);
        home.done(&[&"verify", &session]);
    }
}

/// The files of a tar, and what is in them.
fn unpacked(tar: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (path, bytes)
    });
    entries.filter(|(path, _)| !path.ends_with('/')).collect()
}

#[test]
fn a_damaged_chunk_costs_its_files_in_a_tar_and_the_rest_is_written() {
    let original = Original::new();
    let name = ("one".to_owned(), "large".to_owned());
    let at = original.needs[&name][0].start + 200;
    let damage = Damage { file: "data-chain/chunks/00000001.seg".into(), how: How::Flip(at) };
    let copied = Copied::of(&original, true);
    damage.inflict(copied.folder.path());
    let home = Home::new().with_data(copied.folder.path().to_owned());
    let whole = |tar: &[u8]| {
        let found = unpacked(tar);
        assert_eq!(found.keys().collect::<Vec<_>>(), ["other", "small"]);
        for (path, bytes) in &found {
            assert!(*bytes == original.contents[&("one".to_owned(), path.clone())], "{path}");
        }
    };
    let file = home.at("one.tar");
    for out in [file.as_path(), Path::new("-")] {
        let ran = home.run(&[&"restore", &"one", &"--tar", &out]);
        assert_eq!(ran.code, 1, "{}", ran.err);
        assert!(ran.err.contains("\"large\" was not restored"), "{}", ran.err);
        assert!(ran.err.contains("chunks/00000001.seg at byte"), "{}", ran.err);
        if out == file { whole(&fs::read(&file).unwrap()) } else { whole(&ran.out) }
    }
    // What is there may be better: it stays.
    fs::write(&file, "precious").unwrap();
    let why = home.refused(1, &[&"restore", &"one", &"--tar", &file]);
    assert!(why.contains("\"large\"") && why.contains("stays as it was"), "{why}");
    assert_eq!(fs::read(&file).unwrap(), b"precious");
    // Nor does a path that is not there keep others from coming.
    let ran = home.run(&[&"restore", &"one", &"small", &"absent", &"--tar", &"-"]);
    assert!(ran.code == 1 && ran.err.contains("absent"), "{}", ran.err);
    assert_eq!(unpacked(&ran.out).into_keys().collect::<Vec<_>>(), ["small"]);
    // Where nothing can be read there is no tar.
    let none = home.at("none.tar");
    let why = home.refused(1, &[&"restore", &"one", &"large", &"--tar", &none]);
    assert!(why.contains("chunks/00000001.seg at byte") && !none.exists(), "{why}");
}

#[test]
fn another_name_of_a_damaged_file_is_left_out_of_a_tar_with_it() {
    let home = Home::new();
    home.file("tree/a", noise(1, 600_000));
    fs::hard_link(home.at("tree/a"), home.at("tree/b")).unwrap();
    home.file("tree/c", "sound");
    home.archive("s", &home.at("tree"));
    let contents = BTreeMap::from([(("s".to_owned(), "a".to_owned()), noise(1, 600_000))]);
    let at = needs(&home, &contents)[&("s".to_owned(), "a".to_owned())][0].start + 200;
    let file = "data-chain/chunks/00000001.seg".into();
    Damage { file, how: How::Flip(at) }.inflict(home.data());
    let ran = home.run(&[&"restore", &"s", &"--tar", &"-"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("\"a\" was not") && ran.err.contains("\"b\" was not"), "{}", ran.err);
    let found = unpacked(&ran.out);
    assert_eq!(found, BTreeMap::from([("c".to_owned(), b"sound".to_vec())]));
}

/// So many that their names fill several pages of a catalogue.
const FILES: usize = 4_000;

/// One of the files of [`with_many_files`].
fn name(number: usize) -> String {
    format!("{number:04} {}", "long name ".repeat(8).trim_end())
}

/// A session `s` of many files, and where a leaf page of its catalogue is, and the root page.
fn with_many_files() -> (Home, u64, u64) {
    let home = Home::new();
    for number in 0..FILES {
        home.file(&format!("tree/{}", name(number)), number.to_string());
    }
    home.archive("s", &home.at("tree"));
    let pages = needs(&home, &BTreeMap::from([(("s".to_owned(), String::new()), Vec::new())]));
    // A whole session needs its content, and then its pages.
    let all = &pages[&("s".to_owned(), String::new())];
    assert!(all.len() > 6, "{all:?}");
    (home, all[all.len() - 4].start, all[all.len() - 1].start)
}

/// A copy in which the page at this place is damaged.
fn with_page_damaged(home: &Home, at: u64, folder: &TempDir) -> Home {
    copy(home.data(), folder.path());
    let file = "data-chain/chunks/00000001.seg".into();
    Damage { file, how: How::Flip(at + 150) }.inflict(folder.path());
    Home::new().with_data(folder.path().to_owned())
}

#[test]
fn a_path_on_a_damaged_page_does_not_keep_other_chosen_ones_from_coming_back() {
    let (home, leaf, _) = with_many_files();
    let folder = tempfile::tempdir().unwrap();
    let broken = with_page_damaged(&home, leaf, &folder);
    let listed = broken.run(&[&"ls", &"s"]).text();
    let lost = (0..FILES).map(name).find(|name| !listed.contains(name)).unwrap();
    let sound: Vec<_> = (0..FILES).map(name).filter(|name| listed.contains(name)).collect();
    let (before, after) = (&sound[0], sound.last().unwrap());
    let out = broken.at("out");
    let ran = broken.run(&[&"restore", &"s", before, &lost, after, &"-o", &out]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains(&lost), "{}", ran.err);
    assert!(ran.err.contains("chunks/00000001.seg at byte"), "{}", ran.err);
    assert_eq!(fs::read_dir(&out).unwrap().count(), 2);
    assert!(out.join(before).exists() && out.join(after).exists());
}

#[test]
fn a_damaged_catalogue_page_costs_no_more_through_a_server() {
    let (home, leaf, root) = with_many_files();
    for (at, all_are_listed) in [(leaf, false), (root, true)] {
        let folder = tempfile::tempdir().unwrap();
        let broken = with_page_damaged(&home, at, &folder);
        let server = Server::start(&broken);
        let client = Home::new();
        let out = client.at("out");
        let mut command = client.command(&[&"restore", &"s", &"-o", &out]);
        let ran: Ran = command
            .env_remove("LUCID_DATA")
            .env("LUCID_DATA_CHAIN_URL", &server.url)
            .output()
            .unwrap()
            .into();
        assert_eq!(ran.code, 1);
        assert!(ran.err.contains("chunks/00000001.seg at byte"), "{}", ran.err);
        let count = fs::read_dir(out).map_or(0, Iterator::count);
        assert_eq!(count == FILES, all_are_listed, "{count}");
        assert!(count > FILES / 2, "{count}: {}", ran.err);
        assert_eq!(server.run(&client, &[&"cat", &"s", &name(0)]), b"0");
    }
}

#[test]
fn a_damaged_catalogue_page_costs_the_names_on_it_and_no_others() {
    let (home, leaf, root) = with_many_files();
    for (at, all_are_listed) in [(leaf, false), (root, true)] {
        let folder = tempfile::tempdir().unwrap();
        let broken = with_page_damaged(&home, at, &folder);
        let listed = broken.run(&[&"ls", &"s"]);
        assert_eq!(listed.code, 1);
        assert!(listed.complaint().contains("chunks/00000001.seg at byte"), "{}", listed.err);
        let count = listed.lines().len();
        assert_eq!(count == FILES, all_are_listed, "{count}");
        assert!(count > FILES / 2, "{count}");
        assert_eq!(broken.done(&[&"cat", &"s", &name(0)]).out, b"0");
        let out = broken.at("out");
        let restored = broken.run(&[&"restore", &"s", &"-o", &out]);
        assert_eq!(restored.code, 1);
        assert!(restored.err.contains("chunks/00000001.seg at byte"), "{}", restored.err);
        assert_eq!(fs::read_dir(out).unwrap().count(), count);
        assert_eq!(broken.run(&[&"verify", &"s"]).code, 1);
    }
}

#[test]
fn reading_or_proving_one_file_touches_only_its_chunks_and_its_catalogue() {
    let original = Original::new();
    let path = "data-chain/chunks/00000001.seg";
    for ((session, file), needed) in &original.needs {
        let copied = Copied::of(&original, true);
        let segment = copied.folder.path().join(path);
        let mut bytes = fs::read(&segment).unwrap();
        for (at, byte) in bytes.iter_mut().enumerate() {
            if !needed.iter().any(|range| range.contains(&(at as u64))) {
                *byte = !*byte;
            }
        }
        fs::write(&segment, bytes).unwrap();
        let home = Home::new().with_data(copied.folder.path().to_owned());
        let wanted = &original.contents[&(session.clone(), file.clone())];
        if file.is_empty() {
            assert!(home.done(&[&"cat", &session]).out == *wanted);
            continue;
        }
        assert!(home.done(&[&"cat", &session, &file]).out == *wanted);
        home.done(&[&"prove", &session, &"--path", &file, &"-o", &home.at("bundle")]);
        home.done(&[&"restore", &session, &file, &"-o", &home.at("out")]);
        assert!(fs::read(home.at("out").join(file)).unwrap() == *wanted);
        let content = home.at("out").join(file);
        assert_eq!(home.run(&[&"check-proof", &home.at("bundle"), &content]).code, 2);
    }
}

#[test]
fn a_damaged_catalogue_page_costs_a_search_the_names_on_it_and_is_named() {
    let (home, leaf, root) = with_many_files();
    for (at, all_are_found) in [(leaf, false), (root, true)] {
        let folder = tempfile::tempdir().unwrap();
        let broken = with_page_damaged(&home, at, &folder);
        let sound = broken.at("sound");
        fs::create_dir(&sound).unwrap();
        fs::write(sound.join("0000 long name"), "x").unwrap();
        broken.run(&[&"archive", &sound, &"--session", &"t"]);
        let server = Server::start(&broken);
        let client = Home::new();
        let mut command = client.command(&[&"find", &"???? long name*"]);
        let ran: Ran = command
            .env_remove("LUCID_DATA")
            .env("LUCID_DATA_CHAIN_URL", &server.url)
            .output()
            .unwrap()
            .into();
        drop(server);
        for ran in [ran, broken.run(&[&"find", &"???? long name*"])] {
            assert_eq!(ran.code, 1, "{}", ran.err);
            assert!(ran.err.contains("session s: not all of its paths"), "{}", ran.err);
            assert!(ran.err.contains("chunks/00000001.seg at byte"), "{}", ran.err);
            let count = ran.lines().len();
            assert_eq!(count == FILES + 1, all_are_found, "{count}");
            assert!(count > FILES / 2, "{count}");
        }
    }
}
