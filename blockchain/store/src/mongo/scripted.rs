//! A small server of MongoDB's protocol, in this process, whose calls end as a test says.
//!
//! It keeps documents in memory, knows as much as the back-end asks for, and is honest about one thing: of two
//! documents with the same `_id`, one is there.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use mongodb::bson::{Array, Bson, DateTime, Document, doc};
use parking_lot::Mutex;

use crate::clock::Clock;

/// A message with sections, the only kind that drivers send any more.
pub(crate) const OP_MSG: i32 = 2013;
/// Bytes of a message's header.
pub(crate) const HEADER: usize = 16;

/// How an insert ends otherwise than well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The connection is cut before anything is done.
    Cut,
    /// It is done, and the connection is cut before it is answered.
    ReplyLost,
    /// It is done, and a proxy that repeats it hears that it is there.
    Repeated,
    /// It is done here, and by no majority yet.
    WriteConcern,
    /// It is not done, and nothing is ever heard of it.
    Stalled,
    /// It is done, and nothing is ever heard of it.
    StalledDone,
    /// It is refused, with this code.
    Refused(i32),
}

/// What the server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The primary of a replica set.
    ReplicaSet,
    /// A server of its own.
    Standalone,
    /// One that is known to have one primary by its making.
    FerretDb,
    /// In front of a sharded cluster.
    Router,
}

/// What a test says of the server.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) kind: Kind,
    /// How the next inserts end.
    pub(crate) next: VecDeque<Ending>,
    /// How many inserts end well before that.
    pub(crate) good: usize,
    /// How the first insert behind those of opening the database ends, and every seventh from there on.
    pub(crate) often: Option<Ending>,
    /// By how many seconds its clock is ahead.
    pub(crate) ahead: i64,
    /// The level of reads, or `write`, that it refuses.
    pub(crate) refuses: Option<&'static str>,
    /// As a primary that others have replaced, it has commits up to this one, and cannot say what is decided.
    pub(crate) stale: Option<(i64, bool)>,
}

impl Script {
    /// Lets so many inserts end well, and then the next ones so.
    pub(crate) fn after(&mut self, good: usize, then: impl IntoIterator<Item = Ending>) {
        (self.good, self.next) = (good, then.into_iter().collect());
    }
}

struct State {
    script: Script,
    collections: BTreeMap<String, Vec<Document>>,
    inserts: usize,
    /// Where it says that it is.
    known_as: SocketAddr,
}

/// The server. It ends when it is dropped.
pub(crate) struct Scripted {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    ends: Arc<AtomicBool>,
}

/// What becomes of a message.
enum Reply {
    Said(Document),
    /// The connection is cut.
    Cut,
    /// Nothing is ever answered.
    Nothing,
}

impl Scripted {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let script = Script {
            kind: Kind::ReplicaSet,
            next: VecDeque::new(),
            good: 0,
            often: None,
            ahead: 0,
            refuses: None,
            stale: None,
        };
        let state = State { script, collections: BTreeMap::new(), inserts: 0, known_as: address };
        let (state, ends) = (Arc::new(Mutex::new(state)), Arc::new(AtomicBool::new(false)));
        let (theirs, ended) = (state.clone(), ends.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(SeqCst) {
                    return;
                }
                let (Ok(stream), state) = (stream, theirs.clone()) else { continue };
                std::thread::spawn(move || {
                    // The client goes away in the end, or is cut off.
                    let _gone = serve(stream, &state);
                });
            }
        });
        Self { address, state, ends }
    }

    /// Where it is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Says from now on that it is elsewhere: where a proxy is, which drivers are to ask.
    pub(crate) fn be_known_as(&self, elsewhere: SocketAddr) {
        self.state.lock().known_as = elsewhere;
    }

    /// Where it is, with a database of this name.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("mongodb://{}/{database}", self.state.lock().known_as)
    }

    pub(crate) fn script(&self, say: impl FnOnce(&mut Script)) {
        say(&mut self.state.lock().script);
    }

    /// How many inserts were asked for.
    pub(crate) fn inserts(&self) -> usize {
        self.state.lock().inserts
    }

    /// Changes the documents of a collection behind everybody's back.
    pub(crate) fn meddle<T>(
        &self,
        collection: &str,
        with: impl FnOnce(&mut Vec<Document>) -> T,
    ) -> T {
        with(self.state.lock().collections.entry(collection.to_owned()).or_default())
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.ends.store(true, SeqCst);
        // It wakes up, and sees that.
        let _woken = TcpStream::connect(self.address);
    }
}

