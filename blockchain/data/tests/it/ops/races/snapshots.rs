//! Snapshots of what the ops do: a store that is opened from one has the same rows, whatever was done before.

use std::collections::{BTreeMap, BTreeSet};

use lucid_data_chain::ops::upkeep::snapshot_log::snapshot_in;

use super::*;

/// Rows that follow from the log, wherever it was followed from: but for which kinds of facts it had, for what is
/// said of units that others stand for, and for how often documents changed.
fn rows(store: &Store) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut rows = store.index.rows();
    let retired: BTreeSet<u32> = rows
        .keys()
        .filter(|key| key[0] == 0x04)
        .map(|key| u32::from_be_bytes(*key.last_chunk().unwrap()))
        .collect();
    rows.retain(|key, value| match key[0] {
        0x01 => !retired.contains(&u32::from_le_bytes(*value.first_chunk().unwrap())),
        0x05 | 0x09 | 0x4b => false,
        _ => true,
    });
    rows
}

#[test]
fn a_store_that_starts_from_a_snapshot_has_the_rows_of_those_that_followed_the_log() {
    let (mut snapshots, mut left_out) = (0, 0);
    // Each time another op comes first, and the others in another order.
    for start in 0..OPS.len() {
        let (log, blobs) = (Arc::<MemoryLog>::default(), Arc::<MemoryBlobs>::default());
        let open = || {
            let index = Arc::default();
            Store::open_shared(&log, &blobs, (Arc::clone(&index), index))
        };
        let store = open();
        prepare(&store);
        for step in 0..OPS.len() {
            let (name, op) = OPS[(start + step * 5) % OPS.len()];
            let what = format!("{name}, as number {step} from {start}");
            // What is not possible in this order is refused.
            let _done = op(&store).is_ok();
            if step % 3 != start % 3 {
                continue;
            }
            let scratch = Arc::new(lucid_store::memory::index::MemoryIndex::new());
            let done = snapshot_in(&store.vault, scratch, 1, &mut |_, _| true);
            let done = done.unwrap_or_else(|error| panic!("{what}: {error}"));
            (snapshots, left_out) =
                (snapshots + done.number.min(1), left_out + done.facts_left_out);
            let fresh = open();
            let (rows, expected) = (rows(&fresh), rows(&store));
            let differs = |(key, value): &(&Vec<u8>, &Vec<u8>)| rows.get(*key) != Some(*value);
            let other = expected.iter().find(differs).map(|(key, _)| key);
            let more = rows.keys().find(|key| !expected.contains_key(*key));
            assert_eq!((other, more), (None, None), "{what}: these rows differ");
            check(&fresh, &what);
        }
        assert!(log.hollow_commits() > 10, "from {start}");
    }
    assert!(snapshots > 100 && left_out > 50, "{snapshots}, {left_out}");
}
