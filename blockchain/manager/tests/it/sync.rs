//! Synchronising with peers in this process: good ones, bad ones, and ones with another clock.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use lucid_block_manager::fact::{Role, forks};
use lucid_block_manager::opened::{ManagerKind, Opened, Options, UnopenedManager, open, over};
use lucid_block_manager::ops::remove_block::{RemoveBlockError, remove_block};
use lucid_block_manager::ops::sync_chain::{
    Following, RoundOutcome, SyncError, Synced, sync_chain,
};
use lucid_block_manager::ops::take_blocks::Pins;
use lucid_block_manager::peer::{Greeting, Peer, PeerError, Speaks};
use lucid_core::block::Block;
use lucid_core::digest::BlockHash;
use lucid_core::record::{BlockRecord, Head, encode_body};
use lucid_core::sign::{Producers, SigningKey};
use lucid_core::time::Timestamp;
use lucid_core::transaction::Transaction;
use lucid_store::StoreError;
use lucid_store::files::disk::simulated::SimulatedDisk;

use crate::over_disk::unopened;

fn now() -> Timestamp {
    Timestamp::parse("2026-01-27T10:00:00Z").unwrap()
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed([seed; 32])
}

fn unsigned(mut block: Block) -> Block {
    (block.producer, block.signature) = (None, None);
    block
}

/// Blocks on top of others, `per` transactions each; `salt` makes them others than their namesakes.
fn grow(
    mut blocks: Vec<Block>,
    count: usize,
    per: usize,
    key: &SigningKey,
    salt: &str,
) -> Vec<Block> {
    for _ in 0..count {
        let parent = blocks.last().map(|block| block.as_parent().unwrap());
        let n = blocks.len();
        let transactions = (0..per).map(|m| {
            let text = format!(r#"{{"id": "{salt}-{n}-{m}", "type": "data_storage", "n": {n}}}"#);
            Transaction::parse(text.as_bytes()).unwrap()
        });
        let at = now().plus_seconds(-7_200 + i64::try_from(n).unwrap());
        blocks.push(Block::build(parent.as_ref(), transactions.collect(), at, key));
    }
    blocks
}

type ChangeHead = Box<dyn Fn(u64, &mut Head) + Send + Sync>;

/// A peer that has these blocks, and may lie about them.
struct Holder {
    speaks: Speaks,
    blocks: Vec<Block>,
    /// What it claims instead of its height.
    claims: Option<u64>,
    /// Changes a head before it is given.
    head: ChangeHead,
    /// Changes a body before it is given.
    body: Box<dyn Fn(u64, Vec<u8>) -> Vec<u8> + Send + Sync>,
    /// Changes a block's JSON before it is given.
    json: Box<dyn Fn(u64, String) -> String + Send + Sync>,
    asked: Mutex<Vec<u64>>,
    calls: AtomicU64,
}

impl Holder {
    fn new(blocks: Vec<Block>) -> Self {
        Self {
            speaks: Speaks::Runs,
            blocks,
            claims: None,
            head: Box::new(|_, _| {}),
            body: Box::new(|_, body| body),
            json: Box::new(|_, text| text),
            asked: Mutex::default(),
            calls: AtomicU64::new(0),
        }
    }

    fn engine(blocks: Vec<Block>) -> Self {
        Self { speaks: Speaks::Blocks, ..Self::new(blocks) }
    }

    fn at(&self, height: u64) -> Option<&Block> {
        self.blocks.get(usize::try_from(height).ok()?)
    }
}

impl Peer for Holder {
    fn name(&self) -> &str {
        "a holder"
    }

    fn greet(&self) -> Result<Greeting, PeerError> {
        let height = (self.blocks.len() as u64).checked_sub(1);
        Ok(Greeting { speaks: self.speaks, height: self.claims.or(height) })
    }

    fn heads(&self, from: u64, limit: u32) -> Result<Vec<Head>, PeerError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let heads = (from..from + u64::from(limit)).map_while(|height| {
            let mut head = Head::of(&BlockRecord::of(self.at(height)?));
            (self.head)(height, &mut head);
            Some(head)
        });
        Ok(heads.collect())
    }

    fn bodies(&self, from: u64, limit: u32, bytes_max: u64) -> Result<Vec<Bytes>, PeerError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let mut bodies = Vec::new();
        let mut bytes = 0;
        for height in from..from + u64::from(limit) {
            let Some(block) = self.at(height) else { break };
            let body = (self.body)(height, encode_body(&block.transactions));
            bytes += body.len() as u64;
            if bytes > bytes_max {
                if bodies.is_empty() {
                    return Err(PeerError::TooLong { limit: bytes_max });
                }
                break;
            }
            self.asked.lock().unwrap().push(height);
            bodies.push(body.into());
        }
        Ok(bodies)
    }

    fn block(&self, height: u64, _: u64) -> Result<Option<String>, PeerError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.asked.lock().unwrap().push(height);
        Ok(self.at(height).map(|block| (self.json)(height, block.to_json_text())))
    }
}

