//! The queue of the index: items that are not stored are queued, and entries are made of them.
//!
//! What is stored is in the index when that is acknowledged, and needs no queue. An item is durable when it is
//! queued, and leaves the queue with its entries in one commit; indexing it again makes the same entries. One
//! of which none can be made is laid aside with the reason, and can be tried again.

use std::collections::BTreeSet;

use lucid_core::json::{Json, JsonFault};
use lucid_core::limits::BLOCK_TRANSACTIONS_MAX;
use lucid_core::time::Timestamp;
use lucid_core::words::many_do;
use lucid_store::codec::Packer;
use lucid_store::crypt::random;
use lucid_store::vault::Vault;
use lucid_store::vault::committer::Submission;

use super::get_document::{Listed, block_of, find_listed};
use crate::document::{DocumentKind, Facets};
use crate::fact::{Fact, Indexing, ItemName};
use crate::ops::OpError;
use crate::row::documents::{DocumentName, session_facets};
use crate::row::indexing::{IndexingCounts, ItemRow, entry_key};

/// Items that wait at most; more are refused until some are indexed.
pub const QUEUED_MAX: u64 = 100_000;
/// Bytes of all of them.
pub const QUEUED_BYTES_MAX: u64 = 256 << 20;
/// Items in one request.
pub const ITEMS_MAX: usize = 10_000;
/// Bytes of an item, as canonical text.
const ITEM_BYTES_MAX: usize = 1 << 20;
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
        let text = said.canonical();
        match text.len() > ITEM_BYTES_MAX {
            true => Err(invalid(&format!("has over {ITEM_BYTES_MAX} bytes"))),
            false => Ok(Self { kind, text }),
        }
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

/// Queues items. How many wait then. The bound on that is soft: requests that come at once may pass it together.
pub fn queue_items(vault: &Vault, now: Timestamp, items: &[Item]) -> Result<u64, OpError> {
    let counts = IndexingCounts::find(vault.index())?;
    let waiting = (counts.queued + counts.dead).saturating_add(items.len() as u64);
    if waiting > QUEUED_MAX {
        return Err(OpError::Busy(format!(
            "{} to be indexed and {} laid aside, and {QUEUED_MAX} may be: send them again later",
            many_do(counts.queued as usize, "item", "waits", "wait"),
            many_do(counts.dead as usize, "item", "is", "are"),
        )));
    }
    let more: u64 = items.iter().map(|item| item.text.len() as u64).sum();
    if counts.bytes.saturating_add(more) > QUEUED_BYTES_MAX {
        return Err(OpError::Busy(format!(
            "{} bytes wait to be indexed or are laid aside, and {QUEUED_BYTES_MAX} may be: send them again later",
            counts.bytes
        )));
    }
    let request = random()?;
    let named = (0..)
        .zip(items)
        .map(|(place, item)| (ItemName::new(now, request, place), item.kind, item.text.clone()));
    let batches = batches(named, |(_, _, text)| text.len());
    commit(vault, batches.into_iter().map(|items| Indexing::Queued { at: now, items }))?;
    Ok(counts.queued.saturating_add(items.len() as u64))
}

/// Cuts a row of things into batches of [`BATCH_BYTES_MAX`] bytes; one that is larger is alone.
fn batches<T>(things: impl IntoIterator<Item = T>, bytes: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let (mut all, mut batch, mut held) = (Vec::new(), Vec::new(), 0);
    for thing in things {
        let more = bytes(&thing);
        if held + more > BATCH_BYTES_MAX && !batch.is_empty() {
            all.push(std::mem::take(&mut batch));
            held = 0;
        }
        held += more;
        batch.push(thing);
    }
    if !batch.is_empty() {
        all.push(batch);
    }
    all
}

/// What a round did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IndexedItems {
    /// What was indexed: kind and id of each entry.
    pub indexed: Vec<(DocumentKind, String)>,
    /// Why items were laid aside.
    pub buried: Vec<(ItemName, String)>,
    /// Whether more may wait.
    pub goes_on: bool,
}

/// Rows of items that are read in one go: each may have a mebibyte.
const ROWS: usize = 4;

/// Indexes up to `limit` of the items that wait longest, or fewer, if they are large.
pub fn index_items(vault: &Vault, now: Timestamp, limit: usize) -> Result<IndexedItems, OpError> {
    let (mut from, to) = ItemRow::queued_range();
    let mut done = IndexedItems::default();
    let (mut names, mut entries, mut facts, mut bytes) = (Vec::new(), Vec::new(), Vec::new(), 0);
    'rows: loop {
        let rows = vault.index().scan(&from, &to, ROWS, false)?;
        let is_last = rows.len() < ROWS;
        for (key, value) in rows {
            if names.len() + done.buried.len() == limit || bytes > BATCH_BYTES_MAX {
                done.goes_on = true;
                break 'rows;
            }
            from = [key.as_slice(), &[0]].concat();
            let Some(name) = ItemRow::name_in(&key) else { continue };
            let row = ItemRow::open(vault.cipher(), &key, value)?;
            match entries_of(row.kind, &row.text, now) {
                Ok(made) => {
                    names.push(name);
                    bytes += made.iter().map(entry_bytes).sum::<usize>();
                    done.indexed.extend(made.iter().map(|(kind, id, _)| (*kind, id.clone())));
                    entries.extend(made);
                }
                Err(why) => {
                    facts.push(Indexing::Buried { at: now, name, why: why.clone() });
                    done.buried.push((name, why));
                }
            }
        }
        if is_last {
            break;
        }
    }
    // In one commit, however many facts it takes; items leave the queue with the last entries.
    let mut parts = batches(entries, entry_bytes);
    let last = parts.pop().unwrap_or_default();
    let parts = parts.into_iter().map(|entries| (Vec::new(), entries));
    let parts = parts.chain((!names.is_empty()).then_some((names, last)));
    facts.extend(parts.map(|(names, entries)| Indexing::Indexed { at: now, names, entries }));
    commit(vault, facts)?;
    Ok(done)
}

