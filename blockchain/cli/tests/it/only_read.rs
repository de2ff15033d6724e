//! Stores that may only be read: on a read-only file system, by a user who has no right to write, and
//! by request. Every verb that reads works on them and leaves every byte, name and time as it was.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lucid_store::files::folder::{DataFolder, Options, ToRead};
use lucid_store::files::index::temporary::Room;
use serde_json::Value;

use super::home::{Home, Ran, copy, noise, prose};

/// How a test has a command read the store of a home.
type Opening<'a> = dyn Fn(&Home, &[&dyn AsRef<OsStr>]) -> Command + 'a;
type Arguments<'a> = Vec<&'a dyn AsRef<OsStr>>;

/// Nobody in particular, who owns nothing.
pub const NOBODY: u32 = 65_534;

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Where a user who may only read puts what comes out.
fn out(home: &Home) -> PathBuf {
    let out = home.at("out");
    if !out.exists() {
        fs::create_dir(&out).unwrap();
        fs::create_dir(home.at("scratch")).unwrap();
        if is_root() {
            chown(&out, Some(NOBODY), Some(NOBODY)).unwrap();
            chown(home.at("scratch"), Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }
    out
}

/// A command of a user to whom permissions apply. Root becomes the user `nobody`, so nothing is left out.
pub fn as_somebody(home: &Home, arguments: &[&dyn AsRef<OsStr>]) -> Command {
    let mut command = home.command(arguments);
    if is_root() {
        fs::set_permissions(home.at(""), Permissions::from_mode(0o755)).unwrap();
        // The program may lie where only root comes.
        let program = home.at("lucid");
        if !program.exists() {
            let built = env!("CARGO_BIN_EXE_lucid");
            fs::hard_link(built, &program)
                .or_else(|_| fs::copy(built, &program).map(drop))
                .unwrap();
        }
        let mut unprivileged = Command::new(program);
        unprivileged.args(command.get_args()).env_clear().current_dir(home.at(""));
        unprivileged.env("LUCID_DATA", home.data());
        unprivileged.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Root's other groups are dropped with its user.
        unprivileged.uid(NOBODY).gid(NOBODY);
        command = unprivileged;
    }
    command.env("TMPDIR", home.at("scratch"));
    command
}

/// What a write could change about a file: number, length, mode, times, bytes.
type Facts = (u64, u64, u32, [i64; 4], String);

/// All of that, of every file and folder.
fn facts(top: &Path) -> BTreeMap<PathBuf, Facts> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![top.to_owned()];
    while let Some(path) = waiting.pop() {
        let seen = fs::symlink_metadata(&path).unwrap();
        let digest = if seen.is_file() {
            blake3::hash(&fs::read(&path).unwrap()).to_string()
        } else {
            // A killed owner leaves the socket of its door.
            if seen.is_dir() {
                waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
            String::new()
        };
        let times = [seen.mtime(), seen.mtime_nsec(), seen.ctime(), seen.ctime_nsec()];
        let facts = (seen.ino(), seen.len(), seen.mode(), times, digest);
        found.insert(path, facts);
    }
    found
}

/// Changes what everybody may do with the files and folders of a store.
fn chmod(store: &Path, folders: u32, files: u32) {
    let mut waiting = vec![store.to_owned()];
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            fs::set_permissions(&path, Permissions::from_mode(folders)).unwrap();
        } else {
            fs::set_permissions(&path, Permissions::from_mode(files)).unwrap();
        }
    }
}

/// Two sessions, one that was removed, and a stream that is open.
fn some_store(home: &Home) {
    home.file("tree/a", "the first");
    home.file("tree/docs/one", prose(1, 50_000));
    home.file("tree/large", noise(3, 3 << 20));
    home.archive("s", &home.at("tree"));
    home.archive("t", &home.at("tree/docs"));
    home.archive("u", &home.at("tree/a"));
    home.done(&[&"rm", &"u", &"--reason", &"a test", &"--yes"]);
    home.fed(&[&"append", &"--session", &"open", &"--keep-open"], b"some bytes");
    out(home);
}