fn follower(folder: &Path) -> Opened {
    let kind = ManagerKind { role: Some(Role::Follower), ..ManagerKind::default() };
    open(folder, &Options { kind, ..Options::default() }, now()).unwrap()
}

fn round_at(
    manager: &Opened,
    peer: &dyn Peer,
    pins: Pins,
    now: Timestamp,
) -> Result<Synced, SyncError> {
    let following = Following {
        vault: &manager.vault,
        chain: manager.chain.as_ref(),
        staging: &manager.staging,
        peer,
        pins,
        batch: 100,
        slow: 0,
    };
    sync_chain(&following, now, &|_| ControlFlow::Continue(()))
}

fn round(manager: &Opened, peer: &dyn Peer, pins: Pins) -> Result<Synced, SyncError> {
    round_at(manager, peer, pins, now())
}

fn pinned(key: &SigningKey) -> Pins {
    Pins { producer: key.public().into(), genesis: None }
}

fn height(manager: &Opened) -> Option<u64> {
    manager.chain.tip().unwrap().map(|tip| tip.height)
}

fn tentative(manager: &Opened) -> Vec<u64> {
    manager.staging.list().iter().map(|staged| staged.height).collect()
}

/// Every block here is the peer's.
fn assert_same(manager: &Opened, blocks: &[Block]) {
    for block in blocks.iter().take(height(manager).map_or(0, |height| height as usize + 1)) {
        assert_eq!(
            manager.chain.block(block.index).unwrap().unwrap().whole().as_ref(),
            Some(block)
        );
    }
}

#[test]
fn signed_blocks_are_committed_and_nothing_is_fetched_twice() {
    let folder = tempfile::tempdir().unwrap();
    let blocks = grow(Vec::new(), 500, 7, &key(1), "a");
    let manager = follower(folder.path());
    let peer = Holder::new(blocks[..300].to_vec());
    let synced = round(&manager, &peer, pinned(&key(1))).unwrap();
    assert_eq!(
        synced,
        Synced { blocks: 300, remote: Some(299), outcome: RoundOutcome::Synchronized }
    );
    assert_eq!(round(&manager, &peer, pinned(&key(1))).unwrap().blocks, 0);
    manager.close().unwrap();

    let manager = follower(folder.path());
    let longer = Holder::new(blocks.clone());
    assert_eq!(round(&manager, &longer, pinned(&key(1))).unwrap().blocks, 200);
    assert!(longer.asked.lock().unwrap().iter().all(|asked| *asked >= 300));
    assert_eq!(height(&manager), Some(499));
    assert!(tentative(&manager).is_empty());
    assert_same(&manager, &blocks);
    // A peer that is behind changes nothing.
    assert_eq!(round(&manager, &peer, pinned(&key(1))).unwrap().outcome, RoundOutcome::PeerBehind);
    let empty = Holder::new(Vec::new());
    assert_eq!(round(&manager, &empty, pinned(&key(1))).unwrap().outcome, RoundOutcome::PeerBehind);
    assert_eq!(height(&manager), Some(499));
}

#[test]
fn an_engine_that_gives_one_block_at_a_time_is_read_with_its_own_field_names() {
    let folder = tempfile::tempdir().unwrap();
    let blocks: Vec<Block> =
        grow(Vec::new(), 120, 3, &key(1), "e").into_iter().map(unsigned).collect();
    let mut peer = Holder::engine(blocks.clone());
    // As the engine spells them: a height for the index, and no nonce.
    peer.json = Box::new(|_, text| {
        let text = text.replacen("\"index\":", "\"ignored\":", 1);
        text.replacen("\"nonce\":0,", "", 1)
    });
    let manager = follower(folder.path());
    let synced = round(&manager, &peer, Pins::default()).unwrap();
    assert_eq!((synced.blocks, height(&manager)), (114, Some(113)));
    assert_eq!(tentative(&manager), [114, 115, 116, 117, 118, 119]);
    assert_same(&manager, &blocks);
}

