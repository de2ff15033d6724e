//! The known entry, and that a record and a body read back, and only as what they are.

use proptest::prelude::*;

use super::*;
use crate::digest::BlockHash;
use crate::json::Json;
use crate::sign::SigningKey;
use crate::time::Timestamp;

const KNOWN: &str = r#"{"index":1,"timestamp":"2025-01-01T00:00:10Z","nonce":0,
  "transactions":[{"type":"session_anchor","session_id":"s-0001","id":"t1",
    "root":"0000000000000000000000000000000000000000000000000000000000000000"}],
  "previous_hash":"9e02439aa00c73b6184883fb1ea3d517c00b1aa3b974b30a31f047e36035e6c6",
  "merkle_root":"661285710568758c8d0fc3f3c4fd7bdc248d58e65cbe67e0bed68f20a7f5a62f",
  "hash":"865c7bb9bc92b21a218f02e76692ab2ae9db2ac709132993e0593144b47ec567"}"#;

fn block() -> Block {
    let transaction = |n: u64| {
        let kind = if n.is_multiple_of(2) { SESSION_ANCHOR } else { "audit" };
        Json::object([("id", Json::from(format!("t{n}"))), ("type", Json::from(kind))])
    };
    let transactions = (0..5).map(|n| Transaction::from_json(&transaction(n)).unwrap()).collect();
    let now = Timestamp::parse("2025-01-27").unwrap();
    Block::build(None, transactions, now, &SigningKey::from_seed([1; 32]))
}

#[test]
fn the_known_block_has_its_known_entry() {
    let candidate = crate::block::Candidate::parse(KNOWN.as_bytes()).unwrap();
    let block = candidate.into_block().unwrap();
    assert_eq!(block.computed_hash(), block.hash);
    let entry = BlockEntry::of(&block);
    assert_eq!(entry.text().len(), 282);
    assert!(entry.text().ends_with("\n1\nwSj2z5LaLW4pb4IE5uanb5VvWc8mbRZFl9G3B1HBxAY=\n"));
    let leaf = "59c020127c6fa9ca6036a14a45ca0ee307a4436c277dac30d7610bd42e31ee2a";
    assert_eq!(entry.leaf_hash().to_string(), leaf);
    assert_eq!(BlockEntry::parse(&entry.text()), Ok(entry));
}

#[test]
fn an_entry_has_one_spelling() {
    let entry = BlockEntry::of(&block());
    let text = entry.text();
    let lines: Vec<&str> = text.lines().collect();
    let (upper, carriage) = (lines[6].to_uppercase(), format!("{}\r", lines[2]));
    // Bits that stand for no byte.
    let base64 = lines[8].trim_end_matches('=');
    let last = char::from(base64.bytes().last().unwrap() + 1);
    let loose = format!("{}{last}=", &base64[..base64.len() - 1]);
    for (line, wrong) in [
        (2, carriage.as_str()),
        (6, upper.as_str()),
        (8, loose.as_str()),
        (0, "lucid-block/v2"),
        (1, "+0"),
        (1, "00"),
        (1, ""),
        (1, "9223372036854775808"),
        (2, "2025-01-27"),
        (3, "AB"),
        (4, ""),
        (5, "-0"),
        (6, "x"),
        (7, "5 "),
        (8, "AAAA"),
    ] {
        let mut changed = lines.clone();
        changed[line] = wrong;
        let fault = BlockEntry::parse(&(changed.join("\n") + "\n")).unwrap_err();
        assert!(fault.to_string().contains(&format!("line {}", line + 1)), "{wrong}: {fault}");
    }
    for wrong in
        [text.trim_end().to_owned(), format!("{text}\n"), format!("{text}x"), String::new()]
    {
        assert!(BlockEntry::parse(&wrong).is_err());
    }
}

