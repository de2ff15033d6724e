//! `prove` and `check-proof`: what a bundle proves to an auditor who has nothing else, and what it cannot
//! be made to prove.

use std::fs;

use lucid_core::{
    bundle::MAGIC,
    check::{Trust, check},
};
use serde_json::Value;

use super::home::{Home, Ran, noise, prose};

/// A store with one session, and what is trusted about it.
struct Proved {
    home: Home,
    block_key: String,
    recorder: String,
    block_hash: String,
}

/// Two files in chunks of their own, and some that share one.
fn proved() -> Proved {
    let home = Home::new();
    fill(&home);
    let kept = home.archive("s", &home.at("tree"));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    Proved {
        block_key: text(&kept["trust_keys"]["block"]),
        recorder: text(&kept["trust_keys"]["recorder"]),
        block_hash: text(&kept["block_hash"]),
        home,
    }
}

fn fill(home: &Home) {
    home.file("tree/first", noise(1, 5 << 20));
    home.file("tree/second", noise(2, 3 << 20));
    for number in 0..20 {
        home.file(&format!("tree/small/{number}"), prose(number, 5_000));
    }
    home.file("tree/small/empty", "");
}

impl Proved {
    /// Checks where there is no store, in a folder of its own.
    fn check(&self, bundle: &str, content: Option<&str>, trust: &[&str]) -> Ran {
        let auditor = tempfile::tempdir().unwrap();
        fs::copy(self.home.at(bundle), auditor.path().join("bundle")).unwrap();
        let mut command = self.home.command(&[&"--json", &"check-proof", &"bundle"]);
        command.current_dir(auditor.path());
        if let Some(content) = content {
            command.arg(self.home.at(content));
        }
        for trusted in trust {
            command.args(["--trust", trusted]);
        }
        let ran = command.output().unwrap().into();
        assert_eq!(fs::read_dir(auditor.path()).unwrap().count(), 1, "checking leaves nothing");
        ran
    }

    fn keys(&self) -> [&str; 2] {
        [&self.block_key, &self.recorder]
    }
}

#[test]
fn every_kind_of_proof_holds_offline_and_only_for_its_own_content() {
    let it = proved();
    let home = &it.home;
    let whole = home.fed(&[&"archive", &"-", &"--session", &"raw"], &noise(3, 5_000_000));
    assert_eq!(whole.code, 0, "{}", whole.err);
    home.file("part", &noise(3, 5_000_000)[1_234_567..=1_244_567]);
    home.file("raw content", noise(3, 5_000_000));
    home.done(&[&"prove", &"s", &"--path", &"first", &"-o", &home.at("path")]);
    home.done(&[&"prove", &"s", &"--path", &"small/7", &"-o", &home.at("small")]);
    home.done(&[&"prove", &"s", &"--path", &"small/empty", &"-o", &home.at("empty")]);
    home.done(&[&"prove", &"s", &"--path", &"small", &"-o", &home.at("folder")]);
    home.done(&[&"prove", &"raw", &"--range", &"1234567-1244567", &"-o", &home.at("range")]);
    home.done(&[&"prove", &"raw", &"-o", &home.at("session")]);
    home.done(&[&"prove", &"raw", &"--chunk", &"1", &"-o", &home.at("chunk")]);
    let cases = [
        ("path", Some("tree/first")),
        ("small", Some("tree/small/7")),
        ("empty", Some("tree/small/empty")),
        ("folder", None),
        ("range", Some("part")),
        ("session", Some("raw content")),
        ("chunk", None),
    ];
    let by_key = it.keys();
    for (bundle, content) in cases {
        let code = |content, trust: &[&str]| it.check(bundle, content, trust).code;
        assert_eq!(code(content, &by_key), 0, "{bundle}");
        assert_eq!(code(None, &by_key), 0, "{bundle}");
        assert_eq!(code(content, &[]), 2, "{bundle}: nothing is trusted");
        assert_eq!(code(content, &[&it.block_key]), 2, "{bundle}: recorder not trusted");
        assert_eq!(code(content, &[&it.recorder]), 2, "{bundle}: origin not trusted");
        if content.is_some() {
            assert_eq!(code(Some("tree/second"), &by_key), 1, "{bundle}: other content");
        }
    }
    let by_hash = [it.block_hash.as_str(), &it.recorder];
    assert_eq!(it.check("path", Some("tree/first"), &by_hash).code, 0);
    let other_block = "ab".repeat(32);
    assert_eq!(it.check("path", None, &[&other_block, &it.recorder]).code, 2);
    let small = |name| fs::metadata(home.at(name)).unwrap().len();
    assert!(small("range") < 120_000, "ten kilobytes cost {}", small("range"));
    // A changed byte, a missing one and one too many are other content, too.
    let bytes = fs::read(home.at("tree/small/7")).unwrap();
    let mut changed = bytes.clone();
    changed[4_999] ^= 1;
    let others = [changed, bytes[..4_999].to_vec(), [&bytes[..], b"x"].concat(), Vec::new()];
    for other in others {
        home.file("other", other);
        assert_eq!(it.check("small", Some("other"), &by_key).code, 1);
    }
}

