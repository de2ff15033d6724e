//! The store as its owners use it, on disks that lose power, fill up, fail and rot.
//!
//! - [`crash`]: power cuts and kills behind every single call, and every sync left out;
//! - [`recover`]: full disks, failing syncs, and what is found when a store is opened;
//! - [`damage`]: every byte flipped, every file cut and deleted;
//! - [`media`]: sectors that cannot be read, and systems that refuse;
//! - [`moving`]: stores that move to another back-end and back;
//! - [`lies`]: numbers and names that lie, and stores that are built, damaged and opened at random;
//! - [`segments`]: segments that are away, come back, are another store's, or were replaced;
//! - [`loss`]: a log that lost its end beside rewritten segments, and files that look whole and are not;
//! - [`mixed`]: stores of which only one half is in files;
//! - [`folder`]: data folders of the operating system;
//! - [`formats`]: bytes that must never change, and decoders that meet arbitrary ones;
//! - [`index`]: what every index promises;
//! - [`bounds`]: what is made at every limit, and one over;
//! - [`waiting`]: the thread that writes dies, or has no helpers.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]
#![expect(clippy::disallowed_methods, reason = "how long a test looks is set from outside")]

mod bench;
mod bounds;
mod collect;
mod condense;
mod crash;
mod damage;
mod deciding;
mod folder;
mod formats;
mod index;
mod lies;
mod loss;
mod media;
mod mixed;
mod moving;
mod recover;
mod segments;
mod waiting;
