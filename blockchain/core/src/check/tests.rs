//! What holds is proved, what was altered is refused, and what is only claimed is never "proved".
//!
//! In one file because all of its tests share the bundles they check.

use std::io::Cursor;

use proptest::prelude::*;

use super::*;
use crate::block::Block;
use crate::bundle::tests::{Plan, RECORDING, SMALL, T0, World, path, sealed, subjects, world};
use crate::bundle::{AnchoredElsewhere, Producer};
use crate::json::Json;
use crate::session::{Layout, Salt};
use crate::sign::SigningKey;
use crate::time::Timestamp;
use crate::timeline::Span;

fn trusted(world: &World) -> Vec<Trust> {
    vec![Trust::Key(world.recorder.public()), Trust::Key(world.producer.public())]
}

fn run(bundle: &[u8], content: Option<&[u8]>, trust: &[Trust]) -> CheckReport {
    match content {
        Some(content) => check(bundle, Some(&mut Cursor::new(content)), trust).unwrap(),
        None => check(bundle, None, trust).unwrap(),
    }
}

fn exit(bundle: &Bundle, content: Option<&[u8]>, trust: &[Trust]) -> u8 {
    run(&bundle.encode(), content, trust).verdict.exit_code()
}

fn refused_in(report: &CheckReport) -> &'static str {
    let last = report.steps.last().unwrap();
    assert_eq!(last.outcome, StepOutcome::Refused, "{report:?}");
    last.name
}

#[test]
fn every_subject_is_proved_with_and_without_content() {
    for secret in [None, Some([9; 32])] {
        for (chunk_bytes, scale) in [(40, 1), (150, 1), (30_000, 700), (1 << 20, 700)] {
            let world = world(Plan { secret, chunk_bytes, scale, ..SMALL });
            for (subject, content) in subjects(&world) {
                let bundle = world.prove(subject.clone());
                let report = run(&bundle.encode(), Some(&content), &trusted(&world));
                assert_eq!(report.verdict, CheckVerdict::Proved, "{subject:?} {report:?}");
                assert_eq!(exit(&bundle, None, &trusted(&world)), 0);
            }
        }
    }
}

#[test]
fn the_steps_of_a_whole_proof_are_these() {
    let world = world(SMALL);
    let bundle = world.prove(path("b")).encode();
    let report = run(&bundle, Some(&world.content()[100..]), &trusted(&world));
    let names: Vec<_> = report.steps.iter().map(|step| step.name).collect();
    assert_eq!(
        names,
        [
            "bundle",
            "content",
            "leaves",
            "path",
            "manifest",
            "anchor",
            "recorder",
            "transaction",
            "block",
            "origin"
        ]
    );
    assert!(report.steps.iter().all(|step| step.outcome == StepOutcome::Proved));
    let root = world.manifest.merkle_root;
    let sentence = format!("2 chunks, from number 2 on, belong to root {root}");
    assert_eq!(report.steps[2].sentence, sentence);
    let nothing = run(&world.prove(path("a")).encode(), None, &trusted(&world));
    assert_eq!(nothing.steps[2].sentence, format!("no chunks are needed below root {root}"));
    let all = report.not_proved.join("\n");
    for word in
        ["time of the block", "not salted", "changed while it was read", "rest of the session"]
    {
        assert!(all.contains(word), "{word}: {all}");
    }
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["verdict"], "proved");
    assert_eq!(json["steps"][0]["outcome"], "proved");
}

#[test]
fn content_may_be_absent_but_not_other() {
    let world = world(SMALL);
    for (subject, content) in subjects(&world) {
        let bundle = world.prove(subject.clone());
        let longer = [content.as_slice(), b"x"].concat();
        assert_eq!(exit(&bundle, Some(&longer), &trusted(&world)), 1, "{subject:?}");
        for at in 0..content.len() {
            let mut other = content.clone();
            other[at] ^= 1;
            let report = run(&bundle.encode(), Some(&other), &trusted(&world));
            assert_eq!(refused_in(&report), "content", "{subject:?} {at}");
            let shorter = &content[..at];
            assert_eq!(exit(&bundle, Some(shorter), &trusted(&world)), 1, "{subject:?} {at}");
        }
        let report = run(&bundle.encode(), None, &trusted(&world));
        assert!(report.not_proved.iter().any(|s| s.contains("no content")), "{report:?}");
    }
}