#[test]
fn without_a_pin_blocks_are_final_when_six_follow_or_after_an_hour() {
    let folder = tempfile::tempdir().unwrap();
    let blocks = grow(Vec::new(), 20, 2, &key(1), "a");
    let manager = follower(folder.path());
    let peer = Holder::new(blocks[..4].to_vec());
    round(&manager, &peer, Pins::default()).unwrap();
    assert_eq!((height(&manager), tentative(&manager)), (None, vec![0, 1, 2, 3]));
    let peer = Holder::new(blocks[..8].to_vec());
    round(&manager, &peer, Pins::default()).unwrap();
    assert_eq!((height(&manager), tentative(&manager)), (Some(1), vec![2, 3, 4, 5, 6, 7]));
    assert!(peer.asked.lock().unwrap().iter().all(|asked| *asked >= 4), "what is staged is here");
    manager.close().unwrap();

    // Staged blocks survive a restart, with the time at which they were first seen.
    let manager = follower(folder.path());
    assert_eq!(tentative(&manager), [2, 3, 4, 5, 6, 7]);
    round_at(&manager, &peer, Pins::default(), now().plus_seconds(3_599)).unwrap();
    assert_eq!(height(&manager), Some(1));
    round_at(&manager, &peer, Pins::default(), now().plus_seconds(3_600)).unwrap();
    assert_eq!((height(&manager), tentative(&manager)), (Some(7), vec![]));
    assert_same(&manager, &blocks);
}

#[test]
fn reordering_touches_staging_only_and_a_fork_below_is_reported_with_both_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let common = grow(Vec::new(), 40, 2, &key(1), "a");
    let ours = grow(common.clone(), 8, 2, &key(1), "ours");
    let manager = follower(folder.path());
    round(&manager, &Holder::new(ours.clone()), Pins::default()).unwrap();
    assert_eq!((height(&manager), tentative(&manager).len()), (Some(41), 6));

    // The peer's newest blocks are others now: only tentative ones are replaced.
    let mut other = ours[..44].to_vec();
    other = grow(other, 3, 2, &key(1), "other");
    round(&manager, &Holder::new(other.clone()), Pins::default()).unwrap();
    assert_eq!((height(&manager), tentative(&manager)), (Some(41), vec![42, 43, 44, 45, 46]));
    assert_eq!(manager.staging.top().unwrap().hash, other[46].hash);

    // Below, they are final.
    let fork = grow(common, 60, 2, &key(1), "theirs");
    for speaks in [Speaks::Runs, Speaks::Blocks] {
        let peer = Holder { speaks, ..Holder::new(fork.clone()) };
        let error = round(&manager, &peer, Pins::default()).unwrap_err();
        let SyncError::Diverged(found) = error else { panic!("{error}") };
        assert_eq!((found.height, found.hash), (40, fork[40].hash));
        assert!(found.ours.contains(&ours[40].hash.to_string()));
        assert!(found.theirs.contains(&fork[40].hash.to_string()));
        assert!(peer.calls.load(Ordering::Relaxed) < 12, "a fork is found by bisection");
    }
    assert_eq!(height(&manager), Some(41));
    assert_same(&manager, &ours);
    manager.close().unwrap();
    let manager = follower(folder.path());
    let kept = forks(manager.vault.index()).unwrap();
    assert_eq!((kept.len(), kept[0].height, kept[0].hash), (1, 40, fork[40].hash));

    // Another chain altogether.
    let another = grow(Vec::new(), 90, 1, &key(2), "z");
    let error = round(&manager, &Holder::new(another), Pins::default()).unwrap_err();
    assert!(matches!(&error, SyncError::Diverged(fork) if fork.height == 0), "{error}");
    assert_eq!(height(&manager), Some(41));
}

