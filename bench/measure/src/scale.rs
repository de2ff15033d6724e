//! Very many small chunks in one store.

use std::path::Path;
use std::time::Instant;

use anyhow::Context as _;
use lucid_core::cut::ChunkProfile;
use lucid_core::digest::ChunkId;
use lucid_core::session::Layout;
use lucid_core::time::Timestamp;
use lucid_data_chain::Opened;
use lucid_data_chain::ops::chunks::store_chunks::{StorageOptions, store_chunks};
use lucid_data_chain::ops::sessions::add_references::add_references;
use lucid_data_chain::ops::sessions::create_session::{NewSession, create_session};
use lucid_data_chain::ops::sight::Sight;
use lucid_store::codec::{Compression, Packer};
use lucid_store::files::folder::Options;
use serde_json::{Value, json};

/// Chunks handed over at once.
const BATCH: u64 = 4_096;
/// Chunks of one session.
const SESSION: u64 = 1_000_000;
/// When everything is said to have begun: a measurement needs no clock.
pub const BEGAN: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);
/// Random reads.
const READS: u64 = 20_000;

pub fn open(scratch: &Path) -> anyhow::Result<Opened> {
    let options = Options {
        service: lucid_data_chain::opened::FOLDER_OWNER,
        signing_key: lucid_data_chain::opened::SIGNING_KEY,
        expected: None,
        create: true,
        encrypt: true,
        root_key_file: None,
        passphrase: None,
        owner: "a measurement".into(),
        reserve: Default::default(),
        given: Default::default(),
        now: "2026-01-01T00:00:00Z".into(),
    };
    Ok(Opened::open(&scratch.join("data-chain"), &options)?)
}

pub const KEEPING: StorageOptions =
    StorageOptions { compression: Compression::None, encrypt: true };

pub fn begin(opened: &Opened, id: &str) -> anyhow::Result<()> {
    let session = NewSession {
        sight: Sight::everything(),
        retain_until: None,
        source: None,
        terminal: None,
        id: Some(id.parse()?),
        user: String::new(),
        layout: Layout::Raw,
        public: false,
        profile: ChunkProfile::default(),
        metadata: Default::default(),
        started_at: BEGAN,
        one_shot: false,
        own_copies: false,
    };
    create_session(&opened.vault, &opened.locks, session)?;
    Ok(())
}

pub fn make(scratch: &Path, chunks: u64, bytes: usize) -> anyhow::Result<Value> {
    anyhow::ensure!(!scratch.exists(), "{} is there already", scratch.display());
    let opened = open(scratch)?;
    let started = Instant::now();
    let mut id = String::new();
    for first in (0..chunks).step_by(usize::try_from(BATCH)?) {
        if first % SESSION < BATCH {
            id = format!("scale-{first}");
            begin(&opened, &id)?;
        }
        let batch: Vec<Vec<u8>> =
            (first..chunks.min(first + BATCH)).map(|number| chunk(number, bytes)).collect();
        let slices: Vec<&[u8]> = batch.iter().map(Vec::as_slice).collect();
        let stored = store_chunks(&opened.vault, KEEPING, 2, BEGAN, None, &slices)?;
        let length = u32::try_from(bytes)?;
        let references = stored.iter().map(|chunk| (chunk.id, length)).collect();
        let session = id.parse()?;
        let at = lucid_data_chain::row::session(
            opened.vault.index(),
            opened.vault.cipher(),
            &lucid_data_chain::row::SessionName::of(opened.vault.cipher(), &session),
        )?;
        let at = at.context("the session")?.chunk_count();
        add_references(&opened.vault, &opened.locks, &session, at, references)?;
    }
    let ingest = started.elapsed().as_secs_f64();
    let peak = memory("VmHWM")?;
    let closing = Instant::now();
    opened.close()?;
    Ok(json!({
        "chunks": chunks, "ingest_seconds": ingest,
        "chunks_per_second": (chunks as f64 / ingest).round(),
        "ingest_peak_mib": peak, "close_seconds": closing.elapsed().as_secs_f64(),
    }))
}

pub fn read(scratch: &Path, chunks: u64, bytes: usize) -> anyhow::Result<Value> {
    let before = memory("VmRSS")?;
    let started = Instant::now();
    let opened = open(scratch)?;
    let start = started.elapsed().as_secs_f64();
    let opened_at = memory("VmRSS")?;
    let mut packer = Packer::new();
    let mut took = Vec::new();
    let mut at = 12_345_u64;
    for _ in 0..READS {
        at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let wanted = chunk((at >> 16) % chunks, bytes);
        let id = ChunkId::from(blake3::hash(&wanted));
        let asked = Instant::now();
        let found = opened.vault.read_chunk(&mut packer, &id)?.context("a chunk")?;
        took.push(asked.elapsed());
        anyhow::ensure!(found == wanted, "another chunk was read");
    }
    took.sort_unstable();
    let at = |share: usize| took.get(took.len() * share / 100).map_or(0, |t| t.as_micros());
    Ok(json!({
        "chunks": chunks, "start_seconds": start, "memory_before_mib": before,
        "memory_open_mib": opened_at, "memory_after_reads_mib": memory("VmRSS")?,
        "read_p50_us": at(50) as u64, "read_p99_us": at(99) as u64,
    }))
}

fn chunk(number: u64, bytes: usize) -> Vec<u8> {
    let mut chunk = vec![0; bytes];
    blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut chunk);
    chunk
}

/// A line of `/proc/self/status`, in MiB.
pub fn memory(name: &str) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).context("memory")?;
    let kib: u64 = line.trim_matches(|c: char| !c.is_ascii_digit()).parse()?;
    Ok(kib / 1024)
}
