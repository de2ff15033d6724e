//! Transactions as they are read: all of a block's into one text.
//!
//! [`super::Transaction::parse`] reads one, [`crate::block`] and [`crate::record`] read the lists of
//! blocks. The texts stand side by side in one buffer, which the transactions share, so reading one
//! costs a look at each byte and no allocation.

use std::ops::Range;
use std::sync::Arc;

use super::{Part, SignerFields, Transaction, TransactionFault, TransactionParts};
use crate::block_merkle::transaction_hash;
use crate::digest::TransactionHash;
use crate::json::{Canonical, JsonFault, Reader, TopMember, unquoted};
use crate::limits::JSON_DEPTH_MAX;

/// What was read and is not yet shared out.
#[derive(Debug, Default)]
pub(crate) struct Drafts<'a> {
    canonical: Canonical<'a>,
    text: String,
    read: Vec<ReadDraft>,
}

#[derive(Debug)]
enum ReadDraft {
    Sound { at: Range<usize>, parts: TransactionParts },
    Unfit(Unfit),
}

/// An element of a list that is no transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unfit {
    /// The hash that its canonical text has all the same.
    pub(crate) hash: TransactionHash,
    /// The length of that text.
    pub(crate) bytes: usize,
    /// Why it is none.
    pub(crate) fault: TransactionFault,
}

/// The members that a transaction is known by, as they are come upon.
#[derive(Default)]
struct Members {
    is_object: bool,
    id: Option<(usize, usize)>,
    kind: Option<(usize, usize)>,
    session_id: Option<(usize, usize)>,
    timestamp: Option<(usize, usize)>,
    public_key: Option<(usize, usize)>,
    signature: Option<(usize, usize)>,
    signature_start: usize,
}

impl Members {
    fn take(&mut self, member: TopMember<'_>) {
        let value = Some(member.value);
        match member.key {
            "id" => self.id = value,
            "type" => self.kind = value,
            "session_id" => self.session_id = value,
            "timestamp" => self.timestamp = value,
            "public_key" => self.public_key = value,
            "signature" => {
                self.signature = value;
                self.signature_start = member.start;
            }
            _ => {}
        }
    }
}

impl<'a> Drafts<'a> {
    /// Expects texts of so many bytes together.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self { text: String::with_capacity(bytes), ..Self::default() }
    }

    /// How many were read.
    pub(crate) fn len(&self) -> usize {
        self.read.len()
    }

    /// Reads one value of any kind.
    pub(crate) fn read(&mut self, reader: &mut Reader<'a>) -> Result<(), JsonFault> {
        let start = self.text.len();
        let mut found = Members { is_object: reader.peek() == Some(b'{'), ..Members::default() };
        self.canonical
            .append(reader, JSON_DEPTH_MAX, &mut self.text, |member| found.take(member))?;
        let text = self.text.get(start..).unwrap_or_default();
        let hash = transaction_hash(text);
        let draft = match parts(text, &found, hash) {
            Ok(parts) => ReadDraft::Sound { at: start..self.text.len(), parts },
            Err(fault) => {
                let bytes = text.len();
                self.text.truncate(start);
                ReadDraft::Unfit(Unfit { hash, bytes, fault })
            }
        };
        self.read.push(draft);
        Ok(())
    }

    /// Reads a text that is one value and nothing else.
    pub(crate) fn read_whole(&mut self, bytes: &'a [u8]) -> Result<(), JsonFault> {
        let mut reader = Reader::new(bytes)?;
        self.read(&mut reader)?;
        reader.finish()
    }

    /// Shares the text out.
    pub(crate) fn finish(mut self) -> impl ExactSizeIterator<Item = Result<Transaction, Unfit>> {
        if self.text.capacity() / 2 > self.text.len() {
            self.text.shrink_to_fit();
        }
        let whole = Arc::new(self.text);
        self.read.into_iter().map(move |draft| match draft {
            ReadDraft::Sound { at, parts } => Ok(Transaction { whole: whole.clone(), at, parts }),
            ReadDraft::Unfit(unfit) => Err(unfit),
        })
    }
}

fn parts(
    text: &str,
    found: &Members,
    hash: TransactionHash,
) -> Result<TransactionParts, TransactionFault> {
    if !found.is_object {
        return Err(TransactionFault::NotAnObject);
    }
    let of = |value: Option<(usize, usize)>| value.and_then(|value| Part::of(text, value));
    let id = of(found.id).filter(|id| !id.text(text).is_empty());
    let of_text = |value: Option<(usize, usize)>| {
        value.and_then(|(start, end)| unquoted(text.get(start..end)?))
    };
    let claim = || SignerFields {
        is_named: found.public_key.is_some(),
        key: of_text(found.public_key).and_then(|key| key.parse().ok()),
        signature: of_text(found.signature).and_then(|signature| signature.parse().ok()),
        // As `id` sorts before it, there is always a comma and a space before it.
        signature_member: found
            .signature
            .map(|(_, end)| found.signature_start.saturating_sub(2)..end),
    };
    let claims = found.public_key.is_some() || found.signature.is_some();
    Ok(TransactionParts {
        hash,
        id: id.ok_or(TransactionFault::NoId)?,
        kind: of(found.kind),
        session_id: of(found.session_id),
        timestamp: of(found.timestamp),
        claim: claims.then(|| Box::new(claim())),
    })
}
