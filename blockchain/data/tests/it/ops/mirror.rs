//! Sessions taken over from another store: as they were, or not at all.

use lucid_core::anchor::Anchor;
use lucid_core::claim::Claim as _;
use lucid_core::cut::ChunkProfile;
use lucid_core::digest::ManifestHash;
use lucid_core::limits::{METADATA_ENTRIES_MAX, USER_ID_BYTES_MAX};
use lucid_core::manifest::{Manifest, hash_of};
use lucid_core::session::SessionId;
use lucid_data_chain::fact::{Fact, Sealed, Started};
use lucid_data_chain::ops::OpError;
use lucid_data_chain::ops::proofs::deliver_anchors::{Delivered, deliver_anchors, waiting_since};
use lucid_data_chain::ops::proofs::prove_session::{named, session_manifest};
use lucid_data_chain::ops::proofs::verify_session::verify_session;
use lucid_data_chain::ops::sessions::add_references::add_foreign_references;
use lucid_data_chain::ops::sessions::create_session::{NewSession, create_session};
use lucid_data_chain::ops::sessions::export_session::{Exported, export_session};
use lucid_data_chain::ops::sessions::import_session::import_session;
use lucid_data_chain::ops::sessions::read_session::StoredSession;
use lucid_data_chain::ops::sight::Sight;
use lucid_data_chain::row::SessionRow;
use lucid_data_chain::source::SessionSource as _;
use lucid_store::codec::Packer;
use lucid_store::contract::index::Changes;
use lucid_store::files::disk::simulated::SimulatedDisk;

use super::chain::Chain;
use super::store::{KEEPING, NOW, Store, new_session};
use crate::sample::noise;

fn begin(store: &Store, name: &str, own_copies: bool) -> SessionId {
    let id: SessionId = name.parse().unwrap();
    let profile = ChunkProfile::fixed(1_024).unwrap();
    let request = NewSession { id: Some(id.clone()), own_copies, ..new_session(profile) };
    create_session(&store.vault, &store.locks, request).unwrap();
    id
}

/// Sends the chunks of a session, and makes them one of the same name.
fn copy(from: &Store, to: &Store, id: &SessionId) {
    let source = StoredSession::open(&from.vault, id).unwrap();
    let references = source.references(0, 1_000).unwrap();
    let mut packer = Packer::new();
    let chunks: Vec<Vec<u8>> =
        references.iter().map(|one| source.chunk(&mut packer, one).unwrap()).collect();
    let slices: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
    let chunks = to.store(&slices);
    add_foreign_references(&to.vault, &to.locks, KEEPING, &Sight::everything(), id, 0, chunks)
        .unwrap();
}

fn import(to: &Store, id: &SessionId, given: &Exported) -> Result<SessionRow, OpError> {
    import_session(&to.vault, &to.locks, id, given)
}

#[test]
fn a_session_has_the_same_root_in_its_second_store() {
    for own_copies in [false, true] {
        let (from, to) = (Store::new(), Store::new());
        let id = begin(&from, "s", own_copies);
        for (number, piece) in noise(1, 5_000).chunks(900).enumerate() {
            from.append_at(&id, number as u64 * 900, piece, Some(number as f64 * 2.0)).unwrap();
        }
        let sealed = from.seal(&id);
        let exported = export_session(&from.vault, &id).unwrap();
        let begun = import(&to, &id, &exported).unwrap();
        assert!(begun.sealed.is_none() && begun.chunk_count() == 0);
        copy(&from, &to, &id);
        let row = import(&to, &id, &exported).unwrap();
        assert_eq!((&row.sealed, row.root()), (&sealed.sealed, sealed.root()));
        assert_eq!(export_session(&to.vault, &id).unwrap().sealed, exported.sealed);
        let verified = verify_session(&to.vault, &id, 1, &|_| true).unwrap();
        assert!(verified.is_sound(), "{:?}", verified.faults);
        // Again changes nothing, and the log alone says the same.
        let rows = to.index.rows();
        import(&to, &id, &exported).unwrap();
        assert_eq!(to.index.rows(), rows);
        assert_eq!(Store::open(&to.disk).index.rows(), rows);
    }
}

