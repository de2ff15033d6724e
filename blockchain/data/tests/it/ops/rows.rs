//! An attacker who can write to the disk puts one row's value in another row's place.

use std::collections::BTreeMap;
use std::sync::Arc;

use lucid_core::session::SessionId;
use lucid_core::sign::SigningKey;
use lucid_data_chain::opened::SessionLocks;
use lucid_data_chain::ops::sessions::append_stream::{StreamPiece, append_stream};
use lucid_data_chain::ops::sessions::create_session::{NewSession, create_session};
use lucid_data_chain::projection::SessionProjection;
use lucid_data_chain::row::{self, SessionName};
use lucid_store::StoreError;
use lucid_store::contract::index::{Changes, Index as _};
use lucid_store::crypt::{Cipher, Keyring, Secret};
use lucid_store::files::Limits;
use lucid_store::files::disk::simulated::SimulatedDisk;
use lucid_store::files::segment_rows::set_watermark;
use lucid_store::files::watermark::Watermark;
use lucid_store::files::{self, UnopenedStore};
use lucid_store::memory::index::MemoryIndex;
use lucid_store::vault::Vault;

use super::store::{KEEPING, NOW, moment, new_session};
use crate::sample::noise;

/// What the store marks an index with whose rows are sealed each under a key of its own.
const MARKER: [u8; 1] = [0x06];

fn open(disk: &SimulatedDisk, index: &Arc<MemoryIndex>) -> Result<Vault, StoreError> {
    let epochs = BTreeMap::from([(1, Secret::new([2; 32]))]);
    let keyring = Keyring::new(Secret::new([3; 32]), epochs)?;
    let cipher = Arc::new(Cipher::new(Some(keyring)));
    let key = SigningKey::from_seed([1; 32]).public();
    files::open(UnopenedStore {
        disk: Arc::new(disk.clone()),
        store: [1; 16],
        cipher: cipher.clone(),
        index: index.clone(),
        project: Arc::new(SessionProjection::new(cipher, key)),
        accept_loss: false,
        limits: Limits::default(),
    })
}

/// A stream that has references and a tail.
fn record(vault: &Vault, session: &str, seed: u64) -> SessionId {
    let locks = SessionLocks::default();
    let id: SessionId = session.parse().unwrap();
    let request = NewSession { id: Some(id.clone()), ..new_session(Default::default()) };
    create_session(vault, &locks, request).unwrap();
    let bytes = noise(seed, 6_000_000);
    let piece = StreamPiece { offset: 0, bytes: &bytes, recorded: None };
    append_stream(vault, &locks, KEEPING, moment(NOW), &id, piece).unwrap();
    id
}

/// The first rows of two sessions, of each kind.
fn pairs(vault: &Vault, ids: &[SessionId; 2]) -> [[Vec<u8>; 2]; 3] {
    let names = ids.each_ref().map(|id| SessionName::of(vault.cipher(), id));
    let tail = |name: &SessionName| row::tail_rows(vault.index(), name).unwrap()[0].0.clone();
    [
        names.each_ref().map(SessionName::session_key),
        names.each_ref().map(|name| name.reference_key(0)),
        names.each_ref().map(tail),
    ]
}

fn swap(index: &MemoryIndex, [a, b]: &[Vec<u8>; 2]) {
    let [of_a, of_b] = [a, b].map(|key| index.get(key).unwrap());
    index.write(vec![(a.clone(), of_b), (b.clone(), of_a)]).unwrap();
}

/// Reads the three kinds of rows of a session.
fn read(vault: &Vault, id: &SessionId) -> [Result<String, StoreError>; 3] {
    let (index, cipher) = (vault.index(), vault.cipher());
    let name = SessionName::of(cipher, id);
    [
        row::session(index, cipher, &name).map(|row| format!("{:?}", row.unwrap())),
        row::references(index, cipher, &name, 0, usize::MAX).map(|rows| format!("{rows:?}")),
        row::tail(index, cipher, &name).map(|bytes| format!("{bytes:?}")),
    ]
}

