//! The words of an engine that keeps no chain of ours: what they become in the log and the index, and when they go.

use lucid_core::anchor::Anchor;
use lucid_core::cut::ChunkProfile;
use lucid_core::elsewhere::Elsewhere;
use lucid_core::session::SessionId;
use lucid_data_chain::anchoring::{EngineError, ForeignEngine};
use lucid_data_chain::fact::{AnchoredElsewhere, Fact};
use lucid_data_chain::ops::proofs::deliver_anchors::{
    Delivered, deliver_anchors, sealed_waiting_since, waiting_since,
};
use lucid_data_chain::ops::proofs::deliver_elsewhere::deliver_elsewhere;
use lucid_data_chain::ops::sessions::count_sessions::count_sessions;
use lucid_data_chain::ops::sessions::get_session::get_session;
use lucid_data_chain::ops::sessions::remove_session::remove_session;
use lucid_data_chain::ops::upkeep::weigh_facts::matters;
use lucid_data_chain::row::{SessionName, elsewhere, waiting_elsewhere_range};
use lucid_store::codec::Packer;
use lucid_store::vault::committer::Submission;

use super::chain::Chain;
use super::store::{NOW, Store};

/// An engine that says this, of whatever it is asked.
struct Says<F: Fn(&Anchor) -> Result<Option<Elsewhere>, EngineError>>(F);

impl<F: Fn(&Anchor) -> Result<Option<Elsewhere>, EngineError> + Send + Sync> ForeignEngine
    for Says<F>
{
    fn anchor(&self, anchor: &Anchor, text: &str) -> Result<Option<Elsewhere>, EngineError> {
        assert!(text.contains(anchor.session_id.as_str()));
        (self.0)(anchor)
    }
}

fn words(height: u64) -> Elsewhere {
    Elsewhere {
        engine: "http://engine".into(),
        session: "u".into(),
        status: "confirmed".into(),
        transaction: None,
        height: Some(height),
        confirmed_at: None,
    }
}

fn sealed(store: &Store, id: &str) -> SessionId {
    let id = store.begin(id, ChunkProfile::default());
    store.seal(&id);
    id
}

fn deliver(
    store: &Store,
    says: impl Fn(&Anchor) -> Result<Option<Elsewhere>, EngineError> + Send + Sync,
) -> Delivered {
    deliver_elsewhere(&store.vault, &store.key.public(), &Says(says)).unwrap()
}

fn kept(store: &Store, id: &SessionId) -> Option<Elsewhere> {
    let cipher = store.vault.cipher();
    elsewhere(store.vault.index(), cipher, &SessionName::of(cipher, id)).unwrap()
}

fn waiting_elsewhere(store: &Store) -> usize {
    let (from, to) = waiting_elsewhere_range();
    store.vault.index().scan(&from, &to, usize::MAX, false).unwrap().len()
}

fn counted(store: &Store) -> (u64, u64, u64) {
    let counts = count_sessions(&store.vault).unwrap().sessions;
    (counts.anchored, counts.elsewhere, counts.unanchored())
}

fn remove(store: &Store, id: &SessionId) {
    let at = (NOW.plus_seconds(9), None);
    remove_session(&store.vault, &store.locks, &store.key, at, id, "").unwrap();
}