/// The verbs that print what does not depend on when they are asked.
fn printing() -> Vec<Arguments<'static>> {
    vec![
        vec![&"ls"],
        vec![&"ls", &"--removed"],
        vec![&"ls", &"s", &"docs"],
        vec![&"tree", &"s"],
        vec![&"diff", &"s", &"s"],
        vec![&"stats", &"--files"],
        vec![&"show", &"--chunks", &"s"],
        vec![&"find", &"*"],
        vec![&"query", &"sessions"],
        vec![&"show", &"s"],
        vec![&"show", &"u"],
        vec![&"cat", &"s", &"large"],
        vec![&"cat", &"open"],
        vec![&"restore", &"t", &"--tar", &"-"],
        vec![&"chain", &"info"],
        vec![&"chain", &"export", &"-"],
        vec![&"keys", &"list"],
        vec![&"scrub"],
    ]
}

/// What every verb that reads does on a store that is only read, however that comes.
fn assert_reads(home: &Home, why: &str, command: &Opening<'_>) {
    let run = |arguments: &[&dyn AsRef<OsStr>]| -> Ran {
        command(home, arguments).output().unwrap().into()
    };
    let shown = |arguments: &[&dyn AsRef<OsStr>]| -> String {
        let words = arguments.iter().map(|word| word.as_ref().to_string_lossy().into_owned());
        words.collect::<Vec<_>>().join(" ")
    };
    let done = |arguments: &[&dyn AsRef<OsStr>]| -> Ran {
        let ran = run(arguments);
        let what = shown(arguments);
        assert_eq!(ran.code, 0, "{what}: {}{}", ran.err, ran.text());
        let said = ran.err.lines().filter(|line| line.contains("nothing is written to"));
        let said: Vec<_> = said.collect();
        let folders = if what == "keys list" { 2 } else { 1 };
        assert_eq!(said.len(), folders, "{what}: {}", ran.err);
        assert!(said[0].contains(why) && said[0].contains("store/"), "{what}: {}", ran.err);
        ran
    };
    // What the owner's sees, on a copy that may be written to.
    let writable = Home::new();
    copy(home.data(), writable.data());
    chmod(writable.data(), 0o700, 0o600);
    let before = facts(home.data());
    for verb in printing() {
        let wanted = writable.done(&verb);
        assert!(done(&verb).out == wanted.out, "{}", shown(&verb));
    }
    let out = out(home);
    done(&[&"restore", &"s", &"-o", &out.join("restored")]);
    assert_eq!(fs::read(out.join("restored/large")).unwrap(), noise(3, 3 << 20));
    done(&[&"verify", &"s"]);
    done(&[&"prove", &"s", &"-o", &out.join("bundle")]);
    done(&[&"chain", &"validate"]);
    done(&[&"chain", &"export", &out.join("chain.jsonl")]);
    done(&[&"mirror", &out.join("mirror")]);
    let mirror = Home::new().with_data(out.join("mirror"));
    assert!(mirror.done(&[&"cat", &"s", &"large"]).out == noise(3, 3 << 20));

    // Programs are told apart from the result, and --quiet is.
    let ran = run(&[&"--json", &"verify", &"--all"]);
    assert_eq!(ran.json(), {
        let ran = writable.run(&[&"--json", &"verify", &"--all"]);
        ran.json()
    });
    let note: Value = serde_json::from_str(ran.err.lines().next().unwrap()).unwrap();
    assert!(note["note"].as_str().unwrap().contains(why), "{}", ran.err);
    assert_eq!(run(&[&"--quiet", &"cat", &"s", &"a"]).err, "");

    let after = facts(home.data());
    for (path, facts) in &before {
        assert_eq!(Some(facts), after.get(path), "{path:?}");
    }
    assert_eq!(before.len(), after.len());
    assert_eq!(fs::read_dir(home.at("scratch")).unwrap().count(), 0, "a copy was left behind");
}

