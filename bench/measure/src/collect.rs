//! Whether a collection slows down what comes in meanwhile.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use lucid_data_chain::Opened;
use lucid_data_chain::ops::chunks::store_chunks::store_chunks;
use lucid_store::vault::collect::{Collected, Names};
use serde_json::{Value, json};

use crate::scale::{BEGAN, KEEPING, open};

const CHUNK: usize = 1 << 20;
/// Chunks of one batch.
const BATCH: u64 = 8;

pub fn measure(scratch: &Path, garbage: u64) -> anyhow::Result<Value> {
    anyhow::ensure!(!scratch.exists(), "{} is there already", scratch.display());
    let mut live = Names::default();
    let count = garbage / CHUNK as u64;
    let opened = open(scratch)?;
    // Two of three chunks are garbage, so that every segment is rewritten.
    for first in (0..count * 3 / 2).step_by(usize::try_from(BATCH)?) {
        for (number, id) in (first..).zip(store(&opened, first)?) {
            if number % 3 == 0 {
                live.add(&opened.vault.cipher().chunk_name(&id));
            }
        }
    }
    live.settle();
    opened.close()?;
    // A new start has forgotten who asked for what.
    let opened = open(scratch)?;
    let mut turn = 1_000_000_000;
    let mut rate = |opened: &Opened, until: &dyn Fn(f64) -> bool| -> anyhow::Result<f64> {
        let (started, mut bytes) = (Instant::now(), 0);
        while !until(started.elapsed().as_secs_f64()) {
            store(opened, turn)?;
            turn += BATCH;
            bytes += BATCH * CHUNK as u64;
        }
        Ok(bytes as f64 / started.elapsed().as_secs_f64() / 1e6)
    };
    let alone_before = rate(&opened, &|seconds| seconds > 5.0)?;
    let ended = AtomicBool::new(false);
    let (beside, collected, seconds) = std::thread::scope(|scope| {
        let collector = scope.spawn(|| -> anyhow::Result<(Collected, f64)> {
            let started = Instant::now();
            let outcome = opened
                .vault
                .begin_collection()
                .map(|right| right.run(&live, &|_, _| Ok(true), &mut |_, _| true));
            ended.store(true, Ordering::Relaxed);
            let collected = outcome.ok_or_else(|| anyhow::anyhow!("another collection runs"))??;
            Ok((collected, started.elapsed().as_secs_f64()))
        });
        let beside = rate(&opened, &|_| ended.load(Ordering::Relaxed))?;
        let (collected, seconds) =
            collector.join().map_err(|_| anyhow::anyhow!("the collection panicked"))??;
        anyhow::Ok((beside, collected, seconds))
    })?;
    let alone_after = rate(&opened, &|seconds| seconds > 5.0)?;
    opened.close()?;
    let alone = f64::midpoint(alone_before, alone_after);
    Ok(json!({
        "ingest_alone_mb_per_second": [alone_before.round(), alone_after.round()],
        "ingest_beside_mb_per_second": beside.round(), "share": beside / alone,
        "collection_seconds": seconds, "freed_mb": collected.bytes_freed / 1_000_000,
        "copied_mb": collected.bytes_copied / 1_000_000,
    }))
}

fn store(opened: &Opened, first: u64) -> anyhow::Result<Vec<lucid_core::digest::ChunkId>> {
    let batch: Vec<Vec<u8>> = (first..first + BATCH)
        .map(|number| {
            let mut chunk = vec![0; CHUNK];
            blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut chunk);
            chunk
        })
        .collect();
    let slices: Vec<&[u8]> = batch.iter().map(Vec::as_slice).collect();
    Ok(store_chunks(&opened.vault, KEEPING, 2, BEGAN, None, &slices)?
        .iter()
        .map(|chunk| chunk.id)
        .collect())
}
