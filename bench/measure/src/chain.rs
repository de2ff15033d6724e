//! What judging a file of blocks costs at least: reading it once with our reader, and hashing what is in
//! it; of signed ones, verifying their signatures together. `bench/chain.py` holds the command against it.

use std::fs::File;
use std::hint::black_box;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::thread;
use std::time::Instant;

use anyhow::Context as _;
use lucid_core::block::{Block, Candidate};
use lucid_core::block_merkle::{log_leaf, log_root, root_and_mutation, transaction_hash};
use lucid_core::json::Json;
use lucid_core::sign::{PublicKey, Signature, SignatureBatch, SigningKey};
use lucid_core::time::Timestamp;
use lucid_core::transaction::Transaction;
use lucid_core::validate::Weighed;
use serde_json::{Value, json};

/// Each part is repeated so often, and its best time counts: the others were disturbed.
const ROUNDS: usize = 3;
/// Signatures of one equation, as the command's batches have them at most.
const SIGNATURES: usize = 4_096;

/// The parts, in seconds on one core.
pub fn measure(file: &Path) -> anyhow::Result<Value> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let lines: Vec<&[u8]> = text.lines().map(str::as_bytes).collect();
    let blocks: Vec<Candidate> =
        lines.iter().map(|line| Candidate::parse(line)).collect::<Result<_, _>>()?;
    let transactions = blocks.iter().map(|block| block.transactions().count()).sum::<usize>();
    // On its way through a text, the reader hashes each transaction.
    let read_and_hash = best(|| {
        for line in &lines {
            black_box(Candidate::parse(line)).ok();
        }
    });
    let hashes = best(|| {
        for transaction in blocks.iter().flat_map(Candidate::transactions) {
            black_box(transaction_hash(transaction.text()));
        }
    });
    let leaves: Vec<Vec<_>> =
        blocks.iter().map(|block| block.transactions().map(Transaction::hash).collect()).collect();
    let roots = best(|| {
        leaves.iter().for_each(|leaves| {
            black_box(root_and_mutation(leaves));
        });
    });
    let block_hashes = best(|| {
        blocks.iter().for_each(|block| {
            black_box(block.expected_hash());
        });
    });
    let ids = best(|| {
        for transaction in blocks.iter().flat_map(Candidate::transactions) {
            black_box(transaction.id_digest());
        }
    });
    let log_roots = best(|| {
        for block in &blocks {
            let leaves: Vec<_> =
                block.transactions().map(|transaction| log_leaf(transaction.text())).collect();
            black_box(log_root(&leaves));
        }
    });
    let weighed = best(|| {
        for line in &lines {
            black_box(Candidate::parse(line).map(Weighed::of)).ok();
        }
    });
    Ok(json!({
        "blocks": blocks.len(),
        "transactions": transactions,
        "bytes": text.len(),
        "seconds": {
            "reader": read_and_hash - hashes,
            "transaction_hashes": hashes,
            "merkle_roots": roots,
            "block_hashes": block_hashes,
            "id_digests": ids,
            "rfc_9162_roots": log_roots,
            "read_and_weighed": weighed,
        },
        "reader_and_hashes": read_and_hash + roots + block_hashes,
    }))
}

/// Makes a chain of signed transactions, by so many keys in turn, a block a line.
pub fn make_signed(file: &Path, blocks: u64, transactions: u64, keys: u8) -> anyhow::Result<Value> {
    let signers: Vec<_> = (0..keys.max(1)).map(|n| SigningKey::from_seed([n; 32])).collect();
    let producer = SigningKey::from_seed([255; 32]);
    let start = Timestamp::parse("2026-01-01T00:00:00Z")?;
    let (mut to, mut parent) = (BufWriter::new(File::create(file)?), None);
    for height in 0..blocks {
        let signed = |n: u64| {
            let value = Json::object([
                ("id", Json::from(format!("tx-{height}-{n}"))),
                ("type", Json::from("audit")),
                ("session_id", Json::from(format!("s-{}", n % 97))),
                ("timestamp", Json::from("2026-01-01T00:00:00Z")),
                ("size", Json::from(n * 7_919)),
            ]);
            let signer = signers.get(usize::try_from(n).unwrap_or(0) % signers.len());
            Transaction::signed(&value, signer.context("there is no signer")?).map_err(Into::into)
        };
        let list: Vec<Transaction> =
            (0..transactions).map(signed).collect::<anyhow::Result<_>>()?;
        let now = start.plus_seconds(i64::try_from(height)? * 10);
        let block = Block::build(parent.as_ref(), list, now, &producer);
        parent = Some(block.as_parent()?);
        to.write_all(block.to_json_text().as_bytes())?;
        to.write_all(b"\n")?;
    }
    to.flush()?;
    Ok(json!({"blocks": blocks, "transactions": blocks * transactions, "keys": keys}))
}

/// Verifies the signatures of a file's transactions and nothing else: on one core, and on all of them.
pub fn signatures(file: &Path) -> anyhow::Result<Value> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let mut claims: Vec<(PublicKey, Vec<u8>, Signature)> = Vec::new();
    for line in text.lines() {
        for transaction in Candidate::parse(line.as_bytes())?.transactions() {
            let value = transaction.to_json();
            let field = |name| value.get(name).and_then(Json::as_text).context("it is not signed");
            let (key, signature) = (field("public_key")?, field("signature")?);
            claims.push((key.parse()?, transaction.signing_message(), signature.parse()?));
        }
    }
    let verify = |claims: &[(PublicKey, Vec<u8>, Signature)]| {
        claims.chunks(SIGNATURES).all(|claims| {
            let mut batch = SignatureBatch::default();
            claims.iter().for_each(|(key, message, signature)| batch.add(key, message, signature));
            batch.verify().into_iter().all(|valid| valid)
        })
    };
    anyhow::ensure!(verify(&claims), "a signature does not verify");
    let one_core = best(|| verify(&claims));
    let cores = thread::available_parallelism()?.get();
    let begun = Instant::now();
    thread::scope(|scope| {
        for part in claims.chunks(claims.len().div_ceil(cores).max(1)) {
            scope.spawn(move || verify(part));
        }
    });
    let all_cores = begun.elapsed().as_secs_f64();
    let singly = best(|| {
        claims.iter().take(4_000).all(|(key, message, signature)| key.verify(message, signature))
    });
    Ok(json!({
        "signatures": claims.len(),
        "seconds": {"one_core": one_core, "all_cores": all_cores},
        "seconds_singly": singly * claims.len() as f64 / claims.len().min(4_000) as f64,
        "cores": cores,
    }))
}

/// Seconds that this thread spent on a core: what others on the machine do does not count.
fn best<T>(mut work: impl FnMut() -> T) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let begun = on_core();
        black_box(work());
        best = best.min(on_core() - begun);
    }
    best
}

fn on_core() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = stat.split(' ').next().and_then(|first| first.parse::<f64>().ok());
    nanoseconds.unwrap_or(f64::NAN) / 1e9
}
