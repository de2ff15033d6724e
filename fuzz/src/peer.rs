//! What a hostile peer or server answers: nothing of it panics, nothing of it is believed.
//!
//! Three ways in. A follower makes rounds with a peer that has a sound chain and lies about it: all that is
//! committed is a block that the pinned key signed, in a chain that is valid. A file of blocks is imported,
//! line by line, with the same promise. And the typed clients ask a server whose answers are the input's.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use bytes::Bytes;
use lucid_api::client::{BlockManagerClient, ClientOptions, DataChainClient, Retry};
use lucid_api::v1::chunks::ChunkIds;
use lucid_api::v1::files::FilesQuery;
use lucid_api::v1::proofs::ProofQuery;
use lucid_api::v1::sessions::SessionsQuery;
use lucid_api::v1::sync::RunQuery;
use lucid_block_manager::fact::Role;
use lucid_block_manager::given::GivenBlock;
use lucid_block_manager::opened::{ManagerKind, Opened, UnopenedManager, over};
use lucid_block_manager::ops::sync_chain::{Following, sync_chain};
use lucid_block_manager::ops::take_blocks::{Pins, take_blocks};
use lucid_block_manager::peer::http::HttpPeer;
use lucid_block_manager::peer::{Greeting, Peer, PeerError, Speaks};
use lucid_core::block::{Block, Parent};
use lucid_core::digest::ChunkId;
use lucid_core::record::{BlockRecord, Head, encode_body};
use lucid_core::sign::SigningKey;
use lucid_core::time::Timestamp;
use lucid_core::transaction::Transaction;
use lucid_store::contract::chain::KeptBlock;
use lucid_store::crypt::Cipher;
use lucid_store::files::disk::simulated::SimulatedDisk;
use lucid_store::memory::index::MemoryIndex;

use crate::bounds::within;
use crate::draw::{Draw, alter};
use crate::worlds::T0;

/// Ours, and those of another key, with the same shape.
static CHAINS: LazyLock<[Vec<Block>; 2]> = LazyLock::new(|| [grow(2), grow(51)]);

