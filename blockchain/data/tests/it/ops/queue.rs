//! The queue of the index, and its bounds.

use lucid_data_chain::ops::OpError;
use lucid_data_chain::ops::documents::index_items::{
    Item, QUEUED_BYTES_MAX, QUEUED_MAX, index_items, queue_items,
};
use lucid_data_chain::row::indexing::IndexingCounts;
use lucid_store::contract::index::Index as _;

use super::store::{NOW, Store};

fn counts(store: &Store) -> IndexingCounts {
    IndexingCounts::find(store.vault.index()).unwrap()
}

fn items(text: &str) -> Vec<Item> {
    Item::read_all(text).unwrap()
}

#[test]
fn bytes_that_wait_or_are_laid_aside_are_counted_until_they_are_indexed() {
    let store = Store::new();
    let sound = items(r#"[{"type": "session", "id": "a"}, {"type": "session", "id": "b"}]"#);
    let poison = items(r#"{"type": "block", "hash": "c", "transactions": [{}]}"#);
    queue_items(&store.vault, NOW, &sound).unwrap();
    queue_items(&store.vault, NOW, &poison).unwrap();
    let bytes = |items: &[Item]| items.iter().map(|item| item.text.len() as u64).sum::<u64>();
    assert_eq!((counts(&store).queued, counts(&store).bytes), (3, bytes(&sound) + bytes(&poison)));
    let done = index_items(&store.vault, NOW, 10).unwrap();
    assert_eq!((done.indexed.len(), done.buried.len()), (2, 1));
    assert_eq!((counts(&store).dead, counts(&store).bytes), (1, bytes(&poison)));
    // A log that is read again counts the same.
    assert_eq!(counts(&Store::open(&store.disk)), counts(&store));
}

#[test]
fn more_items_or_bytes_than_may_wait_are_refused_and_nothing_is_queued() {
    let one = items(r#"{"type": "session", "id": "a"}"#);
    let full = IndexingCounts { queued: QUEUED_MAX, ..IndexingCounts::default() };
    let heavy = IndexingCounts { queued: 1, bytes: QUEUED_BYTES_MAX - 5, ..full };
    for counts in [full, heavy] {
        let store = Store::new();
        store.index.write(vec![(IndexingCounts::key(), Some(counts.encode()))]).unwrap();
        let refused = queue_items(&store.vault, NOW, &one).unwrap_err();
        assert!(matches!(&refused, OpError::Busy(why) if why.contains("later")), "{refused}");
        assert_eq!(self::counts(&store), counts);
    }
}