/// Every verb that writes refuses, with the folder, the cause and the remedy, and changes nothing.
fn assert_refuses(home: &Home, said: &[&str], command: &Opening<'_>) {
    let chain = home.file("blocks.jsonl", "");
    fs::set_permissions(&chain, Permissions::from_mode(0o644)).unwrap();
    let file = home.at("tree/a");
    let elsewhere = out(home).join("other");
    let before = facts(home.data());
    let verbs: Vec<Arguments<'_>> = vec![
        vec![&"archive", &file],
        vec![&"append", &file, &"--session", &"more"],
        vec![&"seal", &"open"],
        vec![&"rm", &"s", &"--reason", &"why", &"--yes"],
        vec![&"hold", &"s"],
        vec![&"release", &"s"],
        vec![&"gc"],
        vec![&"optimise"],
        vec![&"scrub", &"--now"],
        vec![&"reindex"],
        vec![&"migrate", &"--to", &"folder"],
        vec![&"keys", &"rotate"],
        vec![&"keys", &"rewrap"],
        vec![&"chain", &"import", &chain],
        vec![&"chain", &"promote"],
    ];
    let refuse = |home: &Home, verb: &[&dyn AsRef<OsStr>]| {
        let ran: Ran = command(home, verb).output().unwrap().into();
        assert!(matches!(ran.code, 1 | 64 | 74), "{}{}", ran.err, ran.text());
        let why = ran.complaint();
        for word in said {
            assert!(why.contains(word), "{word:?} is missing: {why}");
        }
    };
    verbs.iter().for_each(|verb| refuse(home, verb));
    assert_eq!(before, facts(home.data()));
    if !said.iter().any(|word| word.contains("--read-only")) {
        // Another store as the first, and this one as its mirror.
        let other = Home::new().with_data(elsewhere);
        other.archive("x", &file);
        chmod(other.data(), 0o777, 0o666);
        refuse(&other, &[&"mirror", &home.data()]);
        assert_eq!(before, facts(home.data()));
    }
}

/// Goes on once a lock that was let go is free: a command that another test is just starting has every
/// file of this process for a moment.
fn once_free<T>(attempt: impl Fn() -> Option<T>) -> T {
    let started = std::time::Instant::now();
    loop {
        match attempt() {
            Some(done) => return done,
            None => assert!(started.elapsed().as_secs() < 60, "the lock is not let go"),
        }
        std::thread::yield_now();
    }
}

/// A folder that is mounted onto itself for reading, until it is dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn read_only(folder: &Path) -> Option<Self> {
        let mount = |arguments: &[&str]| {
            let ran = Command::new("mount").args(arguments).args([folder, folder]).output();
            ran.map(|ran| (ran.status.success(), String::from_utf8_lossy(&ran.stderr).into_owned()))
        };
        match mount(&["--bind"]) {
            Ok((true, _)) => {}
            other => {
                eprintln!("SKIPPED: nothing can be mounted here: {other:?}");
                return None;
            }
        }
        let mounted = Self(folder.to_owned());
        let (done, why) = mount(&["-o", "remount,ro,bind"]).unwrap();
        assert!(done, "{why}");
        Some(mounted)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_store_on_a_read_only_file_system_is_read_and_not_written_to() {
    let home = Home::new();
    some_store(&home);
    let Some(_mounted) = Mounted::read_only(home.data()) else { return };
    let command = |home: &Home, arguments: &[&dyn AsRef<OsStr>]| {
        let mut command = home.command(arguments);
        command.env("TMPDIR", home.at("scratch"));
        command
    };
    assert_reads(&home, "read-only file system", &command);
    let said = ["store/", "cannot be written to (read-only file system)", "mount it for writing"];
    assert_refuses(&home, &said, &command);
}

#[test]
fn whoever_may_only_read_a_store_reads_it() {
    let home = Home::new();
    some_store(&home);
    chmod(home.data(), 0o555, 0o444);
    assert_reads(&home, "no permission", &as_somebody);
    let said = [
        "store/",
        "cannot be written to (no permission)",
        "run this as its owner",
        "sudo chown -R",
    ];
    assert_refuses(&home, &said, &as_somebody);
    chmod(home.data(), 0o755, 0o644);
}

