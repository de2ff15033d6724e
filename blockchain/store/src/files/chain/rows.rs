//! The chain's rows in the index: derived from the files, rebuilt from them when they are gone.
//!
//! Keys begin with bytes from `0x80` to `0x8f`, so the chain can share an index with a log. The
//! watermark is written in one batch with the rows it vouches for, and never runs ahead of `TIP`.

use lucid_core::digest::BlockHash;
use lucid_core::record::BlockRecord;
use lucid_core::transaction::{IdDigest, SESSION_ANCHOR, Transaction};
use lucid_core::wire::{Reader, WireFault, Writer};

use crate::contract::chain::TransactionPlace;
use crate::contract::index::{Changes, Index};
use crate::files::chain::tip::TipMark;
use crate::registry::chain::key::{ANCHOR, CHAIN_POSITION, HASH, HEIGHT, ID, UNKNOWN_IDS};
use crate::{Damage, StoreError, frame};

/// Where one of a block's two records is, or why it cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    At {
        file: u32,
        offset: u64,
    },
    Lost(Damage),
    /// It was not there any more when the rows were made, and rightly so.
    Pruned,
}

/// The row of a height.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) hash: BlockHash,
    pub(super) record: Part,
    pub(super) body: Part,
    pub(super) size_bytes: u64,
    pub(super) transactions: usize,
    pub(super) before: Totals,
}

/// What the blocks before one have together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) transactions: u64,
    pub(super) bytes: u64,
}

impl Totals {
    /// With one block more.
    pub(super) fn and(self, row: &Row) -> Self {
        Self {
            transactions: self.transactions + row.transactions as u64,
            bytes: self.bytes + row.size_bytes,
        }
    }
}

impl Row {
    fn encode(&self) -> Vec<u8> {
        let mut to = Writer::new();
        to.raw(self.hash.as_bytes());
        for part in [&self.record, &self.body] {
            match part {
                Part::At { file, offset } => to.u8(1).u32(*file).u64(*offset),
                Part::Lost(damage) => {
                    to.u8(0).text(&damage.file).u64(damage.offset).text(&damage.why)
                }
                Part::Pruned => to.u8(2),
            };
        }
        to.u64(self.size_bytes).count(self.transactions);
        to.u64(self.before.transactions).u64(self.before.bytes);
        to.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, WireFault> {
        let mut from = Reader::new(bytes);
        let part = |from: &mut Reader<'_>| -> Result<Part, WireFault> {
            Ok(match from.u8("part")? {
                1 => Part::At { file: from.u32("file")?, offset: frame::number(from, "offset")? },
                2 => Part::Pruned,
                _ => Part::Lost(Damage {
                    file: from.text("file")?.to_owned(),
                    offset: from.u64("offset")?,
                    why: from.text("why")?.to_owned(),
                }),
            })
        };
        let row = Self {
            hash: BlockHash::new(from.array("hash")?),
            record: part(&mut from)?,
            body: part(&mut from)?,
            size_bytes: from.u64("size")?,
            transactions: from.u32("transactions")? as usize,
            before: Totals {
                transactions: from.u64("transactions before")?,
                bytes: from.u64("bytes before")?,
            },
        };
        from.finish()?;
        Ok(row)
    }
}

fn fault(what: &str, fault: &WireFault) -> StoreError {
    StoreError::Index(format!("the row of {what}: {fault}; `lucid reindex` rebuilds it"))
}

fn key(prefix: u8, rest: &[u8]) -> Vec<u8> {
    [&[prefix], rest].concat()
}

pub(super) fn row(index: &dyn Index, height: u64) -> Result<Option<Row>, StoreError> {
    let value = index.get(&key(HEIGHT, &height.to_be_bytes()))?;
    value.map(|value| Row::decode(&value).map_err(|f| fault("a block", &f))).transpose()
}

pub(super) fn height_of(index: &dyn Index, hash: &BlockHash) -> Result<Option<u64>, StoreError> {
    let value = index.get(&key(HASH, hash.as_bytes()))?;
    let read = |value: Vec<u8>| {
        let mut from = Reader::new(&value);
        from.u64("height").map_err(|f| fault("a block hash", &f))
    };
    value.map(read).transpose()
}

pub(super) fn place(
    index: &dyn Index,
    id: &IdDigest,
) -> Result<Option<TransactionPlace>, StoreError> {
    let value = index.get(&key(ID, id))?;
    let read = |value: Vec<u8>| {
        let mut from = Reader::new(&value);
        let mut place = || -> Result<TransactionPlace, WireFault> {
            Ok(TransactionPlace { height: from.u64("height")?, position: from.u32("position")? })
        };
        place().map_err(|f| fault("a transaction", &f))
    };
    value.map(read).transpose()
}

/// The first block whose ids nobody knows any more, if there is one.
pub(super) fn unknown_ids(index: &dyn Index) -> Result<Option<u64>, StoreError> {
    let rows = index.scan(&[UNKNOWN_IDS], &[UNKNOWN_IDS + 1], 1, false)?;
    let read = |(key, _): &(Vec<u8>, Vec<u8>)| {
        key.get(1..).and_then(|rest| rest.try_into().ok()).map(u64::from_be_bytes)
    };
    Ok(rows.first().and_then(read))
}

