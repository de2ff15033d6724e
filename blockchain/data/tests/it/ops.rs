//! The ops on an index in memory and a disk that can lose power: what the routes cannot bring about.

mod store;
mod sync;

mod chain;
mod cutting;
mod elsewhere;
mod garbage;
mod life;
mod mirror;
mod notes;
mod orders;
mod placed;
mod power;
mod queue;
mod races;
mod ranges;
mod removal;
mod reserve;
mod rows;
mod scrub;
mod timeline;
mod verify;
