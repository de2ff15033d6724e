//! Facts as they would follow each other in a file: how commits of a database and pieces of snapshots have them.

use crate::frame::{HEADER_BYTES, Header, Record, UNSOUND};

/// Their bytes.
pub fn frames(facts: &[Record]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for fact in facts {
        bytes.extend_from_slice(&fact.header.encode());
        bytes.extend_from_slice(&fact.payload);
    }
    bytes
}

/// Why facts are not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FramesFault {
    /// As a sentence without a full stop; of one that a later version wrote, [`crate::frame::NEWER_RECORD`].
    pub(crate) why: &'static str,
    /// Where.
    pub(crate) at: u64,
}

/// The facts, each with where it begins.
pub(crate) fn read_frames(bytes: &[u8]) -> Result<Vec<(u64, Record)>, FramesFault> {
    let (mut records, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        let at = (bytes.len() - rest.len()) as u64;
        let fault = |why| FramesFault { why, at };
        let cut = || fault("its facts are cut short");
        let (header, behind) = rest.split_first_chunk::<HEADER_BYTES>().ok_or_else(cut)?;
        let header = Header::decode(header).map_err(fault)?;
        let length = header.stored_length as usize;
        let (payload, behind) = behind.split_at_checked(length).ok_or_else(cut)?;
        if !header.matches(payload) {
            return Err(fault(UNSOUND));
        }
        records.push((at, Record { header, payload: payload.to_vec() }));
        rest = behind;
    }
    Ok(records)
}
