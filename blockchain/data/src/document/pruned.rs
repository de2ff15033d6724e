//! The document of a block of which the chain has only the record: its transactions were pruned there before they
//! could be taken.

use lucid_core::json::Json;
use lucid_core::record::{BlockEntry, Head};

use super::{Document, DocumentFault, DocumentKind, Facets, digest};

/// A pruned block's text has so many bytes at most.
const BYTES_MAX: usize = 4 << 10;

/// The text of a pruned block's document: all that its record says but its digests.
pub(crate) fn text_of(head: &Head) -> String {
    let BlockEntry { index, timestamp, previous_hash, merkle_root, nonce, hash, .. } = &head.entry;
    let text = |value: &dyn std::fmt::Display| Json::from(value.to_string());
    let producer = head.producer.map(|key| ("producer", text(&key)));
    let signature = head.signature.map(|signature| ("signature", text(&signature)));
    let members = [
        ("index", Json::from(*index)),
        ("height", Json::from(*index)),
        ("block_id", text(hash)),
        ("hash", text(hash)),
        ("previous_hash", text(previous_hash)),
        ("timestamp", Json::from(timestamp.as_str())),
        ("merkle_root", text(merkle_root)),
        ("nonce", Json::from(*nonce)),
        ("transaction_count", Json::from(head.entry.transaction_count)),
        ("pruned", Json::from(true)),
    ];
    Json::object(members.into_iter().chain(producer).chain(signature)).canonical()
}

/// The document of such a text; nothing, if it is another text.
pub(super) fn read(text: &str) -> Result<Option<Document>, DocumentFault> {
    if text.len() > BYTES_MAX {
        return Ok(None);
    }
    let json = Json::parse(text.as_bytes())?;
    if json.get("pruned").and_then(Json::as_bool) != Some(true) {
        return Ok(None);
    }
    let wrong = |name: &str| DocumentFault::Invalid(format!("{name} of a pruned block is none"));
    let text_of = |name| json.get(name).and_then(Json::as_text).ok_or_else(|| wrong(name));
    let number = |name| json.get(name).and_then(Json::as_u64).ok_or_else(|| wrong(name));
    let facets = Facets::Block {
        index: number("index")?,
        hash: text_of("hash")?.parse().map_err(|_| wrong("hash"))?,
        previous_hash: text_of("previous_hash")?.parse().map_err(|_| wrong("previous_hash"))?,
        merkle_root: text_of("merkle_root")?.to_owned(),
        transactions: number("transaction_count")?,
    };
    Ok(Some(Document {
        kind: DocumentKind::Block,
        id: text_of("hash")?.to_owned(),
        digest: digest(&json.canonical()),
        instant: Some(super::time("timestamp", text_of("timestamp")?)?),
        facets,
        transactions: Vec::new(),
    }))
}

#[cfg(test)]
mod tests {
    use lucid_core::block::Block;
    use lucid_core::record::BlockRecord;
    use lucid_core::sign::SigningKey;
    use lucid_core::time::Timestamp;

    use super::*;

    #[test]
    fn a_pruned_block_says_what_its_record_says() {
        let key = SigningKey::from_seed([1; 32]);
        let block = Block::build(None, Vec::new(), Timestamp::from_micros(5), &key);
        let head = Head::of(&BlockRecord::of(&block));
        let document = read(&text_of(&head)).unwrap().unwrap();
        assert_eq!(document.id, block.hash.to_string());
        assert_eq!(document.instant, Some(block.time().unwrap()));
        let Facets::Block { index: 0, hash, .. } = document.facets else { panic!() };
        assert_eq!(hash, block.hash);
        assert!(read(&block.to_json_text()).unwrap().is_none());
    }
}
