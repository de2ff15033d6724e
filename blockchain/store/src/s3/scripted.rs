//! A small server of S3's protocol, in this process, for what goes wrong between a server and its client: it keeps
//! objects in memory, and knows as much as the back-end asks for. It looks at no signature.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use parking_lot::Mutex;

use crate::proxy::http::{Head, refusal};

/// As many as a server lists at once.
const PAGE: usize = 1_000;

type Objects = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// The server. It ends when it is dropped.
pub(crate) struct ScriptedBucket {
    address: SocketAddr,
    objects: Objects,
    ends: Arc<AtomicBool>,
}

impl ScriptedBucket {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (objects, ends) = (Objects::default(), Arc::new(AtomicBool::new(false)));
        let (theirs, ended) = (objects.clone(), ends.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(SeqCst) {
                    return;
                }
                let (Ok(stream), objects) = (stream, theirs.clone()) else { continue };
                std::thread::spawn(move || {
                    // The client goes away in the end, or is cut off.
                    let _gone = serve(stream, &objects);
                });
            }
        });
        Self { address, objects, ends }
    }

    /// Where it is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The names of the objects whose names have this text.
    pub(crate) fn names(&self, text: &str) -> Vec<String> {
        self.objects.lock().keys().filter(|name| name.contains(text)).cloned().collect()
    }
}

impl Drop for ScriptedBucket {
    fn drop(&mut self) {
        self.ends.store(true, SeqCst);
        // It wakes up, and sees that.
        let _woken = TcpStream::connect(self.address);
    }
}

fn serve(mut stream: TcpStream, objects: &Objects) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut requests = BufReader::new(stream.try_clone()?);
    while let Some(head) = Head::read(&mut requests)? {
        // A body that ends early is no request: nothing is done.
        let body = head.body(&mut requests, false)?;
        let answer = answer(&head, body, &mut objects.lock());
        stream.write_all(&answer)?;
    }
    Ok(())
}

fn answer(head: &Head, body: Vec<u8>, objects: &mut BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let (path, query) = head.word(1).split_once('?').unwrap_or((head.word(1), ""));
    let Some((_, name)) = path[1..].split_once('/') else {
        return list(query, objects);
    };
    match head.word(0) {
        "PUT" => {
            objects.insert(name.to_owned(), body);
            said("200 OK", "ETag: \"0\"\r\n", b"")
        }
        "DELETE" => {
            objects.remove(name);
            b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()
        }
        "GET" if name.is_empty() => list(query, objects),
        "GET" => {
            let Some(object) = objects.get(name) else {
                return refusal("404 Not Found", "NoSuchKey");
            };
            let about = "ETag: \"0\"\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n";
            let Some(range) = head.field("range").and_then(|range| range.strip_prefix("bytes="))
            else {
                return said("200 OK", about, object);
            };
            let (from, to) = range.split_once('-').unwrap();
            let (from, to): (usize, usize) = (from.parse().unwrap(), to.parse().unwrap());
            let to = to.min(object.len().wrapping_sub(1));
            match object.get(from..to.wrapping_add(1)).filter(|part| !part.is_empty()) {
                None => refusal("416 Range Not Satisfiable", "InvalidRange"),
                Some(part) => {
                    let of = object.len();
                    let about = format!("{about}Content-Range: bytes {from}-{to}/{of}\r\n");
                    said("206 Partial Content", &about, part)
                }
            }
        }
        _ => refusal("405 Method Not Allowed", "MethodNotAllowed"),
    }
}

fn said(status: &str, about: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\n{about}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// A page of a list, behind the last name of the page before.
fn list(query: &str, objects: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let value = |name: &str| {
        let pair = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        pair.map(|value| value.replace("%2F", "/")).unwrap_or_default()
    };
    let (prefix, begin, token) =
        (value("prefix"), value("start-after"), value("continuation-token"));
    let behind = begin.max(token);
    let mut found =
        objects.iter().filter(|(name, _)| name.starts_with(&prefix) && **name > behind).peekable();
    let (mut xml, mut last) = (String::from("<ListBucketResult>"), "");
    for (name, object) in found.by_ref().take(PAGE) {
        let size = object.len();
        xml.push_str(&format!(
            "<Contents><Key>{name}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>\
             <ETag>\"0\"</ETag><Size>{size}</Size></Contents>"
        ));
        last = name;
    }
    let is_cut = found.peek().is_some();
    xml.push_str(&format!("<IsTruncated>{is_cut}</IsTruncated>"));
    if is_cut {
        xml.push_str(&format!("<NextContinuationToken>{last}</NextContinuationToken>"));
    }
    xml.push_str("</ListBucketResult>");
    said("200 OK", "", xml.as_bytes())
}
