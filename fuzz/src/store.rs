//! Sound stores and chains, damaged: as media rot, and as nobody but a liar could.
//!
//! The input builds a store by commits, damages its files, opens it again and commits to it. Nothing panics;
//! what is read is what was written; a chunk of which every byte is where it was is there; an audit does not
//! call sound what is not; and what is acknowledged afterwards stays. The same for a chain of blocks, whose
//! checksums are put right behind the damage.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use lucid_core::block::{Block, Parent};
use lucid_core::digest::ChunkId;
use lucid_core::sign::{Producers, SigningKey};
use lucid_core::time::Timestamp;
use lucid_core::transaction::Transaction;
use lucid_core::validate::{Context, Mode, Weighed, validate_weighed};
use lucid_store::StoreError;
use lucid_store::codec::{Compression, Packer};
use lucid_store::contract::chain::{AppendedBlock, ChainStore, KeptBlock};
use lucid_store::contract::index::{Changes, Index, Project};
use lucid_store::crypt::{Cipher, Keyring};
use lucid_store::files::Limits;
use lucid_store::files::audit::{Audit, audit};
use lucid_store::files::chain::{ChainFiles, ChainParts};
use lucid_store::files::disk::Disk;
use lucid_store::files::disk::simulated::SimulatedDisk;
use lucid_store::files::{self, UnopenedStore};
use lucid_store::frame::{HEADER_BYTES, Header, NUMBER_MAX, RecordKind, Scanner, Step};
use lucid_store::memory::index::MemoryIndex;
use lucid_store::vault::Vault;
use lucid_store::vault::committer::Submission;
use zeroize::Zeroizing;

use crate::bounds::within;
use crate::draw::Draw;
use crate::recovery::{files, put};
use crate::worlds::T0;

const STORE: [u8; 16] = [9; 16];
const TINY: Limits = Limits { segment_bytes: 1_200, segment_records: 500_000, log_bytes: 900 };
/// The first byte of the facts, and of their rows.
const FACT: u8 = 0x20;

/// A store, or a chain, that is built and damaged.
pub fn store(bytes: &[u8]) {
    let mut draw = Draw::new(bytes);
    if draw.once_in(3) {
        LazyLock::force(&BLOCKS);
        // Some blocks, a few times, and the text of each while it is read.
        within("a chain", bytes.len(), (64, 32 << 20), || chain(&mut draw));
    } else {
        within("a store", bytes.len(), (64, 64 << 20), || vault(&mut draw));
    }
}

/// Keeps each fact as a row.
struct Rows;

impl Project for Rows {
    fn knows(&self, _kind: u8) -> bool {
        true
    }

    fn project(&self, fact: &[u8], changes: &mut Changes<'_>) -> Result<(), StoreError> {
        if fact.first() == Some(&FACT) {
            changes.put(fact.to_vec(), Vec::new());
        }
        Ok(())
    }
}

/// What was acknowledged, and by what it is read.
#[derive(Default)]
struct Acknowledged {
    facts: Vec<Vec<u8>>,
    chunks: Vec<(ChunkId, Vec<u8>)>,
}

fn cipher(is_encrypted: bool) -> Arc<Cipher> {
    let keyring =
        Keyring::new(Zeroizing::new([1; 32]), BTreeMap::from([(1, Zeroizing::new([2; 32]))]));
    Arc::new(Cipher::new(keyring.ok().filter(|_| is_encrypted)))
}

fn opened(
    disk: &SimulatedDisk,
    cipher: &Arc<Cipher>,
    index: &Arc<MemoryIndex>,
    accept_loss: bool,
) -> Result<Vault, StoreError> {
    files::open(UnopenedStore {
        disk: Arc::new(disk.clone()),
        store: STORE,
        cipher: cipher.clone(),
        index: index.clone(),
        project: Arc::new(Rows),
        accept_loss,
        limits: TINY,
    })
}

/// Some facts and chunks, durable together.
fn commit(vault: &Vault, number: u8, sizes: &[usize], facts: u8) -> Option<Acknowledged> {
    let mut packer = Packer::new();
    let mut done = Acknowledged::default();
    let mut submission = Submission::default();
    for (at, size) in sizes.iter().enumerate() {
        let mut bytes = vec![0; *size];
        let name = [number, u8::try_from(at).unwrap_or_default()];
        blake3::Hasher::new().update(&name).finalize_xof().fill(&mut bytes);
        let id: ChunkId = blake3::hash(&bytes).into();
        let is_encrypted = vault.cipher().is_encrypted();
        let record =
            vault.chunk(&mut packer, Compression::default(), is_encrypted, &id, &bytes).ok()?;
        submission.chunks.push(record);
        submission.requires.push(vault.cipher().chunk_name(&id));
        done.chunks.push((id, bytes));
    }
    for fact in 0..facts {
        let plain = vec![FACT, number, fact];
        submission.facts.push(vault.fact(&mut packer, plain.clone()).ok()?);
        done.facts.push(plain);
    }
    vault.commit(submission).ok()?;
    Some(done)
}

