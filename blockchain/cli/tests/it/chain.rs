//! `lucid chain`: a chain of another producer goes in and out, and every altered copy of it is refused by
//! the rule that it breaks.

use std::path::Path;
use std::process::{Command, Output};

use lucid_core::block::Candidate;
use serde_json::{Value, json};

use crate::home::Home;

/// Printed by the reference implementation.
const CHAIN: &str = include_str!("../../../core/tests/vectors/chain.jsonl");

fn chain(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lucid"));
    command.current_dir(folder).env_clear().arg("--json").arg("chain");
    command.args(arguments).output().unwrap()
}

/// The exit code and the result.
fn ran(folder: &Path, arguments: &[&str]) -> (i32, Value) {
    let output = chain(folder, arguments);
    let said = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code().unwrap(), said)
}

fn lines() -> Vec<Value> {
    CHAIN.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn text(lines: &[Value]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// The rules that each refused block of a file breaks, by line.
fn refused(found: &Value) -> Vec<(u64, Vec<&str>)> {
    found["invalid"]
        .as_array()
        .unwrap()
        .iter()
        .map(|block| {
            let failed = block["results"].as_array().unwrap().iter();
            let failed = failed.filter(|result| result["passed"] == json!(false));
            let names: Vec<&str> = failed.map(|result| result["rule"].as_str().unwrap()).collect();
            assert_eq!(block["first_fault"].as_str(), names.first().copied());
            (block["line"].as_u64().unwrap(), names)
        })
        .collect()
}

#[test]
fn the_chain_of_another_producer_is_valid_and_what_is_not_checked_is_said() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("chain"), CHAIN).unwrap();
    let (code, found) = ran(folder.path(), &["validate", "chain"]);
    assert_eq!((code, &found["valid"]), (0, &json!(true)));
    assert_eq!((&found["blocks_checked"], &found["transactions_checked"]), (&json!(5), &json!(15)));
    assert_eq!((&found["start"], &found["end"]), (&json!(0), &json!(4)));
    let said = found["not_checked"].to_string();
    for what in ["--", "who made", "which chain", "whether blocks followed block 4"] {
        assert_eq!(said.contains(what), what != "--", "{said}");
    }

    let lines = lines();
    let (genesis, tip) = (lines[0]["hash"].as_str().unwrap(), lines[4]["hash"].as_str().unwrap());
    let pinned = ["validate", "chain", "--genesis", genesis, "--expect-tip", tip, "--log-root"];
    let (code, found) = ran(folder.path(), &pinned);
    assert_eq!(code, 0);
    assert_eq!(found["not_checked"].as_array().unwrap().len(), 1);
    assert_eq!(found["log_root"].as_str().map(str::len), Some(64));

    // A part of it, on purpose.
    let part = ["validate", "chain", "--from", "2", "--to", "3"];
    let (code, found) = ran(folder.path(), &part);
    assert_eq!((code, &found["blocks_checked"], &found["end"]), (0, &json!(2), &json!(3)));
    std::fs::write(folder.path().join("part"), text(&lines[2..])).unwrap();
    assert_eq!(ran(folder.path(), &["validate", "part"]).0, 1);
    let (code, found) = ran(folder.path(), &["validate", "part", "--from", "2"]);
    assert_eq!(code, 0);
    assert!(found["not_checked"].to_string().contains("whether block 2 follows block 1"));
}

