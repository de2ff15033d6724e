//! Chunk records in a store that speaks S3: every write is one object, which never changes.
//!
//! Beneath the store's prefix lie
//!
//! | object | what it is |
//! |---|---|
//! | `unit/NUMBER-RANDOM` | a unit ([`object`]); both in sixteen hex digits |
//! | `given/NUMBER-RANDOM` | up to where numbers are taken ([`numbers`]) |
//! | `mark/INCARNATION-COMMIT-RANDOM` | how far the log has come ([`reached`]) |
//! | `probe/RANDOM` | there for a moment while the store is opened ([`opening`]) |
//!
//! **One process writes.** Which one that is, others see to. The bytes do not depend on it, and a second process
//! that is started by mistake takes other numbers and puts under other names, so it harms nothing of the first one's.
//!
//! **What is there is known from a list**, read when the store is opened and kept up by what this process does, so
//! that nothing is asked for to be counted. What the list has and a read does not find is *unavailable*, an I/O error:
//! servers lose sight of objects for a while. Only what [`contents`] has missed twice, hours apart, is damage.
//! Other bytes than were put are damage at once.
//!
//! **What a crash leaves.** A commit names a unit only after the answer to its put, and units go only after a commit
//! that needs them no more; names are never used again. So whatever is left over is an object that nothing names:
//!
//! | the process ends | what is in the bucket | what it counts for |
//! |---|---|---|
//! | before the put, or in it | nothing: an object is there whole or not at all | |
//! | in the put, and the server goes on | the unit, perhaps minutes later | nothing: its number is not given again |
//! | after the put, before the commit | the unit | nothing |
//! | in the commit | the unit | what the log says |
//! | after a commit that was refused, before the unit is taken back | the unit | nothing |
//! | while a unit is made of others, or before its fact | the new unit, the old ones | the old ones count |
//! | after that fact, before or while the old ones are removed | all of them | the new one counts |
//! | while numbers are taken | a mark more, or an older one | a thousand numbers are passed over |
//!
//! An object that nothing names costs room until collections have drawn a line above its number, behind which it is
//! named by no commit any more (`store/src/vault/line.rs`); then it is removed by its name. One that others stand for
//! is removed one collection after that was committed.
//!
//! **Memory.** A unit is put in one piece from memory. What is written is a batch, 8 MiB and a chunk at most; what is
//! made of others is kept to [`DRAFT_BYTES`] and one unit more. A put in parts would save that memory, and cost more:
//! its parts stay unseen and are paid for when the process ends in between, and it takes rights that a put does not.
//!
//! [`contents`]: crate::contract::blobs::Blobs::contents

mod blobs;
mod bucket;
mod failure;
pub mod numbers;
pub mod object;
pub mod opening;
pub mod reached;
mod shared;
mod unit;

#[cfg(test)]
pub(crate) mod faulty;
#[cfg(test)]
pub(crate) mod scripted;
#[cfg(test)]
pub(crate) mod tests;

pub use blobs::{DRAFT_BYTES, RECORDS_MAX, S3Blobs};
pub use opening::{Settings, open};
