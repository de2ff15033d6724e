//! Every range of a session, at every boundary, gives exactly its bytes.

use lucid_core::cut::ChunkProfile;
use lucid_data_chain::ops::OpError;
use lucid_data_chain::ops::sessions::add_references::add_references;
use lucid_data_chain::ops::sessions::read_session::{Cursor, StoredSession, read_range};
use lucid_data_chain::source::SessionSource as _;

use super::store::Store;
use crate::sample::noise;

fn read(source: &StoredSession<'_>, from: u64, to: u64) -> Result<Vec<u8>, OpError> {
    let mut read = Vec::new();
    read_range(source, from..to, |bytes| {
        read.extend_from_slice(bytes);
        Ok(())
    })?;
    Ok(read)
}

#[test]
fn ranges_of_cut_content() {
    let store = Store::new();
    let session = store.begin("s", ChunkProfile::default());
    let content = noise(1, 25);
    let lengths = [1, 7, 2, 10, 5];
    let mut rest = content.as_slice();
    let chunks: Vec<&[u8]> = lengths
        .iter()
        .map(|length| {
            let (chunk, after) = rest.split_at(*length);
            rest = after;
            chunk
        })
        .collect();
    let references = store.store(&chunks);
    add_references(&store.vault, &store.locks, &session, 0, references).unwrap();
    let source = StoredSession::open(&store.vault, &session).unwrap();
    let mut cursor = Cursor::new(&source);
    for from in 0..=25 {
        for to in from..=25 {
            let wanted = &content[from as usize..to as usize];
            assert_eq!(read(&source, from, to).unwrap(), wanted, "{from}..{to}");
            let mut again = Vec::new();
            let take = |bytes: &[u8]| {
                again.extend_from_slice(bytes);
                Ok(())
            };
            cursor.read(from..to, take).unwrap();
            assert_eq!(again, wanted, "{from}..{to}, with what was read before");
        }
    }
    assert!(matches!(read(&source, 25, 26), Err(OpError::Invalid(_))));
    assert!(matches!(read(&source, 0, u64::MAX), Err(OpError::Invalid(_))));
}

#[test]
fn ranges_of_a_stream_that_is_not_cut_to_its_end() {
    let store = Store::new();
    let session = store.begin("s", ChunkProfile::fixed(1_024).unwrap());
    let content = noise(2, 2_500);
    for (offset, piece) in [(0, &content[..1_500]), (1_500, &content[1_500..])] {
        store.append(&session, offset, piece).unwrap();
    }
    let source = StoredSession::open_live(&store.vault, &store.locks, &session).unwrap();
    assert_eq!((source.shape().content_bytes, source.shape().total_bytes), (2_500, 2_048));
    for from in [0, 1, 1_023, 1_024, 2_047, 2_048, 2_049, 2_499, 2_500] {
        for to in [0, 1, 1_024, 1_025, 2_047, 2_048, 2_049, 2_499, 2_500] {
            if from <= to {
                let wanted = &content[from as usize..to as usize];
                assert_eq!(read(&source, from, to).unwrap(), wanted, "{from}..{to}");
            }
        }
    }
    assert!(read(&source, 2_400, 2_501).is_err());
}
