//! The document of a block of which the chain has only the record: its transactions were pruned there before they
//! could be taken.

use lucid_core::json::Json;
use lucid_core::record::{BlockEntry, Head};

use super::{Document, DocumentFault, DocumentKind, Facets, digest};

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

/// The document of such a text.
pub(super) fn read(text: &str) -> Result<Document, DocumentFault> {
    let json = Json::parse(text.as_bytes())?;
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
    Ok(Document {
        kind: DocumentKind::Block,
        id: text_of("hash")?.to_owned(),
        digest: digest(&json.canonical()),
        instant: Some(super::time("timestamp", text_of("timestamp")?)?),
        facets,
        transactions: Vec::new(),
        is_signed: json.get("signature").is_some(),
    })
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
        let document = read(&text_of(&head)).unwrap();
        assert_eq!(document.id, block.hash.to_string());
        assert_eq!(document.instant, Some(block.time().unwrap()));
        let Facets::Block { index: 0, hash, .. } = document.facets else { panic!() };
        assert_eq!(hash, block.hash);
        assert!(document.is_signed);
        assert!(read(r#"{"pruned": true, "hash": "x"}"#).is_err());
    }
}
