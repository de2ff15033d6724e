//! A chain of very many small blocks: making it, opening it, checking its records, and asking a service
//! how far it is while transactions come in.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use lucid_block_manager::fact::Role;
use lucid_block_manager::opened::{ManagerKind, Opened, Options, open};
use lucid_block_manager::ops::validate_chain::validate_chain;
use lucid_block_manager::ops::validate_texts::ValidationRequest;
use lucid_core::block::{Block, Parent};
use lucid_core::time::Timestamp;
use lucid_core::transaction::Transaction;
use lucid_core::validate::{Context, Mode, ValidBlock, validate};
use lucid_store::contract::chain::{StoredRun, Stretch};
use serde_json::{Value, json};

use crate::http::{Callee, Line, load};
use crate::scale::{BEGAN, memory};

/// Blocks appended at once.
const RUN: u64 = 1_024;
/// Random reads.
const READS: u64 = 20_000;
/// How often the service is asked how far it is.
const PACE: Duration = Duration::from_millis(5);

fn opened(scratch: &Path) -> anyhow::Result<Opened> {
    let kind = ManagerKind { role: Some(Role::Authority), ..ManagerKind::default() };
    Ok(open(scratch, &Options { kind, ..Options::default() }, BEGAN)?)
}

/// Makes the chain, of blocks that are signed or not; only the time that the store takes is counted.
pub fn make(scratch: &Path, blocks: u64, transactions: u64, signed: bool) -> anyhow::Result<Value> {
    anyhow::ensure!(!scratch.exists(), "{} is there already", scratch.display());
    let manager = opened(scratch)?;
    let (mut parent, mut took, mut next): (Option<Parent>, _, _) = (None, Duration::ZERO, 0);
    while next < blocks {
        let end = blocks.min(next + RUN);
        let mut run: Vec<ValidBlock> = Vec::new();
        for height in next..end {
            let texts = (0..transactions).map(|n| text(height * transactions + n));
            let parsed = texts.map(|text| Transaction::parse(text.as_bytes()));
            let at = BEGAN.plus_seconds(i64::try_from(height)?);
            let mut block =
                Block::build(parent.as_ref(), parsed.collect::<Result<_, _>>()?, at, &manager.key);
            if !signed {
                (block.producer, block.signature) = (None, None);
            }
            parent = Some(block.as_parent()?);
            run.push(valid(block, run.last(), at)?);
        }
        let began = Instant::now();
        let done = manager.chain.append_run(&run)?;
        took += began.elapsed();
        anyhow::ensure!(done == StoredRun { stored: run.len(), stopped: None }, "{done:?}");
        next = end;
    }
    let (stored, peak) = (manager.chain.stored_bytes()?, memory("VmHWM")?);
    manager.close()?;
    Ok(json!({
        "blocks": blocks, "append_seconds": took.as_secs_f64(),
        "blocks_appended_per_second": (blocks as f64 / took.as_secs_f64()).round(),
        "ingest_peak_mib": peak, "stored_mib": stored >> 20,
    }))
}

/// What would be judged is made here, so nothing but the signature takes time.
fn valid(block: Block, before: Option<&ValidBlock>, now: Timestamp) -> anyhow::Result<ValidBlock> {
    let parent = match (before, block.index) {
        (Some(before), _) => Some(before.as_parent()?),
        (None, 0) => None,
        (None, index) => {
            let time = Timestamp::from_micros(now.as_micros() - 1_000_000);
            Some(Parent { index: index - 1, hash: block.previous_hash, time })
        }
    };
    let context = Context {
        parent,
        genesis: None,
        now,
        mode: Mode::Historical,
        chained: &|_| false,
        producer: Default::default(),
    };
    validate(block.into(), &context).block.context("the block is valid")
}

fn text(number: u64) -> String {
    format!(
        r#"{{"id":"tx-{number:012}","type":"data_storage","data":{{"session":"s-{}","n":{number}}},"timestamp":"2026-01-01T00:00:00Z"}}"#,
        number % 977
    )
}

