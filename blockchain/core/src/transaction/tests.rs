//! The golden transactions, signatures, and what admission adds and refuses.

use super::*;
use crate::block_merkle::transaction_hash;
use crate::limits::TRANSACTION_BYTES_MAX;
use crate::time::Timestamp;

fn now() -> Timestamp {
    Timestamp::parse("2025-01-27T12:00:00Z").unwrap()
}

fn key() -> SigningKey {
    SigningKey::from_seed([9; 32])
}

fn anchor() -> Json {
    Json::object([
        ("id", Json::from("a-1")),
        ("type", Json::from(SESSION_ANCHOR)),
        ("timestamp", Json::from("2025-01-27T00:00:00Z")),
        ("zz", Json::from(7_u64)),
    ])
}

#[test]
fn golden_transactions_have_their_texts_and_hashes() {
    for (given, text, hash) in [
        (
            r#"{"id":"tx-1","type":"session_anchor","session_id":"s-1","timestamp":"2025-01-27T00:00:00Z"}"#,
            r#"{"id": "tx-1", "session_id": "s-1", "timestamp": "2025-01-27T00:00:00Z", "type": "session_anchor"}"#,
            "7fcb5ad9af1953657304422646f7d265870cf74085d96a2fc7e7b4ce4e2fd0cd",
        ),
        (
            r#"{"id":"tx-2","type":"data_storage","data":{"b":1,"a":[1.0,2.5,1e16,1e-5,-0.0,true,null]},"fee":0.1}"#,
            r#"{"data": {"a": [1.0, 2.5, 1e+16, 1e-05, -0.0, true, null], "b": 1}, "fee": 0.1, "id": "tx-2", "type": "data_storage"}"#,
            "731e7b8da16c39182c466b7947f7977bcd28965f0b364c62800c6a1788b03274",
        ),
        (
            "{\"id\":\"tx-3\",\"note\":\"café 😀 \u{7f} / \\\" \\\\ \\n\\t\\u0001\"}",
            r#"{"id": "tx-3", "note": "caf\u00e9 \ud83d\ude00 \u007f / \" \\ \n\t\u0001"}"#,
            "72c22f77f69f784e5a6c6dbb20aad1c23c09abd095dc2eb230c64840f783d4a7",
        ),
    ] {
        let transaction = Transaction::parse(given.as_bytes()).unwrap();
        assert_eq!(transaction.text(), text);
        assert_eq!(transaction.hash().to_string(), hash);
        assert_eq!(Transaction::parse(text.as_bytes()), Ok(transaction));
    }
}

#[test]
fn what_is_read_from_a_text_is_unescaped() {
    let given = r#"{"id":"caf\u00e9 \"1\"","session_id":"\ud83d\ude00","timestamp":"a\nb","type":"\u0061\\"}"#;
    let transaction = Transaction::parse(given.as_bytes()).unwrap();
    assert_eq!(transaction.id(), "café \"1\"");
    assert_eq!(transaction.session_id(), Some("😀"));
    assert_eq!(transaction.timestamp(), Some("a\nb"));
    assert_eq!(transaction.kind(), Some("a\\"));
    assert_eq!(transaction.id_digest(), id_digest("café \"1\""));
}

