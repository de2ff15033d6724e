//! The queue of the index: items that are not stored are queued, and entries are made of them.
//!
//! What is stored is in the index when that is acknowledged, and needs no queue. An item is durable when it is
//! queued, and leaves the queue with its entries in one commit; indexing it again makes the same entries. One
//! of which none can be made is laid aside with the reason, and can be tried again.

use lucid_core::json::{Json, JsonFault};
use lucid_core::limits::BLOCK_TRANSACTIONS_MAX;
use lucid_core::time::Timestamp;
use lucid_core::words::many;
use lucid_store::codec::Packer;
use lucid_store::vault::Vault;
use lucid_store::vault::committer::Submission;

use super::get_document::{Listed, find_listed};
use crate::document::{DocumentKind, Facets};
use crate::fact::{Fact, Indexing};
use crate::ops::OpError;
use crate::ops::look_again::look_again;
use crate::row::documents::{DocumentName, session_facets};
use crate::row::indexing::{IndexingCounts, ItemRow, entry_key};

/// Items that wait at most; more are refused until some are indexed.
pub const QUEUED_MAX: u64 = 100_000;
/// Items in one request.
pub const ITEMS_MAX: usize = 10_000;
/// Bytes of items that are queued, or indexed, in one commit.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// An item that is to be indexed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// What it is about.
    pub kind: DocumentKind,
    /// What it says, as canonical JSON.
    pub text: String,
}

/// Why items are not queued.
#[derive(Debug, thiserror::Error)]
pub enum ItemFault {
    /// They are no JSON that is taken.
    #[error(transparent)]
    Json(#[from] JsonFault),
    /// An item says what it is about in no known word.
    #[error("Unknown item type: {0}")]
    Kind(String),
    /// An item lacks something, or there are too many.
    #[error("{0}")]
    Invalid(String),
}

impl Item {
    /// Reads one item, or a list of them. What an item is about is its `type`; what it says stands beside that,
    /// or, since a transaction has a type of its own, alone under `data`.
    pub fn read_all(text: &str) -> Result<Vec<Self>, ItemFault> {
        let items = match Json::parse(text.as_bytes())? {
            Json::List(items) => items,
            item => vec![item],
        };
        if items.len() > ITEMS_MAX {
            let sentence = format!("{} are over {ITEMS_MAX}: send fewer at once", items.len());
            return Err(ItemFault::Invalid(sentence));
        }
        items.into_iter().enumerate().map(|(n, item)| Self::read(n, &item)).collect()
    }

    fn read(position: usize, item: &Json) -> Result<Self, ItemFault> {
        let invalid = |what: &str| ItemFault::Invalid(format!("item {position} {what}"));
        let members = item.as_object().ok_or_else(|| invalid("is no JSON object"))?;
        let named = match item.get("type") {
            Some(Json::Text(name)) => name.as_str(),
            Some(other) => {
                return Err(ItemFault::Kind(other.canonical().chars().take(60).collect()));
            }
            None => return Err(invalid("has no type: block, transaction and session are known")),
        };
        let kind = DocumentKind::ALL.into_iter().find(|kind| kind.as_str() == named);
        let kind = kind.ok_or_else(|| ItemFault::Kind(named.chars().take(60).collect()))?;
        let enveloped =
            item.get("data").filter(|data| members.len() == 2 && data.as_object().is_some());
        let said = match enveloped {
            Some(data) => data.clone(),
            // Beside what it says, `type` names what it is about; its own is `tx_type`.
            None => {
                let own = item.get("tx_type").cloned();
                let own = own.filter(|_| kind == DocumentKind::Transaction);
                let others = members.iter().filter(|(name, _)| name != "type").cloned();
                Json::object(others.chain(own.map(|own| ("type".to_owned(), own))))
            }
        };
        if id_of(kind, &said).is_none() {
            return Err(invalid("has no id"));
        }
        Ok(Self { kind, text: said.canonical() })
    }
}

fn id_of(kind: DocumentKind, said: &Json) -> Option<&str> {
    let names: &[&str] = match kind {
        DocumentKind::Block => &["id", "hash"],
        DocumentKind::Transaction => &["id"],
        DocumentKind::Session => &["id", "session_id"],
    };
    let ids = names.iter().filter_map(|name| said.get(name).and_then(Json::as_text));
    ids.into_iter().find(|id| !id.is_empty() && id.len() <= crate::document::ID_BYTES_MAX)
}

/// Queues items. How many wait then.
pub fn queue_items(vault: &Vault, now: Timestamp, items: &[Item]) -> Result<u64, OpError> {
    look_again(|| {
        let look = vault.look();
        let counts = IndexingCounts::find(&look)?;
        let waiting = counts.queued + items.len() as u64;
        if waiting > QUEUED_MAX {
            let waiting = many(counts.queued as usize, "item");
            return Err(OpError::Busy(format!(
                "{waiting} wait to be indexed, and {QUEUED_MAX} may: send them again later"
            )));
        }
        let mut facts = Vec::new();
        let mut packer = Packer::new();
        let mut batch = Vec::new();
        let mut bytes = 0;
        for item in items {
            bytes += item.text.len();
            batch.push((item.kind, item.text.clone()));
            if bytes > BATCH_BYTES_MAX {
                bytes = 0;
                let fact = Indexing::Queued { at: now, items: std::mem::take(&mut batch) };
                facts.push(vault.fact(&mut packer, Fact::Indexing(fact).encode())?);
            }
        }
        if !batch.is_empty() {
            let fact = Indexing::Queued { at: now, items: batch };
            facts.push(vault.fact(&mut packer, Fact::Indexing(fact).encode())?);
        }
        vault.commit(Submission { facts, rests_on: look.seen(), ..Submission::default() })?;
        Ok(waiting)
    })
}

/// What a round did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IndexedItems {
    /// What was indexed: kind and id of each entry.
    pub indexed: Vec<(DocumentKind, String)>,
    /// Why items were laid aside.
    pub buried: Vec<(u64, String)>,
    /// Whether more may wait.
    pub goes_on: bool,
}

