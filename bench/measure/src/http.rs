//! A load of small HTTP requests over kept connections: as little work as can be, since it shares the
//! cores with what it measures.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::{Value, json};

pub fn measure(address: &str, clients: usize, bytes: usize, seconds: u64) -> anyhow::Result<Value> {
    let ids = Mutex::new(Vec::new());
    let put = load(
        clients,
        seconds,
        |client, turn, line| {
            let chunk = noise(client as u64, turn, bytes);
            let head = format!(
                "POST /api/v1/chunks/batch HTTP/1.1\r\nhost: {address}\r\n\
             content-type: application/x-lucid-chunks\r\ncontent-length: {}\r\n\r\n",
                bytes + 4
            );
            let length = u32::try_from(bytes)?.to_le_bytes();
            line.ask(&[head.as_bytes(), &length, &chunk])?;
            if let Ok(mut ids) = ids.lock() {
                ids.push(blake3::hash(&chunk).to_hex());
            }
            Ok(())
        },
        address,
    )?;
    let ids = ids.into_inner().unwrap_or_default();
    anyhow::ensure!(!ids.is_empty(), "nothing was stored");
    let get = load(
        clients,
        seconds.min(5),
        |client, turn, line| {
            let at = (client as u64).wrapping_mul(7_919).wrapping_add(turn.wrapping_mul(104_729));
            let id = ids.get(usize::try_from(at)? % ids.len()).context("an id")?;
            let head = format!("GET /api/v1/chunks/{id}/raw HTTP/1.1\r\nhost: {address}\r\n\r\n");
            line.ask(&[head.as_bytes()])
        },
        address,
    )?;
    Ok(json!({
        "clients": clients, "bytes": bytes,
        "put": put.told(bytes), "get": get.told(bytes),
    }))
}

/// What a load came to.
pub struct Load {
    seconds: f64,
    /// How long each request took, in order of length.
    took: Vec<Duration>,
}

impl Load {
    pub fn told(&self, bytes: usize) -> Value {
        let per_second = self.took.len() as f64 / self.seconds;
        let percentile = |share: f64| {
            let at = ((self.took.len() as f64 * share) as usize).min(self.took.len().max(1) - 1);
            self.took.get(at).map_or(0.0, |took| took.as_secs_f64() * 1e3)
        };
        json!({
            "per_second": per_second.round(),
            "mb_per_second": (per_second * bytes as f64 / 1e6).round(),
            "p50_ms": percentile(0.5), "p99_ms": percentile(0.99),
        })
    }
}

/// Has every client ask, over a connection of its own, until the time is over.
pub fn load(
    clients: usize,
    seconds: u64,
    ask: impl Fn(usize, u64, &mut Line) -> anyhow::Result<()> + Sync,
    address: &str,
) -> anyhow::Result<Load> {
    let started = Instant::now();
    let until = started + Duration::from_secs(seconds);
    let parts = std::thread::scope(|scope| {
        let ask = &ask;
        let workers: Vec<_> = (0..clients)
            .map(|client| {
                scope.spawn(move || {
                    let mut line = Line::open(address)?;
                    let (mut took, mut turn) = (Vec::new(), 0);
                    while Instant::now() < until {
                        let asked = Instant::now();
                        ask(client, turn, &mut line)?;
                        took.push(asked.elapsed());
                        turn += 1;
                    }
                    anyhow::Ok(took)
                })
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().map_err(|_| anyhow::anyhow!("a client panicked"))?)
            .collect::<anyhow::Result<Vec<_>>>()
    })?;
    let seconds = started.elapsed().as_secs_f64();
    let mut took: Vec<Duration> = parts.into_iter().flatten().collect();
    took.sort_unstable();
    Ok(Load { seconds, took })
}

/// A connection.
pub struct Line {
    stream: BufReader<TcpStream>,
    room: Vec<u8>,
}

impl Line {
    pub fn open(address: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("reaching {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::with_capacity(256 << 10, stream), room: Vec::new() })
    }

    pub fn ask(&mut self, parts: &[&[u8]]) -> anyhow::Result<()> {
        for part in parts {
            self.stream.get_mut().write_all(part)?;
        }
        let (mut status, mut length) = (String::new(), 0);
        self.stream.read_line(&mut status)?;
        loop {
            let mut head = String::new();
            self.stream.read_line(&mut head)?;
            let head = head.trim().to_ascii_lowercase();
            if head.is_empty() {
                break;
            }
            if let Some(value) = head.strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
        }
        self.room.resize(length, 0);
        self.stream.read_exact(&mut self.room)?;
        let answer = String::from_utf8_lossy(self.room.get(..length.min(300)).unwrap_or_default());
        anyhow::ensure!(status.contains(" 20"), "{}: {answer}", status.trim());
        Ok(())
    }
}

/// Bytes that no other turn of any run has, and that do not compress.
fn noise(client: u64, turn: u64, bytes: usize) -> Vec<u8> {
    let mut seed = blake3::Hasher::new();
    seed.update(&client.to_le_bytes()).update(&turn.to_le_bytes());
    seed.update(&std::process::id().to_le_bytes());
    let mut chunk = vec![0; bytes];
    seed.finalize_xof().fill(&mut chunk);
    chunk
}
