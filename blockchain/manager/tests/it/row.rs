//! Three programs in a row, authority, follower, follower, over connections that delay and break, and killed
//! at any moment: they end with the same chain, which has every acknowledged transaction once.
//!
//! How long is `LUCID_ROW_KILLS` (12). Clocks that differ are in `sync.rs`, where the time is handed in.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lucid_api::client::{BlockManagerClient, ClientOptions, Retry};
use lucid_api::v1::chain::ChainHeight;

/// How long anything may take on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(120);

/// Numbers that look random, the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// A connection in between: it delays what goes through, and cuts connections off after some bytes.
struct Proxy {
    url: String,
    to: Arc<std::sync::Mutex<String>>,
    calm: Arc<AtomicBool>,
    cut: Arc<AtomicU64>,
}

impl Proxy {
    fn start(seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let to = Arc::new(std::sync::Mutex::new(String::new()));
        let (calm, cut) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (target, quiet, count) = (to.clone(), calm.clone(), cut.clone());
        std::thread::spawn(move || {
            let mut dice = Dice(seed);
            for near in listener.incoming().flatten() {
                let Ok(far) = TcpStream::connect(target.lock().unwrap().as_str()) else { continue };
                // One in three is cut off within its first bytes, or a little later.
                let lasts = match quiet.load(Ordering::Relaxed) || dice.below(3) > 0 {
                    true => u64::MAX,
                    false => dice.below(20_000),
                };
                let (near_too, far_too) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                let delay = Duration::from_millis(dice.below(8));
                std::thread::spawn(move || pump(near_too, far_too, u64::MAX, Duration::ZERO));
                let count = count.clone();
                std::thread::spawn(move || {
                    if pump(far, near, lasts, delay) {
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        Self { url, to, calm, cut }
    }

    fn leads_to(&self, address: &str) {
        address.clone_into(&mut self.to.lock().unwrap());
    }
}

/// Copies until an end, or until it cuts both off; says whether it did.
fn pump(mut from: TcpStream, mut to: TcpStream, lasts: u64, delay: Duration) -> bool {
    let (mut piece, mut gone) = ([0; 4096], 0);
    while let Ok(count @ 1..) = from.read(&mut piece) {
        std::thread::sleep(delay);
        gone += count as u64;
        if gone > lasts || to.write_all(piece.get(..count).unwrap()).is_err() {
            break;
        }
    }
    let _gone = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    gone > lasts
}

struct Program {
    child: Child,
    address: String,
}

impl Program {
    /// Starts a program.
    fn start(folder: &Path, settings: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lucid-block-manager"));
        command
            .env_clear()
            .env("BLOCK_MANAGER_PORT", "0")
            .env("BLOCK_INTERVAL_SECONDS", "0.02")
            .env("SYNC_INTERVAL_SECONDS", "0.05")
            .env("SYNC_TIMEOUT", "2")
            .env("LUCID_DATA_DIR", folder)
            .env("LOG_FORMAT", "text")
            .envs(settings.iter().copied());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut said = Vec::new();
        let started = loop {
            let line = lines.next().map(Result::unwrap);
            let line = line.unwrap_or_else(|| panic!("it ended:\n{}", said.join("\n")));
            if line.contains("started successfully") {
                break line;
            }
            said.push(line);
        };
        let address = started.split_once("address=").unwrap().1;
        let address = address.split_whitespace().next().unwrap().to_owned();
        // The rest is read, so that writing never blocks.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }

    fn client(&self) -> BlockManagerClient {
        let retry = Retry { count: 0, delay: Duration::ZERO };
        let options =
            ClientOptions { retry, timeout: Duration::from_secs(10), ..ClientOptions::default() };
        BlockManagerClient::new(&format!("http://{}", self.address), options).unwrap()
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _ended = self.child.wait();
    }
}

#[test]
fn three_in_a_row_converge_after_kills_and_cut_connections() {
    #[expect(
        clippy::disallowed_methods,
        reason = "how long it goes on is for whoever runs the tests"
    )]
    let kills: u64 = std::env::var("LUCID_ROW_KILLS").map_or(12, |count| count.parse().unwrap());
    let folders: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let proxies = [Proxy::start(11), Proxy::start(13)];
    let mut dice = Dice(0x5eed);

    let authority = Program::start(folders[0].path(), &[]);
    let producer = authority.client().chain_info().unwrap().producer.unwrap();
    let start = |place: usize, programs: &[Program]| match place {
        0 => Program::start(folders[0].path(), &[]),
        _ => {
            proxies[place - 1].leads_to(&programs[place - 1].address);
            let peer = proxies[place - 1].url.as_str();
            let settings =
                [("LUCID_CHAIN_FOLLOW_URL", peer), ("LUCID_CHAIN_PRODUCER_KEY", producer.as_str())];
            Program::start(folders[place].path(), &settings)
        }
    };
    let mut programs = vec![authority];
    for place in 1..3 {
        let program = start(place, &programs);
        programs.push(program);
    }

    // What any of the three acknowledges is in the chain in the end, once.
    let mut acknowledged: Vec<String> = Vec::new();
    for round in 0..kills {
        for n in 0..25 {
            let id = format!("t-{round}-{n}");
            let text =
                format!(r#"{{"id":"{id}","type":"data_storage","text":"{}"}}"#, "x".repeat(300));
            let place = dice.below(3) as usize;
            if programs[place].client().submit_transaction(&text).is_ok() {
                acknowledged.push(id);
            }
        }
        std::thread::sleep(Duration::from_millis(dice.below(120)));
        let place = dice.below(3) as usize;
        programs[place].kill();
        programs[place] = start(place, &programs);
        // Those above lead to where it is now.
        if place < 2 {
            proxies[place].leads_to(&programs[place].address);
        }
    }
    assert!(acknowledged.len() as u64 > kills, "{} were acknowledged", acknowledged.len());
    assert!(proxies.iter().any(|proxy| proxy.cut.load(Ordering::Relaxed) > 0), "nothing was cut");

    // From here on connections last.
    for proxy in &proxies {
        proxy.calm.store(true, Ordering::Relaxed);
    }
    let heights = || -> Vec<Option<ChainHeight>> {
        programs.iter().map(|program| program.client().chain_height().ok()).collect()
    };
    let begun = Instant::now();
    loop {
        let clients: Vec<_> = programs.iter().map(Program::client).collect();
        let pending = clients[0].chain_info().unwrap().statistics["pending_transactions"].as_u64();
        let now = heights();
        if pending == Some(0) && now.iter().all(|height| height.is_some() && *height == now[0]) {
            break;
        }
        let status: Vec<_> = clients.iter().map(BlockManagerClient::chain_status).collect();
        assert!(begun.elapsed() < PATIENCE, "they do not converge: {status:#?}");
        std::thread::sleep(Duration::from_millis(50));
    }

    let clients: Vec<_> = programs.iter().map(Program::client).collect();
    let tip = clients[0].chain_height().unwrap().height;
    let mut chained: Vec<String> = Vec::new();
    for height in 0..=tip {
        let block = clients[0].block(height).unwrap();
        assert_eq!(block, clients[1].block(height).unwrap());
        assert_eq!(block, clients[2].block(height).unwrap());
        let block: serde_json::Value = serde_json::from_str(&block).unwrap();
        let ids = block["transactions"].as_array().unwrap().iter();
        chained.extend(ids.map(|one| one["id"].as_str().unwrap().to_owned()));
    }
    let mut once = chained.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), chained.len(), "a transaction is in the chain twice");
    for id in &acknowledged {
        assert!(once.binary_search(id).is_ok(), "{id} was acknowledged and is lost");
    }
    assert!(clients[2].chain_status().unwrap().sync.divergences.is_empty());
}

#[test]
fn a_peer_that_hangs_does_not_hold_up_the_end() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = format!("http://{}", silent.local_addr().unwrap());
    // Every client that connects is kept waiting.
    let (tell, connected) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for caller in silent.incoming().flatten() {
            kept.push(caller);
            let _heard = tell.send(());
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let settings = [("LUCID_CHAIN_FOLLOW_URL", peer.as_str()), ("SYNC_TIMEOUT", "60")];
    let mut program = Program::start(folder.path(), &settings);
    let client = program.client();
    std::thread::spawn(move || client.submit_transaction(r#"{"id":"a","type":"x"}"#));
    // The follower itself asks, and the transaction is handed on.
    for _ in 0..2 {
        connected.recv_timeout(Duration::from_secs(30)).unwrap();
    }
    let asked = Instant::now();
    let told = Command::new("kill").arg(program.child.id().to_string()).status().unwrap();
    assert!(told.success());
    assert!(program.child.wait().unwrap().success());
    // Requests in work have eight seconds.
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
}
