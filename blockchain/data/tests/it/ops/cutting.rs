//! However a stream arrives, it becomes the chunks that an archive would have made of it.

use lucid_core::cut::ChunkProfile;
use lucid_data_chain::ops::sessions::read_session::{StoredSession, read_range};
use lucid_data_chain::source::SessionSource as _;
use proptest::prelude::*;

use super::store::Store;
use crate::sample::{cut, id, noise};

fn append_in(pieces: &[usize], profile: ChunkProfile, content: &[u8]) {
    let store = Store::new();
    let session = store.begin("s", profile);
    let (mut rest, mut offset, mut at) = (content, 0, 0);
    while !rest.is_empty() {
        let length = pieces[at % pieces.len()].min(rest.len());
        let (piece, after) = rest.split_at(length);
        let appended = store.append(&session, offset, piece).unwrap();
        offset += length as u64;
        assert_eq!(appended.offset, offset);
        assert!(appended.root_offset <= offset);
        assert!(offset - appended.root_offset < profile.max() as u64, "what can be cut is cut");
        (rest, at) = (after, at + 1);
    }
    let sealed = store.seal(&session);
    assert_eq!(sealed.offset(), content.len() as u64);
    let source = StoredSession::open(&store.vault, &session).unwrap();
    let references = source.references(0, 10_000).unwrap();
    let ids: Vec<_> = references.iter().map(|reference| reference.chunk).collect();
    let wanted: Vec<_> = cut(profile, content).into_iter().map(id).collect();
    assert_eq!(ids, wanted);
    let mut read = Vec::new();
    read_range(&source, 0..offset, |bytes| {
        read.extend_from_slice(bytes);
        Ok(())
    })
    .unwrap();
    assert_eq!(read, content);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn by_content(pieces in prop::collection::vec(1usize..400_000, 1..6), length in 0usize..1_500_000) {
        append_in(&pieces, ChunkProfile::content_defined(65_536).unwrap(), &noise(7, length));
    }

    #[test]
    fn by_size(pieces in prop::collection::vec(1usize..5_000, 1..6), length in 0usize..40_000) {
        append_in(&pieces, ChunkProfile::fixed(1_024).unwrap(), &noise(8, length));
    }
}

#[test]
fn pieces_that_end_where_chunks_end_leave_no_tail() {
    append_in(&[1_024], ChunkProfile::fixed(1_024).unwrap(), &noise(9, 10_240));
    append_in(&[1_023, 1], ChunkProfile::fixed(1_024).unwrap(), &noise(9, 10_240));
}