fn grow(seed: u8) -> Vec<Block> {
    let key = SigningKey::from_seed([seed; 32]);
    let mut blocks: Vec<Block> = Vec::new();
    for number in 0..12 {
        let parent: Option<Parent> = blocks.last().and_then(|block| block.as_parent().ok());
        let texts =
            (0..number % 3).map(|n| format!(r#"{{"id": "{number}-{n}", "type": "data_storage"}}"#));
        let transactions =
            texts.filter_map(|text| Transaction::parse(text.as_bytes()).ok()).collect();
        let at = Timestamp::from_micros(T0 + number * 10_000_000);
        blocks.push(Block::build(parent.as_ref(), transactions, at, &key));
    }
    blocks
}

/// Chooses one of the three.
pub fn peer(bytes: &[u8]) {
    LazyLock::force(&CHAINS);
    let mut draw = Draw::new(bytes);
    match draw.below(3) {
        0 => within("a round", bytes.len(), (256, 96 << 20), || follow(&mut draw)),
        1 => within("an import", bytes.len(), (256, 96 << 20), || import(&mut draw)),
        _ => {
            LazyLock::force(&SERVER);
            within("a client", bytes.len(), (64, 64 << 20), || served(&mut draw));
        }
    }
}

fn follower() -> Opened {
    let disk = Arc::new(SimulatedDisk::new());
    let opened = over(
        UnopenedManager {
            disk: disk.clone(),
            blocks: disk,
            store: [3; 16],
            cipher: Arc::new(Cipher::new(None)),
            index: Arc::new(MemoryIndex::new()),
            key: SigningKey::from_seed([9; 32]),
            accept_loss: false,
            block_file_bytes: 4_000,
            kind: ManagerKind { role: Some(Role::Follower), ..ManagerKind::default() },
        },
        now(),
    );
    let Ok(opened) = opened else { panic!("an empty chain opens") };
    opened
}

fn now() -> Timestamp {
    Timestamp::from_micros(T0 + 1_000_000_000)
}

fn pinned(is_pinned: bool) -> Pins {
    let key = SigningKey::from_seed([2; 32]).public();
    let producer = if is_pinned { key.into() } else { Default::default() };
    Pins { genesis: None, producer }
}

/// A peer that has a chain, and tells of it what the input says.
struct Liar<'a> {
    speaks: Speaks,
    claims: Option<u64>,
    told: Mutex<Draw<'a>>,
}

impl<'a> Liar<'a> {
    fn lie<T>(&self, lie: impl FnOnce(&mut Draw<'a>) -> T) -> Option<T> {
        Some(lie(&mut *self.told.lock().ok()?))
    }

    fn at(&self, height: u64) -> Option<&'static Block> {
        let other = self.lie(|draw| draw.once_in(12)).unwrap_or_default();
        let chain = CHAINS.get(usize::from(other))?;
        let height = match self.lie(|draw| draw.once_in(24)).unwrap_or_default() {
            true => height.wrapping_add(1),
            false => height,
        };
        chain.get(usize::try_from(height).ok()?)
    }
}

impl Peer for Liar<'_> {
    fn name(&self) -> &str {
        "a liar"
    }

    fn greet(&self) -> Result<Greeting, PeerError> {
        Ok(Greeting { speaks: self.speaks, height: self.claims })
    }

    fn heads(&self, from: u64, limit: u32) -> Result<Vec<Head>, PeerError> {
        let heads = (from..from.saturating_add(u64::from(limit))).map_while(|height| {
            let mut head = Head::of(&BlockRecord::of(self.at(height)?)).encode();
            self.lie(|draw| {
                if draw.once_in(12) {
                    alter(draw, &mut head);
                }
            });
            Head::decode(&head).ok()
        });
        Ok(heads.collect())
    }

    fn bodies(&self, from: u64, limit: u32, bytes_max: u64) -> Result<Vec<Bytes>, PeerError> {
        let bodies = (from..from.saturating_add(u64::from(limit))).map_while(|height| {
            let mut body = encode_body(&self.at(height)?.transactions);
            self.lie(|draw| {
                if draw.once_in(12) {
                    body.push(0);
                    alter(draw, &mut body);
                }
            });
            Some(Bytes::from(body))
        });
        let bodies: Vec<Bytes> = bodies.collect();
        let bytes: usize = bodies.iter().map(Bytes::len).sum();
        if bytes as u64 > bytes_max {
            Err(PeerError::TooLong { limit: bytes_max })
        } else {
            Ok(bodies)
        }
    }

    fn block(&self, height: u64, _: u64) -> Result<Option<String>, PeerError> {
        let Some(block) = self.at(height) else { return Ok(None) };
        let mut text = block.to_json_text().into_bytes();
        self.lie(|draw| {
            if draw.once_in(12) {
                alter(draw, &mut text);
            }
        });
        Ok(Some(String::from_utf8_lossy(&text).into_owned()))
    }
}

/// Every block is as its own fields say, follows the one before it, and is the pinned key's if one is.
fn is_sound(opened: &Opened, is_pinned: bool) {
    let tip = opened.chain.tip();
    let Ok(tip) = tip else { panic!("the tip is known: {tip:?}") };
    let mut previous = None;
    // Of a block that came without its signature, one that the key signed behind it says that it is its own. Only
    // as long as the key has signed none, nobody has to.
    let (mut key_signed, mut is_unsigned) = (false, false);
    for height in 0..tip.map_or(0, |tip| tip.height + 1) {
        let block = opened.chain.block(height);
        let Ok(Some(KeptBlock::Whole(block))) = block else {
            panic!("block {height} is there: {block:?}")
        };
        assert_eq!(block.hash, block.computed_hash(), "block {height}");
        assert_eq!(block.index, height);
        if let Some(previous) = previous {
            assert_eq!(block.previous_hash, previous, "block {height}");
        }
        previous = Some(block.hash);
        if is_pinned {
            let ours = usize::try_from(height).ok().and_then(|height| CHAINS.first()?.get(height));
            let Some(ours) = ours else { panic!("block {height} is none of the key's") };
            is_unsigned = block.signature.is_none();
            key_signed |= !is_unsigned;
            let seal = if is_unsigned { (None, None) } else { (ours.producer, ours.signature) };
            assert_eq!((block.producer, block.signature), seal, "block {height}");
            assert_eq!(block.hash, ours.hash, "block {height} is one that the key did not sign");
            assert_eq!(block.transactions, ours.transactions, "block {height}");
        }
    }
    assert!(!(key_signed && is_unsigned), "a block that nobody vouches for is final");
}