#[test]
fn a_refusal_says_where_the_content_is_another() {
    let world = world(SMALL);
    let bundle = world.prove(path("b")).encode();
    let content = world.content()[100..].to_vec();
    let longer = [content.as_slice(), b"x"].concat();
    let changed = |at: usize| {
        let mut other = content.clone();
        other[at] ^= 1;
        other
    };
    for (given, sentence) in [
        (longer, "the content goes on after the claimed 50 bytes"),
        (content[..49].to_vec(), "the content ends after 49 bytes, before the claimed end"),
        (content[..5].to_vec(), "the content ends after 5 bytes, before the claimed end"),
        (changed(0), "the content differs in chunk 2, at byte 80"),
        (changed(49), "the content differs in chunk 3, at byte 120"),
    ] {
        let report = run(&bundle, Some(&given), &trusted(&world));
        assert_eq!(refused_in(&report), "content");
        assert_eq!(report.steps.last().unwrap().sentence, sentence);
    }
}

#[test]
fn a_session_s_content_may_come_with_its_appendix() {
    let world = world(SMALL);
    let bundle = world.prove(Subject::Session);
    let mut all = world.chunks.concat();
    let report = run(&bundle.encode(), Some(&all), &trusted(&world));
    assert_eq!(report.verdict, CheckVerdict::Proved);
    assert!(!report.not_proved.iter().any(|s| s.contains("appendix")));
    let report = run(&bundle.encode(), Some(&world.content()), &trusted(&world));
    let left_out = all.len() - world.content().len();
    let sentence = format!("its {left_out} bytes were not compared");
    assert!(report.not_proved.iter().any(|s| s.contains(&sentence)), "{report:?}");
    // What begins within the session has no appendix that could be missing.
    let part =
        run(&world.prove(path("b")).encode(), Some(&world.content()[100..]), &trusted(&world));
    assert!(!part.not_proved.iter().any(|s| s.contains("appendix")), "{part:?}");
    let last = all.len() - 1;
    all[last] ^= 1;
    assert_eq!(exit(&bundle, Some(&all), &trusted(&world)), 1);
    assert_eq!(exit(&bundle, Some(&all[..last]), &trusted(&world)), 1);
}

#[test]
fn content_arrives_in_any_pieces_and_a_failing_reader_is_an_error() {
    struct Drip<'a>(&'a [u8], bool);
    impl Read for Drip<'_> {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            match (self.0.split_first(), to.first_mut()) {
                (Some((byte, rest)), Some(to)) => {
                    (*to, self.0) = (*byte, rest);
                    Ok(1)
                }
                _ => Ok(0),
            }
        }
    }
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::PermissionDenied.into())
        }
    }
    let world = world(SMALL);
    for (subject, content) in subjects(&world) {
        let bytes = world.prove(subject).encode();
        let mut drip = Drip(&content, false);
        let report = check(&bytes, Some(&mut drip), &trusted(&world)).unwrap();
        assert_eq!(report.verdict, CheckVerdict::Proved);
        assert!(check(&bytes, Some(&mut Broken), &trusted(&world)).is_err());
    }
}