fn serve(mut stream: TcpStream, state: &Mutex<State>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let mut header = [0; HEADER];
        stream.read_exact(&mut header)?;
        let word = |at: usize| i32::from_le_bytes(header[at..at + 4].try_into().unwrap());
        let mut body = vec![0; usize::try_from(word(0)).unwrap() - HEADER];
        stream.read_exact(&mut body)?;
        assert_eq!(word(12), OP_MSG);
        match state.lock().answer(&parse(&body)) {
            Reply::Said(said) => {
                stream.write_all(&encode(&said, word(4)))?;
            }
            Reply::Cut => return Ok(()),
            Reply::Nothing => {
                // Until the client has had enough.
                return io::copy(&mut stream, &mut io::sink()).map(drop);
            }
        }
    }
}

/// A message with a document, in answer to another message, or to none.
pub(crate) fn encode(document: &Document, answers: i32) -> Vec<u8> {
    let document = document.to_vec().unwrap();
    let length = i32::try_from(HEADER + 5 + document.len()).unwrap();
    let mut bytes = Vec::new();
    for word in [length, 0, answers, OP_MSG, 0] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.push(0);
    bytes.extend_from_slice(&document);
    bytes
}

/// A command, with the documents that follow it.
pub(crate) fn parse(body: &[u8]) -> Document {
    let mut rest = &body[4..];
    let (mut command, mut more) = (Document::new(), Vec::new());
    while let [kind, behind @ ..] = rest {
        rest = behind;
        if *kind == 0 {
            command = Document::from_reader(&mut rest).unwrap();
            continue;
        }
        let length = u32::from_le_bytes(rest[..4].try_into().unwrap()) as usize;
        let (mut section, behind) = (&rest[4..length], &rest[length..]);
        let name: Vec<u8> = section.iter().copied().take_while(|byte| *byte != 0).collect();
        section = &section[name.len() + 1..];
        let mut documents = Array::new();
        while !section.is_empty() {
            documents.push(Bson::Document(Document::from_reader(&mut section).unwrap()));
        }
        more.push((String::from_utf8(name).unwrap(), documents));
        rest = behind;
    }
    command.extend(more.into_iter().map(|(name, all)| (name, Bson::Array(all))));
    command
}

fn refused(code: i32, why: &str) -> Document {
    doc! { "ok": 0.0, "code": code, "errmsg": why }
}

fn documents(command: &Document, name: &str) -> Vec<Document> {
    let all = command.get_array(name).unwrap();
    all.iter().map(|one| one.as_document().unwrap().clone()).collect()
}

