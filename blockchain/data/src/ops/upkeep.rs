//! What keeps a store well: what nobody keeps any more goes, the rest is packed, checked, and expires in its time.

pub mod begin_retention;
pub mod collect_garbage;
pub(crate) mod count_age;
pub mod expire_sessions;
pub mod expire_uploads;
pub mod live_chunks;
pub mod optimise;
pub mod scrub_store;
pub mod snapshot_log;
pub mod weigh_facts;
