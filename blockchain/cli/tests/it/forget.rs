//! `lucid forget`: what a policy does not keep goes, by the chain's time, from folders and servers; and everything that
//! forbids it wins.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read as _, Write as _};
use std::time::{Duration, SystemTime};

use lucid::place::local::Local;
use lucid::place::{Place as _, StorageOptions, WriteSessions as _};
use lucid_core::cut::ChunkProfile;
use lucid_core::manifest::Source;
use lucid_core::session::{Layout, SessionId};
use lucid_core::time::Timestamp;
use lucid_data_chain::ops::sessions::append_stream::StreamPiece;
use lucid_data_chain::ops::sessions::create_session::NewSession;
use lucid_data_chain::ops::sight::Sight;
use lucid_store::clock::Clock;
use serde_json::{Value, json};

use super::clocks::opened_by;
use super::home::{Home, Ran, noise};
use super::people::on_a_terminal;
use super::server::Server;

type Arguments<'a> = &'a [&'a dyn AsRef<OsStr>];

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

/// A session that was anchored so many seconds ago.
struct Past {
    id: &'static str,
    seconds: i64,
    host: &'static str,
    path: &'static str,
    tags: &'static [&'static str],
    claims: Option<&'static str>,
}

/// One of the host `web-1`.
fn past(id: &'static str, seconds: i64) -> Past {
    Past { id, seconds, host: "web-1", path: "/srv", tags: &[], claims: None }
}

/// Makes what is in a store look as old as its clock says: a store does not believe a clock that is before it.
fn let_age(home: &Home) {
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    for folder in ["data-chain", "block-manager"] {
        let Ok(logs) = fs::read_dir(home.data().join(folder).join("log")) else { continue };
        for log in logs.map(Result::unwrap) {
            fs::File::open(log.path()).unwrap().set_modified(then).unwrap();
        }
    }
}

/// Fills a store while a clock that is turned by hand goes on, the oldest session first.
fn filled(sessions: &[Past]) -> Home {
    let home = Home::new();
    let now = Clock::system().now();
    let clock = Clock::by_hand(now.plus_seconds(-sessions[0].seconds - HOUR));
    let local = Local::create(&opened_by(&home), "append", &clock, true).unwrap();
    for (at, past) in sessions.iter().enumerate() {
        clock.turn(now.plus_seconds(-past.seconds));
        let id: SessionId = past.id.parse().unwrap();
        let claims = past.claims.map(|text| Timestamp::parse(text).unwrap());
        let source = Source {
            host: past.host.to_owned(),
            paths: vec![past.path.into()],
            tags: past.tags.iter().map(|tag| (*tag).to_owned()).collect(),
        };
        let new = NewSession {
            id: Some(id.clone()),
            user: "ann".to_owned(),
            layout: Layout::Raw,
            public: false,
            profile: ChunkProfile::default(),
            metadata: [("of".to_owned(), past.id.to_owned())].into(),
            started_at: claims.unwrap_or_else(|| clock.now()),
            one_shot: false,
            own_copies: false,
            sight: Sight::everything(),
            retain_until: None,
            source: Some(source),
            terminal: None,
        };
        local.stream(new).unwrap();
        let bytes = noise(at as u64, 300_000);
        let piece = StreamPiece { offset: 0, bytes: &bytes, recorded: None };
        local.append(&id, piece, StorageOptions::default()).unwrap();
        local.seal(&id, &Default::default()).unwrap();
        let_age(&home);
        local.anchor(&id).unwrap();
    }
    Box::new(local).close().unwrap();
    home
}

