//! The orders of documents, made anew without the log.

use std::sync::Arc;

use lucid_core::cut::ChunkProfile;
use lucid_core::sign::SigningKey;
use lucid_data_chain::document::DocumentKind;
use lucid_data_chain::ops::documents::store_document::store_document;
use lucid_data_chain::projection::{RemadeOrders, SessionProjection};
use lucid_data_chain::row::documents::changes_key;
use lucid_data_chain::row::orders::sessions_in_order_key;
use lucid_store::contract::index::{Change, Index, Row};
use lucid_store::crypt::Cipher;
use lucid_store::registry::data_chain::key::{BY_INDEX, DOCUMENT_COUNTS, IN_ORDER};
use serde_json::json;

use super::store::{NOW, Store};
use crate::routes::storage::block;

fn rows(store: &Store) -> Vec<Row> {
    let all = store.index.scan(&[], &[0xff; 64], usize::MAX, false).unwrap();
    // These say how often something changed, and that the sessions stand in order, which `Opened` says.
    let besides = [changes_key(), sessions_in_order_key()];
    all.into_iter().filter(|(key, _)| !besides.contains(key)).collect()
}

fn remake(store: &Store) -> RemadeOrders {
    let key = SigningKey::from_seed([1; 32]).public();
    let projection = SessionProjection::new(Arc::new(Cipher::new(None)), key);
    projection.remake_orders(store.vault.index()).unwrap()
}

/// Documents of each kind, one that said something else before, and sessions of this store.
fn filled() -> Store {
    let store = Store::new();
    let transactions: Vec<_> =
        (0..9).map(|n| json!({ "id": format!("t-{n}"), "type": "x", "session_id": "s" })).collect();
    let keep = |kind, text: &str| store_document(&store.vault, NOW, kind, text).unwrap();
    keep(DocumentKind::Block, &block(None, 1, &transactions).to_json_text());
    for status in ["active", "completed"] {
        let said =
            json!({ "id": "d", "status": status, "user_id": "ann", "metadata": { "a": "b" } });
        keep(DocumentKind::Session, &said.to_string());
    }
    let sealed = store.begin("kept-1", ChunkProfile::default());
    store.append(&sealed, 0, b"content").unwrap();
    store.seal(&sealed);
    store.begin("kept-2", ChunkProfile::default());
    store
}

#[test]
fn places_that_were_lost_come_back_and_those_of_nobody_go() {
    let store = filled();
    let sound = rows(&store);
    let is_place = |key: &[u8]| matches!(key[0], IN_ORDER | BY_INDEX);
    let places: Vec<Vec<u8>> =
        sound.iter().map(|(key, _)| key.clone()).filter(|key| is_place(key)).collect();
    let done = remake(&store);
    assert_eq!((done.documents, done.sessions, done.added, done.removed), (11, 2, 0, 0));
    assert_eq!(rows(&store), sound);

    for lost in places.iter().map(|place| vec![place]).chain([places.iter().collect()]) {
        let stale = |place: &Vec<u8>| {
            let mut place = place.clone();
            *place.last_mut().unwrap() ^= 1;
            place
        };
        let gone = lost.iter().map(|place| ((*place).clone(), None));
        let value = |place: &Vec<u8>| sound.iter().find(|(key, _)| key == place).unwrap().1.clone();
        let nobody = lost.iter().map(|place| (stale(place), Some(value(place))));
        let mut damage: Vec<Change> = gone.chain(nobody).collect();
        damage.push((vec![DOCUMENT_COUNTS], None));
        let stale = damage.iter().filter(|(_, value)| value.is_some()).count();
        store.index.write(damage).unwrap();
        let done = remake(&store);
        assert_eq!((done.added, done.removed), (lost.len() as u64, stale as u64));
        assert_eq!(rows(&store), sound);
    }
}

/// An index that an earlier version made has none of them.
#[test]
fn an_index_without_orders_is_as_one_that_was_made_from_the_log() {
    let store = filled();
    let sound = rows(&Store::open(&store.disk));
    let gone = rows(&store).into_iter().filter(|(key, _)| key[0] == IN_ORDER);
    store.index.write(gone.map(|(key, _)| (key, None)).collect()).unwrap();
    let done = remake(&store);
    assert!(done.added > 20, "{done:?}");
    assert_eq!(rows(&store), sound);
}
