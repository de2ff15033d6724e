//! What must not be: each room keeps to what it may know. The compiler holds the walls between crates; these are
//! the walls within them, as `docs/ARCHITECTURE.md` lists them. What is read is the source itself, without its
//! comments and its tests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The folder of all crates.
fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Rooms that are compiled for tests alone.
const TEST_ROOMS: [&str; 5] =
    ["/tests", "/conformance", "/crash_tests", "/damage_tests", "/simulated"];

/// Whether a file is one of those rooms, or stands in one.
fn is_test_room(name: &str) -> bool {
    let Some((_, name)) = name.split_once("/src/") else { return false };
    let name = format!("/{name}");
    TEST_ROOMS.iter().any(|room| {
        name.strip_suffix(".rs").is_some_and(|name| name.ends_with(room))
            || name.contains(&format!("{room}/"))
    })
}

/// The source files below a folder, or the one that is named, by their paths from the folder of all crates: without
/// comments, and without the tests at their ends.
fn sources(below: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![crates().join(below)];
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).unwrap();
            waiting.extend(entries.map(|entry| entry.unwrap().path()));
            continue;
        }
        let name = path.strip_prefix(crates()).unwrap().to_str().unwrap().to_owned();
        if name.ends_with(".rs") && !is_test_room(&name) {
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.split("\n#[cfg(test)]\nmod ").next().unwrap();
            let bare = code.lines().map(|line| line.split("//").next().unwrap_or_default());
            found.insert(name, bare.collect::<Vec<_>>().join("\n"));
        }
    }
    assert!(!found.is_empty(), "nothing is at {below}: a room has moved, and its wall must follow");
    found
}

/// Whether a word stands in a text on its own. Where it ends in something else than a letter, what follows may be
/// anything.
fn says(code: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let behind = code[at + word.len()..].chars().next();
        let is_whole = !word.ends_with(is_part) || !behind.is_some_and(is_part);
        !before.is_some_and(is_part) && is_whole
    })
}

/// Every file of these rooms that says one of the words, but for those that may.
fn breaches(rooms: &[&str], words: &[&str], but: &[&str]) -> Vec<String> {
    let mut breaches = Vec::new();
    for (name, code) in rooms.iter().flat_map(|room| sources(room)) {
        for word in words.iter().filter(|word| says(&code, word)) {
            if !but.iter().any(|allowed| name.starts_with(allowed)) {
                breaches.push(format!("{name} says {word}"));
            }
        }
    }
    breaches
}

/// Those that may and do not need to any more.
fn idle(words: &[&str], but: &[&str]) -> Vec<String> {
    let needs =
        |room: &&&str| sources(room).values().any(|code| words.iter().any(|word| says(code, word)));
    but.iter().filter(|room| !needs(room)).map(|room| (*room).to_owned()).collect()
}

#[track_caller]
fn hold(rooms: &[&str], words: &[&str], but: &[&str]) {
    assert_eq!(breaches(rooms, words, but), Vec::<String>::new());
    assert_eq!(idle(words, but), Vec::<String>::new(), "these exceptions are needed no more");
}

#[test]
fn words_are_found_where_they_stand_alone() {
    assert!(says("use axum::Router;", "axum"));
    assert!(says("std::fs::read(path)", "std::fs::"));
    assert!(!says("use taxum; axums()", "axum"));
    let comment = ["What must", "not be"].join(" ");
    assert!(sources("cli/tests/it/walls.rs").values().all(|code| !code.contains(&comment)));
}

#[test]
fn ops_know_no_http_and_no_runtime() {
    let words =
        ["axum", "http", "hyper", "lucid_http", "tower", "tower_http", "tokio", "reqwest", "async"];
    hold(&["data/src/ops", "manager/src/ops"], &words, &[]);
}

#[test]
fn routes_know_no_store() {
    let rooms =
        ["data/src/routes", "data/src/routes.rs", "manager/src/routes", "manager/src/routes.rs"];
    hold(&rooms, &["lucid_store"], &[]);
}