#[test]
fn a_value_in_another_rows_place_is_refused_and_named_reindex() {
    let (disk, index) = (SimulatedDisk::new(), Arc::new(MemoryIndex::new()));
    let vault = open(&disk, &index).unwrap();
    let ids = [record(&vault, "a", 1), record(&vault, "b", 2)];
    let pairs = pairs(&vault, &ids);
    let before = read(&vault, &ids[0]).map(Result::unwrap);
    vault.close().unwrap();
    for (kind, pair) in pairs.iter().enumerate() {
        swap(&index, pair);
        let vault = open(&disk, &index).unwrap();
        for id in &ids {
            let fault = read(&vault, id)[kind].as_ref().unwrap_err().to_string();
            assert!(fault.contains("lucid reindex"), "{kind}: {fault}");
        }
        vault.close().unwrap();
        swap(&index, pair);
    }
    let vault = open(&disk, &index).unwrap();
    assert_eq!(read(&vault, &ids[0]).map(Result::unwrap), before);
    // The references of one session, in the wrong order.
    let name = SessionName::of(vault.cipher(), &ids[0]);
    swap(&index, &[name.reference_key(0), name.reference_key(1)]);
    let fault = read(&vault, &ids[0])[1].as_ref().unwrap_err().to_string();
    assert!(fault.contains("lucid reindex"), "{fault}");
}

#[test]
fn an_index_of_an_earlier_version_is_bound_once_it_is_made_anew() {
    let (disk, old) = (SimulatedDisk::new(), Arc::new(MemoryIndex::new()));
    // As that version left it: with a watermark, and no mark that rows are bound.
    let mut changes = Changes::new(old.as_ref());
    set_watermark(&mut changes, &Watermark::START);
    changes.write().unwrap();
    let vault = open(&disk, &old).unwrap();
    let ids = [record(&vault, "a", 1), record(&vault, "b", 2)];
    let [_, references, tails] = pairs(&vault, &ids);
    let before = ids.each_ref().map(|id| read(&vault, id).map(Result::unwrap));
    vault.close().unwrap();
    // It goes on as it was, and there a value opens in any row: this is what binding ends.
    let vault = open(&disk, &old).unwrap();
    assert_eq!(ids.each_ref().map(|id| read(&vault, id).map(Result::unwrap)), before);
    swap(&old, &tails);
    assert_eq!(read(&vault, &ids[0])[2].as_ref().unwrap(), &before[1][2]);
    swap(&old, &tails);
    swap(&old, &references);
    assert_ne!(read(&vault, &ids[0])[1].as_ref().unwrap(), &before[0][1]);
    swap(&old, &references);
    assert_eq!(old.get(&MARKER).unwrap(), None);
    vault.close().unwrap();
    // A mark that an attacker added opens nothing.
    old.write(vec![(MARKER.to_vec(), Some(Vec::new()))]).unwrap();
    let vault = open(&disk, &old).unwrap();
    assert!(read(&vault, &ids[0]).iter().all(Result::is_err));
    vault.close().unwrap();
    // Made anew, it is bound, and says the same.
    let fresh = Arc::new(MemoryIndex::new());
    let vault = open(&disk, &fresh).unwrap();
    assert_eq!(ids.each_ref().map(|id| read(&vault, id).map(Result::unwrap)), before);
    assert_eq!(fresh.get(&MARKER).unwrap(), Some(Vec::new()));
    vault.close().unwrap();
    // And a mark that an attacker removed opens nothing either.
    fresh.write(vec![(MARKER.to_vec(), None)]).unwrap();
    let vault = open(&disk, &fresh).unwrap();
    for fault in read(&vault, &ids[0]).map(Result::unwrap_err) {
        assert!(fault.to_string().contains("lucid reindex"), "{fault}");
    }
    vault.close().unwrap();
}
