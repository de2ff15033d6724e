//! Very many documents in one store: taking the blocks of a chain in, storing sessions, and querying all of them,
//! beside SQLite over the same texts.
//!
//! Both are asked in this process, with 32 MiB of cache each. SQLite has an index for each filter that is
//! asked (filter, time), and keeps its texts as they are; the store compresses and encrypts them.

use std::cell::RefCell;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use lucid_core::block::{Block, Parent};
use lucid_core::record::{BlockRecord, Head};
use lucid_core::sign::SigningKey;
use lucid_core::time::Timestamp;
use lucid_core::transaction::Transaction;
use lucid_data_chain::chain::{Chain, ChainError};
use lucid_data_chain::document::DocumentKind;
use lucid_data_chain::ops::documents::filter::Filter;
use lucid_data_chain::ops::documents::query_documents::{
    DocumentQuery, OFFSET_MAX, PAGE_BYTES_MAX, query_documents,
};
use lucid_data_chain::ops::documents::store_document::store_document;
use lucid_data_chain::ops::documents::sync_documents::{ChainPins, SyncWatch, sync_documents};
use lucid_data_chain::ops::sight::Sight;
use lucid_store::vault::Vault;
use parking_lot::Mutex;
use rusqlite::{Connection, params, params_from_iter};
use serde_json::{Map, Value, json};

use crate::scale::{BEGAN, memory, open};

/// Transactions of a block, and for each session.
const PER_BLOCK: u64 = 100;
const PER_SESSION: u64 = 10;
const TYPES: [&str; 5] =
    ["session_anchor", "data_storage", "consensus_vote", "session_tombstone", "metadata_update"];
const STATUSES: [&str; 4] = ["active", "completed", "failed", "archived"];
/// Documents of a page.
const PAGE: usize = 20;
/// Drawn queries of each filter.
const DRAWS: u64 = 1_000;
/// Threads that store sessions.
const STORING: u64 = 32;
/// Rows that SQLite is given in one transaction.
const SQLITE_BATCH: u64 = 10_000;

/// A number that follows from another one, and looks drawn.
fn drawn(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn pick<'a>(from: &[&'a str], number: u64) -> &'a str {
    from.get((number % from.len() as u64) as usize).copied().unwrap_or_default()
}

/// A transaction, by its number: what can be asked for, and its text.
struct Sent {
    id: String,
    kind: &'static str,
    session: String,
    at: Timestamp,
    text: String,
}

fn moment(number: u64) -> Timestamp {
    BEGAN.plus_seconds(number as i64)
}

fn transaction(number: u64, all: u64) -> Sent {
    let draw = drawn(number);
    let kind = pick(&TYPES, draw);
    let session = format!("session-{}", (draw >> 8) % (all / PER_SESSION).max(1));
    let (id, at) = (format!("transaction-{number}"), moment(number));
    let text = format!(
        r#"{{"id":"{id}","type":"{kind}","session_id":"{session}","timestamp":"{at}","data":{{"root":"{draw:064x}","size":{}}}}}"#,
        draw % 1_000_000
    );
    Sent { id, kind, session, at, text }
}

/// A session's document, by its number.
struct Described {
    id: String,
    status: &'static str,
    user: String,
    case: String,
    at: Timestamp,
    text: String,
}

fn session(number: u64, all: u64) -> Described {
    let draw = drawn(!number);
    let (status, user) =
        (pick(&STATUSES, draw), format!("user-{}", (draw >> 8) % (all / 50).max(1)));
    let case = format!("case-{}", (draw >> 16) % (all / 20).max(1));
    let (id, at) = (format!("session-{number}"), moment(number * PER_SESSION));
    let text = format!(
        r#"{{"id":"{id}","timestamp":"{at}","status":"{status}","user_id":"{user}","metadata":{{"case":"{case}","host":"host-{}"}}}}"#,
        draw % 100
    );
    Described { id, status, user, case, at, text }
}

/// A chain that is made while it is read, once from the front to the back.
struct Made {
    blocks: u64,
    all: u64,
    key: SigningKey,
    last: Mutex<Option<Parent>>,
    run: Mutex<Vec<Block>>,
    took: Mutex<Duration>,
}

impl Chain for Made {
    fn name(&self) -> &str {
        "a chain that is made"
    }