fn follow(draw: &mut Draw<'_>) {
    let is_pinned = draw.flag();
    let speaks = if draw.flag() { Speaks::Runs } else { Speaks::Blocks };
    let opened = follower();
    let mut before = None;
    for _ in 0..=draw.below(3) {
        let claims = match draw.below(6) {
            0 => None,
            1 => Some(draw.number()),
            _ => Some(draw.below(12) as u64),
        };
        let said = draw.bytes(300);
        let peer = Liar { speaks, claims, told: Mutex::new(Draw::new(&said)) };
        let following = Following {
            vault: &opened.vault,
            chain: opened.chain.as_ref(),
            staging: &opened.staging,
            peer: &peer,
            pins: pinned(is_pinned),
            batch: 5,
            slow: draw.short() % 4,
        };
        let _said = sync_chain(&following, now(), &|_| ControlFlow::Continue(()));
        is_sound(&opened, is_pinned);
        let tip = opened.chain.tip().ok().flatten().map(|tip| tip.height);
        assert!(before <= tip, "committed blocks went");
        before = tip;
    }
}

fn import(draw: &mut Draw<'_>) {
    let is_pinned = draw.flag();
    let opened = follower();
    let mut lines = Vec::new();
    for height in 0..draw.below(13) {
        let other = usize::from(draw.once_in(12));
        let height = if draw.once_in(12) { draw.below(12) } else { height };
        let block = CHAINS.get(other).and_then(|chain| chain.get(height));
        let mut text = block.map(Block::to_json_text).unwrap_or_default().into_bytes();
        if draw.once_in(10) {
            alter(draw, &mut text);
        }
        lines.push(text);
    }
    let given = lines.into_iter().map(|line| Ok(GivenBlock::Text(line)));
    let chain = opened.chain.as_ref();
    let taken = take_blocks(&opened.vault, chain, now(), pinned(is_pinned), None, given, |_| {
        ControlFlow::Continue(())
    });
    if let Ok(taken) = &taken {
        assert_eq!(taken.given, taken.known + taken.stored + taken.refused, "{taken:?}");
    }
    is_sound(&opened, is_pinned);
}

/// What the server says next, regardless of what it is asked.
static SAYS: Mutex<VecDeque<Vec<u8>>> = Mutex::new(VecDeque::new());

/// A server of this process: each connection is answered with what is next, and closed.
static SERVER: LazyLock<Option<SocketAddr>> = LazyLock::new(|| {
    let listener = TcpListener::bind("127.0.0.1:0").ok()?;
    let address = listener.local_addr().ok()?;
    let served = std::thread::Builder::new().name("server".into()).spawn(move || {
        for stream in listener.incoming().flatten() {
            let next = SAYS.lock().ok().and_then(|mut says| says.pop_front());
            let _gone = answer(stream, &next.unwrap_or_default());
        }
    });
    served.ok().map(|_| address)
});

fn answer(mut stream: TcpStream, said: &[u8]) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_millis(200)))?;
    let mut head: Vec<u8> = Vec::new();
    let mut buffer = [0; 4_096];
    // Up to the end of the head: what follows is not waited for.
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        head.extend(buffer.iter().take(count));
    }
    stream.write_all(said)?;
    stream.shutdown(std::net::Shutdown::Write)?;
    // What was sent is taken in, so that closing does not throw the answer away.
    while stream.read(&mut buffer)? > 0 {}
    Ok(())
}

struct Clients {
    data: DataChainClient,
    chain: BlockManagerClient,
    peer: HttpPeer,
}

static CLIENTS: LazyLock<Option<Clients>> = LazyLock::new(|| {
    let url = format!("http://{}", (*SERVER)?);
    let retry = Retry { count: 0, delay: Duration::ZERO };
    let options =
        ClientOptions { timeout: Duration::from_secs(2), retry, ..ClientOptions::default() };
    Some(Clients {
        data: DataChainClient::new(&url, options.clone()).ok()?,
        chain: BlockManagerClient::new(&url, options.clone()).ok()?,
        peer: HttpPeer::with(&url, options).ok()?,
    })
});