#[test]
fn words_are_facts_and_a_block_takes_their_place_in_every_count() {
    let store = Store::new();
    let [a, b] = ["a", "b"].map(|id| sealed(&store, id));
    let delivered = deliver(&store, |_| Ok(None));
    assert_eq!((delivered.waiting.len(), delivered.elsewhere.len()), (2, 0));
    assert_eq!(counted(&store), (0, 0, 2));
    let delivered = deliver(&store, |anchor| Ok((anchor.session_id == a).then(|| words(7))));
    assert_eq!((delivered.elsewhere, delivered.waiting), (vec![a.clone()], vec![b.clone()]));
    assert_eq!((kept(&store, &a), kept(&store, &b)), (Some(words(7)), None));
    assert_eq!((counted(&store), waiting_elsewhere(&store)), ((0, 1, 1), 1));
    // The engine is not asked again for what it has.
    let again = deliver(&store, |anchor| {
        assert_eq!(anchor.session_id, b);
        Ok(Some(words(8)))
    });
    assert_eq!(again.elsewhere, vec![b.clone()]);
    assert_eq!(deliver(&store, |_| panic!("nothing waits")), Delivered::default());
    let own = store.key.public();
    assert_eq!(waiting_since(&store.vault, &own).unwrap(), None);

    // The log says all of it, and only the last words of a session matter.
    store.vault.close().unwrap();
    let again = Store::open(&store.disk);
    assert_eq!(again.index.rows(), store.index.rows());
    let store = again;
    let fact = |words| Fact::Elsewhere(AnchoredElsewhere { session: a.clone(), words }).encode();
    assert!(matters(&store.vault, &fact(words(7))).unwrap());
    assert!(!matters(&store.vault, &fact(words(6))).unwrap());

    // A chain of ours has them wait there, and takes both.
    let chain = Chain::new(1);
    assert_eq!(deliver_anchors(&store.vault, &own, &chain).unwrap().anchored.len(), 2);
    assert!(get_session(&store.vault, &a).unwrap().anchored.is_some());
    assert_eq!((counted(&store), waiting_elsewhere(&store)), ((2, 0, 0), 0));
    assert_eq!(kept(&store, &a), Some(words(7)));
    // Words that come behind it are kept, and move nothing.
    let late = store.vault.fact(&mut Packer::new(), fact(words(9))).unwrap();
    store.vault.commit(Submission { facts: vec![late], ..Submission::default() }).unwrap();
    assert_eq!((counted(&store), waiting_elsewhere(&store)), ((2, 0, 0), 0));
    assert_eq!(kept(&store, &a), Some(words(9)));
}

#[test]
fn a_session_that_goes_takes_the_words_along() {
    let store = Store::new();
    let [a, b] = ["a", "b"].map(|id| sealed(&store, id));
    deliver(&store, |anchor| Ok((anchor.session_id == a).then(|| words(7))));
    remove(&store, &a);
    assert_eq!(
        (kept(&store, &a), counted(&store), waiting_elsewhere(&store)),
        (None, (0, 0, 1), 0)
    );
    let fact = Fact::Elsewhere(AnchoredElsewhere { session: a.clone(), words: words(7) }).encode();
    assert!(!matters(&store.vault, &fact).unwrap());
    // One that goes while the engine is asked is not brought back by the answer.
    let delivered = deliver(&store, |anchor| {
        remove(&store, &anchor.session_id);
        Ok(Some(words(8)))
    });
    assert_eq!((delivered.elsewhere.len(), delivered.waiting), (0, vec![b.clone()]));
    assert_eq!((kept(&store, &b), counted(&store)), (None, (0, 0, 0)));
    // Tombstones wait for a chain, whatever such an engine says.
    assert_eq!(deliver(&store, |_| panic!("nothing waits")), Delivered::default());
    let own = store.key.public();
    assert_eq!(sealed_waiting_since(&store.vault, &own).unwrap(), None);
    assert!(waiting_since(&store.vault, &own).unwrap().is_some());
}

#[test]
fn an_engine_that_is_away_ends_the_round_and_one_that_refuses_does_not() {
    let store = Store::new();
    for id in ["a", "b"] {
        sealed(&store, id);
    }
    let away = deliver(&store, |_| Err(EngineError::Elsewhere("away".into())));
    assert_eq!((away.failed.len(), away.waiting.len()), (1, 0));
    let refused = deliver(&store, |_| Err(EngineError::RefusedElsewhere("no".into())));
    assert_eq!((refused.failed.len(), refused.waiting.len()), (2, 0));
    assert_eq!(counted(&store), (0, 0, 2));
}
