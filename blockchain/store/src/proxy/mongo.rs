//! MongoDB's protocol, as far as the proxy has to know it: messages (`OP_MSG`), and which command is in one.
//!
//! Every command that comes by is looked at, byte for byte as the driver sent it: writes are to ask for a majority
//! and its journals, reads for what a majority has or what is decided, and both within a time.

use std::io::{self, BufRead, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};

use mongodb::bson::{Bson, Document, doc};

use crate::mongo::scripted::{HEADER, OP_MSG, encode, parse};
use crate::proxy::{Fault, Request, Wire};

/// A message ends with a checksum.
const CHECKSUM: u32 = 1;
/// Another message follows, unasked; of a request: no reply is wanted.
const MORE_TO_COME: u32 = 1 << 1;

/// The protocol.
#[derive(Clone, Copy)]
pub(crate) struct MongoWire;

/// Reads a message; `None` at the end of the connection.
fn message(from: &mut dyn BufRead) -> io::Result<Option<Vec<u8>>> {
    if from.fill_buf()?.is_empty() {
        return Ok(None);
    }
    let mut bytes = vec![0; HEADER];
    from.read_exact(&mut bytes)?;
    let length = usize::try_from(word(&bytes, 0)).unwrap();
    bytes.resize(length, 0);
    from.read_exact(&mut bytes[HEADER..])?;
    Ok(Some(bytes))
}

fn word(message: &[u8], at: usize) -> i32 {
    i32::from_le_bytes(message[at..at + 4].try_into().unwrap())
}

fn flags(message: &[u8]) -> u32 {
    match word(message, 12) {
        OP_MSG => word(message, HEADER).cast_unsigned(),
        _ => 0,
    }
}

/// The command or the answer in a message.
fn document(message: &[u8]) -> Document {
    assert_eq!(word(message, 12), OP_MSG, "a driver of today sends no other messages");
    let end = message.len() - if flags(message) & CHECKSUM == 0 { 0 } else { 4 };
    parse(&message[HEADER..end])
}

/// Whether an update does nothing but take fields from what is there: what it does twice is done once.
fn only_takes_fields(command: &Document) -> bool {
    let Ok(updates) = command.get_array("updates") else { return false };
    updates.iter().all(|update| {
        let change = update.as_document().and_then(|update| update.get_document("u").ok());
        change.is_some_and(|change| change.keys().all(|name| name == "$unset"))
    })
}

/// What a command may not say, if it says that.
fn wrong(name: &str, command: &Document) -> Option<String> {
    let lacks = |what: &str| Some(format!("{name} is sent without {what}: {command}"));
    if command.get_str("$db").is_err() {
        return lacks("a database");
    }
    match name {
        "update" if !only_takes_fields(command) => {
            Some(format!("{name} does more than to take fields: {command}"))
        }
        "insert" | "update" | "delete" | "createIndexes" => {
            let concern = command.get_document("writeConcern").ok();
            let Some(concern) = concern else { return lacks("a write concern") };
            let is_right = concern.get_str("w").is_ok_and(|w| w == "majority")
                && concern.get_bool("j").is_ok_and(|j| j)
                && milliseconds(concern, "wtimeout");
            if is_right { None } else { lacks("{w: majority, j: true, wtimeout}") }
        }
        "find" => {
            let preference = command.get_document("$readPreference").ok();
            let preference = preference.and_then(|preference| preference.get_str("mode").ok());
            match (level(command), preference) {
                // To a server that it was told to take as it is, a driver says that it may be no primary.
                (_, Some(mode)) if !matches!(mode, "primary" | "primaryPreferred") => {
                    lacks("the primary's being asked")
                }
                ("majority", _) => None,
                ("linearizable", _) if milliseconds(command, "maxTimeMS") => None,
                ("linearizable", _) => lacks("a limit, and may wait for ever"),
                _ => lacks("{level: majority} or {level: linearizable}"),
            }
        }
        "getMore" | "killCursors" | "endSessions" | "dropDatabase" | "hello" | "isMaster"
        | "ismaster" | "buildInfo" | "ping" | "saslStart" | "saslContinue" => None,
        _ => Some(format!("{name} is no command that anything rests on")),
    }
}

/// Whether a time is there, and not for ever.
fn milliseconds(document: &Document, name: &str) -> bool {
    match document.get(name) {
        Some(Bson::Int32(time)) => *time > 0,
        Some(Bson::Int64(time)) => *time > 0,
        _ => false,
    }
}

fn level(command: &Document) -> &str {
    let concern = command.get_document("readConcern").ok();
    concern.and_then(|concern| concern.get_str("level").ok()).unwrap_or_default()
}

/// The same for commands that ask for the same.
fn key(name: &str, target: &str, command: &Document) -> String {
    let inserted = command.get_array("documents").ok().and_then(|all| all.first()?.as_document());
    let what = match inserted {
        Some(document) => format!("{:?} {:?}", document.get("_id"), document.get("nonce")),
        None => format!("{:?} {:?}", command.get("filter"), command.get("sort")),
    };
    format!("{name} {target} {} {what}", level(command))
}

