//! Kill -9 at random moments of the real `archive`, `append`, `gc` and `chain begin-anew`.
//!
//! `LUCID_KILLS` says how often (16), `LUCID_SEED` repeats the moments of a run that failed. After
//! every kill the store must open at once; the same command must finish the job, killed again or not;
//! and what comes back must be what went in.

use std::{
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use super::home::{Home, Snapshot, copy, noise, prose, seed};

/// How long opening may take, with an unoptimised binary on a busy machine in mind.
const OPEN_MAX: Duration = Duration::from_secs(if cfg!(debug_assertions) { 10 } else { 1 });
/// Bytes that are archived.
const INPUT_BYTES: usize = if cfg!(debug_assertions) { 16 << 20 } else { 80 << 20 };

fn kills() -> u64 {
    std::env::var("LUCID_KILLS").map_or(16, |count| count.parse().unwrap())
}

/// Numbers that look random, from a seed.
struct Chance(blake3::OutputReader);

impl Chance {
    fn new(seed: u64) -> Self {
        Self(blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof())
    }

    /// A share of a whole.
    fn share(&mut self) -> f64 {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
    }
}

/// Something to do, and how to see that it was done.
struct Job {
    verb: &'static str,
    input: PathBuf,
}

impl Job {
    fn new(home: &Home, verb: &'static str) -> Self {
        let input = home.at("input");
        if !input.exists() {
            if verb == "archive" {
                home.file("input/noise", noise(1, INPUT_BYTES / 2));
                home.file("input/prose", prose(2, INPUT_BYTES / 4));
                for number in 0..200 {
                    let bytes = noise(number, INPUT_BYTES / 800);
                    home.file(&format!("input/small/{}/{number}", number % 9), bytes);
                }
            } else {
                let bytes = [noise(3, INPUT_BYTES / 2), prose(4, INPUT_BYTES / 2)].concat();
                home.file("input", bytes);
            }
        }
        Self { verb, input }
    }

    /// Starts it, and ends it after a time; says whether it got to its end before that.
    fn killed(&self, home: &Home, after: Duration) -> bool {
        let mut child = home.spawn(&[&self.verb, &self.input, &"--session", &"job"]);
        thread::sleep(after);
        child.kill().unwrap();
        child.wait().unwrap().success()
    }

    fn finish(&self, home: &Home) -> Duration {
        let started = Instant::now();
        home.done(&[&self.verb, &self.input, &"--session", &"job"]);
        started.elapsed()
    }

    fn assert_done(&self, home: &Home) {
        let sessions = home.sessions();
        assert_eq!(sessions["job"]["status"], "anchored");
        let out = home.restore("job", "out");
        if self.verb == "archive" {
            Snapshot::of(&self.input).assert_same(&Snapshot::of(&out));
        } else {
            assert!(fs::read(out.join("job")).unwrap() == fs::read(&self.input).unwrap());
        }
        fs::remove_dir_all(out).unwrap();
        home.assert_sound();
    }
}

/// Opens the store, which may not have been made yet; returns how long that took.
fn open(home: &Home) -> (Duration, Option<u64>) {
    let started = Instant::now();
    let ran = home.run(&[&"--json", &"ls"]);
    let took = started.elapsed();
    if ran.code != 0 {
        assert!(ran.err.contains("holds no Lucid store"), "{}", ran.err);
        return (took, None);
    }
    let offset = ran.lines().iter().find_map(|line| {
        let session: serde_json::Value = serde_json::from_str(line).unwrap();
        (session["session_id"] == "job").then(|| session["offset"].as_u64().unwrap())
    });
    (took, offset)
}

fn kill_often(verb: &'static str, times: u64) {
    let seed = seed(verb);
    let mut chance = Chance::new(seed ^ verb.len() as u64);
    let home = Home::new();
    let job = Job::new(&home, verb);
    let whole = job.finish(&home);
    job.assert_done(&home);
    fs::remove_dir_all(home.data()).unwrap();
    let (mut slowest, mut unfinished, mut before) = (Duration::ZERO, 0, 0);
    let (mut round, mut fresh) = (0, true);
    for time in 0..times {
        // Every other store begins with a session that the job has nothing to do with.
        if std::mem::take(&mut fresh) && round % 2 == 1 {
            let other = home.file("other", prose(7, 300_000));
            home.archive("other", &other);
        }
        let after = whole.mul_f64(chance.share() * 1.05);
        let ended = job.killed(&home, after);
        unfinished += u64::from(!ended);
        let (took, offset) = open(&home);
        slowest = slowest.max(took);
        assert!(took < OPEN_MAX, "kill {time} after {after:?}: opening took {took:?}");
        if verb == "append" {
            let offset = offset.unwrap_or(0);
            assert!(offset >= before, "kill {time}: {before} bytes were kept, {offset} are left");
            before = offset;
        }
        // Sometimes the command is killed again before it is allowed to finish.
        if !ended && time + 1 < times && chance.share() < 0.4 {
            continue;
        }
        job.finish(&home);
        job.assert_done(&home);
        if round % 2 == 1 {
            assert!(home.done(&[&"cat", &"other", &"other"]).out == prose(7, 300_000));
        }
        fs::remove_dir_all(home.data()).unwrap();
        (round, before, fresh) = (round + 1, 0, true);
    }
    println!(
        "{verb}: {times} kills within {whole:?}, {unfinished} of them before the end; opening took \
         {slowest:?} at most"
    );
}

#[test]
fn an_archive_killed_at_any_moment_is_finished_by_the_same_command() {
    kill_often("archive", kills().div_ceil(2));
}

#[test]
fn an_append_killed_at_any_moment_is_finished_by_the_same_command() {
    kill_often("append", kills() / 2);
}

#[test]
fn collecting_garbage_survives_every_kill() {
    let home = Home::new();
    let mut chance = Chance::new(seed("collecting"));
    let kept = |round: u64| noise(1_000 + round, 300_000);
    let rounds = kills() / 2;
    home.archive("old", &home.file("old", noise(999, 3_000_000)));
    home.archive("kept", &home.file("kept", kept(0)));
    home.done(&[&"rm", &"--yes", &"old"]);
    let started = Instant::now();
    home.done(&[&"gc"]);
    let (usual, mut unfinished) = (started.elapsed(), 0);
    for round in 0..rounds {
        let (old, new) = (format!("old-{round}"), format!("kept-{round}"));
        home.archive(&old, &home.file("old", noise(round, 3_000_000)));
        home.archive(&new, &home.file("kept", kept(round)));
        home.done(&[&"rm", &"--yes", &old]);
        let mut child = home.spawn(&[&"gc"]);
        thread::sleep(usual.mul_f64(chance.share()));
        child.kill().unwrap();
        unfinished += u64::from(!child.wait().unwrap().success());
        assert!(home.done(&[&"cat", &new, &"kept"]).out == kept(round), "round {round}");
        home.assert_sound();
    }
    home.done(&[&"gc", &"--yes"]);
    for round in 0..rounds {
        let session = format!("kept-{round}");
        assert!(home.done(&[&"cat", &session, &"kept"]).out == kept(round), "{session}");
    }
    home.done(&[&"reindex"]);
    home.assert_sound();
    let looked = home.json(&[&"gc", &"--dry-run"]);
    assert_eq!(looked["chunks_dead"], 0, "{looked}");
    println!("gc: {rounds} kills within {usual:?}, {unfinished} of them before the end");
}

#[test]
fn a_chain_is_begun_anew_however_often_that_is_killed() {
    let home = Home::new();
    let mut chance = Chance::new(seed("anew"));
    let content = prose(5, 300_000);
    let file = home.file("file", &content);
    home.archive("before", &file);
    let first = home.json(&[&"chain", &"info"])["genesis"].clone();
    let anew: [&dyn AsRef<std::ffi::OsStr>; 4] =
        [&"chain", &"begin-anew", &"--reason", &"the clock was in 2099"];
    let copied = || {
        let other = Home::new();
        copy(home.data(), other.data());
        other
    };
    let (once, started) = (copied(), Instant::now());
    once.json(&anew);
    let (whole, rounds, mut unfinished) = (started.elapsed(), kills() / 2, 0);
    for round in 0..rounds {
        let store = copied();
        let is_begun = loop {
            let mut child = store.spawn(&anew);
            thread::sleep(whole.mul_f64(chance.share()));
            child.kill().unwrap();
            child.wait().unwrap();
            // One chain or the other is in place, and whole, with all that was anchored before.
            let is_begun = store.json(&[&"chain", &"info"])["genesis"] != first;
            store.assert_sound();
            unfinished += u64::from(!is_begun);
            if is_begun || chance.share() < 0.5 {
                break is_begun;
            }
        };
        if !is_begun {
            store.json(&anew);
        }
        store.archive("after", &file);
        assert_eq!(store.json(&[&"show", &"after"])["anchor"]["block_index"], 1, "round {round}");
        assert!(store.done(&[&"cat", &"before", &"file"]).out == content, "round {round}");
        store.assert_sound();
        let ended = fs::read_dir(store.data()).unwrap().filter(|entry| {
            let name = entry.as_ref().unwrap().file_name();
            name.to_string_lossy().starts_with("block-manager.until-")
        });
        assert_eq!(ended.count(), 1, "round {round}");
    }
    println!(
        "begin-anew: {rounds} rounds within {whole:?}, {unfinished} kills before the exchange"
    );
}