#[test]
fn with_a_pin_only_the_producer_makes_blocks_final_once_it_signs() {
    let folder = tempfile::tempdir().unwrap();
    let history: Vec<Block> =
        grow(Vec::new(), 90, 1, &key(1), "old").into_iter().map(unsigned).collect();
    let signed = grow(history.clone(), 3, 1, &key(1), "new");
    let manager = follower(folder.path());
    // History from before the producer signed is final as in any chain; one signature makes the rest so.
    let synced = round(&manager, &Holder::new(signed.clone()), pinned(&key(1))).unwrap();
    assert_eq!((synced.blocks, height(&manager)), (93, Some(92)));

    // What is not signed behind it never is, however long it is.
    let forged: Vec<Block> = grow(signed.clone(), 30, 1, &key(9), "forged")
        .into_iter()
        .enumerate()
        .map(|(n, block)| if n < signed.len() { block } else { unsigned(block) })
        .collect();
    let later = now().plus_seconds(36_000);
    for at in [now(), later] {
        round_at(&manager, &Holder::new(forged.clone()), pinned(&key(1)), at).unwrap();
        assert_eq!(height(&manager), Some(92));
        assert_eq!(tentative(&manager).len(), 30);
    }
    let longer: Vec<Block> = [
        forged.clone(),
        grow(forged, 60, 1, &key(9), "more").into_iter().skip(123).map(unsigned).collect(),
    ]
    .concat();
    let error = round(&manager, &Holder::new(longer), pinned(&key(1))).unwrap_err();
    assert!(
        matches!(&error, SyncError::Refused { height: 93, why } if why.contains("signed by the producer")),
        "{error}"
    );
    assert_eq!((height(&manager), tentative(&manager).len()), (Some(92), 64));

    // The producer's own blocks take their place.
    let own = grow(signed, 2, 1, &key(1), "own");
    round(&manager, &Holder::new(own.clone()), pinned(&key(1))).unwrap();
    assert_eq!((height(&manager), tentative(&manager)), (Some(94), vec![]));
    assert_same(&manager, &own);
}

/// Each case: what the peer does, what is reported, and how far the store comes.
#[test]
fn a_peer_that_lies_brings_nothing_in() {
    type Lie = fn(&mut Holder);
    let cases: [(&str, Lie, &str, Option<u64>); 14] = [
        (
            "a head with another hash",
            |peer| {
                peer.head = Box::new(|height, head| {
                    if height == 30 {
                        head.entry.hash = BlockHash::new([7; 32]);
                    }
                });
            },
            "block 30 of the peer is refused",
            Some(29),
        ),
        (
            "a head of another time",
            |peer| {
                peer.head = Box::new(|height, head| {
                    if height == 30 {
                        head.entry.timestamp = "2026-01-27T09:00:00.000000Z".into();
                    }
                });
            },
            "block_hash",
            Some(29),
        ),
        ("a gap", |peer| drop(peer.blocks.remove(30)), "another block in its place", Some(29)),
        (
            "two blocks swapped",
            |peer| peer.blocks.swap(30, 31),
            "another block in its place",
            Some(29),
        ),
        (
            "a height that it does not have",
            |peer| peer.claims = Some(u64::MAX - 1),
            "gives none from 50",
            Some(49),
        ),
        (
            "the same heads again and again",
            |peer| {
                peer.claims = Some(u64::MAX - 1);
                peer.blocks = peer.blocks.iter().cycle().take(5_000).cloned().collect();
            },
            "another block in its place",
            Some(49),
        ),
        (
            "another block's transactions",
            |peer| {
                let other = encode_body(&peer.blocks[3].transactions);
                peer.body =
                    Box::new(move |height, body| if height == 30 { other.clone() } else { body });
            },
            "merkle_root",
            Some(29),
        ),
        (
            "garbage for transactions",
            |peer| {
                peer.body =
                    Box::new(|height, body| if height == 30 { vec![0xff; 99] } else { body });
            },
            "cannot be read",
            Some(29),
        ),
        (
            "a last transaction twice",
            |peer| {
                let mut twice = peer.blocks[30].transactions.clone();
                twice.push(twice.last().unwrap().clone());
                let twice = encode_body(&twice);
                peer.body =
                    Box::new(move |height, body| if height == 30 { twice.clone() } else { body });
            },
            "merkle_root",
            Some(29),
        ),
        (
            "no transactions",
            |peer| {
                peer.blocks.truncate(40);
                peer.claims = Some(49);
            },
            "gives none from 40",
            Some(39),
        ),
        (
            "blocks of another producer",
            |peer| {
                let blocks = peer.blocks[..30].to_vec();
                peer.blocks = grow(blocks, 20, 2, &key(8), "b");
            },
            "another than the pinned producer",
            Some(29),
        ),
        (
            "a forged signature",
            |peer| {
                peer.head = Box::new(|height, head| {
                    if height == 49 {
                        head.signature = Some(key(8).sign(b"something"));
                    }
                });
            },
            "signature does not verify",
            None,
        ),
        (
            "a forged signature in the middle",
            |peer| {
                peer.head = Box::new(|height, head| {
                    if height == 30 {
                        head.signature = Some(key(8).sign(b"something"));
                    }
                });
            },
            "signature does not verify",
            Some(29),
        ),
        (
            "an id of an earlier block",
            |peer| {
                let mut blocks = peer.blocks[..30].to_vec();
                let again = vec![blocks[3].transactions[0].clone()];
                let parent = blocks[29].as_parent().unwrap();
                blocks.push(Block::build(Some(&parent), again, now(), &key(1)));
                peer.blocks = grow(blocks, 19, 2, &key(1), "c");
            },
            "transactions",
            Some(29),
        ),
    ];
    for (name, lie, wanted, reached) in cases {
        let folder = tempfile::tempdir().unwrap();
        let manager = follower(folder.path());
        let honest = grow(Vec::new(), 50, 2, &key(1), "a");
        let mut peer = Holder::new(honest.clone());
        lie(&mut peer);
        let error = round(&manager, &peer, pinned(&key(1))).unwrap_err();
        assert!(error.to_string().contains(wanted), "{name}: {error}");
        assert_eq!(height(&manager), reached, "{name}");
        assert_same(&manager, &honest);
        assert!(tentative(&manager).is_empty(), "{name}");
        // Nothing is held against the chain: an honest peer is followed on.
        assert_eq!(
            round(&manager, &Holder::new(honest), pinned(&key(1))).unwrap().outcome,
            RoundOutcome::Synchronized
        );
        assert_eq!(height(&manager), Some(49), "{name}");
    }
}