#[test]
fn what_was_not_proved_is_said() {
    let it = proved();
    it.home.done(&[&"prove", &"s", &"--path", &"first", &"-o", &it.home.at("bundle")]);
    let report = it.check("bundle", None, &[]).json();
    assert_eq!(report["verdict"], "origin_or_recorder_not_proved");
    let said = report.to_string().to_lowercase();
    assert!(said.contains("origin") && said.contains("recorder"), "{report:#}");
    let text = it.home.run(&[&"check-proof", &it.home.at("bundle")]);
    assert!(text.text().contains("origin or recorder are NOT proved"), "{}", text.text());
}

#[test]
fn wrong_use_has_a_code_of_its_own() {
    let it = proved();
    let home = &it.home;
    let bundle = home.at("bundle");
    home.done(&[&"prove", &"s", &"-o", &bundle]);
    let wrong: [&[&dyn AsRef<std::ffi::OsStr>]; 4] = [
        &[&"check-proof"],
        &[&"check-proof", &bundle, &"--trust", &"somebody"],
        &[&"prove", &"s", &"--range", &"9-3", &"-o", &bundle],
        &[&"prove", &"s"],
    ];
    for arguments in wrong {
        let ran = home.run(arguments);
        assert_eq!(ran.code, 64, "{}", ran.err);
        assert!(ran.out.is_empty() && !ran.err.is_empty());
    }
    let unfit: [&[&dyn AsRef<std::ffi::OsStr>]; 4] = [
        &[&"prove", &"s", &"--chunk", &"999", &"-o", &bundle],
        &[&"prove", &"s", &"--path", &"absent", &"-o", &bundle],
        &[&"prove", &"s", &"--range", &"0-99999999999", &"-o", &bundle],
        &[&"prove", &"absent", &"-o", &bundle],
    ];
    for arguments in unfit {
        home.refused(1, arguments);
    }
    // What is refused is what was asked for.
    home.archive("ten", &home.file("ten", "0123456789"));
    let beyond = home.refused(1, &[&"prove", &"ten", &"--range", &"0-10", &"-o", &bundle]);
    assert!(beyond.contains("no bytes 0 to 10"), "{beyond}");
}

/// Where to alter a file: everywhere near its ends, and evenly between.
fn places(length: usize, count: usize) -> impl Iterator<Item = usize> {
    let step = (length / count).max(1);
    (0..length).filter(move |at| at % step == 0 || *at < 64 || *at + 64 > length)
}