/// Indexes up to `limit` of the items that wait longest.
pub fn index_items(vault: &Vault, now: Timestamp, limit: usize) -> Result<IndexedItems, OpError> {
    let (from, to) = ItemRow::queued_range();
    let rows = vault.index().scan(&from, &to, limit, false)?;
    let mut done = IndexedItems { goes_on: rows.len() == limit, ..IndexedItems::default() };
    let (mut numbers, mut entries, mut facts, mut bytes) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for (key, value) in rows {
        let Some(number) = ItemRow::number_in(&key) else { continue };
        let row = ItemRow::open(vault.sealer(), &key, value)?;
        match entries_of(row.kind, &row.text, now) {
            Ok(made) => {
                numbers.push(number);
                bytes += made.iter().map(|(_, id, text)| id.len() + text.len()).sum::<usize>();
                done.indexed.extend(made.iter().map(|(kind, id, _)| (*kind, id.clone())));
                entries.extend(made);
            }
            Err(why) => {
                facts.push(Indexing::Buried { at: now, number, why: why.clone() });
                done.buried.push((number, why));
            }
        }
        if bytes > BATCH_BYTES_MAX {
            done.goes_on = true;
            break;
        }
    }
    if !numbers.is_empty() {
        // In one commit, however many facts it takes.
        let (mut part, mut bytes) = (Vec::new(), 0);
        for entry in entries {
            bytes += entry.1.len() + entry.2.len();
            part.push(entry);
            if bytes > BATCH_BYTES_MAX {
                bytes = 0;
                let entries = std::mem::take(&mut part);
                facts.push(Indexing::Indexed { at: now, numbers: Vec::new(), entries });
            }
        }
        facts.push(Indexing::Indexed { at: now, numbers, entries: part });
    }
    commit(vault, facts)?;
    Ok(done)
}

fn commit(vault: &Vault, facts: Vec<Indexing>) -> Result<(), OpError> {
    if facts.is_empty() {
        return Ok(());
    }
    let mut packer = Packer::new();
    let facts =
        facts.into_iter().map(|fact| vault.fact(&mut packer, Fact::Indexing(fact).encode()));
    let facts = facts.collect::<Result<_, _>>()?;
    vault.commit(Submission { facts, ..Submission::default() })?;
    Ok(())
}

type Entry = (DocumentKind, String, String);

/// The entries of an item: its own, and of a block those of its transactions. A sentence where there are none.
fn entries_of(kind: DocumentKind, text: &str, now: Timestamp) -> Result<Vec<Entry>, String> {
    let said = Json::parse(text.as_bytes()).map_err(|why| why.to_string())?;
    let mut entries = vec![entry(kind, &said, None, now)?];
    if kind == DocumentKind::Block {
        let index = said.get("index").filter(|index| index.as_u64().is_some());
        for (n, transaction) in transactions(&said)?.iter().enumerate() {
            let made = entry(DocumentKind::Transaction, transaction, index, now);
            entries.push(made.map_err(|why| format!("transaction {n}: {why}"))?);
        }
    }
    Ok(entries)
}