#[test]
fn an_engine_that_lies_brings_nothing_in() {
    type Lie = fn(&mut Holder);
    let cases: [(&str, Lie, &str, Option<u64>); 7] = [
        (
            "another hash",
            |peer| {
                peer.json = Box::new(|height, text| match height {
                    30 => text.replace("\"hash\":\"", "\"hash\":\"00"),
                    _ => text,
                });
            },
            "block 30",
            Some(23),
        ),
        (
            "an altered transaction",
            |peer| {
                peer.json = Box::new(|height, text| match height {
                    30 => text.replace("\"n\": 30", "\"n\": 31"),
                    _ => text,
                });
            },
            "merkle_root",
            Some(29),
        ),
        ("another block", |peer| peer.blocks.swap(30, 31), "block 31 in its place", Some(23)),
        ("no block", |peer| peer.claims = Some(60), "does not give it", Some(43)),
        (
            "garbage",
            |peer| {
                peer.json =
                    Box::new(|height, text| if height == 30 { "[".repeat(1_000) } else { text });
            },
            "block 30",
            Some(23),
        ),
        (
            "a repeated field",
            |peer| {
                peer.json = Box::new(|height, text| match height {
                    30 => text.replacen('{', "{\"height\":3,", 1),
                    _ => text,
                });
            },
            "block 30",
            Some(23),
        ),
        (
            "another chain after a while",
            |peer| {
                let blocks = grow(peer.blocks[..10].to_vec(), 40, 2, &key(2), "x");
                peer.blocks = [peer.blocks[..30].to_vec(), blocks[30..].to_vec()].concat();
            },
            "does not follow block 29",
            Some(23),
        ),
    ];
    for (name, lie, wanted, reached) in cases {
        let folder = tempfile::tempdir().unwrap();
        let manager = follower(folder.path());
        let honest = grow(Vec::new(), 50, 2, &key(1), "a");
        let mut peer = Holder::engine(honest.clone());
        lie(&mut peer);
        let error = round(&manager, &peer, Pins::default()).unwrap_err();
        assert!(error.to_string().contains(wanted), "{name}: {error}");
        assert!(height(&manager) <= reached, "{name}: {:?}", height(&manager));
        assert_same(&manager, &honest);
        round(&manager, &Holder::engine(honest), Pins::default()).unwrap();
        assert_eq!(height(&manager), Some(43), "{name}");
    }
}