#[test]
fn a_record_and_a_body_read_back_as_the_block() {
    let block = block();
    let record = BlockRecord::of(&block);
    assert_eq!(record.anchors.iter().map(|anchor| anchor.position).collect::<Vec<_>>(), [0, 2, 4]);
    assert_eq!(record.check(), Ok(()));
    let read = BlockRecord::decode(&record.encode()).unwrap();
    assert_eq!(read, record);
    let body = decode_body(&encode_body(&block.transactions)).unwrap();
    assert_eq!(Block::from_parts(&read, body), Ok(block));
}

#[test]
fn no_cut_and_no_change_of_a_record_goes_unnoticed() {
    let record = BlockRecord::of(&block());
    let bytes = record.encode();
    for cut in 0..bytes.len() {
        assert!(BlockRecord::decode(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    // Id digests of other than anchors are bound by nothing in the record itself.
    let unbound = |at: usize| {
        let start = 1 + 4 + record.entry.text().len() + 33 + 65 + 4;
        [1, 3].iter().any(|n| (start + n * 80 + 64..start + (n + 1) * 80).contains(&at))
    };
    for at in (0..bytes.len()).filter(|at| !unbound(*at)) {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        let noticed = BlockRecord::decode(&changed).and_then(|record| record.check());
        assert!(noticed.is_err(), "byte {at}");
    }
}

#[test]
fn a_body_of_another_block_is_refused() {
    let block = block();
    let record = BlockRecord::of(&block);
    let mut swapped = block.transactions.clone();
    swapped.swap(0, 1);
    let fewer = block.transactions[1..].to_vec();
    for body in [swapped, fewer, Vec::new()] {
        let refused = Block::from_parts(&record, body);
        assert_eq!(refused, Err(RecordFault::Differs { what: "a transaction" }));
    }
}

#[test]
fn a_body_holds_canonical_transactions_and_nothing_else() {
    let body = |texts: &[&str]| {
        let mut writer = Writer::new();
        writer.u8(VERSION).u32(texts.len() as u32);
        texts.iter().for_each(|text| {
            writer.text(text);
        });
        decode_body(&writer.finish())
    };
    assert!(body(&[r#"{"id": "a"}"#]).is_ok());
    assert_eq!(body(&[r#"{"id":"a"}"#]), Err(RecordFault::NotCanonical { position: 0 }));
    assert!(matches!(body(&["{}"]), Err(RecordFault::Transaction { position: 0, .. })));
    assert!(decode_body(&[1, 255, 255, 255, 255]).is_err());
    assert!(decode_body(&[2, 0, 0, 0, 0]).is_err());
    assert!(decode_body(&[1, 0, 0, 0, 0, 0]).is_err());
}

#[test]
fn a_count_that_the_bytes_do_not_hold_allocates_nothing() {
    let mut writer = Writer::new();
    writer.u8(VERSION).text(&BlockEntry::of(&block()).text()).u8(0).u8(0).u32(u32::MAX);
    assert!(matches!(BlockRecord::decode(&writer.finish()), Err(RecordFault::Wire(_))));
}

#[test]
fn another_parent_is_another_hash() {
    let mut record = BlockRecord::of(&block());
    record.entry.previous_hash = BlockHash::new([1; 32]);
    assert_eq!(record.check(), Err(RecordFault::Differs { what: "the block hash" }));
}

proptest! {
    #[test]
    fn no_bytes_make_the_readers_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = BlockRecord::decode(&bytes);
        let _ = decode_body(&bytes);
        let _ = BlockEntry::parse(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn a_record_with_bytes_replaced_reads_back_as_itself_or_not_at_all(
        at in 0_usize..1_000,
        bytes in prop::collection::vec(any::<u8>(), 1..6),
    ) {
        let mut changed = BlockRecord::of(&block()).encode();
        changed.iter_mut().skip(at).zip(&bytes).for_each(|(old, new)| *old = *new);
        if let Ok(read) = BlockRecord::decode(&changed) {
            let _ = read.check();
            prop_assert_eq!(read.encode(), changed, "one value, one encoding");
        }
    }
}