/// A block's transactions: none where there is no list of them.
fn transactions(block: &Json) -> Result<&[Json], String> {
    match block.get("transactions") {
        None | Some(Json::Null) => Ok(&[]),
        Some(Json::List(transactions)) if transactions.len() > BLOCK_TRANSACTIONS_MAX => {
            Err(format!("it has over {BLOCK_TRANSACTIONS_MAX} transactions"))
        }
        Some(Json::List(transactions)) => Ok(transactions),
        Some(_) => Err("its transactions are no list".into()),
    }
}

fn entry(
    kind: DocumentKind,
    said: &Json,
    block_index: Option<&Json>,
    now: Timestamp,
) -> Result<Entry, String> {
    let id = id_of(kind, said).ok_or("it has no id")?.to_owned();
    let of = |name: &str| said.get(name).cloned().unwrap_or(Json::Null);
    let mut members = vec![
        ("id", Json::from(id.as_str())),
        ("type", Json::from(kind.as_str())),
        ("timestamp", of("timestamp")),
        ("indexed_at", Json::from(now.to_string().as_str())),
    ];
    match kind {
        DocumentKind::Block => {
            let count = transactions(said)?.len().to_string();
            members.extend(
                ["index", "hash", "previous_hash", "merkle_root"].map(|name| (name, of(name))),
            );
            members.push(("transaction_count", Json::Integer(count)));
        }
        DocumentKind::Transaction => members.extend([
            ("tx_type", of("type")),
            ("block_index", block_index.cloned().unwrap_or_else(|| of("block_index"))),
            ("session_id", of("session_id")),
        ]),
        DocumentKind::Session => {
            members.extend([("status", of("status")), ("user_id", of("user_id"))]);
        }
    }
    Ok((kind, id, Json::object(members).canonical()))
}

/// What the index has of something: of what is stored, or was queued.
pub fn get_entry(vault: &Vault, kind: DocumentKind, id: &str) -> Result<String, OpError> {
    if let Some(listed) = find_listed(vault, kind, id)? {
        return Ok(entry_of(&listed));
    }
    let key = entry_key(&DocumentName::of(vault.sealer(), kind, id));
    let absent = || OpError::NoDocument { kind, id: id.to_owned() };
    let value = vault.index().get(&key)?.ok_or_else(absent)?;
    let text = vault.sealer().open_value(&key, value)?;
    String::from_utf8(text).map_err(|_| OpError::Unsound("an entry of the index is no text".into()))
}

fn entry_of(listed: &Listed) -> String {
    let (id, at, indexed_at, block, facets) = match listed {
        Listed::Document(_, row) => {
            (row.id.as_str(), row.instant, row.stored_at, row.block, row.facets.clone())
        }
        Listed::Session(row) => {
            let facets = session_facets(row, row.status(Timestamp::from_micros(i64::MIN)).as_str());
            (row.id.as_str(), row.started_at, row.started_at, row.anchored, facets)
        }
    };
    let text = |text: &Option<String>| text.as_deref().map_or(Json::Null, Json::from);
    let number = |number: u64| Json::from(number);
    let mut members = vec![
        ("id", Json::from(id)),
        ("timestamp", Json::from(at.to_string().as_str())),
        ("indexed_at", Json::from(indexed_at.to_string().as_str())),
    ];
    match &facets {
        Facets::Block { index, hash, previous_hash, merkle_root, transactions } => {
            members.extend([
                ("type", Json::from("block")),
                ("index", number(*index)),
                ("hash", Json::from(hash.to_string().as_str())),
                ("previous_hash", Json::from(previous_hash.to_string().as_str())),
                ("merkle_root", Json::from(merkle_root.as_str())),
                ("transaction_count", number(*transactions)),
            ])
        }
        Facets::Transaction { tx_type, session_id } => members.extend([
            ("type", Json::from("transaction")),
            ("tx_type", text(tx_type)),
            ("block_index", block.map_or(Json::Null, |(index, _)| number(index))),
            ("session_id", text(session_id)),
        ]),
        Facets::Session { status, user_id, .. } => members.extend([
            ("type", Json::from("session")),
            ("status", text(status)),
            ("user_id", text(user_id)),
        ]),
    }
    Json::object(members).canonical()
}