#[test]
fn a_transaction_is_its_text() {
    let of = |text: &str| Transaction::parse(text.as_bytes()).unwrap();
    assert_eq!(of(r#"{"n":1,"id":"x"}"#), of(r#"{"id": "x", "n": 1}"#));
    assert_ne!(of(r#"{"id":"x","n":1}"#), of(r#"{"id":"x","n":2}"#));
    assert_eq!(format!("{:?}", of(r#"{"id":"x"}"#)), r#"Transaction("{\"id\": \"x\"}")"#);
}

#[test]
fn only_an_object_with_an_id_is_a_transaction() {
    for text in ["[]", "1", "null", r#""id""#] {
        assert_eq!(Transaction::parse(text.as_bytes()), Err(TransactionFault::NotAnObject));
    }
    for text in ["{}", r#"{"id":""}"#, r#"{"id":1}"#, r#"{"id":null}"#, r#"{"a":{"id":"x"}}"#] {
        assert_eq!(Transaction::parse(text.as_bytes()), Err(TransactionFault::NoId), "{text}");
    }
}

#[test]
fn the_digest_of_an_id_is_the_beginning_of_its_sha_256() {
    assert_eq!(hex::encode(id_digest("abc")), "ba7816bf8f01cfea414140de5dae2223");
}

#[test]
fn what_is_signed_verifies_and_any_change_of_it_does_not() {
    let signed = Transaction::signed(&anchor(), &key()).unwrap();
    assert_eq!(signed.signature_state(), SignatureState::Signed { key: key().public() });
    let message = String::from_utf8(signed.signing_message()).unwrap();
    let public = key().public();
    assert_eq!(
        message,
        format!(
            "lucid-tx/v1\n{{\"id\": \"a-1\", \"public_key\": \"{public}\", \"timestamp\": \
             \"2025-01-27T00:00:00Z\", \"type\": \"session_anchor\", \"zz\": 7}}"
        )
    );
    let changed = signed.text().replace("\"zz\": 7", "\"zz\": 8");
    let changed = Transaction::parse(changed.as_bytes()).unwrap();
    assert_eq!(changed.signature_state(), SignatureState::Refused(SignatureFault::Mismatch));
    let again = Transaction::signed(&signed.to_json(), &key());
    assert_eq!(again, Err(TransactionFault::AlreadySigned { field: "public_key" }));
}

#[test]
fn a_key_without_a_good_signature_is_refused_and_a_bare_signature_is_told() {
    let state = |fields: &str| {
        let text = format!(r#"{{"id":"x"{fields}}}"#);
        Transaction::parse(text.as_bytes()).unwrap().signature_state()
    };
    let public = key().public();
    assert_eq!(state(""), SignatureState::Unsigned);
    assert_eq!(state(r#","signature":"anything""#), SignatureState::Bare);
    assert_eq!(state(r#","a":{"public_key":1}"#), SignatureState::Unsigned);
    for fields in [r#","public_key":null"#, r#","public_key":"AAAA","signature":"AAAA""#] {
        assert_eq!(state(fields), SignatureState::Refused(SignatureFault::Key));
    }
    for signature in ["", r#","signature":null"#, r#","signature":"AAAA""#] {
        let fields = format!(r#","public_key":"{public}"{signature}"#);
        assert_eq!(state(&fields), SignatureState::Refused(SignatureFault::Signature));
    }
}

#[test]
fn an_unsigned_post_gets_the_id_and_the_time_that_it_lacks() {
    let admitted = complete(br#"{"type":"audit","n":1e2}"#, now()).unwrap();
    let digest = transaction_hash(r#"{"n": 100.0, "type": "audit"}"#);
    assert_eq!(admitted.posted_digest, digest);
    assert_eq!(admitted.transaction.id(), format!("tx-{digest}"));
    assert_eq!(admitted.transaction.timestamp(), Some("2025-01-27T12:00:00.000000Z"));

    let later = complete(br#"{"n":100.0,"type":"audit"}"#, now().plus_seconds(5)).unwrap();
    assert_eq!(later.posted_digest, digest);
    assert_eq!(later.transaction.id(), admitted.transaction.id());

    let whole = br#"{"id": "x", "timestamp": "2025-01-27", "type": "audit"}"#;
    assert_eq!(complete(whole, now()).unwrap().transaction.text().as_bytes(), whole);
}

#[test]
fn a_signed_post_is_taken_as_it_is_or_not_at_all() {
    let signed = Transaction::signed(&anchor(), &key()).unwrap();
    let admitted = complete(signed.text().as_bytes(), now()).unwrap();
    assert_eq!(admitted.posted_digest, signed.hash());
    assert_eq!(admitted.transaction, signed);

    let without_time = Json::object([("id", Json::from("x")), ("type", Json::from("audit"))]);
    let signed = Transaction::signed(&without_time, &key()).unwrap();
    assert_eq!(complete(signed.text().as_bytes(), now()), Err(AdmissionFault::NoTimestamp));
    let forged = signed.text().replace("audit", "other");
    let forged = forged.replace("\"id\": \"x\"", "\"id\": \"x\", \"timestamp\": \"2025-01-27\"");
    let refused = complete(forged.as_bytes(), now());
    assert_eq!(refused, Err(AdmissionFault::Signature(SignatureFault::Mismatch)));
}

#[test]
fn admission_names_what_is_wrong() {
    let refused = |text: &str| complete(text.as_bytes(), now()).unwrap_err().to_string();
    for (text, part) in [
        ("[]", "object"),
        ("{", "too early"),
        (r#"{"id":"x"}"#, "no type"),
        (r#"{"id":"","type":"a"}"#, "no id"),
        (r#"{"id":null,"type":"a"}"#, "no id"),
        (r#"{"type":5}"#, "no type"),
        (r#"{"type":"a","timestamp":null}"#, "no timestamp"),
        (r#"{"type":"a","timestamp":"soon"}"#, "\"soon\" is not a time"),
        (r#"{"type":"a","fee":-0.5}"#, "fee is negative"),
        (r#"{"type":"a","value":-1}"#, "value is negative"),
    ] {
        assert!(refused(text).contains(part), "{text}: {}", refused(text));
    }
    let around = r#"{"id": "i", "timestamp": "2025-01-27", "type": "a", "x": ""}"#.len();
    let of_bytes = |bytes: usize| {
        let x = "x".repeat(bytes - around);
        format!(r#"{{"id":"i","timestamp":"2025-01-27","type":"a","x":"{x}"}}"#)
    };
    let most = complete(of_bytes(TRANSACTION_BYTES_MAX).as_bytes(), now()).unwrap();
    assert_eq!(most.transaction.text().len(), TRANSACTION_BYTES_MAX);
    let bytes = TRANSACTION_BYTES_MAX + 1;
    let fault = complete(of_bytes(bytes).as_bytes(), now());
    assert_eq!(fault, Err(AdmissionFault::TooLarge { bytes }));
}

#[test]
fn amounts_of_nothing_and_more_are_admitted() {
    for amount in ["0", "-0", "0.0", "-0.0", "1e-400", "7", "0.5", "\"-1\"", "null"] {
        for field in ["fee", "value"] {
            let text = format!(r#"{{"type":"a","{field}":{amount}}}"#);
            assert!(complete(text.as_bytes(), now()).is_ok(), "{text}");
        }
    }
}
