//! What each step of the way in costs by itself, on one core: the sum says what the machine allows.

use std::fs::File;
use std::hint::black_box;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;
use lucid_core::cut::ChunkProfile;
use lucid_store::codec::{Compression, Packer};
use ring::aead;
use serde_json::{Value, json};

/// Each step is repeated so often, and its best time counts: the others were disturbed.
const ROUNDS: usize = 3;

pub fn measure(folder: &Path, scratch: &Path, bytes: usize) -> anyhow::Result<Value> {
    let mut data = Vec::with_capacity(bytes);
    let mut files = Vec::new();
    list(folder, &mut files)?;
    for path in &files {
        let left = (bytes - data.len()) as u64;
        File::open(path)?.take(left).read_to_end(&mut data)?;
    }
    let total = data.len();
    anyhow::ensure!(total > 0, "{} holds no bytes", folder.display());

    let read = best(|| {
        let mut room = vec![0; 1 << 20];
        let mut sum = 0;
        for path in &files {
            let mut file = File::open(path)?;
            while sum < total {
                match file.read(&mut room)? {
                    0 => break,
                    count => sum += count,
                }
            }
        }
        Ok(sum)
    })?;
    let profile = ChunkProfile::default();
    let mut chunks = Vec::new();
    let cut = best(|| {
        chunks.clear();
        let mut rest = data.as_slice();
        while let Some(length) = profile.next_cut(rest, true) {
            let (chunk, after) = rest.split_at(length);
            chunks.push(chunk);
            rest = after;
        }
        Ok(chunks.len())
    })?;
    let hash = best(|| {
        for chunk in &chunks {
            black_box(blake3::hash(chunk));
        }
        Ok(0)
    })?;
    let mut packed = Vec::new();
    let mut pack = |how: Compression| {
        let mut packer = Packer::new();
        let seconds = best(|| {
            packed = chunks.iter().map(|chunk| packer.pack(how, chunk)).collect();
            Ok(0)
        })?;
        let stored: usize = packed.iter().map(|(_, bytes)| bytes.len()).sum();
        anyhow::Ok((seconds, stored))
    };
    let (fast, fast_bytes) = pack(Compression::Fast)?;
    let (zstd3, zstd3_bytes) = pack(Compression::Zstd(3))?;
    let unpack = best(|| {
        let mut packer = Packer::new();
        let mut room = Vec::new();
        for ((codec, bytes), chunk) in packed.iter().zip(&chunks) {
            let plain = packer.unpack_to(*codec, bytes, chunk.len(), &mut room);
            black_box(plain.map_err(anyhow::Error::msg)?);
        }
        Ok(0)
    })?;
    let key = aead::UnboundKey::new(&aead::AES_256_GCM, &[7; 32]).ok().context("a key")?;
    let key = aead::LessSafeKey::new(key);
    let encrypt = best(|| {
        for (_, bytes) in &mut packed {
            let nonce = aead::Nonce::assume_unique_for_key([0; 12]);
            let tag = key.seal_in_place_separate_tag(nonce, aead::Aad::empty(), bytes);
            let _tag = black_box(tag.ok().context("sealing")?);
        }
        Ok(0)
    })?;
    std::fs::create_dir_all(scratch)?;
    let path = scratch.join("parts");
    let write = best(|| {
        let mut file = File::create(&path)?;
        for piece in packed.chunks(8) {
            for (_, bytes) in piece {
                file.write_all(bytes)?;
            }
            file.sync_data()?;
        }
        Ok(0)
    })?;
    std::fs::remove_file(&path)?;

    let rate = |seconds: f64| (total as f64 / seconds / 1e6).round();
    let computing = read + cut + hash + fast + encrypt;
    let cores = std::thread::available_parallelism()?.get() as f64;
    Ok(json!({
        "bytes": total, "chunks": chunks.len(), "cores": cores,
        "mb_per_second_on_one_core": {
            "read": rate(read), "cut": rate(cut), "hash": rate(hash), "compress": rate(fast),
            "compress_level_3": rate(zstd3), "decompress": rate(unpack), "encrypt": rate(encrypt),
        },
        "mb_per_second_of_input_written_and_synced": rate(write),
        "stored_share": fast_bytes as f64 / total as f64,
        "stored_share_level_3": zstd3_bytes as f64 / total as f64,
        "allowed_first": rate((computing / cores).max(write)),
        "allowed_known": rate((read + cut + hash) / cores),
        "allowed_restore": rate((hash + unpack + encrypt) / cores),
    }))
}

fn best(mut step: impl FnMut() -> anyhow::Result<usize>) -> anyhow::Result<f64> {
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let started = Instant::now();
        black_box(step()?);
        best = best.min(started.elapsed().as_secs_f64());
    }
    Ok(best)
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let mut entries = std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        match entry.file_type()? {
            kind if kind.is_dir() => list(&entry.path(), files)?,
            kind if kind.is_file() => files.push(entry.path()),
            _ => {}
        }
    }
    Ok(())
}
