//! What every decoder promises for all bytes that it meets: nothing panics, and what has one form only is
//! refused or written as exactly these bytes again; JSON, as a canonical text that stands for itself. Memory
//! is bounded by the input.
//!
//! Bytes are given as they are, but for checksums, which are put right: no fuzzer gets past them.

use bytes::Bytes;
use lucid_api::framing::Frames;
use lucid_core::block::Candidate;
use lucid_core::bundle::Bundle;
use lucid_core::catalogue::{ACL_ATTRIBUTES, Entry};
use lucid_core::claim::Signed;
use lucid_core::json::Json;
use lucid_core::limits::CHUNK_BYTES_MAX;
use lucid_core::manifest::Manifest;
use lucid_core::page::Page;
use lucid_core::record::{self, BlockRecord, Head};
use lucid_core::time::Timestamp;
use lucid_core::timeline::Mark;
use lucid_core::transaction::Transaction;
use lucid_core::{anchor, check};
use lucid_data_chain::document::{Document, DocumentKind};
use lucid_data_chain::ops::documents::filter::Filter;
use lucid_data_chain::ops::documents::index_items::Item;
use lucid_store::StoreError;
use lucid_store::files::folder::{KEY_TITLE, parse_label};
use lucid_store::files::log::{Commit, FileHeader, Places, Summary};
use lucid_store::files::rewrite::RewrittenHeader;
use lucid_store::files::segment::{Footer, TRAILER_BYTES, read_trailer};
use lucid_store::files::watermark::Watermark;
use lucid_store::frame::{HEADER_BYTES, Header, Record};

use serde_json::Value;

use crate::bounds::within;

/// The payloads and headers of a store's own records.
pub fn records(bytes: &[u8]) {
    within("a record", bytes.len(), (32, 256 << 10), || read_records(bytes));
}

fn read_records(bytes: &[u8]) {
    if let Some((first, _)) = bytes.split_first_chunk::<HEADER_BYTES>() {
        let first = with_checksum(first);
        if let Ok(header) = Header::decode(&first) {
            assert_eq!(header.encode(), first);
        }
    }
    if let Ok(commit) = Commit::decode(bytes) {
        writes(commit.to_record(), bytes);
    }
    if let Ok(summary) = Summary::decode(bytes) {
        writes(summary.to_record(), bytes);
    }
    if let Ok(places) = Places::decode(bytes) {
        writes(places.to_record(), bytes);
    }
    if let Ok(begin) = FileHeader::decode(bytes) {
        writes(begin.to_record(0), bytes);
    }
    if let Ok(begin) = RewrittenHeader::decode(bytes) {
        writes(begin.to_record(), bytes);
    }
    if let Ok(footer) = Footer::decode(bytes) {
        writes(footer.to_record(0, 0).map(|(record, _)| record), bytes);
    }
    if let Ok(mark) = Watermark::decode(bytes) {
        assert_eq!(mark.encode(), bytes);
    }
    if let Some(trailer) = bytes.first_chunk::<TRAILER_BYTES>() {
        read_trailer(trailer);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _answer = parse_label(text, KEY_TITLE);
    }
}

/// What was read is written as it was.
fn writes(record: Result<Record, StoreError>, bytes: &[u8]) {
    assert!(record.is_ok_and(|record| record.payload == bytes));
}

/// The same header with its checksum put right.
fn with_checksum(header: &[u8; HEADER_BYTES]) -> [u8; HEADER_BYTES] {
    let mut header = *header;
    if let Some((covered, sum)) = header.split_last_chunk_mut::<8>() {
        let hash = blake3::hash(covered);
        sum.iter_mut().zip(hash.as_bytes()).for_each(|(to, from)| *to = *from);
    }
    header
}

/// Manifests, and the transactions that anchor them.
pub fn manifest(bytes: &[u8]) {
    within("a manifest", bytes.len(), (400, 1 << 20), || read_manifest(bytes));
}

fn read_manifest(bytes: &[u8]) {
    if let Ok(manifest) = Manifest::parse(bytes) {
        assert_eq!(manifest.to_text().map(String::into_bytes), Ok(bytes.to_vec()));
    }
    if let Ok(transaction) = Transaction::parse(bytes) {
        let _answer = Signed::<anchor::Anchor>::parse(&transaction);
    }
}

/// Proof bundles, with a checksum that is right.
pub fn bundle(bytes: &[u8]) {
    within("a bundle", bytes.len(), (400, 1 << 20), || read_bundle(bytes));
}

