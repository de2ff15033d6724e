//! An engine that is no block-manager: it takes roots, and says of them what a test wants it to say. It is strict
//! about what it takes, as the documented one is: a session is a UUID, a root 64 hex digits.
//!
//! Made of the standard library alone, because the tests of the command line have it, too.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

/// How it behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// It takes roots, and confirms nothing.
    Takes,
    /// It confirms every root that it has.
    Confirms,
    /// It fails to anchor every root that it has.
    Fails,
    /// It answers every question about a root with 503.
    IsDown,
    /// It refuses roots.
    Refuses,
    /// It takes roots, and breaks off before it says so.
    BreaksOff,
    /// What it says makes no sense.
    Babbles,
    /// It says that it has another root.
    HasAnother,
    /// It has none of the routes that an engine has.
    IsNone,
    /// It says nothing until it behaves otherwise.
    Keeps,
}

pub struct ForeignEngine {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    manner: Mutex<Manner>,
    changed: Condvar,
    has_ended: AtomicBool,
    /// What was handed over, by the session's UUID.
    roots: Mutex<BTreeMap<String, Value>>,
    /// Every request, as its first line has it.
    asked: Mutex<Vec<String>>,
}

impl ForeignEngine {
    pub fn start(manner: Manner) -> Self {
        Self::start_on("127.0.0.1:0".parse().unwrap(), manner)
    }

    /// One at an address that its callers know already.
    pub fn start_on(address: SocketAddr, manner: Manner) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            manner: Mutex::new(manner),
            changed: Condvar::new(),
            has_ended: AtomicBool::new(false),
            roots: Mutex::default(),
            asked: Mutex::default(),
        });
        let serving = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if serving.has_ended.load(Ordering::SeqCst) {
                    return;
                }
                let shared = serving.clone();
                // A caller that leaves is no failure of the test.
                std::thread::spawn(move || drop(shared.serve(stream.unwrap())));
            }
        });
        Self { address, shared }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on it behaves so.
    pub fn behave(&self, manner: Manner) {
        *self.shared.manner.lock().unwrap() = manner;
        self.shared.changed.notify_all();
    }

    /// What it was handed over.
    pub fn roots(&self) -> BTreeMap<String, Value> {
        self.shared.roots.lock().unwrap().clone()
    }

    /// How often it was asked something that begins so.
    pub fn asked(&self, beginning: &str) -> usize {
        let asked = self.shared.asked.lock().unwrap();
        asked.iter().filter(|line| line.starts_with(beginning)).count()
    }
}

impl Drop for ForeignEngine {
    /// Nobody answers there any more.
    fn drop(&mut self) {
        self.shared.has_ended.store(true, Ordering::SeqCst);
        self.behave(Manner::IsDown);
        drop(TcpStream::connect(self.address));
    }
}

impl Shared {
    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let (line, body) = read(&mut stream)?;
        self.asked.lock().unwrap().push(line.clone());
        let mut manner = self.manner.lock().unwrap();
        while *manner == Manner::Keeps {
            manner = self.changed.wait(manner).unwrap();
        }
        let manner = *manner;
        let Some((status, answer)) = self.answer(&line, &body, manner) else { return Ok(()) };
        let text =
            if manner == Manner::Babbles { "<p>hello".to_owned() } else { answer.to_string() };
        let head = format!("content-type: application/json\r\ncontent-length: {}", text.len());
        let reply = format!("HTTP/1.1 {status} X\r\n{head}\r\nconnection: close\r\n\r\n{text}");
        stream.write_all(reply.as_bytes())
    }

    fn answer(&self, line: &str, body: &[u8], manner: Manner) -> Option<(u16, Value)> {
        let absent = Some((404, json!({ "detail": "Not Found" })));
        let mut words = line.split(' ');
        let (method, path) = (words.next()?, words.next()?);
        if manner == Manner::IsNone {
            return absent;
        }
        match (method, path) {
            ("GET", "/api/v1/chain/info") => {
                return Some((200, json!({ "chain_id": "elsewhere", "height": 7, "peers": 3 })));
            }
            ("GET", "/api/v1/anchoring/status") => {
                return Some((
                    200,
                    json!({ "pending": 0, "confirmed": self.roots.lock().unwrap().len() }),
                ));
            }
            _ if manner == Manner::IsDown => {
                return Some((503, json!({ "detail": "maintenance" })));
            }
            _ => {}
        }
        let mut roots = self.roots.lock().unwrap();
        match (method, path.strip_prefix("/api/v1/anchoring/session")) {
            ("POST", Some("")) => {
                let posted: Value = serde_json::from_slice(body).unwrap_or_default();
                let (session, root) =
                    (posted["session_id"].as_str(), posted["merkle_root"].as_str());
                let is_sound = session.is_some_and(is_uuid)
                    && root.is_some_and(|root| {
                        root.len() == 64 && root.chars().all(|c| c.is_ascii_hexdigit())
                    })
                    && posted["chunk_count"].is_u64()
                    && posted["timestamp"].is_string()
                    && posted["metadata"].is_object();
                if !is_sound || manner == Manner::Refuses {
                    let why =
                        json!([{ "loc": ["body", "session_id"], "msg": "value is not wanted" }]);
                    return Some((422, json!({ "detail": why })));
                }
                let session = session?.to_owned();
                roots.insert(session.clone(), posted.clone());
                if manner == Manner::BreaksOff {
                    return None;
                }
                let accepted =
                    json!({ "anchoring_id": "a-1", "session_id": session, "status": "pending" });
                Some((202, accepted))
            }
            ("GET", Some(session)) => {
                let session = session.strip_prefix('/')?;
                let Some(posted) = roots.get(session) else { return absent };
                let is_confirmed = manner == Manner::Confirms;
                let status = match manner {
                    Manner::Confirms => "confirmed",
                    Manner::Fails => "failed",
                    _ => "processing",
                };
                let root = match manner {
                    Manner::HasAnother => json!("0".repeat(64)),
                    _ => posted["merkle_root"].clone(),
                };
                let only = |value: Value| if is_confirmed { value } else { Value::Null };
                Some((
                    200,
                    json!({
                        "anchoring_id": "a-1", "session_id": session, "status": status, "merkle_root": root,
                        "transaction_id": only("0xfeed".into()), "block_number": only(7.into()),
                        "submitted_at": "2026-03-01T13:00:00", "metadata": posted["metadata"],
                        "confirmed_at": only("2026-03-01T13:00:01.5+00:00".into()),
                    }),
                ))
            }
            _ => absent,
        }
    }
}

fn is_uuid(text: &str) -> bool {
    let lengths: Vec<_> = text.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && text.chars().all(|c| c == '-' || c.is_ascii_hexdigit())
}

/// A request: its first line, and its body.
fn read(stream: &mut TcpStream) -> std::io::Result<(String, Vec<u8>)> {
    let mut request = Vec::new();
    let mut part = [0; 4_096];
    let more =
        |stream: &mut TcpStream, request: &mut Vec<u8>, part: &mut [u8]| match stream.read(part)? {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            count => {
                request.extend_from_slice(&part[..count]);
                Ok::<(), std::io::Error>(())
            }
        };
    let end = loop {
        if let Some(end) = request.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        more(stream, &mut request, &mut part)?;
    };
    let head = String::from_utf8_lossy(&request[..end]).into_owned();
    let length = head.to_lowercase();
    let length = length.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
    while request.len() < end + length {
        more(stream, &mut request, &mut part)?;
    }
    Ok((head.lines().next().unwrap_or_default().to_owned(), request[end..end + length].to_vec()))
}