impl State {
    fn answer(&mut self, command: &Document) -> Reply {
        let (name, target) = command.iter().next().unwrap();
        let target = target.as_str().unwrap_or_default().to_owned();
        let level =
            command.get_document("readConcern").and_then(|concern| concern.get_str("level"));
        if command.contains_key("writeConcern") && self.script.refuses == Some("write") {
            return Reply::Said(refused(72, "no such write concern"));
        }
        if let Ok(level) = level
            && self.script.refuses == Some(level)
        {
            return Reply::Said(refused(72, "no such read concern"));
        }
        Reply::Said(match name.as_str() {
            "hello" | "isMaster" => self.hello(self.known_as),
            "buildInfo" if self.script.kind == Kind::FerretDb => {
                doc! { "version": "7.0.77", "ferretdb": { "version": "v2" }, "ok": 1.0 }
            }
            "buildInfo" => doc! { "version": "8.0.0", "ok": 1.0 },
            "saslStart" => refused(18, "Authentication failed."),
            "insert" => return self.insert(&target, documents(command, "documents")),
            "find" => self.find(&target, command, level.unwrap_or_default()),
            "delete" => {
                let kept = self.collections.entry(target).or_default();
                let before = kept.len();
                for delete in documents(command, "deletes") {
                    let wanted = delete.get_document("q").unwrap();
                    kept.retain(|document| !matches(document, wanted));
                }
                doc! { "n": i64::try_from(before - kept.len()).unwrap(), "ok": 1.0 }
            }
            "dropDatabase" => {
                self.collections.clear();
                doc! { "ok": 1.0 }
            }
            "update" => self.update(&target, documents(command, "updates")),
            "createIndexes" | "endSessions" | "killCursors" | "ping" => doc! { "ok": 1.0 },
            name => refused(59, &format!("no such command: {name}")),
        })
    }

    fn hello(&self, address: SocketAddr) -> Document {
        let ours = Clock::system().now().as_micros() / 1_000;
        let mut hello = doc! {
            "helloOk": true, "isWritablePrimary": true, "ismaster": true, "readOnly": false,
            "maxBsonObjectSize": 16 << 20, "maxMessageSizeBytes": 48_000_000,
            "maxWriteBatchSize": 100_000, "minWireVersion": 0, "maxWireVersion": 21,
            "localTime": DateTime::from_millis(ours + 1_000 * self.script.ahead), "ok": 1.0,
        };
        match self.script.kind {
            Kind::ReplicaSet => {
                hello.insert("setName", "rs");
                hello.insert("hosts", vec![address.to_string()]);
                hello.insert("me", address.to_string());
            }
            Kind::Router => drop(hello.insert("msg", "isdbgrid")),
            Kind::Standalone | Kind::FerretDb => {}
        }
        hello
    }

    fn insert(&mut self, collection: &str, documents: Vec<Document>) -> Reply {
        self.inserts += 1;
        let [document] = &documents[..] else { panic!("one document at a time") };
        let often = self.script.often.filter(|_| self.inserts % 7 == 3);
        let ending = match self.script.good.checked_sub(1) {
            Some(left) => {
                self.script.good = left;
                None
            }
            None => self.script.next.pop_front().or(often),
        };
        match ending {
            Some(Ending::Cut) => return Reply::Cut,
            Some(Ending::Stalled) => return Reply::Nothing,
            Some(Ending::Refused(code)) => {
                let errors = vec![doc! { "index": 0, "code": code, "errmsg": "it was refused" }];
                return Reply::Said(doc! { "n": 0, "writeErrors": errors, "ok": 1.0 });
            }
            _ => {}
        }
        let kept = self.collections.entry(collection.to_owned()).or_default();
        let duplicate = || {
            let error = doc! { "index": 0, "code": 11_000, "errmsg": "E11000 duplicate key error" };
            Reply::Said(doc! { "n": 0, "writeErrors": vec![error], "ok": 1.0 })
        };
        if kept.iter().any(|there| there.get("_id") == document.get("_id")) {
            return duplicate();
        }
        kept.push(document.clone());
        match ending {
            Some(Ending::ReplyLost) => Reply::Cut,
            Some(Ending::StalledDone) => Reply::Nothing,
            Some(Ending::Repeated) => duplicate(),
            Some(Ending::WriteConcern) => {
                let error = doc! { "code": 64, "codeName": "WriteConcernTimeout",
                "errmsg": "waiting for replication timed out", "errInfo": {} };
                Reply::Said(doc! { "n": 1, "writeConcernError": error, "ok": 1.0 })
            }
            _ => Reply::Said(doc! { "n": 1, "ok": 1.0 }),
        }
    }

