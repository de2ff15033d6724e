//! Proofs, forged: everything that is proved to a reader who trusts two keys is true.
//!
//! The input alters a true proof, or mixes it with one of a session that says it is the same: fields, parts,
//! bytes under a right checksum, the content that is shown with it. The forger has keys of their own, and
//! signs with them; what they do not have are the keys that are trusted.

use lucid_core::block::Block;
use lucid_core::bundle::{AnchorInclusion, Bundle, Producer, Subject};
use lucid_core::check::{CheckVerdict, StepOutcome, Trust, check};
use lucid_core::digest::ChunkId;
use lucid_core::record::BlockRecord;
use lucid_core::session::Salt;
use lucid_core::sign::{Signature, SigningKey};
use lucid_core::slice;
use lucid_core::time::Timestamp;
use lucid_core::timeline::Span;

use crate::bounds::within;
use crate::draw::{Draw, alter};
use crate::worlds::{OURS, T0, THEIRS, World, trusted};

/// A proof, forged: if it is accepted, it is true.
pub fn forge(bytes: &[u8]) {
    let mut draw = Draw::new(bytes);
    let at = draw.below(OURS.len());
    let Some(world) = OURS.get(at) else { return };
    let subject = subject(&mut draw, world);
    let true_one = world.prove(subject.clone());
    // What is there can be proved.
    assert_eq!(true_one.is_ok(), world.truth(&subject).is_some(), "{subject:?}: {true_one:?}");
    let Ok(honest) = true_one.or_else(|_| world.prove(Subject::Session)) else { return };
    let mut bundle = honest.clone();
    for _ in 0..draw.below(6) {
        // The three forgeries of this world.
        let theirs = THEIRS.get(at * 3 + draw.below(3));
        change(&mut draw, &mut bundle, world, theirs.unwrap_or(world));
    }
    let mut encoded = bundle.encode();
    for _ in 0..draw.below(3) {
        encoded.truncate(encoded.len().saturating_sub(32));
        if encoded.is_empty() {
            encoded.push(0);
        }
        alter(&mut draw, &mut encoded);
        let sum = blake3::hash(&encoded);
        encoded.extend(sum.as_bytes());
    }
    let shown = shown(&mut draw, world, &bundle.subject);
    let trust = trust(&mut draw, world);
    let size = encoded.len() + shown.as_ref().map_or(0, Vec::len);
    judge(&encoded, shown.as_deref(), &trust, size, (&honest, world));
}

/// Checks the proof, and the checker.
fn judge(
    encoded: &[u8],
    shown: Option<&[u8]>,
    trust: &[Trust],
    size: usize,
    (honest, world): (&Bundle, &World),
) {
    let report = within("a check", size, (40, 1 << 20), || match shown {
        Some(mut content) => check(encoded, Some(&mut content), trust),
        None => check(encoded, None, trust),
    });
    let Ok(report) = report else { panic!("bytes in memory can be read: {report:?}") };
    let decoded = Bundle::decode(encoded);
    if let Ok(decoded) = &decoded {
        assert!(decoded.encode() == encoded, "one proof has one encoding");
    }
    let [recorder, producer] = trusted();
    let hash = Trust::BlockHash(world.block.hash);
    let is_trusted =
        trust.contains(&recorder) && (trust.contains(&producer) || trust.contains(&hash));
    let truth = decoded.as_ref().ok().and_then(|bundle| world.truth(&bundle.subject));
    let is_whole = |shown: &[u8]| {
        let whole = matches!(&decoded, Ok(Bundle { subject: Subject::Session, .. }));
        whole && shown == world.stream()
    };
    let is_true = shown.is_none_or(|shown| truth.as_deref() == Some(shown) || is_whole(shown));
    if decoded.as_ref() == Ok(honest) {
        let refused = matches!(report.verdict, CheckVerdict::Refused { .. });
        assert_eq!(refused, !is_true, "a true proof: {report:?}");
        assert_eq!(report.verdict == CheckVerdict::Proved, is_true && is_trusted, "{report:?}");
    }
    if report.verdict != CheckVerdict::Proved {
        return;
    }
    assert!(is_trusted, "proved to somebody who trusts too little: {trust:?}");
    let Ok(bundle) = decoded else { panic!("what cannot be read was proved") };
    // Of this world, or of another that the same keys signed.
    let signed = OURS.iter().find(|ours| ours.text == bundle.manifest);
    let Some(signed) = signed else { panic!("nobody signed {}", bundle.manifest) };
    let truth = signed.truth(&bundle.subject);
    let Some(truth) = truth else { panic!("there is no {:?}", bundle.subject) };
    if let Some(shown) = shown {
        let whole = bundle.subject == Subject::Session && shown == signed.stream();
        assert!(shown == truth || whole, "{:?} is not what was shown", bundle.subject);
    }
    let Some(anchored) = &bundle.anchored else { panic!("it is proved, and in no block") };
    assert_eq!(anchored.transaction, signed.anchored.transaction);
    if trust.contains(&producer) && !trust.contains(&hash) {
        assert!(
            OURS.iter().any(|ours| ours.anchored.entry == anchored.entry),
            "nobody who is trusted made this block"
        );
    }
    assert!(report.steps.iter().all(|step| step.outcome != StepOutcome::Refused));
}