impl Wire for MongoWire {
    fn request(&self, from: &mut dyn BufRead) -> io::Result<Option<Request>> {
        let Some(bytes) = message(from)? else { return Ok(None) };
        let command = document(&bytes);
        let (name, target) = command.iter().next().unwrap();
        let (name, target) = (name.clone(), target.as_str().unwrap_or_default().to_owned());
        let how = match command.get_document("writeConcern") {
            Ok(concern) => concern.to_string(),
            Err(_) => level(&command).to_owned(),
        };
        let is_work =
            ["insert", "find", "delete", "getMore", "createIndexes"].contains(&name.as_str());
        let is_answered = flags(&bytes) & MORE_TO_COME == 0;
        let mut wrong = wrong(&name, &command);
        if !is_answered && is_work {
            wrong = Some(format!("{name} is sent without a reply being waited for"));
        }
        let key = key(&name, &target, &command);
        Ok(Some(Request { bytes, name, target, key, how, wrong, is_work, is_answered }))
    }

    fn reply(&self, _: &Request, from: &mut dyn BufRead) -> io::Result<Vec<u8>> {
        message(from)?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn goes_on(&self, reply: &[u8]) -> bool {
        !reply.is_empty() && flags(reply) & MORE_TO_COME != 0
    }

    fn suits(&self, fault: Fault, request: &Request) -> bool {
        match fault {
            Fault::Duplicate | Fault::DuplicateOfNothing | Fault::ConcernErrorDropped => {
                request.name == "insert"
            }
            // A read that is never answered costs as much as a write, and tells less.
            Fault::Stalled | Fault::StalledDone | Fault::Late | Fault::Held => {
                request.name == "insert"
            }
            Fault::SlowDown | Fault::NotFound => false,
            // A cursor knows how far it was read.
            Fault::Repeated | Fault::RepeatedLater => request.name != "getMore",
            _ => true,
        }
    }

    fn lie(&self, fault: Fault, to: &Request, reply: Option<Vec<u8>>) -> Vec<u8> {
        let said = match (fault, reply) {
            (Fault::ConcernErrorDropped, Some(reply)) => {
                let mut said = document(&reply);
                said.remove("writeConcernError");
                said
            }
            _ => {
                let error =
                    doc! { "index": 0, "code": 11_000, "errmsg": "E11000 duplicate key error" };
                doc! { "n": 0, "writeErrors": vec![error], "ok": 1.0 }
            }
        };
        encode(&said, word(&to.bytes, 4))
    }
}

/// Where the primary is of those of whom this is one.
pub(crate) fn primary_of(host: &str) -> SocketAddr {
    let with_port = if host.contains(':') { host.to_owned() } else { format!("{host}:27017") };
    let ask = || -> io::Result<Document> {
        let mut stream = TcpStream::connect(&with_port)?;
        stream.write_all(&encode(&doc! { "hello": 1, "$db": "admin" }, 0))?;
        let reply = message(&mut io::BufReader::new(stream))?;
        Ok(document(&reply.ok_or(io::ErrorKind::UnexpectedEof)?))
    };
    let hello = ask().unwrap();
    let primary = hello.get_str("primary").unwrap_or(&with_port);
    primary.to_socket_addrs().unwrap().next().unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What looks at every command must see what is wrong with one.
    #[test]
    fn a_command_without_its_concern_is_noticed() {
        let write = doc! { "w": "majority", "j": true, "wtimeout": 60_000 };
        let insert =
            |concern: Document| doc! { "insert": "log", "$db": "db", "writeConcern": concern };
        assert_eq!(wrong("insert", &insert(write.clone())), None);
        let mut unsaid = insert(write.clone());
        unsaid.remove("writeConcern");
        assert!(wrong("insert", &unsaid).is_some());
        for (name, value) in [
            ("w", Bson::Int32(1)),
            ("w", Bson::Int32(0)),
            ("j", Bson::Boolean(false)),
            ("j", Bson::Null),
            ("wtimeout", Bson::Int32(0)),
            ("wtimeout", Bson::Null),
        ] {
            let mut weaker = write.clone();
            weaker.insert(name, value.clone());
            assert!(wrong("insert", &insert(weaker)).is_some(), "{name}: {value}");
        }
        let find = |level: &str, time: i32| {
            let concern = doc! { "level": level };
            doc! { "find": "log", "$db": "db", "readConcern": concern, "maxTimeMS": time }
        };
        for (level, time, is_right) in [
            ("majority", 0, true),
            ("linearizable", 1, true),
            ("linearizable", 0, false),
            ("local", 1, false),
            ("available", 1, false),
            ("snapshot", 1, false),
        ] {
            assert_eq!(wrong("find", &find(level, time)).is_none(), is_right, "{level} {time}");
        }
        assert!(wrong("find", &doc! { "find": "log", "$db": "db" }).is_some());
        let mut elsewhere = find("majority", 1);
        elsewhere.insert("$readPreference", doc! { "mode": "secondaryPreferred" });
        assert!(wrong("find", &elsewhere).is_some());
        for name in ["update", "findAndModify", "commitTransaction", "aggregate"] {
            assert!(wrong(name, &doc! { name: "log", "$db": "db" }).is_some(), "{name}");
        }
    }
}