    fn height(&self) -> Result<Option<u64>, ChainError> {
        Ok(self.blocks.checked_sub(1))
    }

    fn heads(&self, from: u64, limit: u32) -> Result<Vec<Head>, ChainError> {
        let unreadable = |error: &dyn std::fmt::Display| ChainError::Unreadable(error.to_string());
        let began = Instant::now();
        let (mut run, mut last) = (self.run.lock(), self.last.lock());
        // The head of a block that was taken is asked for once more.
        if run.iter().all(|block| block.index != from) {
            run.clear();
            for height in from..self.blocks.min(from + u64::from(limit)) {
                let transactions = (height * PER_BLOCK..(height + 1) * PER_BLOCK)
                    .map(|number| Transaction::parse(transaction(number, self.all).text.as_bytes()))
                    .collect::<Result<Vec<_>, _>>()
                    .map_err(|error| unreadable(&error))?;
                let now = moment((height + 1) * PER_BLOCK);
                let block = Block::build(last.as_ref(), transactions, now, &self.key);
                *last = Some(block.as_parent().map_err(|error| unreadable(&error))?);
                run.push(block);
            }
        }
        let from_there = run.iter().filter(|block| block.index >= from).take(limit as usize);
        let heads = from_there.map(|block| Head::of(&BlockRecord::of(block))).collect();
        *self.took.lock() += began.elapsed();
        Ok(heads)
    }

    fn bodies(&self, from: u64, limit: u32) -> Result<Vec<Vec<Transaction>>, ChainError> {
        let began = Instant::now();
        let run = self.run.lock();
        let run = run.iter().filter(|block| block.index >= from).take(limit as usize);
        let bodies = run.map(|block| block.transactions.clone()).collect();
        *self.took.lock() += began.elapsed();
        Ok(bodies)
    }
}

/// Ten thousand, hundred thousand and so on up to `most`: at each, what was taken in since and how all of it
/// is queried. Prints a line each.
pub fn measure(scratch: &Path, least: u64, most: u64, alone: bool) -> anyhow::Result<Value> {
    anyhow::ensure!(!scratch.exists(), "{} is there already", scratch.display());
    let opened = open(scratch)?;
    let sqlite = Sqlite::make(&scratch.join("sqlite.db"))?;
    let key = SigningKey::from_seed([7; 32]);
    let chain = Made {
        blocks: 0,
        all: most,
        key,
        last: Mutex::default(),
        run: Mutex::default(),
        took: Mutex::default(),
    };
    let (mut chain, mut before, mut until) = (chain, 0, least);
    loop {
        chain.blocks = until / PER_BLOCK;
        let mut row = Map::new();
        row.insert("transactions".into(), json!(until));
        take_in(&opened.vault, &chain, &mut row, before..until)?;
        row.insert("memory_loading_mib".into(), json!(memory("VmHWM")?));
        if !alone {
            let rate = sqlite.fill(before..until, most)?;
            row.insert("sqlite_rows_per_second".into(), json!(rate));
            row.insert("queries".into(), asked(&opened.vault, &sqlite, until, most)?);
        }
        println!("{}", Value::Object(row));
        if until >= most {
            break;
        }
        (before, until) = (until, until * 10);
    }
    opened.close()?;
    Ok(json!({ "transactions": most, "store": "closed" }))
}

/// Opens the store that [`measure`] made, in a process of its own, and asks it alone: what that takes of memory.
pub fn ask(scratch: &Path, most: u64) -> anyhow::Result<Value> {
    let began = Instant::now();
    let opened = open(scratch)?;
    let (start, open) = (began.elapsed().as_secs_f64(), memory("VmRSS")?);
    for filter in &FILTERS {
        for number in 0..DRAWS {
            let asked = (filter.draw)(drawn(number ^ 0xaaaa), most, most);
            query_documents(&opened.vault, &asked.query()?)?;
        }
    }
    let asking = memory("VmHWM")?;
    opened.close()?;
    Ok(json!({
        "transactions": most, "start_seconds": start, "memory_open_mib": open,
        "memory_asking_mib": asking,
    }))
}