/// One way to alter the chain, and what must be said about it.
struct Altered {
    what: String,
    lines: Vec<Value>,
    refused: Vec<(u64, Vec<&'static str>)>,
}

fn alterations() -> Vec<Altered> {
    let honest = lines();
    let last = honest.len() - 1;
    let mut all = Vec::new();
    let mut add = |what: String, lines: Vec<Value>, refused: Vec<(u64, Vec<&'static str>)>| {
        all.push(Altered { what, lines, refused });
    };
    let another = json!("1".repeat(64));
    for at in 0..=last {
        let line = at as u64 + 1;
        let with = |field: &str, value: Value| {
            let mut lines = honest.clone();
            lines[at][field] = value;
            lines
        };
        // The next block follows what this one claims to be: its hash, its height and its time.
        let next = |rules: &[&'static str]| match at == last || rules.is_empty() {
            true => vec![],
            false => vec![(line + 1, rules.to_vec())],
        };
        let with_next = |rules: &[&'static str], following: &[&'static str]| {
            [vec![(line, rules.to_vec())], next(following)].concat()
        };
        let hash = ["block_hash"];
        add(
            format!("index of block {at}"),
            with("index", json!(at + 7)),
            with_next(&["block_hash", "previous_hash"], &["previous_hash"]),
        );
        add(
            format!("index of block {at} as a text"),
            with("index", json!(at.to_string())),
            with_next(&["block_structure", "block_hash", "previous_hash"], &["previous_hash"]),
        );
        add(
            format!("height beside the index of block {at}"),
            with("height", json!(at + 1)),
            with_next(&["block_structure"], &[]),
        );
        add(format!("nonce of block {at}"), with("nonce", json!(1)), with_next(&hash, &[]));
        add(
            format!("nonce of block {at} as a fraction"),
            with("nonce", json!(1.5)),
            with_next(&["block_structure", "block_hash"], &[]),
        );
        add(
            format!("timestamp of block {at}, a second later"),
            with("timestamp", json!(format!("2026-01-01T00:00:{at}1Z"))),
            with_next(&hash, &[]),
        );
        add(
            format!("timestamp of block {at}, spelled otherwise"),
            with("timestamp", json!(format!("2026-01-01 00:00:{at}0"))),
            with_next(&["block_structure", "block_hash"], &["previous_hash"]),
        );
        add(
            format!("timestamp of block {at}, long ago"),
            with("timestamp", json!("2020-01-01T00:00:00Z")),
            with_next(
                match at {
                    0 => &["block_hash"],
                    _ => &["block_hash", "timestamp"],
                },
                &[],
            ),
        );
        add(
            format!("previous_hash of block {at}"),
            with("previous_hash", another.clone()),
            with_next(&["block_hash", "previous_hash"], &[]),
        );
        add(
            format!("merkle_root of block {at}"),
            with("merkle_root", another.clone()),
            with_next(&["block_hash", "merkle_root"], &[]),
        );
        add(
            format!("hash of block {at}"),
            with("hash", another.clone()),
            with_next(&hash, &["previous_hash"]),
        );
        for field in ["index", "timestamp", "transactions", "previous_hash", "merkle_root", "nonce"]
        {
            let mut lines = honest.clone();
            lines[at].as_object_mut().unwrap().remove(field);
            let rules: &[&'static str] = match (field, at) {
                ("index", _) => &["block_structure", "block_hash", "previous_hash"],
                ("timestamp", _) => &["block_structure", "block_hash", "timestamp"],
                ("transactions", _) => &["block_structure", "merkle_root"],
                ("previous_hash", _) => &["block_structure", "block_hash", "previous_hash"],
                ("merkle_root", _) => &["block_structure", "block_hash", "merkle_root"],
                _ => &["block_structure", "block_hash"],
            };
            let following: &[&'static str] = match field {
                "index" | "timestamp" => &["previous_hash"],
                _ => &[],
            };
            add(format!("block {at} without {field}"), lines, with_next(rules, following));
        }
        let mut lines = honest.clone();
        lines[at].as_object_mut().unwrap().remove("hash");
        add(
            format!("block {at} without hash"),
            lines,
            with_next(&["block_structure", "block_hash"], &["previous_hash"]),
        );
        // Every field of every transaction.
        for position in 0..3 {
            let fields = honest[at]["transactions"][position].as_object().unwrap();
            for field in fields.keys() {
                let mut lines = honest.clone();
                lines[at]["transactions"][position][field] = json!("other");
                add(
                    format!("{field} of transaction {position} of block {at}"),
                    lines,
                    with_next(&["merkle_root"], &[]),
                );
            }
            let mut lines = honest.clone();
            lines[at]["transactions"].as_array_mut().unwrap().remove(position);
            add(
                format!("block {at} without transaction {position}"),
                lines,
                with_next(&["merkle_root"], &[]),
            );
        }
        let mut lines = honest.clone();
        lines[at]["transactions"].as_array_mut().unwrap().swap(0, 1);
        add(
            format!("two transactions of block {at} swapped"),
            lines,
            with_next(&["merkle_root"], &[]),
        );
        // CVE-2012-2459: root and hash stay what they are.
        let mut lines = honest.clone();
        let again = lines[at]["transactions"][2].clone();
        lines[at]["transactions"].as_array_mut().unwrap().push(again);
        add(
            format!("the last transaction of block {at} repeated"),
            lines,
            with_next(&["merkle_root", "transactions"], &[]),
        );
        if at > 0 {
            let mut lines = honest.clone();
            lines[at]["transactions"][0]["id"] = honest[at - 1]["transactions"][1]["id"].clone();
            add(
                format!("an id of block {} again in block {at}", at - 1),
                lines,
                with_next(&["merkle_root", "transactions"], &[]),
            );
        }
        let mut lines = honest.clone();
        lines.remove(at);
        if at < last {
            add(format!("block {at} dropped"), lines, vec![(line, vec!["previous_hash"])]);
        }
        let mut lines = honest.clone();
        lines.insert(at, honest[at].clone());
        let again = vec!["previous_hash", "transactions"];
        add(format!("block {at} repeated"), lines, vec![(line + 1, again)]);
        if at < last {
            let mut lines = honest.clone();
            lines.swap(at, at + 1);
            let early = (line, vec!["previous_hash"]);
            let late = (line + 1, vec!["previous_hash", "timestamp"]);
            let after = (line + 2, vec!["previous_hash"]);
            let all = if at + 1 == last { vec![early, late] } else { vec![early, late, after] };
            add(format!("blocks {at} and {} swapped", at + 1), lines, all);
        }
    }
    all
}

#[test]
fn every_altered_copy_is_refused_by_the_rule_that_it_breaks() {
    let folder = tempfile::tempdir().unwrap();
    let alterations = alterations();
    assert!(alterations.len() > 200, "{}", alterations.len());
    for Altered { what, lines, refused: wanted } in alterations {
        std::fs::write(folder.path().join("chain"), text(&lines)).unwrap();
        let (code, found) = ran(folder.path(), &["validate", "chain"]);
        assert_eq!(code, 1, "{what}");
        assert_eq!(refused(&found), wanted, "{what}");
    }
}

#[test]
fn a_cut_tail_is_caught_by_who_knows_the_newest_block_and_a_cut_line_has_its_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let lines = lines();
    let tip = lines[4]["hash"].as_str().unwrap();
    for kept in 1..5 {
        std::fs::write(folder.path().join("cut"), text(&lines[..kept])).unwrap();
        let (code, found) = ran(folder.path(), &["validate", "cut"]);
        assert_eq!(code, 0);
        let sentence = format!("whether blocks followed block {}", kept - 1);
        assert!(found["not_checked"].to_string().contains(&sentence));
        let (code, found) = ran(folder.path(), &["validate", "cut", "--expect-tip", tip]);
        assert_eq!((code, found["invalid_count"].as_u64()), (1, Some(0)));
        assert!(found["wrong_end"].as_str().unwrap().contains("the end is missing"));
    }
    let whole = text(&lines);
    std::fs::write(folder.path().join("cut"), &whole[..whole.len() - 100]).unwrap();
    for verb in ["validate", "import"] {
        let output = chain(folder.path(), &[verb, "cut"]);
        assert_eq!(output.status.code(), Some(1), "{verb}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("line 5: the file ends in the middle of it"), "{verb}: {said}");
    }
    std::fs::write(folder.path().join("cut"), "").unwrap();
    assert_eq!(ran(folder.path(), &["validate", "cut"]).0, 74);
}

#[test]
fn a_chain_goes_in_and_out_in_pieces_and_stays_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let lines = lines();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("begin"), text(&lines[..3])).unwrap();
    std::fs::write(at("chain"), CHAIN).unwrap();
    let (code, begun) = ran(folder.path(), &["import", "begin"]);
    assert_eq!((code, &begun["stored"], &begun["height"]), (0, &json!(3), &json!(2)));
    let (code, whole) = ran(folder.path(), &["import", "chain"]);
    assert_eq!((code, &whole["known"], &whole["stored"]), (0, &json!(3), &json!(2)));
    let (code, info) = ran(folder.path(), &["info"]);
    assert_eq!((code, &info["blocks"], &info["transactions"]), (0, &json!(5), &json!(15)));
    assert_eq!((&info["hash"], &info["genesis"]), (&lines[4]["hash"], &lines[0]["hash"]));
    for what in [&["validate"][..], &["validate", "--records"], &["validate", "--from", "2"]] {
        let (code, found) = ran(folder.path(), what);
        assert_eq!((code, &found["valid"]), (0, &json!(true)), "{what:?} {found}");
    }

    // Out in one go, in pieces, and with the last line cut off in between.
    let (code, out) = ran(folder.path(), &["export", "out"]);
    assert_eq!((code, &out["blocks"], &out["height"]), (0, &json!(5), &json!(4)));
    let (code, _) = ran(folder.path(), &["export", "pieces", "--to", "1"]);
    assert_eq!(code, 0);
    let piece = std::fs::read(at("pieces")).unwrap();
    std::fs::write(at("pieces"), &piece[..piece.len() - 7]).unwrap();
    let (code, more) = ran(folder.path(), &["export", "pieces"]);
    assert_eq!((code, &more["blocks"]), (0, &json!(4)));
    let exported = std::fs::read(at("out")).unwrap();
    assert_eq!(std::fs::read(at("pieces")).unwrap(), exported);
    assert_eq!(chain(folder.path(), &["export", "-"]).stdout, exported);
    for (ours, theirs) in exported.split(|byte| *byte == b'\n').zip(CHAIN.lines()) {
        let read = |text: &[u8]| Candidate::parse(text).unwrap();
        assert_eq!(read(ours).hash(), read(theirs.as_bytes()).hash());
    }
    assert_eq!(ran(folder.path(), &["validate", "out"]).0, 0);
    assert_eq!(ran(folder.path(), &["import", "out"]).1["known"], json!(5));

    // A file of another chain is neither gone on with nor taken in.
    let mut other = lines.clone();
    other[4]["hash"] = json!("2".repeat(64));
    std::fs::write(at("other"), text(&other)).unwrap();
    let output = chain(folder.path(), &["export", "other"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("this chain has another there"));
    assert_eq!(std::fs::read_to_string(at("other")).unwrap(), text(&other), "it is left alone");
    let (code, refused) = ran(folder.path(), &["import", "other"]);
    assert_eq!((code, &refused["refused"], &refused["known"]), (1, &json!(1), &json!(4)));
}