fn subject(draw: &mut Draw<'_>, world: &World) -> Subject {
    let place = |draw: &mut Draw<'_>, most: u64| match draw.flag() {
        true => u64::from(draw.short()) % most.saturating_add(2),
        false => draw.number(),
    };
    match draw.below(5) {
        0 => Subject::Session,
        1 => {
            let most = world.manifest.chunk_count;
            Subject::Chunks(place(draw, most), place(draw, most))
        }
        2 => {
            let most = world.manifest.content_bytes;
            Subject::Bytes(place(draw, most), place(draw, most))
        }
        3 => {
            let paths: Vec<_> = world.files.keys().collect();
            let path = draw.of(&paths).map(|path| path.to_vec());
            Subject::Path(path.filter(|_| !draw.once_in(8)).unwrap_or_else(|| draw.bytes(12)))
        }
        _ => {
            let moment = |draw: &mut Draw<'_>| match draw.once_in(8) {
                true => draw.number().cast_signed(),
                false => T0 + (i64::from(draw.short()) % 9_000 - 200) * 250_000,
            };
            Subject::Span(Span { from: moment(draw), to: moment(draw) })
        }
    }
}

/// What is shown with the proof.
fn shown(draw: &mut Draw<'_>, world: &World, subject: &Subject) -> Option<Vec<u8>> {
    let truth = world.truth(subject);
    match draw.below(8) {
        0 => None,
        1 => Some(world.content()),
        2 => Some(world.stream()),
        3 => Some(draw.bytes(100)),
        4 => {
            let mut bytes = truth.unwrap_or_default();
            bytes.push(draw.byte());
            Some(bytes)
        }
        5 => {
            let mut bytes = truth.unwrap_or_default();
            bytes.pop();
            Some(bytes)
        }
        6 => {
            let mut bytes = truth.filter(|truth| !truth.is_empty()).unwrap_or_else(|| vec![0]);
            alter(draw, &mut bytes);
            Some(bytes)
        }
        _ => truth,
    }
}

/// Who is trusted: mostly both keys.
fn trust(draw: &mut Draw<'_>, world: &World) -> Vec<Trust> {
    let [recorder, producer] = trusted();
    let hash = Trust::BlockHash(world.block.hash);
    match draw.below(8) {
        0 => vec![],
        1 => vec![recorder],
        2 => vec![producer],
        3 => vec![hash],
        4 => vec![producer, hash],
        5 => vec![recorder, hash],
        _ => vec![recorder, producer],
    }
}

/// One change of one part.
fn change(draw: &mut Draw<'_>, bundle: &mut Bundle, world: &World, theirs: &World) {
    match draw.below(16) {
        0 => bundle.subject = subject(draw, world),
        1 => {
            // Another proof whole, but for what leads into the block.
            let other = [world, theirs].into_iter().nth(draw.below(2)).unwrap_or(world);
            if let Ok(other) = other.prove(subject(draw, other)) {
                let anchored = bundle.anchored.take();
                *bundle = Bundle { anchored, ..other };
            }
        }
        2 => bundle.manifest.clone_from(&theirs.text),
        3 => {
            let mut text = std::mem::take(&mut bundle.manifest).into_bytes();
            text.push(b' ');
            alter(draw, &mut text);
            bundle.manifest = String::from_utf8_lossy(&text).into_owned();
        }
        4 | 5 => change_leaf(draw, bundle, theirs),
        6 => change_hashes(draw, &mut bundle.range_proof),
        7 => change_slices(draw, bundle, world),
        8 | 9 => change_pages(draw, bundle, world, theirs),
        10 => bundle.anchored = Some(theirs.anchored.clone()).filter(|_| !draw.once_in(4)),
        11 | 12 => {
            let mut anchored = bundle.anchored.take().unwrap_or_else(|| world.anchored.clone());
            change_anchored(draw, &mut anchored, world, theirs);
            bundle.anchored = Some(anchored);
        }
        13 => {
            // A block of the forger's around the true anchor, or around theirs.
            let anchor = [world, theirs].into_iter().nth(draw.below(2)).unwrap_or(world);
            let key = SigningKey::from_seed([77; 32]);
            let at = Timestamp::from_micros(T0 + i64::from(draw.byte()));
            let block = Block::build(None, anchor.block.transactions.clone(), at, &key);
            let id = anchor.block.transactions.get(1).map(|anchor| anchor.id().to_owned());
            bundle.anchored = id.and_then(|id| AnchorInclusion::of(&BlockRecord::of(&block), &id));
        }
        14 => {
            let proof = theirs.prove(bundle.subject.clone());
            if let Ok(proof) = proof {
                match draw.below(4) {
                    0 => bundle.leaves = proof.leaves,
                    1 => bundle.range_proof = proof.range_proof,
                    2 => bundle.slices = proof.slices,
                    _ => bundle.pages = proof.pages,
                }
            }
        }
        _ => {
            bundle.leaves.reverse();
        }
    }
}

