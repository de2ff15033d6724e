//! Every target with everything in the repository that it has met: seeds, and what once was too much for it.
//! Then with altered copies of the seeds.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use lucid_core::json::Json;
use lucid_core::time::Timestamp;
use lucid_fuzz::draw::{Draw, alter};
use lucid_fuzz::{TARGETS, meet};
use parking_lot::Mutex;

/// Memory is counted for the whole process, so one is measured at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn folder(kind: &str, target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(kind).join(target)
}

/// The inputs of a target, by name.
fn inputs(kind: &str, target: &str) -> Vec<(String, Vec<u8>)> {
    let mut inputs: Vec<_> = fs::read_dir(folder(kind, target))
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(path).unwrap())
        })
        .collect();
    inputs.sort();
    inputs
}

/// Says which input it was, if one is too much.
fn holds(target: &str, what: &str, bytes: &[u8]) {
    let outcome = catch_unwind(AssertUnwindSafe(|| meet(target, bytes)));
    assert!(outcome.is_ok(), "{target} with {what}: {bytes:?}");
}

fn replay(target: &str, altered: usize) {
    let _alone = ALONE.lock();
    for (name, bytes) in inputs("regressions", target) {
        holds(target, &name, &bytes);
    }
    let seeds = inputs("corpus", target);
    assert!(!seeds.is_empty(), "{target} has no seeds");
    for (name, bytes) in &seeds {
        holds(target, name, bytes);
    }
    // The same ones every time: a change that breaks something is then the change that broke it.
    let mut random = blake3::Hasher::new().update(target.as_bytes()).finalize_xof();
    for round in 0..altered {
        let (name, bytes) = &seeds[round % seeds.len()];
        let mut decide = [0; 40];
        random.fill(&mut decide);
        let mut draw = Draw::new(&decide);
        let mut bytes = bytes.clone();
        for _ in 0..=round % 3 {
            bytes.push(0);
            alter(&mut draw, &mut bytes);
        }
        holds(target, &format!("{name}, altered in round {round}"), &bytes);
    }
}

macro_rules! replayed {
    ($($target:ident: $altered:literal),+ $(,)?) => {
        const REPLAYED: &[&str] = &[$(stringify!($target)),+];
        $(#[test]
        fn $target() {
            replay(stringify!($target), $altered);
        })+
    };
}

replayed! {
    records: 200, recovery: 60, manifest: 200, bundle: 60, pages: 200, chain: 200, wire: 200,
    forge: 60, formats: 200, remote: 200, store: 25, restore: 30, http: 40, peer: 40, pyjson: 60,
}

#[test]
fn every_target_is_replayed_and_named_where_it_is_listed() {
    let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(names, REPLAYED);
    let cargo =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    for name in names {
        assert!(cargo.contains(&format!("path = \"targets/{name}.rs\"")), "{name} in Cargo.toml");
        assert!(folder("targets", &format!("{name}.rs")).exists(), "targets/{name}.rs");
        assert!(folder("dictionaries", name).exists(), "dictionaries/{name}");
    }
    for kind in ["corpus", "regressions"] {
        for entry in fs::read_dir(folder(kind, "")).into_iter().flatten() {
            let name = entry.unwrap().file_name().to_string_lossy().into_owned();
            assert!(REPLAYED.contains(&name.as_str()), "{kind}/{name} is nobody's");
        }
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

/// `golden/python.py golden` wrote these.
#[test]
fn what_python_once_said_of_json_and_times_is_what_we_say() {
    let mut compared = 0;
    for line in include_str!("../golden/python.txt").lines() {
        let (question, answer) = line.split_once(' ').unwrap();
        let (kind, text) = question.split_at(1);
        let (text, answer) = (unhex(text), answer.strip_prefix('='));
        let ours = match kind {
            "j" => Json::parse(&text).ok().map(|json| json.canonical().into_bytes()),
            _ => {
                let time = Timestamp::parse(std::str::from_utf8(&text).unwrap()).ok();
                time.map(|time| time.as_micros().to_string().into_bytes())
            }
        };
        let theirs = answer.map(|answer| if kind == "j" { unhex(answer) } else { answer.into() });
        // Python takes infinity for a number, and we take nothing that it prints so.
        if let Some(ours) = ours {
            assert_eq!(Some(ours), theirs, "{}", String::from_utf8_lossy(&text));
            compared += 1;
        }
    }
    assert_eq!(compared, 203);
}