#[test]
fn an_export_goes_on_with_nothing_but_an_export_of_the_same_chain() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("chain"), CHAIN).unwrap();
    assert_eq!(ran(folder.path(), &["import", "chain"]).0, 0);
    assert_eq!(ran(folder.path(), &["export", "whole"]).0, 0);
    let whole = std::fs::read(at("whole")).unwrap();
    let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    let foreign = [
        b"precious".to_vec(),
        b"precious\n".to_vec(),
        b"\n".to_vec(),
        [b"precious\n", lines[1]].concat(),
        [lines[0], b"precious"].concat(),
        [lines[0], lines[1], b"{\"precious\": 1}"].concat(),
        // What comes after the last block is nothing of this chain.
        [&whole, &b"{"[..]].concat(),
        lines[1][..lines[1].len() / 2].to_vec(),
    ];
    for content in foreign {
        std::fs::write(at("file"), &content).unwrap();
        let output = chain(folder.path(), &["export", "file"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("name another file"), "{said}");
        assert_eq!(std::fs::read(at("file")).unwrap(), content, "it is left alone");
    }
    for length in [0, 1, lines[0].len() - 1, lines[0].len(), lines[0].len() + 9, whole.len()] {
        std::fs::write(at("file"), &whole[..length]).unwrap();
        assert_eq!(ran(folder.path(), &["export", "file"]).0, 0, "from byte {length}");
        assert_eq!(std::fs::read(at("file")).unwrap(), whole);
    }
    // Arguments are judged before anything is made or changed.
    for wrong in [&["--data", "nowhere", "export", "new"][..], &["export", "gone/new"]] {
        let code = chain(folder.path(), wrong).status.code();
        assert!(matches!(code, Some(1 | 74)), "{code:?}");
        assert!(!at("new").exists());
    }
    assert_eq!(ran(folder.path(), &["export", "/dev/null"]).0, 0);
}