#[test]
fn a_store_that_must_not_be_touched_is_read_where_it_could_be_written_to() {
    let home = Home::new();
    some_store(&home);
    let command = |home: &Home, arguments: &[&dyn AsRef<OsStr>]| {
        let mut command = home.command(&[&"--read-only"]);
        command.args(arguments.iter().map(|argument| argument.as_ref()));
        command.env("TMPDIR", home.at("scratch"));
        command
    };
    assert_reads(&home, "--read-only", &command);
    assert_refuses(&home, &["--read-only"], &command);
    let why = home.refused(64, &[&"--read-only", &"ls", &"--server", &"http://127.0.0.1:9"]);
    assert!(why.contains("--read-only is for a folder"), "{why}");
}

#[test]
fn without_an_index_or_room_for_its_copy_the_log_is_enough() {
    let home = Home::new();
    let data = home.data().to_owned();
    let indexes = ["data-chain/index", "block-manager/index"];
    home.archive("first", &home.file("first", "the first"));
    indexes.iter().for_each(|index| copy(&data.join(index), &home.at("behind").join(index)));
    some_store(&home);
    let whole = home.done(&[&"show", &"s"]).out;
    for (case, scratch) in [("behind", "scratch"), ("gone", "scratch"), ("gone", "absent")] {
        for index in indexes {
            fs::remove_dir_all(data.join(index)).unwrap();
            if case == "behind" {
                copy(&home.at("behind").join(index), &data.join(index));
            }
        }
        chmod(&data, 0o555, 0o444);
        let before = facts(&data);
        for (verb, wanted) in
            [(vec!["show", "s"], &whole), (vec!["cat", "s", "large"], &noise(3, 3 << 20))]
        {
            let arguments: Arguments<'_> =
                verb.iter().map(|word| word as &dyn AsRef<OsStr>).collect();
            let mut command = as_somebody(&home, &arguments);
            let ran: Ran = command.env("TMPDIR", home.at(scratch)).output().unwrap().into();
            assert!(ran.code == 0 && ran.out == *wanted, "{case}, {scratch}: {}", ran.err);
        }
        let verified: Ran = as_somebody(&home, &[&"verify", &"--all"])
            .env("TMPDIR", home.at(scratch))
            .output()
            .unwrap()
            .into();
        assert_eq!(verified.code, 0, "{case}, {scratch}: {}{}", verified.err, verified.text());
        assert_eq!(before, facts(&data));
        assert_eq!(fs::read_dir(home.at("scratch")).unwrap().count(), 0);
        chmod(&data, 0o755, 0o644);
        home.done(&[&"ls"]);
        home.done(&[&"chain", &"info"]);
    }
}