#[test]
fn the_core_opens_nothing_waits_for_nothing_and_has_no_clock_and_no_chance() {
    let words = [
        "std::fs",
        "std::net",
        "std::process",
        "std::env",
        "std::os",
        "async",
        "tokio",
        "Instant",
        "SystemTime",
        "getrandom",
        "rand",
        "OsRng",
        "rustix",
    ];
    hold(&["core/src"], &words, &[]);
}

#[test]
fn only_output_progress_and_last_words_are_written_to_the_terminal() {
    let words = ["stdout()", "stderr()", "println!", "eprintln!", "print!", "eprint!"];
    let but = [
        "cli/src/output.rs",
        // Says what is safe when the command is told to end.
        "cli/src/interrupt.rs",
        // Asks whether it is one.
        "cli/src/cmd/up.rs",
        // Hands on what the recorded program says.
        "cli/src/cmd/record/child.rs",
        // Asks whether it is one, and says why the program that was to have one cannot run.
        "cli/src/cmd/record/terminal.rs",
    ];
    hold(&["cli/src"], &words, &but);
}

#[test]
fn policy_knows_no_back_end_and_contracts_know_no_policy() {
    let back_ends = ["crate::files", "crate::memory", "crate::s3"];
    hold(&["store/src/vault", "store/src/vault.rs"], &back_ends, &[]);
    hold(&["store/src/contract"], &[&back_ends[..], &["crate::vault"]].concat(), &[]);
}

#[test]
fn back_ends_are_named_in_one_file() {
    let words =
        ["RealDisk", "EmbeddedIndex", "ChainFiles", "MemoryLog", "MemoryBlobs", "MemoryIndex"];
    hold(&["data/src", "manager/src", "cli/src"], &words, &["manager/src/opened.rs"]);
}

#[test]
fn durable_files_are_touched_through_the_disk_alone() {
    let words = ["std::fs::", "fs::File", "OpenOptions", "rustix::fs"];
    let but = [
        "store/src/files/disk/real.rs",
        // The owner's lock, the links to segments and blocks kept elsewhere, and key files outside the folder.
        "store/src/files/folder/lock.rs",
        "store/src/files/folder/aside.rs",
        "store/src/files/folder/link.rs",
        "store/src/files/folder/keys.rs",
        // The folder itself: whether it is there, whose it is, how it is made, and what takes its place.
        "store/src/files/folder.rs",
        "store/src/files/folder/clock.rs",
        "store/src/files/folder/making.rs",
        "store/src/files/folder/moving.rs",
        "store/src/files/folder/reading.rs",
        "store/src/files/folder/succession.rs",
        // Reads a root key that is kept outside.
        "store/src/files/folder/identity.rs",
        // Reads a chain beside the service that writes it.
        "store/src/files/chain/scan.rs",
        // Files without a name, for ids that do not fit into memory.
        "manager/src/seen_ids.rs",
        // The index has a folder of its own, which nothing lives in alone.
        "store/src/files/index.rs",
        "store/src/files/index/temporary.rs",
        // Exchanges whole folders when a chain is begun anew.
        "manager/src/anew.rs",
    ];
    hold(&["store/src", "data/src", "manager/src"], &words, &but);
}

/// From so many lines on a file says at its head why it is one.
const LINES_MAX: usize = 500;

#[test]
fn a_file_of_many_lines_says_why_it_is_one() {
    let mut silent = Vec::new();
    for room in ["core", "store", "http", "api", "data", "manager", "cli"] {
        let mut waiting = vec![crates().join(room).join("src")];
        while let Some(path) = waiting.pop() {
            if path.is_dir() {
                waiting
                    .extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let head = text.lines().take_while(|line| line.starts_with("//!"));
            let says_why = head.collect::<String>().contains("In one file because ");
            if says_why != (text.lines().count() > LINES_MAX) {
                silent.push(path.strip_prefix(crates()).unwrap().display().to_string());
            }
        }
    }
    silent.sort();
    assert_eq!(
        silent,
        Vec::<String>::new(),
        "each is long and does not say why it is one file, or short and does"
    );
}