/// Three days with two sessions each, and one of a year ago.
fn three_days() -> Home {
    let midnight = |days: i64| {
        let now = Clock::system().now().as_micros() / 1_000_000;
        now - now.div_euclid(DAY) * DAY + days * DAY
    };
    filled(&[
        past("year", 390 * DAY),
        past("day-3", midnight(3) - HOUR),
        past("day-3-late", midnight(3) - 2 * HOUR),
        past("day-2", midnight(2) - HOUR),
        past("day-2-late", midnight(2) - 2 * HOUR),
        past("day-1", midnight(1) - HOUR),
        past("day-1-late", midnight(1) - 2 * HOUR),
    ])
}

/// A way to reach a store: its folder, or the server that has it.
struct Reached<'a> {
    home: &'a Home,
    server: Option<&'a Server>,
}

impl Reached<'_> {
    fn run(&self, arguments: Arguments<'_>) -> Ran {
        let mut command = self.home.command(arguments);
        if let Some(server) = self.server {
            command.env_remove("LUCID_DATA").env("LUCID_DATA_CHAIN_URL", &server.url);
        }
        command.output().unwrap().into()
    }

    fn json(&self, arguments: Arguments<'_>) -> Value {
        let ran = self.run(&[&[&"--json" as &dyn AsRef<OsStr>], arguments].concat());
        assert_eq!(ran.code, 0, "{}{}", ran.err, ran.text());
        ran.json()
    }

    fn refused(&self, code: i32, arguments: Arguments<'_>) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, code, "{}{}", ran.err, ran.text());
        ran.complaint()
    }

    /// The ids of the sessions that there are, in their alphabetical order.
    fn left(&self) -> Vec<String> {
        let listed = self.run(&[&"--json", &"ls"]);
        assert_eq!(listed.code, 0, "{}", listed.err);
        let ids = listed.lines().into_iter().map(|line| {
            let session: Value = serde_json::from_str(&line).unwrap();
            session["session_id"].as_str().unwrap().to_owned()
        });
        let mut ids: Vec<String> = ids.filter(|id| !id.starts_with("lucid.")).collect();
        ids.sort();
        ids
    }
}

