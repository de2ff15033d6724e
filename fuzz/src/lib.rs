//! What meets arbitrary bytes, and what has to be true of it, regardless of the bytes.
//!
//! A target is a function of bytes that ends in nothing, or in a panic where something is false. `cargo
//! fuzz` drives it with what libFuzzer thinks of (`targets/`); `cargo test` with every seed and every
//! input that once was too much for it (`corpus/`, `regressions/`), and with altered ones (`tests/`).
//!
//! - [`decoders`] has one for each family of formats: bytes as they are, checksums put right;
//! - [`formats`] has every other parser there is, by itself; [`remote`] those of what is kept on other machines;
//! - [`recovery`] and [`store`] open stores: made of lying records, and sound ones that were damaged;
//! - [`forge`] alters proofs, with keys of its own: what is proved must be true;
//! - [`pyjson`] compares the chain's JSON with Python's;
//! - [`http`] asks both services, as badly as can be; [`peer`] is what they are answered with;
//! - [`restore`] restores what no archive holds: nothing outside its folder may change.
//!
//! Every target has a budget of time, and every parser one of memory: see [`bounds`].

pub mod bounds;
pub mod decoders;
pub mod draw;
pub mod forge;
pub mod formats;
pub mod http;
pub mod peer;
pub mod pyjson;
pub mod recovery;
pub mod remote;
pub mod restore;
pub mod store;
pub mod worlds;

use std::time::Duration;

/// Something that bytes are given to.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// What it is called, here and to `cargo fuzz`.
    pub name: &'static str,
    /// Panics if something is false.
    pub meet: fn(&[u8]),
    /// How much processor time one input may take, in an optimised build.
    pub most: Duration,
}

const fn target(name: &'static str, meet: fn(&[u8]), millis: u64) -> Target {
    Target { name, meet, most: Duration::from_millis(millis) }
}

/// All of them.
pub const TARGETS: [Target; 15] = [
    target("records", decoders::records, 200),
    target("recovery", recovery::recovery, 2_000),
    target("manifest", decoders::manifest, 200),
    target("bundle", decoders::bundle, 500),
    target("pages", decoders::pages, 200),
    target("chain", decoders::chain, 1_000),
    target("wire", decoders::wire, 200),
    target("forge", forge::forge, 500),
    target("formats", formats::formats, 500),
    target("remote", remote::remote, 500),
    // Up to eight starts, each of which may note 65,536 segments that are missing.
    target("store", store::store, 8_000),
    target("restore", restore::restore, 3_000),
    target("http", http::http, 8_000),
    target("peer", peer::peer, 3_000),
    target("pyjson", pyjson::pyjson, 500),
];

/// Gives bytes to the target of this name, within its budget of time.
pub fn meet(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    assert!(target.is_some(), "there is no target {name}");
    if let Some(target) = target {
        bounds::in_time(target.name, target.most, || (target.meet)(bytes));
    }
}