#[test]
fn a_chain_under_other_hash_rules_stops_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let manager = follower(folder.path());
    let mut peer = Holder::engine(grow(Vec::new(), 12, 2, &key(1), "a"));
    peer.json = Box::new(|height, _| {
        let (this, before) = (format!("{:064x}", height + 1), format!("{height:064x}"));
        format!(
            r#"{{"height": {height}, "hash": "{this}", "previous_hash": "{before}", "merkle_root": "{this}",
            "timestamp": "2026-01-27T09:00:00", "transactions": [{{"id": "t{height}"}}], "size_bytes": 9}}"#
        )
    });
    let error = round(&manager, &peer, Pins::default()).unwrap_err();
    assert!(matches!(error, SyncError::UnsupportedHashRule { height: 0 }), "{error}");
    assert!(error.to_string().starts_with("unsupported_hash_rule"));
    assert_eq!((height(&manager), tentative(&manager)), (None, vec![]));
}

#[test]
fn clocks_that_differ_delay_and_never_divide() {
    // The producer's clock is two hours ahead of this one.
    let ahead = now().plus_seconds(7_200);
    let mut blocks = grow(Vec::new(), 10, 1, &key(1), "a");
    for n in 0..5 {
        let parent = blocks.last().unwrap().as_parent().unwrap();
        let text = format!(r#"{{"id": "late-{n}"}}"#);
        let transaction = Transaction::parse(text.as_bytes()).unwrap();
        blocks.push(Block::build(Some(&parent), vec![transaction], ahead, &key(1)));
    }
    for (speaks, at_once) in [(Speaks::Runs, 9), (Speaks::Blocks, 9)] {
        let folder = tempfile::tempdir().unwrap();
        let manager = follower(folder.path());
        let peer = Holder { speaks, ..Holder::new(blocks.clone()) };
        let error = round(&manager, &peer, pinned(&key(1))).unwrap_err();
        assert!(matches!(error, SyncError::NotYet { height: 10 }), "{error}");
        assert_eq!(height(&manager), Some(at_once));
        let later = now().plus_seconds(3_601);
        round_at(&manager, &peer, pinned(&key(1)), later).unwrap();
        assert_eq!(height(&manager), Some(14));
        // A clock that is far ahead of the producer's takes them as history.
        let folder = tempfile::tempdir().unwrap();
        let manager = follower(folder.path());
        round_at(&manager, &peer, pinned(&key(1)), now().plus_seconds(90_000)).unwrap();
        assert_eq!(height(&manager), Some(14));
    }
}

#[test]
fn only_the_newest_tentative_block_can_be_removed() {
    let folder = tempfile::tempdir().unwrap();
    let blocks = grow(Vec::new(), 10, 1, &key(1), "a");
    let manager = follower(folder.path());
    let peer = Holder::new(blocks.clone());
    round(&manager, &peer, Pins::default()).unwrap();
    assert_eq!((height(&manager), tentative(&manager)), (Some(3), vec![4, 5, 6, 7, 8, 9]));
    let remove =
        |height, confirm| remove_block(manager.chain.as_ref(), &manager.staging, height, confirm);
    assert!(matches!(remove(0, None), Err(RemoveBlockError::Genesis)));
    assert!(matches!(remove(3, None), Err(RemoveBlockError::Final(3))));
    assert!(matches!(remove(8, None), Err(RemoveBlockError::NotTop { height: 8, top: 9 })));
    assert!(matches!(remove(10, None), Err(RemoveBlockError::NotFound(10))));
    assert!(matches!(remove(9, Some(blocks[8].hash)), Err(RemoveBlockError::Another { .. })));
    assert_eq!(remove(9, Some(blocks[9].hash)).unwrap(), blocks[9].hash);
    assert_eq!(remove(8, None).unwrap(), blocks[8].hash);
    assert_eq!(tentative(&manager), [4, 5, 6, 7]);
    // The peer still has them, so they come again.
    round(&manager, &peer, Pins::default()).unwrap();
    assert_eq!(tentative(&manager), [4, 5, 6, 7, 8, 9]);
}

#[test]
fn a_genesis_that_is_pinned_is_the_only_one() {
    let folder = tempfile::tempdir().unwrap();
    let blocks = grow(Vec::new(), 10, 1, &key(1), "a");
    let manager = follower(folder.path());
    let pins = Pins { genesis: Some(BlockHash::new([4; 32])), producer: Default::default() };
    for speaks in [Speaks::Runs, Speaks::Blocks] {
        let peer = Holder { speaks, ..Holder::new(blocks.clone()) };
        let error = round(&manager, &peer, pins).unwrap_err();
        assert!(error.to_string().contains("genesis"), "{error}");
        assert_eq!((height(&manager), tentative(&manager)), (None, vec![]));
    }
    let pins = Pins { genesis: Some(blocks[0].hash), producer: Default::default() };
    round(&manager, &Holder::new(blocks), pins).unwrap();
    assert_eq!(height(&manager), Some(3));
}

#[test]
fn a_follower_whose_newest_block_is_damaged_goes_on_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let blocks = grow(Vec::new(), 30, 2, &key(1), "a");
    let manager = follower(folder.path());
    let pins = pinned(&key(1));
    round(&manager, &Holder::new(blocks[..5].to_vec()), pins).unwrap();
    let damaged = |error: SyncError| matches!(error, SyncError::Store(StoreError::Damaged(_)));
    let mut have = 5;
    // Two are lost at once, as by one bad sector.
    for peer in [Holder::new as fn(_) -> _, Holder::engine] {
        crate::taking::damage(folder.path(), "blocks", &blocks[have - 2].hash);
        crate::taking::damage(folder.path(), "blocks", &blocks[have - 1].hash);
        // Nothing but the very block that is known by its hash tells what follows it.
        let mut liar = peer(blocks[..have + 3].to_vec());
        let later = now().plus_seconds(-60).to_string();
        let spells = later.clone();
        liar.head = Box::new(move |_, head| head.entry.timestamp.clone_from(&spells));
        let was = blocks[have - 1].timestamp.clone();
        liar.json = Box::new(move |_, text| text.replace(&was, &later));
        assert!(damaged(round(&manager, &liar, pins).unwrap_err()));
        let same = peer(blocks[..have].to_vec());
        assert_eq!(round(&manager, &same, pins).unwrap().outcome, RoundOutcome::Synchronized);
        let synced = round(&manager, &peer(blocks[..have + 3].to_vec()), pins).unwrap();
        assert_eq!((synced.blocks, synced.outcome), (3, RoundOutcome::Synchronized));
        have += 3;
        assert_eq!(height(&manager), Some(have as u64 - 1));
        assert!(!manager.chain.damage().is_empty());
    }
    for block in &blocks[8..11] {
        assert_eq!(
            manager.chain.block(block.index).unwrap().unwrap().whole().as_ref(),
            Some(block)
        );
    }
    // A peer of another chain is told from it, and what is kept of ours says why it is not there.
    crate::taking::damage(folder.path(), "blocks", &blocks[have - 1].hash);
    let other = grow(blocks[..have - 1].to_vec(), 3, 2, &key(1), "b");
    let fork = round(&manager, &Holder::new(other.clone()), pins).unwrap_err();
    let SyncError::Diverged(fork) = fork else { panic!("{fork}") };
    assert_eq!((fork.height, fork.hash), (have as u64 - 1, other[have - 1].hash));
    assert!(fork.ours.contains("blocks/00000001.blocks at byte"), "{}", fork.ours);
}

