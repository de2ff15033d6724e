//! Framing: what is encoded comes back, and nothing else can do harm.

use bytes::Bytes;
use lucid_api::framing::{Frames, FramingFault, ReadFrames, encode, header};
use proptest::collection::vec;
use proptest::prelude::*;

const LIMIT: usize = 64;

fn chunks() -> impl Strategy<Value = Vec<Vec<u8>>> {
    vec(vec(any::<u8>(), 0..=LIMIT), 0..20)
}

fn framed(chunks: &[Vec<u8>]) -> Vec<u8> {
    encode(chunks.iter().map(Vec::as_slice)).unwrap()
}

/// Both decoders, which must agree on everything.
fn decode(body: &[u8]) -> Result<Vec<Vec<u8>>, FramingFault> {
    let whole: Result<Vec<_>, _> = Frames::new(Bytes::copy_from_slice(body), LIMIT)
        .map(|chunk| chunk.map(|bytes| bytes.to_vec()))
        .collect();
    let streamed: Result<Vec<_>, _> = ReadFrames::new(body, LIMIT)
        .map(|chunk| chunk.map_err(|e| e.downcast::<FramingFault>().unwrap()))
        .collect();
    assert_eq!(whole, streamed);
    whole
}

proptest! {
    #[test]
    fn what_is_encoded_comes_back(chunks in chunks()) {
        prop_assert_eq!(decode(&framed(&chunks)), Ok(chunks));
    }

    #[test]
    fn a_cut_body_is_a_fault_or_a_shorter_row(chunks in chunks(), cut in any::<prop::sample::Index>()) {
        let body = framed(&chunks);
        let cut = cut.index(body.len() + 1);
        match decode(&body[..cut]) {
            Ok(shorter) => prop_assert_eq!(&shorter[..], &chunks[..shorter.len()]),
            Err(fault) => prop_assert!(fault.position() < chunks.len()),
        }
    }

    #[test]
    fn any_bytes_are_survived(body in vec(any::<u8>(), 0..300)) {
        let _any_answer_will_do = decode(&body);
    }
}

#[test]
fn a_length_is_not_believed_before_the_limit_is_asked() {
    let body = [&header(LIMIT + 1).unwrap()[..], &[0; LIMIT + 1]].concat();
    let fault = FramingFault::TooLong { position: 0, length: LIMIT as u64 + 1, limit: LIMIT };
    assert_eq!(decode(&body), Err(fault));
    assert_eq!(decode(&u32::MAX.to_le_bytes()).unwrap_err().position(), 0);
}

#[test]
fn a_decoder_ends_after_its_first_fault() {
    let mut body = framed(&[vec![1]]);
    body.extend_from_slice(&[9, 0, 0, 0, 1]);
    let mut frames = Frames::new(body.into(), LIMIT);
    assert!(frames.next().unwrap().is_ok());
    assert_eq!(frames.next(), Some(Err(FramingFault::Truncated { position: 1 })));
    assert_eq!(frames.next(), None);
}