/// Items with their numbers, and where the next page begins.
pub type DeadItems = (Vec<(u64, ItemRow)>, Option<u64>);

/// A page of the items that could not be indexed, by their numbers, and where the next page begins.
pub fn dead_items(vault: &Vault, from: u64, limit: usize) -> Result<DeadItems, OpError> {
    let (from, to) = ItemRow::dead_range(from);
    let mut items = Vec::new();
    let mut bytes = 0;
    for (key, value) in vault.index().scan(&from, &to, limit + 1, false)? {
        let Some(number) = ItemRow::number_in(&key) else { continue };
        if items.len() == limit || bytes > super::query_documents::PAGE_BYTES_MAX {
            return Ok((items, Some(number)));
        }
        let row = ItemRow::open(vault.sealer(), &key, value)?;
        bytes += row.text.len();
        items.push((number, row));
    }
    Ok((items, None))
}

/// Queues items again that could not be indexed: these, or all there are. How many.
pub fn revive_items(
    vault: &Vault,
    now: Timestamp,
    numbers: Option<&[u64]>,
) -> Result<usize, OpError> {
    let numbers = match numbers {
        Some(numbers) => numbers.to_vec(),
        None => {
            let (from, to) = ItemRow::dead_range(0);
            let rows = vault.index().scan(&from, &to, ITEMS_MAX, false)?;
            rows.iter().filter_map(|(key, _)| ItemRow::number_in(key)).collect()
        }
    };
    let mut found = Vec::new();
    for number in numbers {
        if vault.index().get(&ItemRow::dead_key(number))?.is_none() {
            let id = number.to_string();
            return Err(OpError::Invalid(format!("there is no item {id} that was laid aside")));
        }
        found.push(Indexing::Revived { at: now, number });
    }
    let count = found.len();
    commit(vault, found)?;
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_read_flat_enveloped_and_in_lists() {
        let read = |text: &str| Item::read_all(text).unwrap();
        let flat = read(r#"{"type": "transaction", "id": "t", "tx_type": "a", "data": {}}"#);
        assert_eq!(flat[0].text, r#"{"data": {}, "id": "t", "tx_type": "a", "type": "a"}"#);
        let enveloped = read(r#"[{"type": "transaction", "data": {"id": "t", "type": "a"}}]"#);
        assert_eq!(enveloped[0].text, r#"{"id": "t", "type": "a"}"#);
        for (text, wanted) in [
            ("7", "no JSON object"),
            ("{}", "no type"),
            (r#"{"type": "chunk", "id": "c"}"#, "Unknown item type: chunk"),
            (r#"{"type": 7, "id": "c"}"#, "Unknown item type: 7"),
            (r#"[{"type": "block", "hash": "h"}, {"type": "session"}]"#, "item 1 has no id"),
            (r#"{"type": "session", "id": "a", "id": "b"}"#, "twice"),
        ] {
            let why = Item::read_all(text).unwrap_err().to_string();
            assert!(why.contains(wanted), "{why}");
        }
    }

    #[test]
    fn a_block_has_entries_of_its_transactions() {
        let now = Timestamp::from_micros(0);
        let block = r#"{"hash": "h", "index": 3, "transactions": [{"id": "t", "type": "a"}]}"#;
        let entries = entries_of(DocumentKind::Block, block, now).unwrap();
        let own = Json::parse(entries[0].2.as_bytes()).unwrap();
        let keys: Vec<&str> =
            own.as_object().unwrap().iter().map(|(name, _)| name.as_str()).collect();
        let wanted = [
            "hash",
            "id",
            "index",
            "indexed_at",
            "merkle_root",
            "previous_hash",
            "timestamp",
            "transaction_count",
            "type",
        ];
        assert_eq!(keys, wanted);
        let within = Json::parse(entries[1].2.as_bytes()).unwrap();
        assert_eq!(within.get("block_index").and_then(Json::as_u64), Some(3));
        assert_eq!(within.get("tx_type").and_then(Json::as_text), Some("a"));
        for none in [r#"{"hash": "h", "transactions": null}"#, r#"{"hash": "h"}"#] {
            assert_eq!(entries_of(DocumentKind::Block, none, now).unwrap().len(), 1);
        }
        let poison = r#"{"hash": "h", "transactions": [{"id": "t"}, {}]}"#;
        let why = entries_of(DocumentKind::Block, poison, now).unwrap_err();
        assert_eq!(why, "transaction 1: it has no id");
    }
}