fn change_leaf(draw: &mut Draw<'_>, bundle: &mut Bundle, theirs: &World) {
    let at = draw.below(bundle.leaves.len());
    match draw.below(8) {
        0 if at < bundle.leaves.len() => drop(bundle.leaves.remove(at)),
        1 => bundle.leaves.extend(draw.of(&theirs.leaves).copied()),
        2 => bundle.leaves.extend(bundle.leaves.get(at).copied()),
        choice => {
            let Some(leaf) = bundle.leaves.get_mut(at) else { return };
            match choice {
                3 => leaf.index = draw.number(),
                4 => leaf.offset = draw.number(),
                5 => leaf.length = draw.short(),
                6 => leaf.salt = Salt::new(draw.array()),
                _ => leaf.chunk_id = ChunkId::new(draw.array()),
            }
        }
    }
}

fn change_hashes(draw: &mut Draw<'_>, hashes: &mut Vec<[u8; 32]>) {
    let at = draw.below(hashes.len());
    match draw.below(4) {
        0 => hashes.push(draw.array()),
        1 => drop(hashes.pop()),
        2 => hashes.reverse(),
        _ => {
            if let Some(hash) = hashes.get_mut(at) {
                *hash = draw.array();
            }
        }
    }
}

fn change_slices(draw: &mut Draw<'_>, bundle: &mut Bundle, world: &World) {
    let chunk = draw.of(&world.chunks);
    match (draw.below(4), bundle.slices.first_mut(), chunk) {
        (0, Some(slice), _) if !slice.is_empty() => alter(draw, slice),
        (1, _, Some(chunk)) => {
            let ends =
                [0; 2].map(|_| draw.short() % u32::try_from(chunk.len()).unwrap_or(1).max(1));
            if let [from, to] = ends
                && let Ok(slice) = slice::extract(chunk, from.min(to)..from.max(to))
            {
                bundle.slices.push(slice);
            }
        }
        (2, ..) => drop(bundle.slices.pop()),
        _ => bundle.slices.reverse(),
    }
}

fn change_pages(draw: &mut Draw<'_>, bundle: &mut Bundle, world: &World, theirs: &World) {
    let other = [world, theirs].into_iter().nth(draw.below(2)).unwrap_or(world);
    let at = draw.below(bundle.pages.len());
    match draw.below(7) {
        0 => {
            if let Ok(proof) = other.prove(subject(draw, other)) {
                bundle.pages = proof.pages;
            }
        }
        1 => drop(bundle.pages.pop()),
        2 => bundle.pages.reverse(),
        3 if bundle.pages.len() < 6 => bundle.pages.extend(bundle.pages.get(at).cloned()),
        choice => {
            let Some(page) = bundle.pages.get_mut(at) else { return };
            match choice {
                4 => change_hashes(draw, &mut page.proof),
                5 if !page.bytes.is_empty() => alter(draw, &mut page.bytes),
                _ => {
                    page.leaf.index = draw.number();
                    page.leaf.offset = draw.number();
                }
            }
        }
    }
}

fn change_anchored(
    draw: &mut Draw<'_>,
    anchored: &mut AnchorInclusion,
    world: &World,
    theirs: &World,
) {
    let text = |draw: &mut Draw<'_>, text: &mut String| {
        let mut bytes = std::mem::take(text).into_bytes();
        bytes.push(b'\n');
        alter(draw, &mut bytes);
        *text = String::from_utf8_lossy(&bytes).into_owned();
    };
    match draw.below(10) {
        0 => text(draw, &mut anchored.transaction),
        1 => text(draw, &mut anchored.entry),
        2 => anchored.position = draw.short(),
        3 => anchored.count = draw.short(),
        4 => anchored.path.reverse(),
        5 => anchored.producer = None,
        6 => anchored.entry.clone_from(&theirs.anchored.entry),
        7 => anchored.transaction.clone_from(&theirs.anchored.transaction),
        8 => {
            // The forger's signature under the name of the producer who is trusted.
            let signature = theirs.producer.sign(anchored.entry.as_bytes());
            anchored.producer = Some(Producer { key: world.producer.public(), signature });
        }
        _ => {
            let signature = Signature::new(draw.array());
            anchored.producer = Some(Producer { key: theirs.producer.public(), signature });
        }
    }
}
