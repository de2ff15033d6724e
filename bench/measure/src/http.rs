//! A load of small HTTP requests over kept connections: as little work as can be, since it shares the
//! cores with what it measures.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use lucid_api::tls::{Pin, ServerKey};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use serde_json::{Value, json};

use crate::LoadOf;

/// `each`: so many chunks travel in a request. `put_only`: they are not read again.
pub fn measure(to: &Callee, of: &LoadOf, each: u64, put_only: bool) -> anyhow::Result<Value> {
    let &LoadOf { clients, bytes, seconds } = of;
    let common = to.head();
    let ids = Mutex::new(Vec::new());
    let put = load(
        clients,
        seconds,
        |client, turn, line| {
            let chunks: Vec<_> =
                (0..each).map(|nth| noise(client as u64, turn * each + nth, bytes)).collect();
            let head = format!(
                "POST /api/v1/chunks/batch HTTP/1.1\r\n{common}\
             content-type: application/x-lucid-chunks\r\ncontent-length: {}\r\n\r\n",
                chunks.len() * (bytes + 4)
            );
            let length = u32::try_from(bytes)?.to_le_bytes();
            let mut parts = vec![head.as_bytes()];
            parts.extend(chunks.iter().flat_map(|chunk| [&length[..], chunk]));
            line.ask(&parts)?;
            if let Ok(mut ids) = ids.lock() {
                ids.extend(chunks.iter().map(|chunk| blake3::hash(chunk).to_hex()));
            }
            Ok(())
        },
        to,
    )?;
    let ids = ids.into_inner().unwrap_or_default();
    let (chunks, put) = (ids.len(), put.told(bytes * usize::try_from(each)?));
    if put_only {
        return Ok(json!({ "clients": clients, "bytes": bytes, "chunks": chunks, "put": put }));
    }
    anyhow::ensure!(!ids.is_empty(), "nothing was stored");
    let get = load(
        clients,
        seconds.min(5),
        |client, turn, line| {
            let at = (client as u64).wrapping_mul(7_919).wrapping_add(turn.wrapping_mul(104_729));
            let id = ids.get(usize::try_from(at)? % ids.len()).context("an id")?;
            let head = format!("GET /api/v1/chunks/{id}/raw HTTP/1.1\r\n{common}\r\n");
            line.ask(&[head.as_bytes()])
        },
        to,
    )?;
    Ok(json!({
        "clients": clients, "bytes": bytes, "chunks": chunks,
        "put": put, "get": get.told(bytes),
    }))
}

/// What a load came to.
pub struct Load {
    seconds: f64,
    /// How long each request took, in order of length.
    took: Vec<Duration>,
}

impl Load {
    /// What requests came to that took so long each.
    pub fn of(elapsed: Duration, mut took: Vec<Duration>) -> Self {
        took.sort_unstable();
        Self { seconds: elapsed.as_secs_f64(), took }
    }

    /// How many there were.
    pub fn count(&self) -> usize {
        self.took.len()
    }

    pub fn told(&self, bytes: usize) -> Value {
        let per_second = self.took.len() as f64 / self.seconds;
        let percentile = |share: f64| {
            let at = ((self.took.len() as f64 * share) as usize).min(self.took.len().max(1) - 1);
            self.took.get(at).map_or(0.0, |took| took.as_secs_f64() * 1e3)
        };
        json!({
            "count": self.took.len(), "per_second": per_second.round(),
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
    to: &Callee,
) -> anyhow::Result<Load> {
    let started = Instant::now();
    let until = started + Duration::from_secs(seconds);
    let parts = std::thread::scope(|scope| {
        let ask = &ask;
        let workers: Vec<_> = (0..clients)
            .map(|client| {
                scope.spawn(move || {
                    let mut line = Line::open(to)?;
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
    Ok(Load::of(started.elapsed(), parts.into_iter().flatten().collect()))
}

/// A service that is asked.
#[derive(Debug, Default)]
pub struct Callee {
    /// Host and port.
    pub address: String,
    /// What is shown to it.
    pub token: Option<String>,
    /// Its key, where connections are encrypted.
    pub pin: Option<Pin>,
}

impl Callee {
    /// One that asks for nothing.
    pub fn at(address: &str) -> Self {
        Self { address: address.to_owned(), ..Self::default() }
    }

    /// Lines of each head.
    fn head(&self) -> String {
        let token = self.token.iter().map(|token| format!("authorization: Bearer {token}\r\n"));
        format!("host: {}\r\n{}", self.address, token.collect::<String>())
    }
}

trait Wire: Read + Write + Send {}

impl<T: Read + Write + Send> Wire for T {}

/// A connection.
pub struct Line {
    stream: BufReader<Box<dyn Wire>>,
    room: Vec<u8>,
}

impl Line {
    pub fn open(to: &Callee) -> anyhow::Result<Self> {
        let address = &to.address;
        let stream = TcpStream::connect(address).with_context(|| format!("reaching {address}"))?;
        stream.set_nodelay(true)?;
        let stream: Box<dyn Wire> = match to.pin {
            None => Box::new(stream),
            Some(pin) => {
                let config = ServerKey::from(pin).client(default_provider())?;
                let name = ServerName::from(stream.peer_addr()?.ip());
                let tls = ClientConnection::new(Arc::new(config), name)?;
                Box::new(StreamOwned::new(tls, stream))
            }
        };
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
pub fn noise(client: u64, turn: u64, bytes: usize) -> Vec<u8> {
    let mut seed = blake3::Hasher::new();
    seed.update(&client.to_le_bytes()).update(&turn.to_le_bytes());
    seed.update(&std::process::id().to_le_bytes());
    let mut chunk = vec![0; bytes];
    seed.finalize_xof().fill(&mut chunk);
    chunk
}