pub(super) fn watermark(index: &dyn Index) -> Result<Option<TipMark>, StoreError> {
    let value = index.get(&[CHAIN_POSITION])?;
    value.map(|value| TipMark::decode(&value).map_err(|f| fault("the chain's end", &f))).transpose()
}

/// What rows say of a block's transactions.
#[derive(Debug, Clone, Default)]
pub(super) struct ListedTransactions {
    /// The digests of their ids, in order.
    ids: Vec<IdDigest>,
    /// Which of them anchor a session.
    anchors: Vec<(u32, SessionDigest)>,
}

/// The beginning of a session's key: rows are looked at again when they are read.
type SessionDigest = [u8; 16];

fn session_digest(session: &str) -> SessionDigest {
    let mut digest = [0; 16];
    blake3::Hasher::new().update(session.as_bytes()).finalize_xof().fill(&mut digest);
    digest
}

fn anchored(transaction: &Transaction) -> Option<SessionDigest> {
    let is_anchor = transaction.kind() == Some(SESSION_ANCHOR);
    transaction.session_id().filter(|_| is_anchor).map(session_digest)
}

impl ListedTransactions {
    pub(super) fn of_record(record: &BlockRecord) -> Self {
        let anchors = record.anchors.iter();
        Self {
            ids: record.transactions.iter().map(|digests| digests.id).collect(),
            anchors: anchors
                .filter_map(|kept| Some((kept.position, anchored(&kept.transaction)?)))
                .collect(),
        }
    }

    pub(super) fn of_body(body: &[Transaction]) -> Self {
        Self {
            ids: body.iter().map(Transaction::id_digest).collect(),
            anchors: (0..)
                .zip(body)
                .filter_map(|(position, transaction)| Some((position, anchored(transaction)?)))
                .collect(),
        }
    }
}

/// The operator has accepted that ids of damaged blocks are not known: until the rows are made anew, an id
/// that is in none of the others is absent.
pub(super) fn accept_unknown_ids(index: &dyn Index) -> Result<(), StoreError> {
    loop {
        let rows = index.scan(&[UNKNOWN_IDS], &[UNKNOWN_IDS + 1], 8_192, false)?;
        if rows.is_empty() {
            return index.flush();
        }
        index.write(rows.into_iter().map(|(key, _)| (key, None)).collect())?;
    }
}

/// Where transactions are that anchor a session of this name, behind a place, in the order of the chain.
pub(super) fn anchors_of(
    index: &dyn Index,
    session: &str,
    behind: Option<TransactionPlace>,
) -> Result<Vec<TransactionPlace>, StoreError> {
    let prefix = key(ANCHOR, &session_digest(session));
    let from = match behind {
        None => prefix.clone(),
        Some(TransactionPlace { height, position }) => {
            [prefix.as_slice(), &height.to_be_bytes(), &position.to_be_bytes(), &[0]].concat()
        }
    };
    let to = [prefix.as_slice(), &[0xff; 13]].concat();
    let rows = index.scan(&from, &to, ANCHORS_PAGE, false)?;
    let read = |(row, _): (Vec<u8>, Vec<u8>)| {
        let mut from = Reader::new(row.get(prefix.len()..).unwrap_or_default());
        let mut place = || -> Result<TransactionPlace, WireFault> {
            let height = u64::from_be_bytes(from.array("height")?);
            Ok(TransactionPlace { height, position: u32::from_be_bytes(from.array("position")?) })
        };
        place().map_err(|f| fault("an anchor", &f))
    };
    rows.into_iter().map(read).collect()
}

/// Anchors of one session that are read in one go: anyone who may post transactions can make many.
const ANCHORS_PAGE: usize = 256;

/// Adds the rows of one block. `listed` is `None` where neither record nor body could be read.
pub(super) fn publish(
    changes: &mut Changes<'_>,
    height: u64,
    row: &Row,
    listed: Option<&ListedTransactions>,
) {
    changes.put(key(HEIGHT, &height.to_be_bytes()), row.encode());
    if row.hash != BlockHash::ZERO {
        let mut to = Writer::new();
        to.u64(height);
        changes.put(key(HASH, row.hash.as_bytes()), to.finish());
    }
    let Some(ListedTransactions { ids, anchors }) = listed else {
        changes.put(key(UNKNOWN_IDS, &height.to_be_bytes()), Vec::new());
        return;
    };
    for (position, id) in (0..).zip(ids) {
        let mut to = Writer::new();
        to.u64(height).u32(position);
        changes.put(key(ID, id), to.finish());
    }
    for (position, session) in anchors {
        let (height, position) = (height.to_be_bytes(), position.to_be_bytes());
        changes.put([&[ANCHOR], &session[..], &height, &position].concat(), Vec::new());
    }
}

/// Notes how far the rows go, in the batch that brought them there.
pub(super) fn set_watermark(changes: &mut Changes<'_>, mark: &TipMark) {
    changes.put(vec![CHAIN_POSITION], mark.encode());
}

/// Removes every row of the chain.
pub(crate) fn clear(index: &dyn Index) -> Result<(), StoreError> {
    // First what vouches for them: a half-cleared index must not look complete.
    index.write(vec![(vec![CHAIN_POSITION], None)])?;
    loop {
        let rows = index.scan(&[HEIGHT], &[CHAIN_POSITION + 1], 8_192, false)?;
        if rows.is_empty() {
            return Ok(());
        }
        index.write(rows.into_iter().map(|(key, _)| (key, None)).collect())?;
    }
}