fn entry_bytes((_, id, text): &Entry) -> usize {
    id.len() + text.len()
}

fn commit(vault: &Vault, facts: impl IntoIterator<Item = Indexing>) -> Result<(), OpError> {
    let mut packer = Packer::new();
    let facts =
        facts.into_iter().map(|fact| vault.fact(&mut packer, Fact::Indexing(fact).encode()));
    let facts: Vec<_> = facts.collect::<Result<_, _>>()?;
    if !facts.is_empty() {
        vault.commit(Submission { facts, ..Submission::default() })?;
    }
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
        let block = match &listed {
            Listed::Document(_, row) => block_of(vault, row)?,
            Listed::Session(row) => row.anchored.map(|(index, _)| index),
        };
        return Ok(entry_of(&listed, block));
    }
    let key = entry_key(&DocumentName::of(vault.cipher(), kind, id));
    let absent = || OpError::NoDocument { kind, id: id.to_owned() };
    let value = vault.index().get(&key)?.ok_or_else(absent)?;
    let text = vault.cipher().decrypt_value(&key, value)?;
    String::from_utf8(text).map_err(|_| OpError::Unsound("an entry of the index is no text".into()))
}

fn entry_of(listed: &Listed, block: Option<u64>) -> String {
    let (id, at, indexed_at, facets) = match listed {
        Listed::Document(_, row) => {
            (row.id.as_str(), row.instant, row.stored_at, row.facets.clone())
        }
        Listed::Session(row) => {
            let facets = session_facets(row, row.status(Timestamp::from_micros(i64::MIN)).as_str());
            (row.id.as_str(), row.started_at, row.started_at, facets)
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
            ("block_index", block.map_or(Json::Null, number)),
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

/// Items with their names, and where the next page begins.
pub type DeadItems = (Vec<(ItemName, ItemRow)>, Option<ItemName>);

/// A page of the items that could not be indexed, in the order in which they came, and where the next page begins.
pub fn dead_items(
    vault: &Vault,
    from: Option<ItemName>,
    limit: usize,
) -> Result<DeadItems, OpError> {
    let (mut from, to) = ItemRow::dead_range(from.unwrap_or(ItemName([0; 16])));
    let mut items = Vec::new();
    let mut bytes = 0;
    loop {
        let rows = vault.index().scan(&from, &to, ROWS, false)?;
        let is_last = rows.len() < ROWS;
        for (key, value) in rows {
            let Some(name) = ItemRow::name_in(&key) else { continue };
            if items.len() == limit || bytes > super::query_documents::PAGE_BYTES_MAX {
                return Ok((items, Some(name)));
            }
            let row = ItemRow::open(vault.cipher(), &key, value)?;
            bytes += row.text.len();
            items.push((name, row));
            from = [key.as_slice(), &[0]].concat();
        }
        if is_last {
            return Ok((items, None));
        }
    }
}

/// Items that are queued again in one commit: each may have a mebibyte.
const REVIVED: usize = 8;

/// Queues items again that could not be indexed: these, or up to [`ITEMS_MAX`] of all there are. How many.
pub fn revive_items(
    vault: &Vault,
    now: Timestamp,
    names: Option<&[ItemName]>,
) -> Result<usize, OpError> {
    let names: BTreeSet<ItemName> = match names {
        Some(names) => names.iter().copied().collect(),
        None => dead_names(vault)?,
    };
    if let Some(names) =
        names.iter().find_map(|name| match vault.index().get(&ItemRow::dead_key(*name)) {
            Ok(Some(_)) => None,
            Ok(None) => Some(Ok(*name)),
            Err(error) => Some(Err(error)),
        })
    {
        let name = names?;
        return Err(OpError::Invalid(format!("there is no item {name} that was laid aside")));
    }
    let all: Vec<ItemName> = names.into_iter().collect();
    for names in all.chunks(REVIVED) {
        commit(vault, names.iter().map(|name| Indexing::Revived { at: now, name: *name }))?;
    }
    Ok(all.len())
}

fn dead_names(vault: &Vault) -> Result<BTreeSet<ItemName>, OpError> {
    let (mut from, to) = ItemRow::dead_range(ItemName([0; 16]));
    let mut names = BTreeSet::new();
    loop {
        let rows = vault.index().scan(&from, &to, ROWS, false)?;
        for (key, _) in &rows {
            names.extend(ItemRow::name_in(key));
            from = [key.as_slice(), &[0]].concat();
        }
        if rows.len() < ROWS || names.len() >= ITEMS_MAX {
            return Ok(names);
        }
    }
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