#[test]
fn only_what_a_key_signed_is_proved_by_trusting_it() {
    let world = world(SMALL);
    let bundle = world.prove(Subject::Session);
    let (recorder, producer) = (world.recorder.public(), world.producer.public());
    let hash = Trust::BlockHash(world.block.hash);
    let (recorder, producer) = (Trust::Key(recorder), Trust::Key(producer));
    let other = Trust::Key(SigningKey::from_seed([99; 32]).public());
    for (trust, code) in [
        (vec![], 2),
        (vec![recorder], 2),
        (vec![producer], 2),
        (vec![hash], 2),
        (vec![other], 2),
        (vec![producer, hash], 2),
        (vec![recorder, other], 2),
        (vec![recorder, Trust::BlockHash(BlockHash::ZERO)], 2),
        (vec![recorder, producer], 0),
        (vec![recorder, hash], 0),
    ] {
        assert_eq!(exit(&bundle, None, &trust), code, "{trust:?}");
    }
    let report = run(&bundle.encode(), None, &[recorder]);
    assert!(report.not_proved.iter().any(|s| s.starts_with("consistent, origin NOT proved")));
    let report = run(&bundle.encode(), None, &[producer]);
    assert!(report.not_proved.iter().any(|s| s.starts_with("recorder NOT proved")));
    let both = one_key_for_both();
    let key = [Trust::Key(both.recorder.public())];
    assert_eq!(exit(&both.prove(Subject::Session), None, &key), 0);
}

fn one_key_for_both() -> World {
    world(Plan { recorder: 5, producer: 5, ..SMALL })
}

#[test]
fn a_bundle_without_anchor_or_signature_is_never_proved() {
    let world = world(SMALL);
    let bundle = world.prove(Subject::Session);
    let bare = Bundle { anchored: None, ..bundle.clone() };
    let report = run(&bare.encode(), None, &trusted(&world));
    assert_eq!(report.verdict, CheckVerdict::OriginOrRecorderNotProved);
    assert!(report.not_proved.iter().any(|s| s.contains("not anchored")));
    let unsigned = AnchorInclusion { producer: None, ..world.anchored() };
    let unsigned = bundle.anchored_in(unsigned);
    assert_eq!(exit(&unsigned, None, &trusted(&world)), 2);
    let trust = [Trust::Key(world.recorder.public()), Trust::BlockHash(world.block.hash)];
    assert_eq!(exit(&unsigned, None, &trust), 0);
}