#[test]
fn an_import_names_what_it_refuses_and_holds_to_its_pins() {
    let folder = tempfile::tempdir().unwrap();
    let mut lines = lines();
    lines[2]["nonce"] = json!(0);
    std::fs::write(folder.path().join("wrong"), text(&lines)).unwrap();
    let output = chain(folder.path(), &["import", "wrong"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("line 3: block 2 (") && said.contains("breaks block_hash"), "{said}");
    assert!(said.contains("line 5: block 4 ("), "{said}");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&found["stored"], &found["refused"]), (&json!(2), &json!(3)));

    let another = "3".repeat(64);
    std::fs::write(folder.path().join("chain"), CHAIN).unwrap();
    let other = ["--data", "other", "import", "chain", "--genesis", &another];
    let output = chain(folder.path(), &other);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("another genesis"));

    let output = chain(folder.path(), &["import", "nowhere"]);
    assert_eq!(output.status.code(), Some(74));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot be read"));
    let output = chain(folder.path(), &["--server", "http://127.0.0.1:1", "info"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("name that with --manager"));
}

#[test]
fn the_folder_of_a_service_and_blocks_that_lie_elsewhere_are_found() {
    let home = Home::new();
    home.archive("s", &home.file("a", b"content"));
    let (data, own) = (home.data().to_owned(), home.data().join("block-manager"));
    let whole = home.json(&[&"chain", &"info"]);
    let home = home.with_data(own.clone());
    assert_eq!(home.json(&[&"chain", &"info"])["hash"], whole["hash"]);
    let folder = home.at("blocks-elsewhere");
    std::fs::rename(own.join("blocks"), &folder).unwrap();
    let home = home.with_data(data);
    assert_eq!(home.run(&[&"chain", &"info"]).code, 1);
    let found = home.json(&[&"chain", &"--blocks", &folder, &"info"]);
    assert_eq!(found["hash"], whole["hash"]);
}