/// Takes transactions in with their blocks, and a session's document for every ten of them.
fn take_in(
    vault: &Vault,
    chain: &Made,
    row: &mut Map<String, Value>,
    numbers: std::ops::Range<u64>,
) -> anyhow::Result<()> {
    let transactions = numbers.end - numbers.start;
    *chain.took.lock() = Duration::ZERO;
    let began = Instant::now();
    let watch = SyncWatch { heard: &|_| {}, go_on: &|| true };
    let now = moment(chain.all + PER_BLOCK);
    while sync_documents(vault, chain, &ChainPins::default(), now, &watch)?.local
        != chain.height()?
    {}
    let took = began.elapsed().saturating_sub(*chain.took.lock());
    // A block is an item, too.
    let items = transactions + transactions / PER_BLOCK;
    row.insert("items_per_second".into(), json!((items as f64 / took.as_secs_f64()).round()));
    let sessions = numbers.start / PER_SESSION..numbers.end / PER_SESSION;
    let began = Instant::now();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..STORING)
            .map(|thread| {
                let mine = sessions.clone().filter(move |number| number % STORING == thread);
                scope.spawn(move || -> anyhow::Result<()> {
                    for number in mine {
                        let text = session(number, chain.all / PER_SESSION).text;
                        store_document(vault, now, DocumentKind::Session, &text)?;
                    }
                    Ok(())
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| match thread.join() {
            Ok(stored) => stored,
            Err(_) => anyhow::bail!("a thread that stores sessions panicked"),
        })
    })?;
    let rate = (sessions.end - sessions.start) as f64 / began.elapsed().as_secs_f64();
    row.insert("sessions_stored_per_second".into(), json!(rate.round()));
    Ok(())
}