/// Whether the producer had begun to sign is not known: nothing becomes final that it may have to sign.
#[test]
fn behind_a_damaged_block_nothing_is_final_that_the_pinned_producer_did_not_sign() {
    let folder = tempfile::tempdir().unwrap();
    let signed = grow(Vec::new(), 4, 1, &key(1), "a");
    let mut blocks = grow(signed.clone(), 9, 1, &key(1), "a");
    for block in &mut blocks[4..] {
        *block = unsigned(block.clone());
    }
    let manager = follower(folder.path());
    round(&manager, &Holder::new(signed.clone()), pinned(&key(1))).unwrap();
    crate::taking::damage(folder.path(), "blocks", &signed[3].hash);
    for at in [now(), now().plus_seconds(7_200)] {
        round_at(&manager, &Holder::new(blocks.clone()), pinned(&key(1)), at).unwrap();
        assert_eq!((height(&manager), tentative(&manager).len()), (Some(3), 9));
    }
    let signed = grow(blocks, 1, 1, &key(1), "a");
    round(&manager, &Holder::new(signed), pinned(&key(1))).unwrap();
    assert_eq!((height(&manager), tentative(&manager).len()), (Some(13), 0));
}

#[test]
fn a_round_that_is_ended_keeps_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let blocks = grow(Vec::new(), 1_500, 20, &key(1), "a");
    let manager = follower(folder.path());
    let peer = Holder::new(blocks.clone());
    let following = Following {
        vault: &manager.vault,
        chain: manager.chain.as_ref(),
        staging: &manager.staging,
        peer: &peer,
        pins: pinned(&key(1)),
        batch: 10,
        slow: 20,
    };
    let looks = AtomicU64::new(0);
    let ended = sync_chain(&following, now(), &|_| match looks.fetch_add(1, Ordering::Relaxed) {
        0..3 => ControlFlow::Continue(()),
        _ => ControlFlow::Break(()),
    });
    ended.unwrap();
    assert!(height(&manager) < Some(1_499));
    assert!(tentative(&manager).is_empty());
    round(&manager, &peer, pinned(&key(1))).unwrap();
    assert_eq!(height(&manager), Some(1_499));
    assert_same(&manager, &blocks);
}