/// An answer: a status, some headers, and a body that was sound once.
fn said(draw: &mut Draw<'_>) -> Vec<u8> {
    let bodies: [&[u8]; 9] = [
        br#"{"session_id":"s","user_id":"u","layout":"raw","status":"sealed","started_at":"2026-01-01T00:00:00Z","chunk_count":1,"content_bytes":5,"total_bytes":5,"offset":5}"#,
        br#"{"items":[],"next_cursor":"x"}"#,
        br#"{"type":"about:blank","title":"x","status":409,"code":"conflict","detail":"no","details":{}}"#,
        br#"{"chain_height":11,"height":11,"current_height":18446744073709551615}"#,
        br#"{"missing":["0000000000000000000000000000000000000000000000000000000000000000"]}"#,
        br#"{"service":"lucid-block-manager","version":"1.0.0","endpoints":[]}"#,
        b"\x05\x00\x00\x00hello",
        b"[]",
        b"",
    ];
    let mut body = draw.of(&bodies).copied().unwrap_or_default().to_vec();
    if draw.once_in(3) {
        body = draw.bytes(200);
    }
    if draw.flag() && !body.is_empty() {
        alter(draw, &mut body);
    }
    let statuses = [200, 200, 200, 201, 204, 206, 304, 400, 404, 409, 416, 429, 500, 503, 999];
    let status = draw.of(&statuses).copied().unwrap_or(200);
    let length = if draw.once_in(8) { draw.number() } else { body.len() as u64 };
    let kind =
        ["application/json", "application/problem+json", "application/octet-stream", "text/html"]
            .get(draw.below(4))
            .copied()
            .unwrap_or_default();
    let mut head = format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Type: {kind}\r\n");
    if !draw.once_in(6) {
        head += &format!("Content-Length: {length}\r\n");
    }
    if draw.once_in(3) {
        head += &format!("Upload-Offset: {}\r\n", draw.number());
    }
    if draw.once_in(6) {
        head += &format!("Content-Range: bytes 0-{}/{}\r\n", draw.number(), draw.number());
    }
    if draw.once_in(8) {
        head += "Location: http://127.0.0.1:1/elsewhere\r\n";
    }
    [head.as_bytes(), b"\r\n", &body].concat()
}

/// Asks a server that says anything.
fn served(draw: &mut Draw<'_>) {
    let Some(clients) = CLIENTS.as_ref() else { panic!("there is no server in this process") };
    let Clients { data, chain, peer } = clients;
    if let Ok(mut says) = SAYS.lock() {
        says.clear();
        says.extend((0..4).map(|_| said(draw)));
    }
    let most = 1 << 20;
    let ids = || ChunkIds::from(vec![ChunkId::new([0; 32])]);
    match draw.below(20) {
        0 => drop(data.root()),
        1 => drop(data.status()),
        2 => drop(data.list_sessions(&SessionsQuery::default())),
        3 => drop(data.session("s")),
        4 => drop(data.upload_offset("s")),
        5 => drop(data.missing_chunks(&ids())),
        6 => {
            if let Ok(frames) = data.get_chunks(&ids()) {
                frames.take(9).for_each(drop);
            }
        }
        7 => drop(data.files("s", &FilesQuery::default())),
        8 => drop(data.proof("s", &ProofQuery::default())),
        9 => drop(data.export_session("s")),
        10 => drop(data.chunk_proof("s", 0)),
        11 => {
            if let Ok(tar) = data.archive_tar("s") {
                let _read = std::io::copy(&mut tar.take(most), &mut std::io::sink());
            }
        }
        12 => drop(chain.status()),
        13 => drop(chain.block(1)),
        14 => drop(chain.heads(&RunQuery { from: 0, limit: Some(3) })),
        15 => drop(chain.bodies(&RunQuery { from: 0, limit: Some(3) }, most)),
        16 => drop(chain.transaction("t")),
        17 => drop(peer.greet()),
        18 => drop(peer.heads(0, 4).and_then(|_| peer.bodies(0, 4, most))),
        _ => drop(peer.block(0, most)),
    }
}