/// A query in the words of both.
struct Asked {
    kind: DocumentKind,
    words: Vec<(&'static str, String)>,
    sql: &'static str,
    values: Vec<rusqlite::types::Value>,
}

/// A filter that is drawn again and again.
struct Drawn {
    name: &'static str,
    /// Whether it has pages far behind.
    is_wide: bool,
    draw: fn(u64, u64, u64) -> Asked,
}

const PICK: &str = "SELECT text FROM";
const BLOCK: DocumentKind = DocumentKind::Block;
const TRANSACTION: DocumentKind = DocumentKind::Transaction;
const SESSION: DocumentKind = DocumentKind::Session;

fn micros(at: Timestamp) -> rusqlite::types::Value {
    at.as_micros().into()
}

/// A thousandth of all times, and where in `numbers` it begins.
fn span(draw: u64, numbers: u64) -> (Timestamp, Timestamp) {
    let from = draw % numbers;
    (moment(from), moment(from + numbers / 1_000))
}

/// Every documented filter alone, and the pairs with times. Each is given a drawn number, how many transactions there
/// are, and how many there are to be.
const FILTERS: [Drawn; 14] = [
    Drawn {
        name: "transaction type",
        is_wide: true,
        draw: |draw, _, _| {
            let kind = pick(&TYPES, draw);
            Asked {
                kind: TRANSACTION,
                words: vec![("type", kind.into())],
                sql: "transactions WHERE type = ?1 ORDER BY ts DESC, id DESC",
                values: vec![kind.to_owned().into()],
            }
        },
    },
    Drawn {
        name: "transaction session",
        is_wide: false,
        draw: |draw, numbers, all| {
            let session = transaction(draw % numbers, all).session;
            Asked {
                kind: TRANSACTION,
                words: vec![("session_id", session.clone())],
                sql: "transactions WHERE session_id = ?1 ORDER BY ts DESC, id DESC",
                values: vec![session.into()],
            }
        },
    },
    Drawn {
        name: "transaction time",
        is_wide: true,
        draw: |draw, numbers, _| {
            let (from, to) = span(draw, numbers);
            Asked {
                kind: TRANSACTION,
                words: vec![("timestamp_from", from.to_string()), ("timestamp_to", to.to_string())],
                sql: "transactions WHERE ts BETWEEN ?1 AND ?2 ORDER BY ts DESC, id DESC",
                values: vec![micros(from), micros(to)],
            }
        },
    },
    Drawn {
        name: "transaction type, time",
        is_wide: true,
        draw: |draw, numbers, _| {
            let ((from, to), kind) = (span(draw, numbers), pick(&TYPES, draw >> 40));
            Asked {
                kind: TRANSACTION,
                words: vec![
                    ("type", kind.into()),
                    ("timestamp_from", from.to_string()),
                    ("timestamp_to", to.to_string()),
                ],
                sql: "transactions WHERE type = ?1 AND ts BETWEEN ?2 AND ?3 ORDER BY ts DESC, id DESC",
                values: vec![kind.to_owned().into(), micros(from), micros(to)],
            }
        },
    },
    Drawn {
        name: "transaction session, time",
        is_wide: false,
        draw: |draw, numbers, all| {
            let session = transaction(draw % numbers, all).session;
            let (from, to) = (moment(numbers / 4), moment(numbers));
            Asked {
                kind: TRANSACTION,
                words: vec![
                    ("session_id", session.clone()),
                    ("timestamp_from", from.to_string()),
                    ("timestamp_to", to.to_string()),
                ],
                sql: "transactions WHERE session_id = ?1 AND ts BETWEEN ?2 AND ?3 ORDER BY ts DESC, id DESC",
                values: vec![session.into(), micros(from), micros(to)],
            }
        },
    },
    Drawn {
        name: "block index",
        is_wide: true,
        draw: |draw, numbers, _| {
            let from = draw % (numbers / PER_BLOCK);
            let to = from + numbers / PER_BLOCK / 100;
            Asked {
                kind: BLOCK,
                words: vec![("index_from", from.to_string()), ("index_to", to.to_string())],
                sql: "blocks WHERE number BETWEEN ?1 AND ?2 ORDER BY number DESC",
                values: vec![(from as i64).into(), (to as i64).into()],
            }
        },
    },
    Drawn {
        name: "block time",
        is_wide: true,
        draw: |draw, numbers, _| {
            let (from, to) = span(draw, numbers);
            Asked {
                kind: BLOCK,
                words: vec![("timestamp_from", from.to_string()), ("timestamp_to", to.to_string())],
                sql: "blocks WHERE ts BETWEEN ?1 AND ?2 ORDER BY ts DESC",
                values: vec![micros(from), micros(to)],
            }
        },
    },
    Drawn {
        name: "session status",
        is_wide: true,
        draw: |draw, _, _| {
            let status = pick(&STATUSES, draw);
            Asked {
                kind: SESSION,
                words: vec![("status", status.into())],
                sql: "sessions WHERE status = ?1 ORDER BY ts DESC, id DESC",
                values: vec![status.to_owned().into()],
            }
        },
    },
    Drawn {
        name: "session user",
        is_wide: false,
        draw: |draw, numbers, all| {
            let user = session(draw % (numbers / PER_SESSION), all / PER_SESSION).user;
            Asked {
                kind: SESSION,
                words: vec![("user_id", user.clone())],
                sql: "sessions WHERE user_id = ?1 ORDER BY ts DESC, id DESC",
                values: vec![user.into()],
            }
        },
    },
    Drawn {
        name: "session metadata",
        is_wide: false,
        draw: |draw, numbers, all| {
            let case = session(draw % (numbers / PER_SESSION), all / PER_SESSION).case;
            Asked {
                kind: SESSION,
                words: vec![("metadata.case", case.clone())],
                sql: "sessions WHERE case_id = ?1 ORDER BY ts DESC, id DESC",
                values: vec![case.into()],
            }
        },
    },
    Drawn {
        name: "session time",
        is_wide: true,
        draw: |draw, numbers, _| {
            let (from, to) = span(draw, numbers);
            Asked {
                kind: SESSION,
                words: vec![("timestamp_from", from.to_string()), ("timestamp_to", to.to_string())],
                sql: "sessions WHERE ts BETWEEN ?1 AND ?2 ORDER BY ts DESC, id DESC",
                values: vec![micros(from), micros(to)],
            }
        },
    },
    Drawn {
        name: "session status, time",
        is_wide: true,
        draw: |draw, numbers, _| {
            let ((from, to), status) = (span(draw, numbers), pick(&STATUSES, draw >> 40));
            Asked {
                kind: SESSION,
                words: vec![
                    ("status", status.into()),
                    ("timestamp_from", from.to_string()),
                    ("timestamp_to", to.to_string()),
                ],
                sql: "sessions WHERE status = ?1 AND ts BETWEEN ?2 AND ?3 ORDER BY ts DESC, id DESC",
                values: vec![status.to_owned().into(), micros(from), micros(to)],
            }
        },
    },
    Drawn {
        name: "session user, time",
        is_wide: false,
        draw: |draw, numbers, all| {
            let user = session(draw % (numbers / PER_SESSION), all / PER_SESSION).user;
            let (from, to) = (moment(numbers / 4), moment(numbers));
            Asked {
                kind: SESSION,
                words: vec![
                    ("user_id", user.clone()),
                    ("timestamp_from", from.to_string()),
                    ("timestamp_to", to.to_string()),
                ],
                sql: "sessions WHERE user_id = ?1 AND ts BETWEEN ?2 AND ?3 ORDER BY ts DESC, id DESC",
                values: vec![user.into(), micros(from), micros(to)],
            }
        },
    },
    Drawn {
        name: "session active at",
        is_wide: false,
        draw: |draw, numbers, all| {
            let drawn = session(draw % (numbers / PER_SESSION), all / PER_SESSION);
            let at = drawn.at.plus_seconds(5);
            Asked {
                kind: SESSION,
                words: vec![("user_id", drawn.user.clone()), ("active_at", at.to_string())],
                sql: "sessions WHERE user_id = ?1 AND ts <= ?2 AND (ended IS NULL OR ended >= ?2) ORDER BY ts DESC, id DESC",
                values: vec![drawn.user.into(), micros(at)],
            }
        },
    },
];

impl Asked {
    fn query(&self) -> anyhow::Result<DocumentQuery> {
        let mut filter = Filter::default();
        for (name, value) in &self.words {
            filter.set_parameter(self.kind, name, value)?;
        }
        Ok(DocumentQuery {
            kind: self.kind,
            filter,
            limit: PAGE,
            offset: 0,
            bytes_max: PAGE_BYTES_MAX,
            cursor: None,
            descending: true,
            total: false,
            quiet_since: BEGAN,
            sight: Sight::everything(),
        })
    }
}

/// How long each drawn query took, of both.
fn asked(vault: &Vault, sqlite: &Sqlite, numbers: u64, all: u64) -> anyhow::Result<Value> {
    let mut found = Map::new();
    for filter in &FILTERS {
        let (mut first, mut far, mut beside, mut rows) = (vec![], vec![], vec![], 0_usize);
        for number in 0..DRAWS {
            let asked = (filter.draw)(drawn(number ^ 0x5555), numbers, all);
            let query = asked.query()?;
            let began = Instant::now();
            let page = query_documents(vault, &query)?;
            first.push(began.elapsed());
            let began = Instant::now();
            let theirs = sqlite.page(&asked)?;
            beside.push(began.elapsed());
            rows += theirs;
            anyhow::ensure!(
                page.documents.len() == theirs,
                "{}: {} documents and {theirs} rows of {:?}",
                filter.name,
                page.documents.len(),
                asked.words
            );
            if filter.is_wide && number < DRAWS / 10 {
                far.extend(page_far_behind(vault, query)?);
            }
        }
        found.insert(
            filter.name.into(),
            json!({
                "p50_us": at(&mut first, 50), "p99_us": at(&mut first, 99),
                "far_p99_us": if far.is_empty() { Value::Null } else { json!(at(&mut far, 99)) },
                "sqlite_p50_us": at(&mut beside, 50), "sqlite_p99_us": at(&mut beside, 99),
                "rows": rows as f64 / DRAWS as f64,
            }),
        );
    }
    Ok(Value::Object(found))
}

/// How long a page took that is asked for by its cursor, as far behind as there are pages.
fn page_far_behind(vault: &Vault, query: DocumentQuery) -> anyhow::Result<Option<Duration>> {
    let mut deep = DocumentQuery { offset: OFFSET_MAX, ..query };
    while deep.offset > 0 {
        if let Some(cursor) = query_documents(vault, &deep)?.next {
            let next = DocumentQuery { cursor: Some(cursor), offset: 0, ..deep };
            let began = Instant::now();
            query_documents(vault, &next)?;
            return Ok(Some(began.elapsed()));
        }
        deep.offset /= 4;
    }
    Ok(None)
}

fn at(took: &mut [Duration], share: usize) -> u64 {
    took.sort_unstable();
    took.get(took.len() * share / 100).map_or(0, |took| took.as_micros() as u64)
}

/// The same texts in SQLite.
struct Sqlite {
    connection: RefCell<Connection>,
}

impl Sqlite {
    fn make(path: &Path) -> anyhow::Result<Self> {
        let connection = Connection::open(path)?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -32768;
             CREATE TABLE blocks (number INTEGER PRIMARY KEY, hash TEXT UNIQUE, ts INTEGER, text TEXT);
             CREATE INDEX blocks_ts ON blocks (ts);
             CREATE TABLE transactions (id TEXT PRIMARY KEY, type TEXT, session_id TEXT, ts INTEGER, text TEXT);
             CREATE INDEX transactions_ts ON transactions (ts, id);
             CREATE INDEX transactions_type ON transactions (type, ts, id);
             CREATE INDEX transactions_session ON transactions (session_id, ts, id);
             CREATE TABLE sessions (id TEXT PRIMARY KEY, status TEXT, user_id TEXT, case_id TEXT, ts INTEGER, ended INTEGER, text TEXT);
             CREATE INDEX sessions_ts ON sessions (ts, id);
             CREATE INDEX sessions_status ON sessions (status, ts, id);
             CREATE INDEX sessions_user ON sessions (user_id, ts, id);
             CREATE INDEX sessions_case ON sessions (case_id, ts, id);",
        )?;
        Ok(Self { connection: RefCell::new(connection) })
    }