fn vault(draw: &mut Draw<'_>) {
    let cipher = cipher(draw.flag());
    let mut disk = SimulatedDisk::new();
    let index = Arc::new(MemoryIndex::new());
    let mut kept = Acknowledged::default();
    let mut number = 0;
    let mut is_closed = false;
    for _ in 0..=draw.below(3) {
        let vault = opened(&disk, &cipher, &index, false);
        let Ok(vault) = vault else { panic!("a sound store opens: {:?}", vault.err()) };
        for _ in 0..=draw.below(5) {
            number += 1;
            let sizes: Vec<usize> = (0..draw.below(3)).map(|_| 10 + draw.below(700)).collect();
            let facts = u8::from(sizes.is_empty()) + draw.byte() % 3;
            let done = commit(&vault, number, &sizes, facts);
            let Some(done) = done else { panic!("a sound store takes what it is given") };
            kept.facts.extend(done.facts);
            kept.chunks.extend(done.chunks);
            let (end_unit, end_log) = (draw.once_in(8), draw.once_in(8));
            let record = vault.commit(Submission { end_unit, end_log, ..Submission::default() });
            assert!(record.is_ok(), "{record:?}");
        }
        is_closed = draw.flag();
        if is_closed {
            drop(vault);
        } else {
            let killed = disk.after_kill(disk.calls());
            drop(vault);
            disk = killed;
        }
    }
    let sound: BTreeMap<String, Vec<u8>> = files(&disk).into_iter().collect();
    // Behind the last commit nothing was promised; a store that was not closed does not know its end.
    let mut lies = false;
    let mut moved = false;
    let count = draw.below(5);
    for _ in 0..count {
        match damage(draw, &disk) {
            Done::Rot => {}
            Done::Lie => lies = true,
            Done::Move => moved = true,
        }
    }
    let now: BTreeMap<String, Vec<u8>> = files(&disk).into_iter().collect();
    if lies {
        // A flipped bit is as it was after a kill: the medium reads again. What a liar wrote under it would
        // then be another store than the one that was opened, so here it stays flipped.
        now.iter().for_each(|(path, bytes)| put(&disk, path, bytes));
    }
    let found = audited(&disk, &cipher);
    let closed = "CLOSED";
    let is_vouched = is_closed && now.get(closed) == sound.get(closed);
    let whole = |path: &str, from: usize, to: usize| {
        let bytes =
            |of: &BTreeMap<String, Vec<u8>>| of.get(path)?.get(from..to).map(<[u8]>::to_vec);
        bytes(&now).is_some() && bytes(&now) == bytes(&sound)
    };
    let touched = sound.iter().any(|(path, bytes)| {
        records(bytes).iter().any(|(at, header)| {
            let is_promised = matches!(header.kind, RecordKind::Fact | RecordKind::Chunk);
            is_promised
                && !whole(path, *at, at + usize::try_from(header.record_bytes()).unwrap_or(0))
        })
    });
    if sound == now {
        let is_sound = found.damage.is_empty() && found.unopened.is_empty();
        assert!(is_sound, "a sound store is called damaged: {found:?}");
    }
    if touched && is_vouched {
        let is_sound = found.damage.is_empty() && found.unopened.is_empty();
        assert!(!is_sound, "a damaged store is called sound: {found:?}");
    }
    let accept_loss = draw.flag();
    let keeps_index = draw.once_in(3);
    let known = if keeps_index { copy_of(&index) } else { Arc::new(MemoryIndex::new()) };
    let vault = match opened(&disk, &cipher, &known, accept_loss) {
        Ok(vault) => vault,
        Err(error) if keeps_index && error.to_string().contains("lucid reindex") => return,
        // Under a key that is not there: it says what to do, and does not have to be read at all costs.
        Err(StoreError::Key(why)) if lies && !accept_loss => {
            assert!(why.contains("--accept-loss"), "{why}");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let shown = facts_of(&known);
    for fact in &shown {
        assert!(kept.facts.contains(fact), "a fact that nobody wrote: {fact:?}");
    }
    let mut packer = Packer::new();
    for (id, bytes) in &kept.chunks {
        let read = vault.read_chunk(&mut packer, id);
        if let Ok(Some(read)) = &read {
            assert!(read == bytes, "other bytes were read");
        }
        // Told where it is by the log or by an index, and untouched: it is there, even if others are lost.
        let name = *vault.cipher().chunk_name(id).as_bytes();
        let is_whole = sound.iter().any(|(path, bytes)| {
            records(bytes).iter().any(|(at, header)| {
                let end = at + usize::try_from(header.record_bytes()).unwrap_or(0);
                header.kind == RecordKind::Chunk && header.name == name && whole(path, *at, end)
            })
        });
        if is_whole && is_vouched && !lies && !moved && !accept_loss {
            assert!(
                matches!(&read, Ok(Some(_))),
                "a chunk that is whole is not there: {read:?}, {found:?}"
            );
        }
    }
    goes_on(&disk, &cipher, (&vault, &known), (accept_loss, keeps_index), &shown);
}

/// What is acknowledged now is there at the next start, and the one after it.
fn goes_on(
    disk: &SimulatedDisk,
    cipher: &Arc<Cipher>,
    (vault, known): (&Vault, &Arc<MemoryIndex>),
    (accept_loss, keeps_index): (bool, bool),
    shown: &[Vec<u8>],
) {
    let Some(new) = commit(vault, 200, &[333], 1) else {
        return;
    };
    let killed = disk.after_kill(disk.calls());
    for index in [copy_of(known), Arc::new(MemoryIndex::new())] {
        let disk = killed.fork();
        for number in 201..203 {
            // A new index is made of what the old one had been made of before the lies: as it is told.
            let vault = match opened(&disk, cipher, &index, accept_loss) {
                Err(StoreError::Key(why)) if why.contains("--accept-loss") => {
                    opened(&disk, cipher, &index, true)
                }
                vault => vault,
            };
            let Ok(vault) = vault else { panic!("it opened, and does not: {:?}", vault.err()) };
            let seen = facts_of(&index);
            assert!(new.facts.iter().all(|fact| seen.contains(fact)), "a new fact is lost");
            if !keeps_index {
                assert!(shown.iter().all(|fact| seen.contains(fact)), "what survived is lost");
            }
            let read = new.chunks.first().map(|(id, _)| vault.read_chunk(&mut Packer::new(), id));
            assert!(matches!(read, Some(Ok(Some(_)))), "a new chunk is lost: {read:?}");
            let _more = commit(&vault, number, &[], 1);
        }
    }
}

fn copy_of(index: &MemoryIndex) -> Arc<MemoryIndex> {
    let copy = MemoryIndex::new();
    let written =
        copy.write(index.rows().into_iter().map(|(key, value)| (key, Some(value))).collect());
    assert!(written.is_ok());
    Arc::new(copy)
}

fn facts_of(index: &MemoryIndex) -> Vec<Vec<u8>> {
    index.rows().into_keys().filter(|key| key.len() == 3 && key.first() == Some(&FACT)).collect()
}

fn audited(disk: &SimulatedDisk, cipher: &Cipher) -> Audit {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let found = audit(&disk, Some(cipher), STORE, None, &|_, _| {});
    let Ok(mut found) = found else { panic!("the audit: {found:?}") };
    // What a data folder has besides is not made here.
    let labels = ["STORE", "STORE.copy", "keys"];
    found.damage.retain(|damage| !labels.contains(&damage.file.as_str()));
    found
}

/// Where records with sound headers begin in some bytes.
fn records(bytes: &[u8]) -> Vec<(usize, Header)> {
    let disk = SimulatedDisk::new();
    put(&disk, "f", bytes);
    let mut found = Vec::new();
    if let Ok(Some(file)) = disk.open("f") {
        let mut scanner = Scanner::new(file.as_ref(), "f", 0, bytes.len() as u64);
        while let Ok(Some(step)) = scanner.step() {
            if let Step::Record(at, header) = step {
                found.push((usize::try_from(at).unwrap_or_default(), header));
            }
        }
    }
    found
}

/// What a piece of damage was like.
enum Done {
    /// Bytes changed or went, or others came where none were promised.
    Rot,
    /// A record says something else, and every checksum is right.
    Lie,
    /// A file stands under another name.
    Move,
}

fn damage(draw: &mut Draw<'_>, disk: &SimulatedDisk) -> Done {
    let all = files(disk);
    let at = draw.below(all.len());
    let Some((path, mut bytes)) = all.get(at).cloned() else { return Done::Rot };
    let at = draw.below(bytes.len());
    let to = at.saturating_add(draw.below(300)).min(bytes.len());
    match draw.below(8) {
        0 => drop(disk.unlink(&path)),
        1 => {
            bytes.truncate(at);
            put(disk, &path, &bytes);
        }
        2 => drop(disk.flip(&path, at)),
        3 => {
            let copy = draw.of(&all).map(|(_, copy)| copy.clone()).unwrap_or_default();
            bytes.extend(copy.get(..to.min(copy.len())).unwrap_or_default());
            put(disk, &path, &bytes);
            return Done::Move;
        }
        4 => {
            let names = [
                "log/00000002.log",
                "log/00000003.log",
                "log/00000009.log",
                "log/99999999.log",
                "chunks/00000002.seg",
                "chunks/00000007.seg",
                "chunks/99999999.seg",
                "chunks/R0000001.seg",
                "chunks/R9999999.seg",
            ];
            let name = draw.of(&names).copied().unwrap_or("log/00000002.log");
            match draw.below(3) {
                0 => bytes.clear(),
                1 => bytes.truncate(at),
                _ => {}
            }
            put(disk, name, &bytes);
            return Done::Move;
        }
        5 => {
            bytes.get_mut(at..to).unwrap_or_default().fill(0);
            put(disk, &path, &bytes);
        }
        _ => {
            lie(draw, &mut bytes);
            put(disk, &path, &bytes);
            return Done::Lie;
        }
    }
    Done::Rot
}

/// Lets one record say something else, with every checksum right.
fn lie(draw: &mut Draw<'_>, bytes: &mut [u8]) {
    let found = records(bytes);
    let Some((at, mut header)) = draw.of(&found).cloned() else { return };
    let from = at + HEADER_BYTES;
    let to = from + header.stored_length as usize;
    let number = match draw.below(3) {
        0 => draw.number(),
        1 => NUMBER_MAX - 1,
        _ => u64::from(draw.byte()),
    };
    if matches!(header.kind, RecordKind::Fact | RecordKind::Chunk) || draw.once_in(3) {
        match draw.below(4) {
            0 => header.sequence = number,
            1 => header.plain_length = u32::try_from(number).unwrap_or(u32::MAX),
            2 => header.stored_length = u32::try_from(number).unwrap_or(u32::MAX),
            _ => header.epoch = u32::try_from(number).unwrap_or(u32::MAX),
        }
    } else if let Some(payload) = bytes.get_mut(from..to) {
        let place = draw.below(payload.len());
        let width = if draw.flag() { 4 } else { 8 };
        let into = payload.get_mut(place..).unwrap_or_default();
        into.iter_mut()
            .zip(number.to_le_bytes().iter().take(width))
            .for_each(|(to, from)| *to = *from);
        header.payload_digest = *blake3::hash(payload).as_bytes();
        header.name = header.payload_digest;
    }
    if let Some(place) = bytes.get_mut(at..from) {
        place.copy_from_slice(&header.encode());
    }
}

/// The blocks of every chain here, and one more each time.
static BLOCKS: LazyLock<Vec<Block>> = LazyLock::new(|| {
    let key = SigningKey::from_seed([2; 32]);
    let mut blocks: Vec<Block> = Vec::new();
    for number in 0..9 {
        let parent: Option<Parent> = blocks.last().and_then(|block| block.as_parent().ok());
        let texts =
            (0..number % 3).map(|n| format!(r#"{{"id": "{number}-{n}", "type": "data_storage"}}"#));
        let transactions =
            texts.filter_map(|text| Transaction::parse(text.as_bytes()).ok()).collect();
        let at = Timestamp::from_micros(T0 + number * 10_000_000);
        blocks.push(Block::build(parent.as_ref(), transactions, at, &key));
    }
    blocks
});

fn chain_at(
    disk: &SimulatedDisk,
    index: &Arc<MemoryIndex>,
    accept_loss: bool,
) -> Result<ChainFiles, StoreError> {
    ChainFiles::open(ChainParts {
        disk: Arc::new(disk.clone()),
        store: STORE,
        index: index.clone(),
        file_bytes_max: 2_000,
        accept_loss,
    })
}

/// Whether a block was taken in, or is there.
fn append(chain: &ChainFiles, block: &Block) -> bool {
    let parent = block
        .index
        .checked_sub(1)
        .and_then(|below| BLOCKS.get(usize::try_from(below).ok()?)?.as_parent().ok());
    let context = Context {
        parent,
        genesis: None,
        now: Timestamp::from_micros(T0 + 1_000_000_000),
        mode: Mode::Historical,
        chained: &|_| false,
        producer: Producers::default(),
    };
    let Ok(candidate) = lucid_core::block::Candidate::parse(block.to_json_text().as_bytes()) else {
        return false;
    };
    let verdict = validate_weighed(Weighed::of(candidate), &context);
    let Some(valid) = verdict.block else { panic!("a sound block is refused") };
    matches!(chain.append(&valid), Ok(AppendedBlock::Stored | AppendedBlock::Known))
}

fn chain(draw: &mut Draw<'_>) {
    let disk = SimulatedDisk::new();
    let index = Arc::new(MemoryIndex::new());
    let count = 1 + draw.below(8);
    {
        let chain = chain_at(&disk, &index, false);
        let Ok(chain) = chain else { panic!("an empty chain opens") };
        for block in BLOCKS.iter().take(count) {
            assert!(append(&chain, block), "a sound chain takes its next block");
        }
        if draw.once_in(4) {
            let pruned = chain.prune(draw.below(8) as u64);
            assert!(pruned.is_ok(), "{pruned:?}");
        }
    }
    let sound = blocks_of(&disk);
    for _ in 0..draw.below(4) {
        let all = blocks_of(&disk);
        let Some((path, mut bytes)) = draw.of(&all).cloned() else { break };
        let at = draw.below(bytes.len());
        match draw.below(6) {
            0 => drop(disk.unlink(&path)),
            1 => {
                bytes.truncate(at);
                put(&disk, &path, &bytes);
            }
            2 => drop(disk.flip(&path, at)),
            3 => {
                // The file that says which block is the newest one, with its checksum right.
                crate::draw::alter(draw, &mut bytes);
                put(&disk, &path, &bytes);
            }
            _ => {
                lie(draw, &mut bytes);
                put(&disk, &path, &bytes);
            }
        }
    }
    let is_sound = sound == blocks_of(&disk);
    let known = if draw.flag() { copy_of(&index) } else { Arc::new(MemoryIndex::new()) };
    let accept_loss = draw.flag();
    let Ok(chain) = chain_at(&disk, &known, accept_loss) else {
        assert!(!is_sound, "a sound chain opens");
        return;
    };
    let tip = chain.tip();
    let Ok(tip) = tip else { panic!("the tip is known: {tip:?}") };
    if let Some(tip) = tip {
        let block = usize::try_from(tip.height).ok().and_then(|height| BLOCKS.get(height));
        // Of a block that cannot be read, and of what is lost behind the end, the lock is the only witness.
        let is_told_by_the_lock =
            chain.read_only().is_some() || !matches!(chain.block(tip.height), Ok(Some(_)));
        assert!(
            block.is_some_and(|block| block.hash == tip.hash) || is_told_by_the_lock,
            "a tip that nobody wrote: {tip:?}"
        );
    }
    for block in BLOCKS.iter().take(count) {
        match chain.block(block.index) {
            Ok(Some(KeptBlock::Whole(read))) => assert!(&read == block, "another block is read"),
            Ok(Some(KeptBlock::Pruned(stored))) => assert_eq!(stored.record.entry.hash, block.hash),
            Ok(None) => assert!(!is_sound && tip.is_none_or(|tip| tip.height < block.index)),
            Err(_) => assert!(!is_sound, "a sound chain is read"),
        }
        for transaction in &block.transactions {
            if let Ok(Some(place)) = chain.find(&transaction.id_digest()) {
                // A body may say to be another block's; a reader is told so.
                let is_refused = || chain.block(place.height).is_err();
                assert!(
                    place.height == block.index || is_refused(),
                    "a transaction is found elsewhere: {place:?}"
                );
            }
        }
    }
    let next = tip.map_or(0, |tip| tip.height + 1);
    let Some(block) = usize::try_from(next).ok().and_then(|next| BLOCKS.get(next)) else { return };
    if chain.read_only().is_none() && append(&chain, block) {
        drop(chain);
        let again = chain_at(&disk, &Arc::new(MemoryIndex::new()), accept_loss);
        let Ok(again) = again else { panic!("it opened, and does not: {:?}", again.err()) };
        let tip = again.tip().ok().flatten().map(|tip| tip.height);
        assert_eq!(tip, Some(next), "a block was acknowledged, and is gone");
    }
}

/// The files of a chain: records, bodies, and the lock.
fn blocks_of(disk: &SimulatedDisk) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for folder in ["", files::chain::FOLDER] {
        for name in disk.list(folder).unwrap_or_default() {
            let path = files::disk::join(folder, &name);
            if let Ok(Some(bytes)) = files::disk::read_all(disk, &path) {
                files.push((path, bytes));
            }
        }
    }
    files
}