/// Runs a test on a folder, and on a server that has a like one.
fn both_ways(make: impl Fn() -> Home, test: impl Fn(&Reached<'_>)) {
    let home = make();
    test(&Reached { home: &home, server: None });
    home.assert_sound();
    let home = make();
    let server = Server::start(&home);
    test(&Reached { home: &home, server: Some(&server) });
    drop(server);
    home.assert_sound();
}

/// The ids under a word of a group.
fn ids(group: &Value, word: &str) -> Vec<String> {
    let sessions = group[word].as_array().unwrap().iter();
    let mut ids: Vec<String> =
        sessions.map(|one| one["session_id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

#[test]
fn what_a_policy_does_not_keep_goes_with_a_block_and_tombstones_and_its_room_comes_back() {
    both_ways(three_days, |store| {
        let forget: Arguments<'_> = &[&"forget", &"--keep-daily", &"2", &"--keep-last", &"1"];
        let dry = store.json(&[forget, &[&"--dry-run"]].concat());
        assert_eq!((&dry["dry_run"], &dry["forgotten"]), (&json!(true), &json!(5)), "{dry:#}");
        assert_eq!(store.left().len(), 7);
        let done = store.json(&[forget, &[&"--prune"]].concat());
        assert_eq!((&done["forgotten"], &done["failed"]), (&json!(5), &json!(0)), "{done:#}");
        assert_eq!(done["policy"], "keep-last 1, keep-daily 2");
        let group = &done["groups"][0];
        assert_eq!((&group["host"], &group["paths"]), (&json!("web-1"), &json!(["/srv"])));
        assert_eq!(group["keep"][0]["session_id"], "day-1-late");
        assert_eq!(group["keep"][0]["reasons"], json!(["last", "daily"]));
        let gone = ["day-1", "day-2", "day-3", "day-3-late", "year"];
        assert_eq!(ids(group, "forget"), gone);
        assert_eq!(store.left(), ["day-1-late", "day-2-late"]);
        let collected = &done["collected"];
        assert_eq!(collected["sessions_expired"], 0, "{collected}");
        assert!(collected["bytes_freed"].as_u64() > Some(1_400_000), "{collected}");
        let shown = store.json(&[&"show", &"year"]);
        assert_eq!(shown["reason"], "forgotten by policy: keep-last 1, keep-daily 2");
        let forgotten = group["forget"].as_array().unwrap();
        let of = forgotten.iter().find(|one| one["session_id"] == "year").unwrap();
        assert_eq!(of["transaction_id"], shown["transaction_id"]);

        // The same once more finds nothing to do.
        let again = store.json(forget);
        assert_eq!((&again["forgotten"], store.left().len()), (&json!(0), 2), "{again:#}");
    });
}

#[test]
fn a_block_is_made_before_anything_goes_and_none_where_nothing_does() {
    let home = three_days();
    let runs = || home.done(&[&"query", &"transactions", &"type=retention_run"]).lines().len();
    let height = || home.json(&[&"chain", &"info"])["height"].as_u64().unwrap();
    let before = height();
    home.done(&[&"forget", &"--keep-last", &"7"]);
    home.done(&[&"forget", &"--keep-last", &"1", &"--dry-run"]);
    assert_eq!((runs(), height()), (0, before));
    let told = home.done(&[&"forget", &"--keep-last", &"6"]).text();
    assert!(told.contains("host web-1, paths /srv:"), "{told}");
    assert!(told.contains("forgot 1 session of 1 group; the policy keeps 6"), "{told}");
    // One for the time, one for the tombstone.
    assert_eq!((runs(), height()), (1, before + 2));
    home.assert_sound();
}

#[test]
fn what_is_held_kept_until_a_time_or_not_anchored_stays_and_takes_nobodys_place() {
    let make = || {
        filled(&[
            past("old", 20 * DAY),
            // By its recorder's word it is the newest of all.
            Past { claims: Some("2099-01-01T00:00:00Z"), ..past("claims", 15 * DAY) },
            past("held", 10 * DAY),
            past("retained", 9 * DAY),
            past("over", 8 * DAY),
            past("new", 3 * DAY),
        ])
    };
    both_ways(make, |store| {
        for arguments in [
            &[&"hold" as &dyn AsRef<OsStr>, &"held"] as Arguments<'_>,
            &[&"retain", &"retained", &"--until", &"2099-01-01"],
            &[&"retain", &"over", &"--until", &"2001-01-01"],
        ] {
            assert_eq!(store.run(arguments).code, 0);
        }
        let mut open = store.home.command(&[
            &"append",
            &"--keep-open",
            &"--session",
            &"open",
            &"--host",
            &"web-1",
        ]);
        if let Some(server) = store.server {
            open.env_remove("LUCID_DATA").env("LUCID_DATA_CHAIN_URL", &server.url);
        }
        assert!(open.output().unwrap().status.success());
        let done = store.json(&[&"forget", &"--keep-last", &"1", &"--group-by", &"host"]);
        let group = &done["groups"][0];
        assert_eq!((ids(group, "keep"), &group["paths"]), (vec!["new".to_owned()], &Value::Null));
        assert_eq!(ids(group, "stay"), ["held", "open", "retained"]);
        assert_eq!(ids(group, "forget"), ["claims", "old", "over"]);
        let why = |id: &str| {
            let stay = group["stay"].as_array().unwrap();
            stay.iter().find(|one| one["session_id"] == id).unwrap()["reasons"][0].clone()
        };
        let reasons = ["held", "open", "retained"].map(why);
        assert_eq!(reasons, ["held", "active", "kept until 2099-01-01T00:00:00.000000Z"]);
        assert_eq!(store.left(), ["held", "new", "open", "retained"]);
    });
}

#[test]
fn a_group_is_not_emptied_unless_that_is_said_and_nothing_else_goes_meanwhile() {
    let make = || {
        filled(&[
            Past { path: "/gone", ..past("gone", 20 * DAY) },
            past("one", 4 * DAY),
            past("two", 3 * HOUR),
        ])
    };
    both_ways(make, |store| {
        let forget: Arguments<'_> = &[&"forget", &"--keep-within", &"2d"];
        for more in [&[] as Arguments<'_>, &[&"--dry-run"]] {
            let refused = store.refused(1, &[forget, more].concat());
            let wanted = "keeps none of 1 session of host web-1, paths /gone, so nothing was removed: pass \
                          --unsafe-allow-remove-all";
            assert!(refused.contains(wanted), "{refused}");
        }
        assert_eq!(store.left(), ["gone", "one", "two"]);
        // Beside another rule it is no trouble.
        store.json(&[forget, &[&"--keep-last", &"1", &"--path", &"/gone"]].concat());
        assert_eq!(store.left(), ["gone", "one", "two"]);
        store.json(&[forget, &[&"--unsafe-allow-remove-all"]].concat());
        assert_eq!(store.left(), ["two"]);
        // What nothing keeps is named, and then it goes.
        let all: Arguments<'_> = &[&"forget", &"--unsafe-allow-remove-all"];
        assert!(store.refused(64, all).contains("choose sessions"));
        store.json(&[all, &[&"--host", &"web-1"]].concat());
        assert_eq!(store.left(), [""; 0]);
    });
}

#[test]
fn without_a_rule_and_with_one_that_is_none_it_is_wrong_use() {
    let home = Home::new();
    for (arguments, wanted) in [
        (&[&"forget" as &dyn AsRef<OsStr>] as Arguments<'_>, "give a rule"),
        (&[&"forget", &"--keep-last", &"0"], "give a rule"),
        (&[&"forget", &"--keep-last", &"-2"], "neither a number nor"),
        (&[&"forget", &"--keep-within", &"5w"], "write years"),
        (&[&"forget", &"--keep-last", &"1", &"--group-by", &"colour"], "write host, paths"),
        (&[&"forget", &"--keep-tag", &"a,"], "empty tag"),
    ] {
        let ran = home.run(arguments);
        assert_eq!(ran.code, 64, "{}", ran.err);
        assert!(ran.err.contains(wanted), "{}", ran.err);
    }
    let help = home.done(&[&"help", &"forget"]).text();
    assert!(help.contains("restic forget") && help.contains("--keep-within-daily"), "{help}");
}

#[test]
fn sessions_are_chosen_and_grouped_as_is_said() {
    let of = |id, days: i64, host, path, tags| Past { host, path, tags, ..past(id, days * DAY) };
    let home = filled(&[
        of("a1", 9, "a", "/srv", &["nightly"]),
        of("a2", 8, "a", "/home", &["nightly"]),
        of("a3", 7, "a", "/srv", &[]),
        of("b1", 6, "b", "/srv", &["nightly", "weekly"]),
        of("b2", 5, "b", "/srv", &["weekly"]),
    ]);
    let would = |more: &[&'static str]| {
        let mut all: Vec<&dyn AsRef<OsStr>> = vec![&"forget", &"--keep-last", &"1", &"--dry-run"];
        all.extend(more.iter().map(|word| word as &dyn AsRef<OsStr>));
        let told = home.json(&all);
        let groups = told["groups"].as_array().unwrap().iter();
        let mut gone: Vec<String> = groups.flat_map(|group| ids(group, "forget")).collect();
        gone.sort();
        gone
    };
    let cases: [(&[&str], &[&str]); 14] = [
        (&[], &["a1", "b1"]),
        (&["--group-by", "host"], &["a1", "a2", "b1"]),
        (&["--group-by", "paths"], &["a1", "a3", "b1"]),
        (&["--group-by", "tags"], &["a1"]),
        (&["--group-by", "host,tag"], &["a1"]),
        (&["--group-by", "user"], &["a1", "a2", "a3", "b1"]),
        (&["--group-by", ""], &["a1", "a2", "a3", "b1"]),
        (&["--host", "a"], &["a1"]),
        (&["--host", "a", "--host", "b"], &["a1", "b1"]),
        (&["--tag", "nightly", "--group-by", ""], &["a1", "a2"]),
        (&["--tag", "nightly,weekly", "--tag", "weekly"], &["b1"]),
        (&["--path", "/srv/", "--group-by", ""], &["a1", "a3", "b1"]),
        (&["--user", "bob"], &[]),
        (&["--meta", "of=a1"], &[]),
    ];
    for (more, gone) in cases {
        assert_eq!(would(more), gone, "{more:?}");
    }
    assert_eq!(would(&["--keep-tag", "nightly"]), [""; 0]);
    assert_eq!(would(&["--keep-tag", "nightly,weekly", "--group-by", ""]), ["a1", "a2", "a3"]);
}

#[test]
fn a_clock_that_is_far_ahead_is_believed_only_when_it_is_confirmed() {
    both_ways(
        || filled(&[past("one", 45 * DAY), past("two", 40 * DAY)]),
        |store| {
            let forget: Arguments<'_> = &[&"forget", &"--keep-last", &"1"];
            let refused = store.refused(1, forget);
            assert!(
                refused.contains("over 32 days after") && refused.contains("--yes"),
                "{refused}"
            );
            assert_eq!(store.left(), ["one", "two"]);
            store.json(&[forget, &[&"--yes"]].concat());
            assert_eq!(store.left(), ["two"]);
        },
    );
}

/// Asks on a terminal, has something done meanwhile, and answers; says what was seen, and the exit code.
fn asked(store: &Reached<'_>, answer: &str, meanwhile: impl FnOnce()) -> (String, Option<i32>) {
    let lucid = env!("CARGO_BIN_EXE_lucid");
    let mut terminal = on_a_terminal(&format!("exec '{lucid}' forget --keep-last 1"));
    match store.server {
        Some(server) => terminal.env("LUCID_DATA_CHAIN_URL", &server.url),
        None => terminal.env("LUCID_DATA", store.home.data()),
    };
    let mut child = terminal.spawn().unwrap();
    let (mut keys, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (mut seen, mut byte) = (Vec::new(), [0]);
    while !seen.ends_with(b"[y/N] ") {
        assert_eq!(screen.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&seen));
        seen.push(byte[0]);
    }
    meanwhile();
    keys.write_all(answer.as_bytes()).unwrap();
    screen.read_to_end(&mut seen).unwrap();
    (String::from_utf8(seen).unwrap(), child.wait().unwrap().code())
}

#[test]
fn a_terminal_shows_what_would_go_and_asks_and_what_was_held_meanwhile_stays_alone() {
    let home = filled(&[
        past("one", 3 * DAY),
        past("two", 2 * DAY),
        past("three", DAY),
        past("four", HOUR),
    ]);
    let folder = Reached { home: &home, server: None };
    let (seen, code) = asked(&folder, "n\n", || {});
    assert_eq!(code, Some(1), "{seen}");
    assert!(seen.contains("forget 3 sessions, for good?"), "{seen}");
    assert!(seen.contains("nothing was removed"), "{seen}");
    assert_eq!(folder.left().len(), 4);

    let server = Server::start(&home);
    let store = Reached { home: &home, server: Some(&server) };
    let (seen, code) = asked(&store, "y\n", || {
        assert_eq!(store.run(&[&"hold", &"two", &"--reason", &"a court"]).code, 0);
    });
    assert_eq!(code, Some(1), "{seen}");
    assert!(seen.contains("a court") && seen.contains("could not be removed: 1 session"), "{seen}");
    assert!(seen.contains("forgot 2 sessions"), "{seen}");
    assert_eq!(store.left(), ["four", "two"]);
    drop(server);
    home.assert_sound();
}