fn read_bundle(bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    if let Some((covered, sum)) = bytes.split_last_chunk_mut::<32>() {
        *sum = *blake3::hash(covered).as_bytes();
    }
    if let Ok(bundle) = Bundle::decode(&bytes) {
        assert_eq!(bundle.encode(), bytes);
    }
    let mut content = bytes.as_slice();
    for content in [None, Some(&mut content as &mut dyn std::io::Read)] {
        assert!(check::check(&bytes, content, &[]).is_ok());
    }
}

/// Pages of an appendix and what is on them.
pub fn pages(bytes: &[u8]) {
    within("a page", bytes.len(), (64, 256 << 10), || read_pages(bytes));
}

fn read_pages(bytes: &[u8]) {
    let _answer = Page::decode(bytes);
    let at = bytes.first().map_or(0, |share| usize::from(*share)).min(bytes.len());
    let (key, value) = bytes.split_at_checked(at).unwrap_or((bytes, &[]));
    if let Ok(entry) = Entry::decode(key, value) {
        assert_eq!(entry.key(), key);
        if matches!(value.first(), Some(0..=4)) {
            // Version 1, which nobody writes any more: what is read is written as version 2, where ACLs are
            // no attributes.
            let mut plain = entry;
            plain.attributes.retain(|(name, _)| !ACL_ATTRIBUTES.contains(&name.as_slice()));
            let again = plain.encode().and_then(|value| Entry::decode(key, &value));
            assert_eq!(again, Ok(plain));
        } else {
            assert_eq!(entry.encode().as_deref(), Ok(value));
        }
    }
    if let Ok((mark, doubt)) = Mark::decode(key, value) {
        assert_eq!((mark.key().as_slice(), mark.encode(doubt).as_slice()), (key, value));
    }
}

/// JSON, transactions, blocks and what is kept of them.
pub fn chain(bytes: &[u8]) {
    within("a block", bytes.len(), (400, 1 << 20), || read_chain(bytes));
}

fn read_chain(bytes: &[u8]) {
    if let Ok(json) = Json::parse(bytes) {
        let canonical = json.canonical();
        let again = Json::parse(canonical.as_bytes()).map(|json| json.canonical());
        assert_eq!(again.as_deref(), Ok(canonical.as_str()));
    }
    if let Ok(transaction) = Transaction::parse(bytes) {
        let again = Transaction::parse(transaction.text().as_bytes());
        assert_eq!(again.map(|again| again.hash()), Ok(transaction.hash()));
    }
    let _answer = (Candidate::parse(bytes), Candidate::parse_posted(bytes));
    // Two ways lead to the canonical text, and to one.
    if let Ok(transaction) = Transaction::parse(bytes) {
        let tree = Json::parse(bytes).map(|value| value.canonical());
        assert_eq!(tree.as_deref(), Ok(transaction.text()));
    }
    if let Ok(record) = BlockRecord::decode(bytes) {
        assert_eq!(record.encode(), bytes);
    }
    if let Ok(head) = Head::decode(bytes) {
        assert_eq!(head.encode(), bytes);
    }
    let _answer = record::decode_body(bytes);
    if let Ok(fact) = lucid_block_manager::fact::Fact::decode(bytes) {
        assert_eq!(fact.encode(), bytes);
    }
}

/// What comes over the wire, and the facts of a data-chain.
pub fn wire(bytes: &[u8]) {
    within("frames and facts", bytes.len(), (64, 1 << 20), || read_wire(bytes));
}

fn read_wire(bytes: &[u8]) {
    for chunk in Frames::new(Bytes::copy_from_slice(bytes), CHUNK_BYTES_MAX) {
        if chunk.is_err() {
            break;
        }
    }
    if let Ok(fact) = lucid_data_chain::fact::Fact::decode(bytes) {
        assert_eq!(fact.encode(), bytes);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        read_documents(text);
    }
}

/// Documents that are posted, items for the index, and filters: what is taken is taken again as the same.
fn read_documents(text: &str) {
    let now = Timestamp::from_micros(0);
    for kind in DocumentKind::ALL {
        if let Ok(document) = Document::read(kind, text, now) {
            let again = Document::read(kind, text, now).map(|again| (again.id, again.digest));
            assert_eq!(again.ok(), Some((document.id, document.digest)));
        }
        if let Ok(Value::Object(filters)) = serde_json::from_str(text) {
            let mut filter = Filter::default();
            for (name, value) in &filters {
                let _answer = filter.set(kind, name, value);
            }
        }
    }
    for item in Item::read_all(text).unwrap_or_default() {
        // What is queued is read when it is indexed.
        assert!(Json::parse(item.text.as_bytes()).is_ok(), "{}", item.text);
    }
}