#[test]
fn the_word_of_another_engine_proves_nothing_and_takes_nothing_away() {
    let world = world(SMALL);
    let proved = world.prove(Subject::Session);
    let bare = Bundle { anchored: None, ..proved.clone() };
    let elsewhere = bare.clone().anchored_elsewhere(world.elsewhere());
    let report = run(&elsewhere.encode(), Some(&world.content()), &trusted(&world));
    assert_eq!(report.verdict.exit_code(), 2, "{report:?}");
    let names: Vec<_> = report.steps.iter().map(|step| (step.name, step.outcome)).collect();
    let proved_steps = ["bundle", "content", "leaves", "manifest", "anchor", "recorder"];
    let mut wanted: Vec<_> = proved_steps.map(|name| (name, StepOutcome::Proved)).into();
    wanted.push(("elsewhere", StepOutcome::NotProved));
    assert_eq!(names, wanted);
    let said = &report.steps.last().unwrap().sentence;
    for word in ["NOT proved", "http://engine:8084 says", "0xfeed", "height 7", "this engine alone"]
    {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(report.not_proved.contains(said), "{report:?}");
    // The engine's word makes nobody's signature good.
    assert_eq!(exit(&elsewhere, None, &[]), 2);
    let other = self::world(Plan { session: "other", ..SMALL });
    let forged = bare.clone().anchored_elsewhere(other.elsewhere());
    assert_eq!(refused_in(&run(&forged.encode(), None, &trusted(&world))), "anchor");
    let text = world.elsewhere().transaction.replacen("\"chunk_count\": ", "\"chunk_count\": 1", 1);
    let broken = AnchoredElsewhere { transaction: text, ..world.elsewhere() };
    let broken = bare.anchored_elsewhere(broken);
    assert_eq!(refused_in(&run(&broken.encode(), None, &trusted(&world))), "anchor");
    // Beside the way into a block it is told, and what is proved stays proved.
    let both = proved.clone().anchored_elsewhere(world.elsewhere());
    let report = run(&both.encode(), None, &trusted(&world));
    assert_eq!(report.verdict, CheckVerdict::Proved);
    assert!(report.not_proved.iter().any(|s| s.contains("http://engine:8084 says")), "{report:?}");
    let mixed = proved.anchored_elsewhere(other.elsewhere());
    assert_eq!(refused_in(&run(&mixed.encode(), None, &trusted(&world))), "anchor");
}

#[test]
fn a_session_that_was_never_ended_says_so() {
    let world = world(Plan { end: End::Unterminated, ..SMALL });
    let report = run(&world.prove(Subject::Session).encode(), None, &trusted(&world));
    assert_eq!(report.verdict, CheckVerdict::Proved);
    assert!(report.not_proved.iter().any(|s| s.contains("never ended")));
}

// A forger knows how to compute a checksum, so it must not be what protects any field.
#[test]
fn every_altered_byte_under_a_right_checksum_is_refused_or_not_proved() {
    let world = world(SMALL);
    for (subject, content) in subjects(&world) {
        let bytes = world.prove(subject.clone()).encode();
        let parts = &bytes[..bytes.len() - 32];
        for at in 0..parts.len() {
            for bit in [1, 0x80] {
                let mut other = parts.to_vec();
                other[at] ^= bit;
                let report = run(&sealed(&other), Some(&content), &trusted(&world));
                assert_ne!(report.verdict, CheckVerdict::Proved, "{subject:?} byte {at}");
            }
        }
    }
}

/// Every way to alter one field of a bundle, and the step that notices it.
fn alterations(world: &World) -> Vec<(&'static str, Bundle)> {
    let base = world.prove(path("a/big"));
    let mut all: Vec<(&'static str, Bundle)> = Vec::new();
    let mut add = |step, alter: &dyn Fn(&mut Bundle)| {
        let mut bundle = base.clone();
        alter(&mut bundle);
        assert_ne!(bundle, base);
        all.push((step, bundle));
    };
    add("leaves", &|b| b.subject = path("b"));
    add("path", &|b| b.subject = path("absent"));
    add("path", &|b| b.subject = path("a\0big"));
    add("path", &|b| b.subject = Subject::Session);
    add("path", &|b| b.pages.clear());
    add("path", &|b| b.pages[0].bytes[20] ^= 1);
    add("path", &|b| b.pages[0].leaf.salt = Salt::new([1; 32]));
    add("path", &|b| b.pages[0].proof[0][0] ^= 1);
    add("path", &|b| b.pages[0].proof.push([0; 32]));
    add("leaves", &|b| b.pages[0].leaf.index -= 1);
    add("manifest", &|b| b.manifest = b.manifest.replace("ada", "bob "));
    add("manifest", &|b| b.manifest.push(' '));
    add("anchor", &|b| b.manifest = b.manifest.replace("\"ada\"", "\"bob\""));
    add("path", &|b| b.manifest = b.manifest.replace("\"small\"", "\"other\""));
    add("leaves", &|b| b.leaves.swap(0, 1));
    add("leaves", &|b| b.leaves[0].index += 1);
    add("leaves", &|b| b.leaves[1].offset += 1);
    add("leaves", &|b| b.leaves[0].length += 1);
    add("leaves", &|b| b.leaves[0].salt = Salt::PUBLIC);
    add("leaves", &|b| b.leaves.truncate(1));
    add("leaves", &|b| b.leaves.clear());
    add("leaves", &|b| b.range_proof[0][0] ^= 1);
    add("leaves", &|b| b.range_proof.push([0; 32]));
    add("leaves", &|b| b.range_proof.clear());
    add("content", &|b| b.leaves[0].chunk_id = crate::digest::ChunkId::ZERO);
    add("content", &|b| b.slices.clear());
    add("content", &|b| b.slices.push(Vec::new()));
    add("bundle", &|b| b.slices.extend([Vec::new(), Vec::new()]));
    add("content", &|b| b.slices[0][0] ^= 1);
    add("content", &|b| b.slices[0].push(0));
    add("anchor", &|b| b.anchored.as_mut().unwrap().transaction.insert(0, ' '));
    add("anchor", &|b| anchored(b).transaction = anchored(b).transaction.replace("v1", "v2"));
    add("anchor", &|b| anchored(b).transaction = "{}".to_owned());
    add("transaction", &|b| anchored(b).position = 0);
    add("transaction", &|b| anchored(b).count = 4);
    add("transaction", &|b| anchored(b).path.swap(0, 1));
    add("transaction", &|b| anchored(b).path.clear());
    add("block", &|b| anchored(b).entry.push('\n'));
    add("block", &|b| anchored(b).entry = anchored(b).entry.replacen("\n0\n", "\n1\n", 1));
    add("block", &|b| anchored(b).entry = anchored(b).entry.replacen("\n0\n", "\n00\n", 1));
    add("origin", &|b| signature(b).key = SigningKey::from_seed([77; 32]).public());
    add("origin", &|b| signature(b).signature = crate::sign::Signature::new([1; 64]));
    all
}

fn anchored(bundle: &mut Bundle) -> &mut AnchorInclusion {
    bundle.anchored.as_mut().unwrap()
}

fn signature(bundle: &mut Bundle) -> &mut Producer {
    anchored(bundle).producer.as_mut().unwrap()
}

#[test]
fn every_altered_field_is_refused_in_its_step() {
    let world = world(SMALL);
    let content = world.content()[..100].to_vec();
    for (number, (step, bundle)) in alterations(&world).into_iter().enumerate() {
        let report = run(&bundle.encode(), Some(&content), &trusted(&world));
        assert_eq!(refused_in(&report), step, "alteration {number}: {report:?}");
        assert_eq!(report.verdict.exit_code(), 1);
    }
}

#[test]
fn parts_of_different_proofs_do_not_make_one() {
    let (ours, theirs) = (world(SMALL), world(Plan { session: "theirs", ..SMALL }));
    let (a, b) = (ours.prove(Subject::Session), theirs.prove(Subject::Session));
    let trust = trusted(&ours);
    for mixed in [
        a.clone().anchored_in(theirs.anchored()),
        Bundle { manifest: b.manifest.clone(), ..a.clone() },
        Bundle { leaves: b.leaves.clone(), ..a.clone() },
        a.clone()
            .anchored_in(AnchorInclusion { entry: theirs.anchored().entry, ..ours.anchored() }),
        a.clone().anchored_in(AnchorInclusion { path: theirs.anchored().path, ..ours.anchored() }),
        a.clone().anchored_in(AnchorInclusion {
            producer: theirs.anchored().producer,
            ..ours.anchored()
        }),
    ] {
        // The same other transactions give the same siblings: such a mix is the original.
        if mixed != a {
            assert_eq!(exit(&mixed, None, &trust), 1);
        }
    }
}

#[test]
fn a_proof_forged_end_to_end_under_other_keys_is_not_proved() {
    let ours = world(SMALL);
    let trust = trusted(&ours);
    let forged = world(Plan { recorder: 50, producer: 51, ..SMALL });
    for (subject, content) in subjects(&forged) {
        assert_eq!(exit(&forged.prove(subject), Some(&content), &trust), 2);
    }
    // Only one of the two keys is the forger's.
    let posted = world(Plan { recorder: 50, ..SMALL });
    assert_eq!(exit(&posted.prove(Subject::Session), None, &trust), 2);
    let rechained = world(Plan { producer: 51, ..SMALL });
    assert_eq!(exit(&rechained.prove(Subject::Session), None, &trust), 2);
    // The forger claims to be the trusted producer.
    let mut bundle = rechained.prove(Subject::Session);
    signature(&mut bundle).key = ours.producer.public();
    assert_eq!(exit(&bundle, None, &trust), 1);
    // Trusting the hash of the true block does not help a block beside it.
    let hash = [Trust::Key(ours.recorder.public()), Trust::BlockHash(ours.block.hash)];
    assert_eq!(exit(&rechained.prove(Subject::Session), None, &hash), 0, "same fields, same hash");
    let later = |world: &World| {
        let block = Block::build(
            None,
            world.block.transactions.clone(),
            Timestamp::from_micros(1_800_000_000_000_000),
            &world.producer,
        );
        World { block, ..world.clone() }
    };
    assert_eq!(exit(&later(&rechained).prove(Subject::Session), None, &hash), 2);
}

#[test]
fn another_transaction_is_not_taken_for_an_anchor() {
    let ours = world(SMALL);
    let json = Json::object([("id", Json::from("anchor:00")), ("session_id", Json::from("small"))]);
    let signed = Transaction::signed(&json, &ours.recorder).unwrap();
    let mut bundle = ours.prove(Subject::Session);
    anchored(&mut bundle).transaction = signed.text().to_owned();
    let report = run(&bundle.encode(), None, &trusted(&ours));
    assert_eq!(refused_in(&report), "anchor");
}

#[test]
fn a_raw_session_has_no_paths() {
    let raw = world(Plan { layout: Layout::Raw, ..SMALL });
    let mut bundle = world(SMALL).prove(path("b"));
    bundle.manifest = raw.manifest.to_text().unwrap();
    assert_eq!(refused_in(&run(&bundle.encode(), None, &[])), "path");
    let proof = raw.prove(Subject::Bytes(5, 145));
    assert_eq!(exit(&proof, Some(&raw.content()[5..145]), &trusted(&raw)), 0);
}

/// From second `from` of the recording to before second `to`.
fn span(from: i64, to: i64) -> Subject {
    Subject::Span(Span { from: T0 + from * 1_000_000, to: T0 + to * 1_000_000 })
}

#[test]
fn a_span_of_time_is_proved_by_its_timeline() {
    // Marks at seconds 0, 2, 4, 6, 8 with bytes 0, 30, 60, 90, 120 of 150.
    let world = world(RECORDING);
    let content = world.content();
    for (from, to, bytes) in [
        (2, 5, 30..90),
        (0, 9, 0..150),
        (-9, 1, 0..30),
        (8, 99, 120..150),
        (3, 4, 60..60),
        (-9, 0, 0..0),
        (9, 99, 150..150),
    ] {
        let bundle = world.prove(span(from, to));
        let report = run(&bundle.encode(), Some(&content[bytes.clone()]), &trusted(&world));
        assert_eq!(report.verdict, CheckVerdict::Proved, "{from} to {to}: {report:?}");
        let time = report.steps.iter().find(|step| step.name == "time").unwrap();
        assert!(
            bytes.is_empty()
                || time.sentence.contains(&format!("{} to {}", bytes.start, bytes.end))
        );
        assert_eq!(exit(&bundle, Some(b"other"), &trusted(&world)), 1);
    }
}

#[test]
fn a_span_whose_time_is_not_known_is_not_proved() {
    // As above, by a clock that went back by up to 3 s.
    let world = world(Plan { doubt: 3_000_000, ..RECORDING });
    let content = world.content();
    for (from, to, bytes) in
        [(3, 4, 0..120), (2, 5, 0..120), (-9, -2, 0..30), (10, 99, 120..150), (11, 99, 120..150)]
    {
        let bundle = world.prove(span(from, to));
        let report = run(&bundle.encode(), Some(&content[bytes.clone()]), &trusted(&world));
        assert_eq!(
            report.verdict,
            CheckVerdict::OriginOrRecorderNotProved,
            "{from} to {to}: {report:?}"
        );
        let time = report.steps.iter().find(|step| step.name == "time").unwrap();
        assert_eq!(time.outcome, StepOutcome::NotProved);
        assert!(time.sentence.contains("time not known"), "{}", time.sentence);
        assert!(time.sentence.contains("by 3 s"), "{}", time.sentence);
        assert!(time.sentence.contains(&format!("{} to {}", bytes.start, bytes.end)));
    }
    // That nothing came is proved where not even such a clock can have hidden it.
    for (from, to) in [(-9, -3), (12, 99)] {
        let report = run(&world.prove(span(from, to)).encode(), Some(b""), &trusted(&world));
        assert_eq!(report.verdict, CheckVerdict::Proved, "{from} to {to}: {report:?}");
    }
    // Who leaves the doubt out shows another page.
    let mut bundle = world.prove(span(3, 4));
    let plain = super::super::bundle::tests::world(RECORDING).prove(span(3, 4));
    bundle.pages = plain.pages;
    assert_eq!(exit(&bundle, None, &trusted(&world)), 1);
}

#[test]
fn a_span_is_not_proved_by_other_pages_or_for_other_bytes() {
    let plan = Plan { scale: 700, chunk_bytes: 9_000, marks: (1, 17), ..RECORDING };
    let world = world(plan);
    let base = world.prove(span(2_500, 4_000));
    assert_eq!(exit(&base, None, &trusted(&world)), 0);
    let mut altered = Vec::new();
    let mut add = |step: &'static str, alter: &dyn Fn(&mut Bundle)| {
        let mut bundle = base.clone();
        alter(&mut bundle);
        altered.push((step, bundle));
    };
    for page in 0..base.pages.len() {
        add("time", &|b| b.pages[page].bytes[30] ^= 1);
        add("time", &|b| b.pages[page].proof[0][0] ^= 1);
    }
    add("time", &|b| b.pages.clear());
    add("time", &|b| b.pages.reverse());
    add("time", &|b| b.subject = span(4_000, 2_500));
    add("leaves", &|b| b.subject = span(2_000, 2_400));
    add("path", &|b| b.subject = Subject::Session);
    add("path", &|b| b.subject = path("a"));
    for (number, (step, bundle)) in altered.into_iter().enumerate() {
        let report = run(&bundle.encode(), None, &trusted(&world));
        assert_eq!(refused_in(&report), step, "alteration {number}: {report:?}");
    }
    // A session without a timeline has no spans.
    let mut bundle = base.clone();
    bundle.manifest = super::super::bundle::tests::world(SMALL).manifest.to_text().unwrap();
    assert_eq!(refused_in(&run(&bundle.encode(), None, &[])), "time");
}

#[test]
fn other_files_are_refused_as_bundles() {
    for bytes in
        [&b""[..], b"lucid-proof/v1\n", b"lucid-proof/v2\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"]
    {
        let report = run(bytes, None, &[]);
        assert_eq!(refused_in(&report), "bundle");
        assert_eq!(report.verdict.exit_code(), 1);
    }
}

#[test]
fn a_single_chunk_and_a_single_byte_are_not_spoken_of_as_many() {
    let world = world(SMALL);
    let bundle = world.prove(Subject::Bytes(0, 1));
    let report = run(&bundle.encode(), Some(&world.content()[..1]), &trusted(&world));
    let said = |name: &str| {
        let step = report.steps.iter().find(|step| step.name == name).unwrap();
        step.sentence.clone()
    };
    assert_eq!(said("content"), "1 byte is that of the named chunk");
    let leaves = said("leaves");
    assert!(leaves.starts_with("1 chunk, from number 0 on, belongs to root "), "{leaves}");
    for step in &report.steps {
        let is_wrong =
            [" 1 bytes", " 1 chunks", "1 chunks,"].iter().any(|w| step.sentence.contains(w));
        assert!(!is_wrong, "{}", step.sentence);
    }
    let longer = run(&bundle.encode(), Some(b""), &trusted(&world));
    assert!(
        matches!(&longer.verdict, CheckVerdict::Refused { reason } if reason.contains("after 0 bytes"))
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_range_is_proved(a in 0u64..105_000, b in 0u64..105_000, chunk_bytes in 5_000usize..60_000) {
        let world = world(Plan { scale: 700, chunk_bytes, ..SMALL });
        let (start, end) = (a.min(b), a.max(b) + 1);
        prop_assume!(end <= world.manifest.content_bytes);
        let bundle = world.prove(Subject::Bytes(start, end));
        let content = &world.content()[start as usize..end as usize];
        prop_assert_eq!(exit(&bundle, Some(content), &trusted(&world)), 0);
        if start + 1 < end {
            let moved = Bundle { subject: Subject::Bytes(start + 1, end), ..bundle };
            prop_assert_eq!(exit(&moved, Some(content), &trusted(&world)), 1);
        }
    }

    #[test]
    fn arbitrary_parts_are_refused_without_a_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        let bytes = sealed(&[crate::bundle::MAGIC, &bytes].concat());
        prop_assert_eq!(run(&bytes, None, &[]).verdict.exit_code(), 1);
    }
}