fn manifest(store: &Store, id: &SessionId) -> Manifest {
    let (name, row) = named(&store.vault, id).unwrap();
    session_manifest(&store.vault, &name, &row).unwrap().1
}

#[test]
fn a_session_of_another_store_is_neither_delivered_here_nor_a_link_of_our_manifests() {
    let (from, to) = (Store::new(), Store::open_as(&SimulatedDisk::new(), [2; 32]));
    let id = begin(&from, "theirs", false);
    from.append(&id, 0, &noise(1, 3_000)).unwrap();
    from.seal(&id);
    let given = export_session(&from.vault, &id).unwrap();
    import(&to, &id, &given).unwrap();
    copy(&from, &to, &id);
    assert!(import(&to, &id, &given).unwrap().sealed.is_some());
    let own = to.key.public();
    let chain = Chain::new(1);
    let deliver = || deliver_anchors(&to.vault, &own, &chain).unwrap();
    assert_eq!(deliver(), Delivered::default());
    assert_eq!((chain.height(), waiting_since(&to.vault, &own).unwrap()), (0, None));
    // An index of the version before has it in the queue.
    let (name, row) = named(&to.vault, &id).unwrap();
    let mut changes = Changes::new(to.index.as_ref());
    changes.put(name.unanchored_key(row.sealed.unwrap().ended_at), Vec::new());
    changes.write().unwrap();
    assert_eq!(deliver(), Delivered::default());
    assert_eq!((chain.height(), waiting_since(&to.vault, &own).unwrap()), (0, None));

    let ours = begin(&to, "ours", false);
    to.append(&ours, 0, b"ours").unwrap();
    to.seal(&ours);
    assert_eq!(manifest(&to, &ours).previous_manifest, None);
    assert_eq!(waiting_since(&to.vault, &own).unwrap(), Some(NOW));
    assert_eq!(deliver().anchored, [ours]);
    // Where it was recorded both still hold.
    let second = begin(&from, "second", false);
    from.append(&second, 0, b"second").unwrap();
    from.seal(&second);
    let before = from_hash(&given);
    assert_eq!(manifest(&from, &second).previous_manifest, Some(before));
    let delivered = deliver_anchors(&from.vault, &from.key.public(), &Chain::new(3)).unwrap();
    assert_eq!(delivered.anchored, [id, second]);
}

fn from_hash(given: &Exported) -> ManifestHash {
    let Ok(Fact::Sealed(sealed)) = Fact::decode(given.sealed.as_ref().unwrap()) else {
        panic!("it is sealed")
    };
    hash_of(&sealed.manifest)
}

#[test]
fn what_does_not_fit_is_not_taken() {
    let (from, to) = (Store::new(), Store::new());
    let (id, other) = (begin(&from, "s", false), begin(&from, "other", false));
    for (session, seed) in [(&id, 1), (&other, 2)] {
        from.append(session, 0, &noise(seed, 3_000)).unwrap();
        from.seal(session);
    }
    let given = export_session(&from.vault, &id).unwrap();
    let theirs = export_session(&from.vault, &other).unwrap();
    let refused = |given: &Exported| {
        let error = import(&to, &id, given).map(|_| ()).unwrap_err();
        assert!(matches!(error, OpError::Invalid(_) | OpError::Conflict(..)), "{error}");
    };
    // Facts about another session, of another kind, or cut short.
    refused(&theirs);
    refused(&Exported { sealed: theirs.sealed.clone(), ..given.clone() });
    refused(&Exported { sealed: Some(given.started.clone()), ..given.clone() });
    refused(&Exported { anchored: given.sealed.clone(), started: vec![9], ..given.clone() });
    import(&to, &id, &given).unwrap();
    // Other chunks than the manifest's: as many of them, and as long.
    let wrong = to.store(&[&noise(7, 1_024), &noise(8, 1_024), &noise(9, 952)]);
    add_foreign_references(&to.vault, &to.locks, KEEPING, &Sight::everything(), &id, 0, wrong)
        .unwrap();
    refused(&given);

    let to = Store::new();
    import(&to, &id, &given).unwrap();
    copy(&from, &to, &id);
    let Ok(Fact::Sealed(sealed)) = Fact::decode(given.sealed.as_ref().unwrap()) else {
        panic!("it is sealed")
    };
    let Ok(Fact::Sealed(their_seal)) = Fact::decode(theirs.sealed.as_ref().unwrap()) else {
        panic!("it is sealed")
    };
    let with = |manifest: String, anchor: String| {
        let fact = Fact::Sealed(Sealed { session: id.clone(), manifest, anchor });
        Exported { sealed: Some(fact.encode()), ..given.clone() }
    };
    let altered = sealed.manifest.replace("\"ann\"", "\"bob\"");
    assert_ne!(altered, sealed.manifest);
    for forged in [
        with(altered, sealed.anchor.clone()),
        with(their_seal.manifest.clone(), their_seal.anchor.clone()),
        with(sealed.manifest.clone(), their_seal.anchor.clone()),
        with(sealed.manifest.clone(), sealed.anchor.replace("signature\": \"", "signature\": \"A")),
    ] {
        let error = import(&to, &id, &forged).map(|_| ()).unwrap_err();
        assert!(matches!(error, OpError::Invalid(_)), "{error}");
    }
    assert!(import(&to, &id, &given).unwrap().sealed.is_some());
}