/// A follower on a simulated disk. A new index each time: it is derived.
fn over_disk(disk: &SimulatedDisk) -> Opened {
    let parts = UnopenedManager {
        block_file_bytes: 2_000,
        kind: ManagerKind { role: Some(Role::Follower), ..ManagerKind::default() },
        ..unopened(disk)
    };
    over(parts, now()).unwrap()
}

#[test]
fn a_power_cut_at_any_moment_leaves_a_chain_that_goes_on() {
    let blocks = grow(Vec::new(), 14, 2, &key(1), "a");
    let other = grow(blocks[..8].to_vec(), 5, 2, &key(1), "b");
    let disk = SimulatedDisk::new();
    let manager = over_disk(&disk);
    // Tentative blocks come, are committed and replaced. What was committed after how
    // many calls:
    let mut committed = vec![(0, 0)];
    let peers = [
        Holder::new(blocks[..9].to_vec()),
        Holder::new(other.clone()),
        Holder::new(blocks.clone()),
    ];
    for peer in &peers {
        round(&manager, peer, Pins::default()).unwrap();
        committed.push((disk.calls(), height(&manager).map_or(0, |height| height + 1)));
    }
    assert_eq!((height(&manager), tentative(&manager).len()), (Some(7), 6));
    drop(manager);
    for calls in 0..=disk.calls() {
        let wanted = committed.iter().rev().find(|(at, _)| *at <= calls).unwrap().1;
        for seed in 0..2 {
            let found = disk.after_power_cut(calls, seed);
            let manager = over_disk(&found);
            assert!(manager.damage().is_empty(), "{calls} {seed}: {:?}", manager.damage());
            let count = height(&manager).map_or(0, |height| height + 1);
            assert!(count >= wanted, "{calls} {seed}: {count} of {wanted}");
            let heights: Vec<u64> = (count..).take(tentative(&manager).len()).collect();
            assert_eq!(tentative(&manager), heights, "{calls} {seed}");
            round(&manager, &peers[2], Pins::default()).unwrap();
            assert_eq!(
                (height(&manager), tentative(&manager).len()),
                (Some(7), 6),
                "{calls} {seed}"
            );
            assert_same(&manager, &blocks);
            assert_eq!(manager.staging.top().unwrap().hash, blocks[13].hash);
        }
    }
}

#[test]
fn a_chain_that_changed_hands_is_followed_by_both_keys_and_by_neither_alone() {
    let (first, second) = (key(1), key(2));
    let blocks = grow(Vec::new(), 5, 2, &first, "a");
    let peer = Holder::new(grow(blocks, 5, 2, &second, "b"));
    for (keys, refused) in [
        (vec![first.public(), second.public()], None),
        (vec![first.public()], Some(5)),
        (vec![second.public()], Some(0)),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let follower = follower(folder.path());
        let pins = Pins { producer: Producers::of(&keys).unwrap(), genesis: None };
        let round = round(&follower, &peer, pins);
        match refused {
            None => assert_eq!(round.unwrap().blocks, 10),
            Some(at) => {
                let error = round.unwrap_err();
                assert!(
                    matches!(error, SyncError::Refused { height, .. } if height == at),
                    "{error}"
                );
            }
        }
    }
    assert!("AAAA,BBBB".parse::<Producers>().is_err());
    let both = Producers::of(&[first.public(), second.public()]).unwrap();
    assert_eq!(both.to_string().parse::<Producers>().unwrap(), both);
    assert!(Producers::of(&[first.public(); 9]).is_err());
}