/// A user who may only read sees tears and damage as a user who may write sees them after a start. They stay
/// where they are.
#[test]
fn a_torn_and_a_damaged_store_are_read_up_to_their_last_commit() {
    let home = Home::new();
    some_store(&home);
    // A recorder that was killed in the middle: its index is behind its log.
    let mut child = home
        .command(&[&"append", &"--session", &"killed", &"--keep-open"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), &noise(5, 2 << 20)).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let data = home.data().to_owned();
    let newest = |folder: &str, suffix: &str| -> PathBuf {
        let files = fs::read_dir(data.join(folder)).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> =
            files.filter(|path| path.to_string_lossy().ends_with(suffix)).collect();
        files.sort();
        files.pop().unwrap()
    };
    let add = |path: &Path, bytes: &[u8]| {
        let mut all = fs::read(path).unwrap();
        all.extend_from_slice(bytes);
        fs::write(path, all).unwrap();
    };
    // Torn tails of both logs, of the segment and of the blocks; a lock that was being replaced, a log
    // and a segment that were only begun.
    add(&newest("data-chain/log", ".log"), &noise(6, 777));
    add(&newest("data-chain/chunks", ".seg"), &noise(7, 70_000));
    add(&newest("block-manager/log", ".log"), &noise(8, 99));
    add(&newest("block-manager/blocks", ".blocks"), &noise(9, 555));
    add(&newest("block-manager/blocks", ".bodies"), &noise(9, 5_555));
    fs::write(data.join("block-manager/TIP.new"), "half").unwrap();
    fs::write(data.join("data-chain/log/00000001.log.new"), "half").unwrap();
    for damaged in [false, true] {
        if damaged {
            let segment = data.join("data-chain/chunks/00000001.seg");
            let mut bytes = fs::read(&segment).unwrap();
            bytes[1_000] ^= 1;
            fs::write(&segment, bytes).unwrap();
        }
        // What a start makes of it, on a copy.
        let writable = Home::new();
        copy(&data, writable.data());
        chmod(&data, 0o555, 0o444);
        let before = facts(&data);
        let verbs: [&[&dyn AsRef<OsStr>]; 4] = [
            &[&"--json", &"verify", &"--all"],
            &[&"--json", &"ls"],
            &[&"cat", &"killed"],
            &[&"chain", &"export", &"-"],
        ];
        for verb in verbs {
            let ran: Ran = as_somebody(&home, verb).output().unwrap().into();
            let wanted = writable.run(verb);
            assert_eq!(ran.code, wanted.code, "{}{}", ran.err, wanted.err);
            assert!(ran.out == wanted.out, "{}\n{}", ran.text(), wanted.text());
            assert!(!ran.err.contains("panicked"), "{}", ran.err);
        }
        let found = as_somebody(&home, verbs[0]).output().unwrap();
        assert_eq!(found.status.code(), Some(i32::from(damaged)));
        let said = String::from_utf8_lossy(&found.stdout).into_owned();
        assert_eq!(said.contains("00000001.seg"), damaged, "{said}");
        assert_eq!(before, facts(&data));
        chmod(&data, 0o755, 0o644);
    }
}

#[test]
fn a_copy_of_the_index_goes_when_the_command_is_told_to_end() {
    let home = Home::new();
    some_store(&home);
    home.archive("long", &home.file("long", noise(9, 8 << 20)));
    for signal in
        [rustix::process::Signal::INT, rustix::process::Signal::TERM, rustix::process::Signal::HUP]
    {
        let mut child = home
            .command(&[&"--read-only", &"cat", &"long", &"long"])
            .env("TMPDIR", home.at("scratch"))
            .spawn()
            .unwrap();
        // From its first byte on it is open, and waits for a reader of the rest.
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let folder = fs::read_dir(home.at("scratch")).unwrap().next().unwrap().unwrap();
        assert_eq!(folder.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(128 + signal.as_raw()));
        assert_eq!(fs::read_dir(home.at("scratch")).unwrap().count(), 0);
    }
}

#[test]
fn what_may_not_be_read_is_named() {
    let home = Home::new();
    some_store(&home);
    let data = home.data().to_owned();
    chmod(&data, 0o555, 0o444);
    // The lock: then nobody knows who else is there, and even --quiet says so.
    let lock = data.join("data-chain/run/lock");
    fs::set_permissions(&lock, Permissions::from_mode(0o000)).unwrap();
    let ran: Ran = as_somebody(&home, &[&"--quiet", &"cat", &"s", &"a"]).output().unwrap().into();
    assert_eq!((ran.code, ran.text().as_str()), (0, "the first"), "{}", ran.err);
    assert!(ran.err.starts_with("warning: nothing is written to"), "{}", ran.err);
    assert!(ran.err.contains("it is not known whether somebody writes to it"), "{}", ran.err);
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);

    let refused = || -> String {
        let ran: Ran = as_somebody(&home, &[&"ls"]).output().unwrap().into();
        assert!(matches!(ran.code, 1 | 74), "{}", ran.text());
        ran.complaint()
    };
    let key = data.join("data-chain/keys/root.key");
    fs::set_permissions(&key, Permissions::from_mode(0o000)).unwrap();
    let why = refused();
    assert!(why.contains("root.key") && why.contains("the right to read STORE and keys/"), "{why}");
    fs::set_permissions(&key, Permissions::from_mode(0o444)).unwrap();

    // A folder that may not be looked into is not one that holds no store.
    fs::set_permissions(data.join("data-chain"), Permissions::from_mode(0o000)).unwrap();
    let why = refused();
    assert!(why.contains("Permission denied") && !why.contains("holds no"), "{why}");
    chmod(&data, 0o755, 0o644);
}