/// Its manifest says something else, and is anchored as such: any store can sign for itself.
fn resealed(from: &Store, given: &Exported, change: impl FnOnce(&mut Manifest)) -> Exported {
    let Ok(Fact::Sealed(sealed)) = Fact::decode(given.sealed.as_ref().unwrap()) else {
        panic!("it is sealed")
    };
    let mut manifest = Manifest::parse(sealed.manifest.as_bytes()).unwrap();
    change(&mut manifest);
    let anchor = Anchor::of(&manifest, NOW).unwrap().sign(&from.key).unwrap();
    let (manifest, anchor) = (manifest.to_text().unwrap(), anchor.text().to_owned());
    let fact = Fact::Sealed(Sealed { manifest, anchor, ..sealed });
    Exported { sealed: Some(fact.encode()), ..given.clone() }
}

fn longer(manifest: &mut Manifest) {
    manifest.total_bytes += 5;
    manifest.content_bytes += 5;
}

#[test]
fn a_manifest_that_says_otherwise_of_the_session_is_not_taken() {
    let (from, to) = (Store::new(), Store::new());
    let id = begin(&from, "s", false);
    from.append(&id, 0, &noise(1, 3_000)).unwrap();
    from.seal(&id);
    let given = export_session(&from.vault, &id).unwrap();
    import(&to, &id, &given).unwrap();
    copy(&from, &to, &id);
    let changes: [fn(&mut Manifest); 5] = [
        |manifest| manifest.user_id = "bob".into(),
        |manifest| manifest.started_at = NOW.plus_seconds(-1),
        |manifest| manifest.public = true,
        |manifest| manifest.chunk_profile = ChunkProfile::default(),
        longer,
    ];
    for change in changes {
        let error = import(&to, &id, &resealed(&from, &given, change)).map(|_| ()).unwrap_err();
        assert!(matches!(error, OpError::Invalid(_)), "{error}");
    }
    // Neither while bytes follow the chunks that the manifest names.
    to.append(&id, 3_000, b"after").unwrap();
    for given in [given.clone(), resealed(&from, &given, longer)] {
        assert!(import(&to, &id, &given).is_err(), "a tail would be lost");
    }
}

#[test]
fn a_description_that_no_manifest_can_hold_is_not_begun() {
    let (from, to) = (Store::new(), Store::new());
    let id = begin(&from, "s", false);
    let given = export_session(&from.vault, &id).unwrap();
    let Ok(Fact::Started(started)) = Fact::decode(&given.started) else { panic!("it began") };
    let entry = |number| (format!("key-{number}"), String::new());
    for started in [
        Started { user: "u".repeat(USER_ID_BYTES_MAX + 1), ..started.clone() },
        Started { metadata: (0..=METADATA_ENTRIES_MAX).map(entry).collect(), ..started.clone() },
    ] {
        let given = Exported { started: Fact::Started(started).encode(), ..given.clone() };
        assert!(matches!(import(&to, &id, &given), Err(OpError::Invalid(_))));
    }
    assert!(import(&to, &id, &given).is_ok());
}
