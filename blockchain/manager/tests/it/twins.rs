//! Two block-managers over one log and one chain, each with an index of its own: whichever operation overtakes
//! the other, there is one chain, no transaction is lost or chained twice, and both have the same rows.

use std::collections::HashSet;
use std::sync::Arc;

use lucid_block_manager::fact::{self, Fact, Facts, Role};
use lucid_block_manager::ops::produce_block::produce_block;
use lucid_block_manager::ops::submit_transaction::submit_transaction;
use lucid_core::sign::SigningKey;
use lucid_core::time::Timestamp;
use lucid_core::transaction::{IdDigest, id_digest};
use lucid_store::contract::chain::{ChainStore as _, Stretch};
use lucid_store::crypt::Cipher;
use lucid_store::memory::blobs::MemoryBlobs;
use lucid_store::memory::chain::ChainMemory;
use lucid_store::memory::fact_log::MemoryLog;
use lucid_store::memory::meddled::MeddledIndex;
use lucid_store::vault::{Elsewhere, Vault};
use parking_lot::Mutex;

fn now() -> Timestamp {
    Timestamp::parse("2026-01-27T10:00:00Z").unwrap()
}

/// One of the two.
struct Manager {
    vault: Vault,
    chain: Arc<ChainMemory>,
    key: SigningKey,
}

/// What both share.
#[derive(Default)]
struct Shared {
    log: Arc<MemoryLog>,
    blobs: Arc<MemoryBlobs>,
    chain: Arc<ChainMemory>,
}

impl Shared {
    fn open(&self, look: &Arc<MeddledIndex>) -> Manager {
        let cipher = Arc::new(Cipher::new(None));
        let vault = Vault::open_elsewhere(Elsewhere {
            log: self.log.clone(),
            blobs: self.blobs.clone(),
            start: MemoryLog::start(),
            cipher: cipher.clone(),
            index: look.clone(),
            project: Arc::new(Facts::new(cipher)),
        })
        .unwrap();
        Manager { vault, chain: self.chain.clone(), key: SigningKey::from_seed([3; 32]) }
    }

    /// The ids of the chain, in order, each once.
    fn chained(&self) -> Vec<IdDigest> {
        let all = Stretch { from: 0, blocks: usize::MAX, bytes: usize::MAX };
        let records = self.chain.records(all).unwrap();
        let ids: Vec<IdDigest> = records
            .iter()
            .flat_map(|stored| stored.record.transactions.iter().map(|digests| digests.id))
            .collect();
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len(), "one is chained twice");
        ids
    }
}

impl Manager {
    fn submit(&self, id: &str, kind: &str) -> bool {
        let text = format!(r#"{{"id":"{id}","type":"{kind}"}}"#);
        let (chain, claims) = (self.chain.as_ref(), Default::default());
        submit_transaction(&self.vault, chain, &claims, now(), text.as_bytes()).is_ok()
    }

    fn produce(&self) -> bool {
        let (chain, producing) = (self.chain.as_ref(), Mutex::new(()));
        produce_block(&self.vault, chain, &producing, &self.key, now()).is_ok()
    }

    /// Becomes what nobody has said yet that it is.
    fn is_to_be(&self, role: Role) -> bool {
        let look = self.vault.look();
        let known = fact::role(&look).unwrap();
        known.is_none() && fact::commit_on(&self.vault, look.seen(), &[Fact::Role(role)]).is_ok()
    }
}

type Op = fn(&Manager) -> bool;

const OPS: [(&str, Op); 4] = [
    ("submit x", |manager| manager.submit("x", "note")),
    ("submit another x", |manager| manager.submit("x", "data_storage")),
    ("submit y", |manager| manager.submit("y", "note")),
    ("produce", Manager::produce),
];

/// Has the first of two do something, interrupted by the second; `None` once it does not look so often.
fn race(
    first: Op,
    second: Op,
    look: usize,
    prepare: impl Fn(&Manager),
) -> Option<(Raced, bool, bool)> {
    let shared = Shared::default();
    let looks = [Arc::default(), Arc::default()];
    let ours = shared.open(&looks[0]);
    prepare(&ours);
    let theirs = Arc::new(shared.open(&looks[1]));
    let other = theirs.clone();
    let (done, second) = looks[0].interrupt(look, || first(&ours), move || second(&other))?;
    Some((Raced { shared, looks, ours, theirs }, done, second))
}

/// Two that raced.
struct Raced {
    shared: Shared,
    looks: [Arc<MeddledIndex>; 2],
    ours: Manager,
    theirs: Arc<Manager>,
}

impl Raced {
    /// Both, and a third that is opened later, have the same rows at every place of the log.
    fn agree(&self, what: &str) {
        let later: Arc<MeddledIndex> = Arc::default();
        self.ours.vault.catch_up().unwrap();
        self.theirs.vault.catch_up().unwrap();
        self.shared.open(&later);
        for look in &self.looks {
            assert!(look.index().rows() == later.index().rows(), "{what}: the rows differ");
            let (seen, of_third) = (look.seen(), later.seen());
            let same =
                of_third.iter().all(|(at, rows)| seen.get(at).is_none_or(|seen| seen == rows));
            assert!(same, "{what}: the rows differed on the way");
        }
    }
}

#[test]
fn whatever_overtakes_whatever_there_is_one_chain_and_nothing_is_lost_or_chained_twice() {
    let mut races = 0;
    for (first_name, first) in OPS {
        for (second_name, second) in OPS {
            for look in 0.. {
                let prepare = |manager: &Manager| {
                    assert!(manager.is_to_be(Role::Authority));
                    assert!(manager.submit("before", "note"));
                };
                let Some((raced, done, other)) = race(first, second, look, prepare) else { break };
                let what = format!("{first_name}, at look {look}, and {second_name} elsewhere");
                raced.agree(&what);
                let both_x = first_name.ends_with(" x") && second_name.ends_with(" x");
                if both_x && first_name != second_name {
                    assert!(done != other, "{what}: {done} and {other}");
                } else {
                    assert!(done && other, "{what}: {done} and {other}");
                }
                // What was taken is put into a block by either, once.
                assert!(raced.ours.produce() && raced.theirs.produce(), "{what}");
                let names = [first_name, second_name];
                let wanted = ["before", "x", "y"].map(|id| {
                    let is_there = id == "before" || names.iter().any(|name| name.ends_with(id));
                    (id_digest(id), is_there)
                });
                let chained = raced.shared.chained();
                for (id, is_there) in wanted {
                    assert_eq!(chained.contains(&id), is_there, "{what}");
                }
                raced.agree(&what);
                assert_eq!(fact::pool(raced.ours.vault.index()).unwrap().transactions, 0, "{what}");
                races += 1;
            }
        }
    }
    assert!(races > 50, "{races}");
}

#[test]
fn of_two_roles_one_is_taken() {
    let roles: [Op; 2] =
        [|manager| manager.is_to_be(Role::Authority), |manager| manager.is_to_be(Role::Follower)];
    let mut races = 0;
    for first in roles {
        for second in roles {
            for look in 0.. {
                let Some((raced, done, other)) = race(first, second, look, |_| {}) else { break };
                assert!(done != other, "look {look}: {done} and {other}");
                raced.agree("two roles");
                races += 1;
            }
        }
    }
    assert!(races > 0);
}