    /// Takes fields from documents.
    fn update(&mut self, collection: &str, updates: Vec<Document>) -> Document {
        let (mut found, kept) = (0, self.collections.entry(collection.to_owned()).or_default());
        for update in updates {
            let wanted = update.get_document("q").unwrap();
            let unset = update.get_document("u").unwrap().get_document("$unset").unwrap();
            assert!(update.get_bool("multi").unwrap());
            for document in kept.iter_mut().filter(|document| matches(document, wanted)) {
                unset.keys().for_each(|name| drop(document.remove(name)));
                found += 1;
            }
        }
        doc! { "n": found, "nModified": found, "ok": 1.0 }
    }

    fn find(&self, collection: &str, command: &Document, level: &str) -> Document {
        let wanted = command.get_document("filter").unwrap();
        let mut last = None;
        if let Some((stale, is_cut_off)) = self.script.stale
            && collection == "log"
        {
            if level != "linearizable" {
                last = Some(stale);
            } else if is_cut_off {
                return refused(50, "operation exceeded time limit");
            }
        }
        let is_seen =
            |document: &Document| last.is_none_or(|last| document.get_i64("_id").unwrap() <= last);
        let kept = self.collections.get(collection).map(Vec::as_slice).unwrap_or_default();
        let found = kept.iter().filter(|document| is_seen(document) && matches(document, wanted));
        let mut found: Vec<&Document> = found.collect();
        if let Ok(sort) = command.get_document("sort") {
            let (key, order) = sort.iter().next().unwrap();
            found.sort_by(|a, b| compare(a.get(key).unwrap(), b.get(key).unwrap()));
            if number(order) == Some(-1) {
                found.reverse();
            }
        }
        let limit = command.get("limit").and_then(number).map_or(0, i64::unsigned_abs);
        if limit > 0 {
            found.truncate(usize::try_from(limit).unwrap());
        }
        let fields = command.get_document("projection").ok();
        let found: Vec<Document> = found
            .into_iter()
            .map(|document| match fields {
                None => document.clone(),
                Some(fields) => {
                    let asked = |name: &str| name == "_id" || fields.contains_key(name);
                    let all = document.iter().filter(|(name, _)| asked(name));
                    all.map(|(name, value)| (name.clone(), value.clone())).collect()
                }
            })
            .collect();
        doc! { "cursor": { "firstBatch": found, "id": 0_i64, "ns": format!("db.{collection}") }, "ok": 1.0 }
    }
}

fn number(value: &Bson) -> Option<i64> {
    match value {
        Bson::Int32(number) => Some(i64::from(*number)),
        Bson::Int64(number) => Some(*number),
        _ => None,
    }
}

/// The order of values of one type.
fn compare(a: &Bson, b: &Bson) -> std::cmp::Ordering {
    match (a, b) {
        (Bson::String(a), Bson::String(b)) => a.cmp(b),
        (a, b) => number(a).unwrap().cmp(&number(b).unwrap()),
    }
}

fn matches(document: &Document, wanted: &Document) -> bool {
    wanted.iter().all(|(name, wanted)| {
        if let Bson::Document(bounds) = wanted
            && let Ok(exists) = bounds.get_bool("$exists")
        {
            return document.contains_key(name) == exists;
        }
        let Some(value) = document.get(name) else { return false };
        match wanted {
            Bson::Document(bounds) => bounds.iter().all(|(how, bound)| {
                let order = compare(value, bound);
                match how.as_str() {
                    "$gt" => order.is_gt(),
                    "$gte" => order.is_ge(),
                    "$lt" => order.is_lt(),
                    "$lte" => order.is_le(),
                    how => panic!("{how} is not known"),
                }
            }),
            wanted => match value {
                Bson::Array(all) => all.contains(wanted),
                value => value == wanted,
            },
        }
    })
}