    /// Fills it with the same; rows a second.
    fn fill(&self, numbers: std::ops::Range<u64>, all: u64) -> anyhow::Result<f64> {
        let mut connection = self.connection.borrow_mut();
        let (mut took, mut rows) = (Duration::ZERO, 0_u64);
        let mut from = numbers.start;
        while from < numbers.end {
            let to = numbers.end.min(from + SQLITE_BATCH);
            let sent: Vec<Sent> = (from..to).map(|number| transaction(number, all)).collect();
            let (first, last) = (from / PER_SESSION, to / PER_SESSION);
            let described: Vec<Described> =
                (first..last).map(|number| session(number, all / PER_SESSION)).collect();
            let began = Instant::now();
            let together = connection.transaction()?;
            {
                let mut block =
                    together.prepare_cached("INSERT INTO blocks VALUES (?1, ?2, ?3, ?4)")?;
                for height in from / PER_BLOCK..to / PER_BLOCK {
                    let at = moment((height + 1) * PER_BLOCK).as_micros();
                    let start = usize::try_from((height * PER_BLOCK) - from)?;
                    let texts = sent.get(start..start + PER_BLOCK as usize).context("a block")?;
                    let text: Vec<&str> = texts.iter().map(|sent| sent.text.as_str()).collect();
                    let hash = format!("{:064x}", drawn(height));
                    block.execute(params![height as i64, hash, at, text.join(",")])?;
                }
                let mut insert = together
                    .prepare_cached("INSERT INTO transactions VALUES (?1, ?2, ?3, ?4, ?5)")?;
                for sent in &sent {
                    let at = sent.at.as_micros();
                    insert.execute(params![sent.id, sent.kind, sent.session, at, sent.text])?;
                }
                let mut insert = together
                    .prepare_cached("INSERT INTO sessions VALUES (?1, ?2, ?3, ?4, ?5, NULL, ?6)")?;
                for said in &described {
                    let at = said.at.as_micros();
                    let values = params![said.id, said.status, said.user, said.case, at, said.text];
                    insert.execute(values)?;
                }
            }
            together.commit()?;
            took += began.elapsed();
            rows += to - from + (to - from) / PER_BLOCK + (last - first);
            from = to;
        }
        Ok((rows as f64 / took.as_secs_f64()).round())
    }

    /// How many rows a page has; all of their texts are read.
    fn page(&self, asked: &Asked) -> anyhow::Result<usize> {
        let connection = self.connection.borrow();
        let sql = format!("{PICK} {} LIMIT {PAGE}", asked.sql);
        let mut statement = connection.prepare_cached(&sql)?;
        let texts =
            statement.query_map(params_from_iter(&asked.values), |row| row.get::<_, String>(0))?;
        Ok(texts.collect::<Result<Vec<_>, _>>()?.len())
    }
}
