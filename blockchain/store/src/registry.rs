//! Every kind of fact and every first byte of a key, with their owner: one list, so that no two are the same.
//!
//! A fact's first byte is its kind, and a key's first byte says whose row it is. A log has facts of [`vault`] and of
//! one service; an index has rows of [`vault`], of one service, and of [`chain`] where it is beside one. So the
//! services may use the same numbers, and nobody else. What a fact says behind its kind, and a row behind its first
//! byte, is in the file that is named with the owner, and byte by byte in `docs/FORMATS.md`.
//!
//! A number that was given once is not given to anything else: what earlier versions wrote stays readable.

/// Kinds from here on are of facts of services.
pub const SERVICE_FACTS: u8 = 0x10;

/// Keys whose first byte is this or more are not the vault's.
#[cfg(test)]
const SERVICE_KEYS: u8 = 0x40;

/// Keys whose first byte is this or more are not a service's.
#[cfg(test)]
const CHAIN_KEYS: u8 = 0x80;

/// What each owner has given out.
#[cfg(test)]
struct Given {
    owner: &'static str,
    facts: &'static [(&'static str, u8)],
    keys: &'static [(&'static str, u8)],
}

macro_rules! registry {
    ($(
        $(#[$about:meta])* $owner:ident:
        facts { $($(#[$fact_about:meta])* $fact:ident = $kind:literal,)* }
        keys { $($(#[$key_about:meta])* $key:ident = $first:literal,)* }
    )*) => {
        $($(#[$about])* pub mod $owner {
            /// Kinds of facts.
            pub mod fact {
                $($(#[$fact_about])* pub const $fact: u8 = $kind;)*
                /// All of them.
                pub const ALL: &[u8] = &[$($kind),*];
            }

            /// First bytes of keys.
            pub mod key {
                $($(#[$key_about])* pub const $key: u8 = $first;)*
            }
        })*

        #[cfg(test)]
        const GIVEN: &[Given] = &[$(Given {
            owner: stringify!($owner),
            facts: &[$((stringify!($fact), $kind)),*],
            keys: &[$((stringify!($key), $first)),*],
        }),*];
    };
}

registry! {
    /// The store's own, in every service: `store/src/vault/facts.rs`, `vault/chunk_rows.rs`, `vault/moving/rows.rs`,
    /// `vault/unit_rows.rs`, `contract/` and `files/segment_rows.rs`.
    vault:
    facts {
        /// A chunk's copy is damaged.
        QUARANTINED = 0x01,
        /// Copies of chunks do not count any more.
        DROPPED = 0x02,
        /// A unit stands for others.
        SWITCHED = 0x03,
        /// Up to which number units are named for the first time no more, and which units go next.
        LINED = 0x04,
        /// What the writer's rows come to at its commit.
        TALLIED = 0x05,
        /// Which snapshots of the log there are, and which pieces of them may be.
        SNAPSHOTS = 0x06,
        /// A move into this store has begun, and is not at its end.
        MOVING = 0x0e,
        /// A move into this store is at its end.
        MOVED = 0x0f,
    }
    keys {
        /// Where a chunk is.
        CHUNK = 0x01,
        /// A chunk whose copy is damaged.
        QUARANTINE = 0x02,
        /// Up to where the index has followed the log.
        POSITION = 0x03,
        /// A unit that was replaced.
        RETIRED = 0x04,
        /// A unit that was made of others.
        REWRITTEN = 0x05,
        /// Values are bound to their rows.
        BOUND = 0x06,
        /// A unit that could not be read.
        UNREAD = 0x07,
        /// The log lacks a commit.
        LACKING = 0x08,
        /// Which kinds of facts the index has taken in.
        KINDS = 0x09,
        /// How far commits name segments, where the log is kept elsewhere.
        NAMED = 0x0a,
        /// Up to which number units are named for the first time no more, and which units go next.
        LINE = 0x0b,
        /// Which snapshots of the log there are, and which pieces of them may be.
        SNAPSHOTS = 0x0c,
        /// A move into this store is not at its end.
        MOVING = 0x20,
    }

    /// The chain's rows: `store/src/files/chain/rows.rs`.
    chain:
    facts {}
    keys {
        /// A block, by height.
        HEIGHT = 0x80,
        /// A block's height, by hash.
        HASH = 0x81,
        /// Where a transaction is, by the digest of its id.
        ID = 0x82,
        /// A block whose transactions' ids are unknown.
        UNKNOWN_IDS = 0x83,
        /// Where a session is anchored.
        ANCHOR = 0x84,
        /// Up to where the index has followed the chain.
        CHAIN_POSITION = 0x8f,
    }

    /// A data-chain's: `data/src/fact.rs` and `data/src/row.rs`, and what is below them.
    data_chain:
    facts {
        /// A session began.
        STARTED = 0x10,
        /// Chunks were added to a session.
        REFERENCED = 0x11,
        /// Bytes of a stream that are not cut yet.
        TAIL = 0x12,
        /// A session is whole.
        SEALED = 0x13,
        /// A session's anchor is in a block.
        ANCHORED = 0x14,
        /// Chunks are kept although no session refers to them.
        UPLOADED = 0x15,
        /// Such chunks are not kept any more.
        FORGOTTEN = 0x16,
        /// Chunks were put into a session by their index.
        PLACED = 0x17,
        /// A session was removed.
        REMOVED = 0x18,
        /// A session must not be removed.
        HELD = 0x19,
        /// A session may be removed again.
        RELEASED = 0x1a,
        /// A recording came to a moment.
        MARKED = 0x1b,
        /// A tree was built, or something was verified.
        NOTED = 0x1d,
        /// Stored bytes were read again.
        SCRUBBED = 0x1e,
        /// Which chain anchors are in.
        CHAIN = 0x1f,
        /// A document was stored.
        STORED = 0x20,
        /// Items wait to be indexed, or do not any more.
        INDEXING = 0x21,
        /// A session is kept until a time.
        RETAINED = 0x22,
        /// An engine that keeps no chain of ours has a session's anchor.
        ELSEWHERE = 0x23,
    }
    keys {
        /// A document.
        DOCUMENT = 0x40,
        /// A page of a document's text.
        PAGE = 0x41,
        /// Documents in the order of time, all of a kind or those that share a facet.
        IN_ORDER = 0x42,
        /// Blocks in the order of their indexes.
        BY_INDEX = 0x43,
        /// What a document said before, or what contradicts it.
        EARLIER = 0x44,
        /// How many documents there are.
        DOCUMENT_COUNTS = 0x45,
        /// How often what a query can answer changed.
        DOCUMENT_CHANGES = 0x4b,
        /// How far documents were taken from a chain.
        SYNCHRONISED = 0x4c,
        /// The sessions of this store are in their orders, too.
        SESSIONS_IN_ORDER = 0x46,
        /// An item that waits to be indexed.
        QUEUED = 0x47,
        /// An item that could not be indexed.
        DEAD = 0x48,
        /// What was indexed of something that is not stored.
        ENTRY = 0x49,
        /// How many wait, and how many were indexed.
        INDEXING = 0x4a,
        /// A session.
        SESSION = 0x50,
        /// A chunk of a session.
        REFERENCE = 0x51,
        /// Bytes of a stream that are not cut yet.
        TAIL = 0x52,
        /// A session's manifest.
        MANIFEST = 0x53,
        /// A session's anchor transaction.
        ANCHOR = 0x54,
        /// A session's way to its block.
        PROOF = 0x55,
        /// Sessions in the order of their starts.
        BY_TIME = 0x56,
        /// Sessions whose anchor is on its way.
        UNANCHORED = 0x57,
        /// The manifest that was sealed last.
        LAST_MANIFEST = 0x58,
        /// How much there is.
        COUNTS = 0x59,
        /// A chunk that is kept although no session refers to it.
        UPLOADED = 0x5a,
        /// A chunk's other name.
        ALIAS = 0x5b,
        /// A chunk that was put into a session by its index.
        PLACED = 0x5c,
        /// How often a chunk is referred to.
        REFERRED = 0x5d,
        /// By which sessions.
        REFERRER = 0x5e,
        /// Trees and verifications.
        NOTED = 0x5f,
        /// What is left of a removed session.
        TOMBSTONE = 0x60,
        /// A session that must not be removed.
        HOLD = 0x61,
        /// Until when a session is kept.
        RETENTION = 0x64,
        /// Removed sessions in the order of their removals.
        BY_REMOVAL = 0x62,
        /// Removed sessions whose tombstone is on its way.
        UNCHAINED = 0x63,
        /// What another engine says of a session's anchor.
        ELSEWHERE = 0x65,
        /// A moment of a recording.
        MARK = 0x66,
        /// Sessions that another engine has, and whose anchor is on its way into a block.
        WAITING_ELSEWHERE = 0x67,
        /// How far stored bytes were read again.
        SCRUBBED = 0x6a,
        /// Which chain anchors are in.
        CHAIN = 0x6b,
    }

    /// A block-manager's: `manager/src/fact.rs` and what is below it.
    block_manager:
    facts {
        /// Whether it makes blocks, or follows.
        ROLE = 0x10,
        /// The chain's first block.
        GENESIS = 0x11,
        /// A transaction waits.
        POOLED = 0x12,
        /// A transaction comes into no block.
        FAILED = 0x13,
        /// Transactions are in a block.
        CHAINED = 0x14,
        /// How far maintenance has looked through the blocks.
        LOOKED_THROUGH = 0x17,
        /// Blocks that break a rule.
        SUSPECTS = 0x18,
        /// A follower makes blocks from now on.
        PROMOTED = 0x1a,
        /// A peer has another block.
        FORKED = 0x1b,
        /// What the clock says was said to be right.
        CLOCK_ACCEPTED = 0x1c,
        /// Another chain takes the place of this one.
        ENDED = 0x1d,
    }
    keys {
        /// Single values.
        FIXED = 0x40,
        /// Transactions that wait, in their order.
        ORDER = 0x41,
        /// What became of a transaction.
        TICKET = 0x42,
        /// A transaction's text.
        TEXT = 0x43,
        /// Another block that a peer has.
        FORK = 0x48,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn of(owner: &str) -> &'static Given {
        GIVEN.iter().find(|given| given.owner == owner).unwrap()
    }

    #[test]
    fn no_number_is_given_twice_where_both_could_be_met() {
        for service in ["data_chain", "block_manager"] {
            let together = ["vault", "chain", service].map(of);
            let mut facts = BTreeSet::new();
            let mut keys = BTreeSet::new();
            for given in together {
                for (name, kind) in given.facts {
                    assert!(facts.insert(kind), "{}: {name} has another fact's kind", given.owner);
                }
                for (name, first) in given.keys {
                    assert!(keys.insert(first), "{}: {name} has another row's byte", given.owner);
                }
            }
        }
    }

    #[test]
    fn every_owner_keeps_to_its_own_range() {
        for Given { owner, facts, keys } in GIVEN {
            let (all_facts, all_keys) = match *owner {
                "vault" => (1..SERVICE_FACTS, 1..SERVICE_KEYS),
                "chain" => (0..0, CHAIN_KEYS..CHAIN_KEYS + 16),
                _ => (SERVICE_FACTS..SERVICE_KEYS, SERVICE_KEYS..CHAIN_KEYS),
            };
            for (name, kind) in *facts {
                assert!(all_facts.contains(kind), "{owner}: {name}");
            }
            for (name, first) in *keys {
                assert!(all_keys.contains(first), "{owner}: {name}");
            }
        }
    }

    /// The first bytes that the tables below a heading of the documentation give.
    fn documented(formats: &str, heading: &str) -> (BTreeSet<u8>, BTreeSet<u8>) {
        let (mut facts, mut keys) = (BTreeSet::new(), BTreeSet::new());
        let below = formats.split_once(&format!("\n### {heading}\n")).unwrap().1;
        let mut into = &mut facts;
        for line in below.lines().take_while(|line| !line.starts_with('#')) {
            let cell = line.strip_prefix("| ").and_then(|line| line.split(" | ").next());
            match cell {
                Some("byte") => into = &mut facts,
                Some("key") => into = &mut keys,
                Some(cell) => into.extend(
                    cell.split(&[' ', ','][..])
                        .filter_map(|word| u8::from_str_radix(word.strip_prefix("0x")?, 16).ok()),
                ),
                None => {}
            }
        }
        (facts, keys)
    }

    #[test]
    fn the_documented_bytes_are_these() {
        let formats = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/FORMATS.md");
        let formats = std::fs::read_to_string(formats).unwrap();
        let headings = [
            ("vault", vec!["Of the store", "Rows of the index"]),
            ("chain", vec!["Rows of the chain"]),
            ("data_chain", vec!["Of a data-chain"]),
            ("block_manager", vec!["Of a block-manager"]),
        ];
        for (owner, headings) in headings {
            let (mut facts, mut keys) = (BTreeSet::new(), BTreeSet::new());
            for heading in headings {
                let (more_facts, more_keys) = documented(&formats, heading);
                facts.extend(more_facts);
                keys.extend(more_keys);
            }
            let numbers = |given: &[(&str, u8)]| BTreeSet::from_iter(given.iter().map(|one| one.1));
            assert_eq!(numbers(of(owner).facts), facts, "{owner}: facts");
            assert_eq!(numbers(of(owner).keys), keys, "{owner}: rows");
        }
    }
}
