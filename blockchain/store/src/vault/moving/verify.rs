//! Reads both sides of a move again, and compares them.

use lucid_core::digest::ChunkName;

use super::{
    MoveError, Stage, Work, content, each_of, each_page, facts_of, is_sealed_wrongly, moving, read,
    stretch,
};
use crate::codec::Packer;
use crate::contract::blobs::Placement;
use crate::frame::Record;
use crate::vault::committer::Submission;
use crate::vault::{Vault, chunk_rows};
use crate::{Damage, StoreError};

/// A chunk, with where it is on either side.
type Pair = (ChunkName, Placement, Placement);

/// What came of comparing a chunk.
enum Compared {
    /// Both sides have the same record, of this digest; or the side it came from cannot be read any more, and the
    /// other one opens.
    Same([u8; 32]),
    /// They do not.
    Differs(String),
    /// Neither can be read.
    Lost(Damage),
}

/// The digest of a record, wherever it is.
fn digest(record: &Record) -> [u8; 32] {
    *blake3::Hasher::new()
        .update(&content(&record.header))
        .update(&record.payload)
        .finalize()
        .as_bytes()
}

fn compare(
    from: &Vault,
    to: &Vault,
    packer: &mut Packer,
    (name, here, there): &Pair,
) -> Result<Compared, StoreError> {
    let (ours, theirs) = (read(from, packer, name, here)?, read(to, packer, name, there)?);
    Ok(match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => match digest(&ours) == digest(&theirs) {
            true => Compared::Same(digest(&theirs)),
            false => Compared::Differs(format!(
                "chunk {name} in {} is not the record that was sent",
                to.blobs().title(there.unit)
            )),
        },
        (Ok(_), Err(damage)) => Compared::Differs(damage.to_string()),
        // What came before it was damaged is the chunk all the same, if it opens.
        (Err(damage), Ok(theirs)) => match is_sealed_wrongly(to, packer, &theirs, there)? {
            None => Compared::Same(digest(&theirs)),
            Some(_) => Compared::Lost(damage),
        },
        (Err(damage), Err(_)) => Compared::Lost(damage),
    })
}

impl Work<'_, '_> {
    /// Reads everything of both sides, and says what it comes to.
    pub(super) fn compare(&mut self) -> Result<(), MoveError> {
        let (sum, matched) = self.compare_chunks()?;
        let mut there = 0;
        each_page(self.to, |page| {
            there += page.len() as u64;
            Ok(())
        })?;
        self.moved.spare = there.saturating_sub(matched);
        let (ours, theirs) = (facts_of(self.from, true)?, facts_of(self.to, false)?);
        if ours.finish() != theirs.finish() || ours.count != theirs.count {
            let (ours, theirs) = (ours.count, theirs.count);
            return Err(MoveError::Differs(format!(
                "the facts are not those that were sent ({theirs} of {ours})"
            )));
        }
        self.done = self.total;
        self.step(Stage::Comparing)?;
        self.moved.facts = theirs.count;
        self.moved.digest = *blake3::Hasher::new()
            .update(&theirs.count.to_le_bytes())
            .update(&theirs.finish())
            .update(&matched.to_le_bytes())
            .update(&sum)
            .finalize()
            .as_bytes();
        Ok(())
    }

    /// The digests of all chunks, each added to the others without an order, and how many there are.
    fn compare_chunks(&mut self) -> Result<([u8; 32], u64), MoveError> {
        let (from, to) = (self.from, self.to);
        let mut sum = [0; 32];
        let mut failed = None;
        let mut matched = 0;
        each_page(from, |page| {
            let mut pairs = Vec::with_capacity(page.len());
            for (name, here) in page {
                match chunk_rows::placement(to.index(), &name)? {
                    Some(there) => pairs.push((name, here, there)),
                    None if self.lost.contains(&name) => {}
                    None => {
                        let why = format!("chunk {name} is missing");
                        failed.get_or_insert(MoveError::Differs(why));
                        return Err(StoreError::Stopped);
                    }
                }
            }
            pairs.sort_unstable_by_key(|(.., there)| there.place());
            let mut rest = pairs.as_slice();
            while !rest.is_empty() {
                let (now, later) = stretch(rest, |(_, here, _)| here.record_bytes());
                rest = later;
                let compared = each_of(now, |packer, pair| compare(from, to, packer, pair))?;
                for (pair, compared) in now.iter().zip(compared) {
                    let compared = match compared {
                        Compared::Differs(_) => self.again(pair)?,
                        compared => compared,
                    };
                    self.done += pair.1.record_bytes();
                    match compared {
                        Compared::Same(digest) => {
                            sum.iter_mut().zip(digest).for_each(|(to, byte)| *to ^= byte);
                            matched += 1;
                            self.moved.chunk_bytes += pair.1.record_bytes();
                        }
                        Compared::Lost(damage) if self.accept_loss => self.leave(pair, damage),
                        Compared::Lost(damage) => {
                            failed.get_or_insert(MoveError::Damaged(vec![damage]));
                            return Err(StoreError::Stopped);
                        }
                        Compared::Differs(why) => {
                            failed.get_or_insert(MoveError::Differs(why));
                            return Err(StoreError::Stopped);
                        }
                    }
                }
                self.step(Stage::Comparing)?;
            }
            Ok(())
        })
        .map_err(|error| failed.take().unwrap_or(MoveError::Store(error)))?;
        self.moved.chunks = matched;
        Ok((sum, matched))
    }

    /// A chunk that neither side can read is left behind: where its record went, a new upload replaces it.
    fn leave(&mut self, (name, _, there): &Pair, damage: Damage) {
        self.to.quarantine(&mut Packer::new(), name, there, &damage);
        self.damage.push(damage);
    }

    /// Sends a chunk again that reads otherwise than it was: a fresh copy takes the place of that one. Where that
    /// reads wrongly, too, nothing there can be relied on.
    fn again(&mut self, (name, here, there): &Pair) -> Result<Compared, StoreError> {
        let (from, to) = (self.from, self.to);
        let mut packer = Packer::new();
        let record = match read(from, &mut packer, name, here)? {
            Ok(record) => record,
            Err(_) => return compare(from, to, &mut packer, &(*name, *here, *there)),
        };
        let submission = Submission { chunks: vec![record], again: true, ..Submission::default() };
        self.to.commit(submission).map_err(moving())?;
        self.moved.sent_again += 1;
        let there = chunk_rows::placement(to.index(), name)?.unwrap_or(*there);
        compare(from, to, &mut packer, &(*name, *here, there))
    }
}