#[test]
fn a_chain_with_damage_says_what_it_knows_and_takes_the_blocks_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let all = lines();
    std::fs::write(at.join("some"), text(&all[..4])).unwrap();
    std::fs::write(at.join("all"), CHAIN).unwrap();
    assert_eq!(ran(at, &["import", "some"]).0, 0);
    let records = at.join("lucid-data/block-manager/blocks/00000001.blocks");
    let mut bytes = std::fs::read(&records).unwrap();
    let last = bytes.len() - 20;
    bytes[last] ^= 1;
    std::fs::write(&records, bytes).unwrap();
    for reindexed in [false, true] {
        if reindexed {
            std::fs::remove_dir_all(at.join("lucid-data/block-manager/index")).unwrap();
        }
        let (code, found) = ran(at, &["info"]);
        assert_eq!(
            (code, &found["height"], &found["blocks"]),
            (1, &json!(3), &json!(4)),
            "{found}"
        );
        assert_eq!((&found["hash"], &found["genesis"]), (&all[3]["hash"], &all[0]["hash"]));
        assert_eq!((&found["transactions"], &found["role"]), (&Value::Null, &json!("authority")));
        assert!(found["damage"].as_str().unwrap().contains("blocks/00000001.blocks"), "{found}");
    }
    let output = chain(at, &["import", "all"]);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        (&found["known"], &found["stored"], &found["refused"]),
        (&json!(3), &json!(1), &json!(1)),
        "{found}"
    );
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("the chain has this very block") && said.contains("lucid reindex"),
        "{said}"
    );
    assert_eq!(ran(at, &["info"]).1["height"], json!(4));
}

#[test]
fn a_stored_chain_is_judged_beside_its_owner_and_that_is_said() {
    use lucid_block_manager::opened::{Options, open};
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("chain.jsonl"), CHAIN).unwrap();
    assert_eq!(ran(folder.path(), &["import", "chain.jsonl"]).0, 0);
    let (code, alone) = ran(folder.path(), &["validate"]);
    assert_eq!((code, &alone["valid"]), (0, &json!(true)));
    let of_file = ran(folder.path(), &["validate", "chain.jsonl"]).1;
    for same in ["blocks_checked", "transactions_checked", "end", "end_hash", "not_checked"] {
        assert_eq!(alone[same], of_file[same], "{same}");
    }
    let now = lucid_core::time::Timestamp::from_micros(1_800_000_000_000_000);
    let options = Options { owner: "its owner".into(), ..Options::default() };
    let owner = open(&folder.path().join("lucid-data/block-manager"), &options, now).unwrap();
    let output = chain(folder.path(), &["validate"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.contains("in use by its owner"), "{said}");
    let mut beside: Value = serde_json::from_slice(&output.stdout).unwrap();
    beside["validated_at"] = alone["validated_at"].clone();
    assert_eq!(beside, alone);
    owner.close().unwrap();
}