#[test]
fn a_bundle_with_any_byte_altered_is_refused() {
    let it = proved();
    it.home.done(&[&"prove", &"s", &"--path", &"small/7", &"-o", &it.home.at("bundle")]);
    let bundle = fs::read(it.home.at("bundle")).unwrap();
    // The command itself, for a few; what it calls, for every byte.
    for at in places(bundle.len(), 8).step_by(11) {
        let mut altered = bundle.clone();
        altered[at] ^= 0x10;
        it.home.file("altered", altered);
        let ran = it.check("altered", Some("tree/small/7"), &it.keys());
        assert_eq!(ran.code, 1, "byte {at}: {}", ran.text());
    }
    for length in [0, 1, MAGIC.len(), bundle.len() / 2, bundle.len() - 1] {
        it.home.file("altered", &bundle[..length]);
        assert_eq!(it.check("altered", None, &it.keys()).code, 1, "{length} bytes");
    }
    it.home.file("altered", [&bundle[..], b"\n"].concat());
    assert_eq!(it.check("altered", None, &it.keys()).code, 1);
    let trust = it.keys().map(|key| Trust::Key(key.parse().unwrap()));
    for at in 0..bundle.len() {
        let mut altered = bundle.clone();
        altered[at] ^= 1 << (at % 8);
        let verdict = check(&altered, None, &trust).unwrap().verdict;
        assert_eq!(verdict.exit_code(), 1, "byte {at}");
    }
}

#[test]
fn a_bundle_altered_with_its_checksum_made_anew_is_refused() {
    let it = proved();
    let home = &it.home;
    home.done(&[&"prove", &"s", &"--path", &"small/7", &"-o", &home.at("path")]);
    home.done(&[&"prove", &"s", &"--range", &"70000-80000", &"-o", &home.at("range")]);
    let trust = it.keys().map(|key| Trust::Key(key.parse().unwrap()));
    // Another range of the same chunk is as true as the one that was asked for, but not of its bytes.
    let whole: Vec<u8> = ["first", "second"]
        .iter()
        .flat_map(|name| fs::read(home.at("tree").join(name)).unwrap())
        .collect();
    let (small, part) = (fs::read(home.at("tree/small/7")).unwrap(), &whole[70_000..=80_000]);
    for (name, content) in [("path", small.as_slice()), ("range", part)] {
        let bundle = fs::read(home.at(name)).unwrap();
        let covered = bundle.len() - 32;
        let remade = |bytes: &[u8]| [bytes, blake3::hash(bytes).as_bytes()].concat();
        assert_eq!(
            remade(&bundle[..covered]),
            bundle,
            "the checksum is the bundle's last 32 bytes"
        );
        for at in places(covered, 3_000) {
            // Another range that the same slices hold is another claim, and a true one: only the bytes
            // themselves can tell that it is not the one that was asked for.
            if name == "range" && (16..32).contains(&at) {
                continue;
            }
            let mut altered = bundle[..covered].to_vec();
            altered[at] ^= 1 << (at % 8);
            let mut content = content;
            let report = check(&remade(&altered), Some(&mut content), &trust).unwrap();
            assert_eq!(report.verdict.exit_code(), 1, "{name}, byte {at}: {report:#?}");
        }
    }
}

#[test]
fn a_bundle_forged_end_to_end_under_other_keys_is_never_proved() {
    let it = proved();
    // The forger records the same files under the same name, with a chain of the forger's own.
    let forger = Home::new();
    fill(&forger);
    let kept = forger.archive("s", &forger.at("tree"));
    forger.done(&[&"prove", &"s", &"--path", &"first", &"-o", &it.home.at("forged")]);
    let forged = &kept["trust_keys"];
    let (block, recorder) =
        (forged["block"].as_str().unwrap(), forged["recorder"].as_str().unwrap());
    assert_eq!(it.check("forged", None, &[block, recorder]).code, 0, "it is consistent in itself");
    let trusts: [&[&str]; 6] = [
        &[],
        &[&it.block_key, &it.recorder],
        &[&it.block_hash, &it.recorder],
        &[&it.block_hash],
        &[&it.block_key, recorder],
        &[block, &it.recorder],
    ];
    for trust in trusts {
        for content in [None, Some("tree/first")] {
            let code = it.check("forged", content, trust).code;
            assert!(code == 1 || code == 2, "{trust:?} gave {code}");
        }
    }
}

#[test]
fn a_proof_stays_good_when_the_store_is_gone() {
    let it = proved();
    it.home.done(&[&"prove", &"s", &"--path", &"second", &"-o", &it.home.at("bundle")]);
    fs::remove_dir_all(it.home.data()).unwrap();
    assert_eq!(it.check("bundle", Some("tree/second"), &it.keys()).code, 0);
    assert!(!it.home.data().exists());
}