/// Opens the chain in a process of its own, and reads from it.
pub fn read(scratch: &Path) -> anyhow::Result<Value> {
    let began = Instant::now();
    let manager = opened(scratch)?;
    let start = began.elapsed().as_secs_f64();
    let start_cpu = cpu_seconds()?;
    let open_mib = memory("VmRSS")?;
    let chain = manager.chain.as_ref();
    let tip = chain.tip()?.context("a chain")?;
    let mut took = Vec::new();
    let mut at = 12_345_u64;
    for _ in 0..READS {
        at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let asked = Instant::now();
        let block = chain.block((at >> 16) % (tip.height + 1))?;
        took.push(asked.elapsed());
        anyhow::ensure!(block.is_some(), "a block");
    }
    took.sort_unstable();
    let percentile = |share: usize| took.get(took.len() * share / 100).map_or(0, |t| t.as_micros());
    let after_reads_mib = memory("VmRSS")?;
    // Once to bring the files into memory, once to measure.
    let mut from = 0;
    while from <= tip.height {
        from += chain.record_bytes(Stretch { from, blocks: 4_096, bytes: 8 << 20 })?.len() as u64;
    }
    let cpu = cpu_seconds()?;
    let began = Instant::now();
    let later = BEGAN.plus_seconds(1 << 31);
    let report = validate_chain(chain, later, &ValidationRequest::default(), true, |_| {
        std::ops::ControlFlow::Continue(())
    })?;
    let records = began.elapsed().as_secs_f64();
    let records_cpu = cpu_seconds()? - cpu;
    anyhow::ensure!(report.blocks == tip.height + 1 && report.refused.is_empty(), "{report:?}");
    Ok(json!({
        "blocks": tip.height + 1, "open_seconds": start, "open_cpu_seconds": start_cpu, "memory_open_mib": open_mib,
        "memory_after_reads_mib": after_reads_mib,
        "block_read_p50_us": percentile(50) as u64, "block_read_p99_us": percentile(99) as u64,
        "records_seconds": records, "records_cpu_seconds": records_cpu,
        "memory_peak_mib": memory("VmHWM")?,
    }))
}

/// Submits transactions to a running service, and asks it meanwhile how far its chain is.
pub fn submit(address: &str, clients: usize, seconds: u64) -> anyhow::Result<Value> {
    let done = AtomicBool::new(false);
    let (submitted, asked) = std::thread::scope(|scope| {
        let asking = scope.spawn(|| ask_height(address, &done));
        let process = std::process::id();
        let submitted = load(
            clients,
            seconds,
            |client, turn, line| {
                let body = format!(
                    r#"{{"id":"m-{process}-{client}-{turn}","type":"data_storage","data":{{"n":{turn}}},"timestamp":"2026-01-01T00:00:00Z"}}"#
                );
                let head = format!(
                    "POST /api/v1/transactions HTTP/1.1\r\nhost: {address}\r\n\
                     content-type: application/json\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                line.ask(&[head.as_bytes(), body.as_bytes()])
            },
            &Callee::at(address),
        );
        done.store(true, Ordering::Relaxed);
        let asked = asking.join().map_err(|_| anyhow::anyhow!("the asking thread panicked"));
        (submitted, asked)
    });
    let (submitted, asked) = (submitted?, asked??);
    let at = |share: f64| {
        let place = ((asked.len() as f64 * share) as usize).min(asked.len().saturating_sub(1));
        asked.get(place).map_or(0.0, |took| took.as_secs_f64() * 1e3)
    };
    Ok(json!({
        "clients": clients, "submit": submitted.told(0), "height_asked": asked.len(),
        "height_p50_ms": at(0.5), "height_p99_ms": at(0.99),
    }))
}

/// Processor time of this process on all cores, to a hundredth: a busy machine makes less of a difference
/// to it.
fn cpu_seconds() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The name before may have spaces; user and system time are the 14th and 15th field.
    let (_, fields) = stat.rsplit_once(") ").context("the process's times")?;
    let ticks: Vec<u64> =
        fields.split(' ').skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<u64>() as f64 / 100.0)
}

fn ask_height(address: &str, done: &AtomicBool) -> anyhow::Result<Vec<Duration>> {
    let mut line = Line::open(&Callee::at(address))?;
    let head = format!("GET /api/v1/chain/height HTTP/1.1\r\nhost: {address}\r\n\r\n");
    let mut took = Vec::new();
    while !done.load(Ordering::Relaxed) {
        let asked = Instant::now();
        line.ask(&[head.as_bytes()])?;
        took.push(asked.elapsed());
        std::thread::sleep(PACE);
    }
    took.sort_unstable();
    Ok(took)
}