#[test]
fn a_store_is_not_read_beside_whoever_writes_to_it_nor_written_to_while_it_is_read() {
    let home = Home::new();
    some_store(&home);
    let options = Options {
        service: "data-chain",
        signing_key: "recorder",
        expected: None,
        create: false,
        encrypt: true,
        root_key_file: None,
        passphrase: None,
        owner: "`lucid up`".into(),
        reserve: Default::default(),
        given: Default::default(),
        now: "2026-01-01T00:00:00Z".into(),
    };
    let folder = home.data().join("data-chain");
    let owner = DataFolder::open(&folder, &options).unwrap();
    let why = home.hindered(&[&"--read-only", &"ls"]);
    assert!(why.contains("is in use by `lucid up`") && why.contains("--server"), "{why}");
    drop(owner);
    let room = Room { scratch: home.at("scratch"), memory_bytes_max: 0 };
    let how = ToRead { why: "so".into(), room };
    let reader = once_free(|| DataFolder::read(&folder, &options, &how).ok());
    let why = home.refused(1, &[&"archive", &home.at("tree/a")]);
    assert!(why.ends_with("is being read, and not to be changed"), "{why}");
    home.done(&[&"--read-only", &"ls"]);
    drop(reader);
    let file = home.at("tree/a");
    let archived = || home.run(&[&"archive", &"--session", &"v", &file]);
    once_free(|| (archived().code == 0).then_some(()));
}

#[test]
fn blocks_that_lie_elsewhere_are_read_there_and_not_linked() {
    let home = Home::new();
    some_store(&home);
    let wanted = home.done(&[&"chain", &"export", &"-"]).out;
    let (chain, elsewhere) = (home.data().join("block-manager"), home.at("elsewhere"));
    fs::rename(chain.join("blocks"), &elsewhere).unwrap();
    let before = facts(home.data());
    let reads = |blocks: &Path, verb: &[&dyn AsRef<OsStr>]| -> Ran {
        let mut command = home.command(&[&"--read-only", &"--blocks", &blocks]);
        command.args(verb.iter().map(|word| word.as_ref())).output().unwrap().into()
    };
    let exported = reads(&elsewhere, &[&"chain", &"export", &"-"]);
    assert!(exported.code == 0 && exported.out == wanted, "{}", exported.err);
    let verified = reads(&elsewhere, &[&"verify", &"--all"]);
    assert_eq!(verified.code, 0, "{}{}", verified.err, verified.text());
    let other = reads(&home.at("tree"), &[&"chain", &"info"]);
    assert_eq!(other.code, 1);
    assert!(other.complaint().contains("does not hold the blocks of this chain"), "{}", other.err);
    assert_eq!(before, facts(home.data()));
}

#[test]
fn a_block_manager_that_is_asked_is_no_folder_to_be_only_read() {
    let home = Home::new();
    for verb in ["info", "validate", "export", "sync"] {
        let mut arguments: Arguments<'_> =
            vec![&"--read-only", &"chain", &"--manager", &"http://127.0.0.1:9"];
        arguments.push(&verb);
        let file = home.at("blocks");
        if verb == "export" {
            arguments.push(&file);
        }
        let refused = home.hindered(&arguments);
        assert!(refused.contains("--manager (LUCID_BLOCK_MANAGER_URL)"), "{verb}: {refused}");
    }
}
