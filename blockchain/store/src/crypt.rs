//! Encryption of payloads, and the names the disk knows things by.
//!
//! A [`Cipher`] belongs to one data folder. In an encrypted store a chunk's name is a keyed hash of
//! its id, so the disk does not tell which known content it holds; in a plain store the name is the
//! id. Each record is encrypted under a key derived from the current data key and the record's name,
//! with a nonce that is random for every encryption, and the header's fields that a worker knows are
//! bound as associated data: a relabelled record does not open. What opens is hashed again.
//!
//! In one file because what makes a record and what reads it are two sides of one format; a fifth are its tests.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use lucid_core::digest::{ChunkId, ChunkName};
use lucid_core::limits::CHUNK_BYTES_MAX;
use ring::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use crate::codec::{Compression, Packer};
use crate::frame::{CipherId, CodecId, Header, Record, RecordKind};
use crate::measured::ChunkStages;
use crate::{Damage, StoreError};

/// The largest fact, far below the largest record: a start reads every one of them, and what is decided
/// together stays small. A caller that has more to say says it in several facts.
pub const FACT_BYTES_MAX: usize = 8 << 20;

/// A secret of 32 bytes, wiped when dropped.
pub type Secret = Zeroizing<[u8; 32]>;

/// Random bytes from the operating system.
pub fn random<const N: usize>() -> Result<[u8; N], StoreError> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| StoreError::Key("the operating system gives no random bytes".into()))?;
    Ok(bytes)
}

/// The keys of an encrypted store, unwrapped.
pub struct Keyring {
    dedup: Secret,
    epochs: BTreeMap<u32, Secret>,
    current: u32,
    index_names: Secret,
    /// What the keys of the index's rows are made of.
    index_rows: Secret,
    /// The one key of all rows, in an index that an earlier version made.
    unbound: LessSafeKey,
    /// Which of the two holds. The code that makes rows has the cipher, in an `Arc`, before there is an index,
    /// and only the index says how its values are encrypted. So this is told to a cipher that is shared already.
    rows_are_bound: AtomicBool,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({} epochs)", self.epochs.len())
    }
}

impl Keyring {
    /// Takes the keys; new records are encrypted under the newest epoch.
    pub fn new(dedup: Secret, epochs: BTreeMap<u32, Secret>) -> Result<Self, StoreError> {
        let current = *epochs
            .keys()
            .next_back()
            .ok_or_else(|| StoreError::Key("the key file holds no data key".into()))?;
        let derive = |what| Zeroizing::new(blake3::derive_key(what, dedup.as_slice()));
        let index_names = derive("lucid-store 2026 index names");
        let index_rows = derive("lucid-store 2026 index rows");
        let unbound = key(CipherId::Aes256Gcm, &derive("lucid-store 2026 index values"))?;
        let rows_are_bound = AtomicBool::new(true);
        Ok(Self { dedup, epochs, current, index_names, index_rows, unbound, rows_are_bound })
    }

    /// Hands over the key that encrypts the values of a row of the index.
    fn with_row_key<T>(
        &self,
        row: &[u8],
        apply: impl FnOnce(&LessSafeKey) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        // Set once, before there is a second thread that reads or writes rows.
        if !self.rows_are_bound.load(Ordering::Relaxed) {
            return apply(&self.unbound);
        }
        let of_row = Zeroizing::new(*blake3::keyed_hash(&self.index_rows, row).as_bytes());
        apply(&key(CipherId::Aes256Gcm, &of_row)?)
    }
}

/// The fastest cipher this processor has: AES in hardware, or ChaCha20 without it.
fn native_cipher() -> CipherId {
    #[cfg(target_arch = "x86_64")]
    let hardware = std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    let hardware = std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let hardware = false;
    if hardware { CipherId::Aes256Gcm } else { CipherId::ChaCha20Poly1305 }
}

fn key(cipher: CipherId, bytes: &[u8; 32]) -> Result<LessSafeKey, StoreError> {
    let algorithm = match cipher {
        CipherId::ChaCha20Poly1305 => &aead::CHACHA20_POLY1305,
        CipherId::Aes256Gcm | CipherId::Plain => &aead::AES_256_GCM,
    };
    UnboundKey::new(algorithm, bytes)
        .map(LessSafeKey::new)
        .map_err(|_| StoreError::Key("a key has the wrong length".into()))
}

fn bounded(what: &'static str, plain: &[u8], most: usize) -> Result<(), StoreError> {
    let (bytes, most) = (plain.len() as u64, most as u64);
    if bytes <= most { Ok(()) } else { Err(StoreError::TooLarge { what, bytes, most }) }
}

/// Wraps and unwraps the few secrets that lie in key files; `label` says which one, and is bound.
pub fn wrap(root: &Secret, label: &str, secret: &[u8; 32]) -> Result<Vec<u8>, StoreError> {
    let nonce = random::<12>()?;
    let mut ciphertext = secret.to_vec();
    key(CipherId::ChaCha20Poly1305, root)?
        .seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(label.as_bytes()),
            &mut ciphertext,
        )
        .map_err(|_| StoreError::Key("a key cannot be wrapped".into()))?;
    Ok([nonce.as_slice(), &ciphertext].concat())
}

/// Undoes [`wrap`]; `None` when the root key is another one.
pub fn unwrap(root: &Secret, label: &str, wrapped: &[u8]) -> Option<Secret> {
    let (nonce, ciphertext) = wrapped.split_first_chunk::<12>()?;
    let mut ciphertext = Zeroizing::new(ciphertext.to_vec());
    let opened = key(CipherId::ChaCha20Poly1305, root)
        .ok()?
        .open_in_place(
            Nonce::assume_unique_for_key(*nonce),
            Aad::from(label.as_bytes()),
            &mut ciphertext,
        )
        .ok()?;
    Some(Zeroizing::new(*opened.first_chunk::<32>()?))
}

/// Whose copy of a chunk is meant: the one that all share, or one that a session keeps to itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Owner([u8; 16]);

impl Owner {
    /// Everyone's copy.
    pub const SHARED: Self = Self([0; 16]);

    /// An owner by what the store knows it by.
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes themselves.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Whether everyone shares this copy.
    pub fn is_shared(&self) -> bool {
        *self == Self::SHARED
    }
}

/// What a chunk is asked for by: its id, and whose copy it is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChunkKey {
    /// The chunk.
    pub id: ChunkId,
    /// Whose copy.
    pub owner: Owner,
}

impl ChunkKey {
    /// An owner's copy of a chunk.
    pub const fn of(owner: Owner, id: ChunkId) -> Self {
        Self { id, owner }
    }
}

impl From<&ChunkId> for ChunkKey {
    fn from(id: &ChunkId) -> Self {
        Self { id: *id, owner: Owner::SHARED }
    }
}

/// Why a payload does not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unopened {
    /// It is not what was written.
    #[error("{0}")]
    Damaged(String),
    /// It may be sound: it is encrypted under a data key newer than any there is.
    #[error(
        "data key {0} is not in keys/data.keys: it is an older copy, from before `lucid keys rotate`; \
         put the newest one back"
    )]
    NoKey(u32),
}

impl Unopened {
    /// Why the record at this place does not open, as the store's error. A key that is missing is never damage.
    pub fn at(self, file: &str, offset: u64) -> StoreError {
        match self {
            Self::Damaged(why) => StoreError::Damaged(Damage::new(file, offset, why)),
            Self::NoKey(_) => StoreError::Key(self.to_string()),
        }
    }
}

impl From<String> for Unopened {
    fn from(why: String) -> Self {
        Self::Damaged(why)
    }
}

impl From<&str> for Unopened {
    fn from(why: &str) -> Self {
        Self::Damaged(why.into())
    }
}

/// Makes records of payloads of one store, encrypted where it has keys, and reads them.
#[derive(Debug)]
pub struct Cipher {
    keyring: Option<Keyring>,
    cipher: CipherId,
    stages: ChunkStages,
}

impl Cipher {
    /// An encrypted store with keys, a plain one without.
    pub fn new(keyring: Option<Keyring>) -> Self {
        Self { keyring, cipher: native_cipher(), stages: ChunkStages::new() }
    }

    /// Whether the store has keys, and so keyed names.
    pub fn is_encrypted(&self) -> bool {
        self.keyring.is_some()
    }

    /// What the disk knows a chunk by.
    pub fn chunk_name(&self, key: impl Into<ChunkKey>) -> ChunkName {
        let ChunkKey { id, owner } = key.into();
        let mut named = id.as_bytes().to_vec();
        if !owner.is_shared() {
            named.extend_from_slice(owner.as_bytes());
        }
        match &self.keyring {
            Some(keys) => blake3::keyed_hash(&keys.dedup, &named).into(),
            None if owner.is_shared() => ChunkName::new(*id.as_bytes()),
            None => blake3::hash(&named).into(),
        }
    }

    /// What the disk knows a fact by: a hash of its bytes, keyed in an encrypted store.
    fn fact_name(&self, plain: &[u8]) -> [u8; 32] {
        match &self.keyring {
            Some(keys) => *blake3::keyed_hash(&keys.dedup, plain).as_bytes(),
            None => *blake3::hash(plain).as_bytes(),
        }
    }

    /// What the index knows a text by when it only ever has to be equal: 16 bytes.
    pub fn index_name(&self, text: &[u8]) -> [u8; 16] {
        let hash = match &self.keyring {
            Some(keys) => blake3::keyed_hash(&keys.index_names, text),
            None => blake3::hash(text),
        };
        let mut name = [0; 16];
        for (to, from) in name.iter_mut().zip(hash.as_bytes()) {
            *to = *from;
        }
        name
    }

    /// Makes the record of a chunk.
    pub fn chunk_record(
        &self,
        packer: &mut Packer,
        compression: Compression,
        encrypt: bool,
        key: impl Into<ChunkKey>,
        plain: &[u8],
    ) -> Result<Record, StoreError> {
        let key = key.into();
        bounded("a chunk", plain, CHUNK_BYTES_MAX)?;
        let name = *self.chunk_name(key).as_bytes();
        let packed = self.stages.pack(|| packer.pack(compression, plain));
        let encrypted = || self.record(RecordKind::Chunk, name, packed, plain.len(), encrypt);
        let mut record = self.stages.encrypt(encrypted)?;
        record.header.owner = *key.owner.as_bytes();
        self.stages.made(plain.len(), record.record_bytes());
        Ok(record)
    }

    /// Makes the record of a fact.
    pub fn fact_record(&self, packer: &mut Packer, plain: &[u8]) -> Result<Record, StoreError> {
        bounded("a fact", plain, FACT_BYTES_MAX)?;
        let name = self.fact_name(plain);
        // A fact is small and read at recovery: the fastest level is the right one.
        let packed = packer.pack(Compression::Zstd(1), plain);
        self.record(RecordKind::Fact, name, packed, plain.len(), true)
    }

    fn record(
        &self,
        kind: RecordKind,
        name: [u8; 32],
        (codec, payload): (CodecId, Vec<u8>),
        plain_length: usize,
        encrypt: bool,
    ) -> Result<Record, StoreError> {
        let mut record = Record::draft(kind, name, payload, plain_length)?;
        record.header.codec = codec;
        if let Some(keys) = self.keyring.as_ref().filter(|_| encrypt) {
            record.header.cipher = self.cipher;
            record.header.epoch = keys.current;
            record.header.nonce = random()?;
            let data = record.header.associated_data();
            self.record_key(&record.header)?
                .seal_in_place_append_tag(
                    Nonce::assume_unique_for_key(record.header.nonce),
                    Aad::from(data),
                    &mut record.payload,
                )
                .map_err(|_| StoreError::Key("a record cannot be encrypted".into()))?;
        }
        record.finish()
    }

    fn record_key(&self, header: &Header) -> Result<LessSafeKey, StoreError> {
        let epoch = self
            .keyring
            .as_ref()
            .ok_or_else(|| StoreError::Key("the record is encrypted and there are no keys".into()))?
            .epochs
            .get(&header.epoch)
            .ok_or_else(|| {
                StoreError::Key(format!("data key {} is not in the key file", header.epoch))
            })?;
        let mut material = Zeroizing::new([0; 64]);
        for (to, from) in material.iter_mut().zip(epoch.iter().chain(&header.name)) {
            *to = *from;
        }
        let derived =
            Zeroizing::new(blake3::derive_key("lucid-store 2026 record", material.as_slice()));
        key(header.cipher, &derived)
    }

    /// Opens a payload and proves that it is what its header names; says why when it is not.
    pub fn open(
        &self,
        packer: &mut Packer,
        header: &Header,
        mut payload: Vec<u8>,
    ) -> Result<Vec<u8>, Unopened> {
        let length = self.decrypt(header, &mut payload)?.len();
        payload.truncate(length);
        let length = header.plain_length as usize;
        let unpack = || packer.unpack(header.codec, payload, length);
        let plain = self.staged(header, ChunkStages::unpack, unpack)?;
        self.check_name(header, &plain)?;
        Ok(plain)
    }

    /// [`Cipher::open`] for a reader who only wants to know: the payload is decrypted where it lies,
    /// and `room` is used again from record to record.
    pub fn check(
        &self,
        packer: &mut Packer,
        header: &Header,
        payload: &mut [u8],
        room: &mut Vec<u8>,
    ) -> Result<(), Unopened> {
        let packed = self.decrypt(header, payload)?;
        let length = header.plain_length as usize;
        let plain = self.staged(header, ChunkStages::unpack, || {
            packer.unpack_to(header.codec, packed, length, room)
        })?;
        self.check_name(header, plain)
    }

    /// Works on a record, and notes what that took where it is a chunk's: facts are small, and many.
    fn staged<T, F: FnOnce() -> T>(
        &self,
        header: &Header,
        stage: impl FnOnce(&ChunkStages, F) -> T,
        work: F,
    ) -> T {
        match header.kind {
            RecordKind::Chunk => stage(&self.stages, work),
            _ => work(),
        }
    }

    /// Undoes the encryption in place, and proves that the payload is the one that was written.
    fn decrypt<'a>(&self, header: &Header, payload: &'a mut [u8]) -> Result<&'a [u8], Unopened> {
        self.staged(header, ChunkStages::decrypt, || self.decrypted(header, payload))
    }

    fn decrypted<'a>(&self, header: &Header, payload: &'a mut [u8]) -> Result<&'a [u8], Unopened> {
        if payload.len() != header.stored_length as usize {
            return Err("the record's payload is cut short".into());
        }
        if header.plain_length > header.kind.bytes_read_max() {
            return Err("the record claims an impossible length".into());
        }
        // Looked at first, since it tells a flipped byte from a wrong key.
        if !header.matches(payload) {
            return Err("the record's payload does not match its digest".into());
        }
        if header.cipher == CipherId::Plain {
            return Ok(payload);
        }
        // Numbers of data keys only grow, so one above all of them is not a number that can be wrong.
        if self.keyring.as_ref().is_some_and(|keys| header.epoch > keys.current) {
            return Err(Unopened::NoKey(header.epoch));
        }
        self.record_key(header)
            .map_err(|error| error.to_string())?
            .open_in_place(
                Nonce::assume_unique_for_key(header.nonce),
                Aad::from(header.associated_data()),
                payload,
            )
            .map(|plain| &*plain)
            .map_err(|_| "the record does not open under its key".into())
    }

    fn check_name(&self, header: &Header, plain: &[u8]) -> Result<(), Unopened> {
        let name = match header.kind {
            RecordKind::Chunk => {
                let key = ChunkKey::of(Owner::new(header.owner), blake3::hash(plain).into());
                *self.chunk_name(key).as_bytes()
            }
            RecordKind::Fact => self.fact_name(plain),
            _ => *blake3::hash(plain).as_bytes(),
        };
        if name == header.name {
            Ok(())
        } else {
            Err("the record holds other bytes than its name says".into())
        }
    }

    /// Says how values of the index are encrypted: each under the key of its row, or, in an index that an
    /// earlier version made, all under one. To be called before any value is written or read.
    pub(crate) fn bind_rows(&self, bound: bool) {
        if let Some(keys) = &self.keyring {
            keys.rows_are_bound.store(bound, Ordering::Relaxed);
        }
    }

    /// Encrypts the value of the index's row with this key: put in another row's place, it does not open.
    /// In a plain store the bytes stay as they are.
    pub fn encrypt_value(&self, row: &[u8], plain: &[u8]) -> Result<Vec<u8>, StoreError> {
        let Some(keys) = &self.keyring else { return Ok(plain.to_vec()) };
        let nonce = random::<12>()?;
        let mut value = plain.to_vec();
        keys.with_row_key(row, |key| {
            let nonce = Nonce::assume_unique_for_key(nonce);
            key.seal_in_place_append_tag(nonce, Aad::empty(), &mut value)
                .map_err(|_| StoreError::Key("an index value cannot be encrypted".into()))
        })?;
        value.extend_from_slice(&nonce);
        Ok(value)
    }

    /// Undoes [`Cipher::encrypt_value`], for the value of the same row.
    pub fn decrypt_value(&self, row: &[u8], mut value: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        let Some(keys) = &self.keyring else { return Ok(value) };
        let fault = || {
            StoreError::Index(
                "a value does not open; run `lucid reindex` to rebuild the index".into(),
            )
        };
        let (ciphertext, nonce) = value.split_last_chunk_mut::<12>().ok_or_else(fault)?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = keys.with_row_key(row, |key| {
            Ok(key.open_in_place(nonce, Aad::empty(), ciphertext).map_err(|_| fault())?.len())
        })?;
        value.truncate(length);
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cipher(byte: u8) -> Cipher {
        let epochs = BTreeMap::from([(1, Zeroizing::new([byte; 32]))]);
        Cipher::new(Some(Keyring::new(Zeroizing::new([byte ^ 0xff; 32]), epochs).unwrap()))
    }

    #[test]
    fn texts_have_index_names_of_their_own_and_each_store_others() {
        let named =
            |cipher: &Cipher| [b"one".as_slice(), b"two"].map(|text| cipher.index_name(text));
        let (first, second) = (cipher(1), cipher(2));
        let names = [named(&first), named(&second), named(&Cipher::new(None))].concat();
        let different = std::collections::BTreeSet::from_iter(&names);
        assert_eq!(different.len(), 6, "{names:?}");
        assert_eq!(named(&cipher(1)), named(&first));
    }

    #[test]
    fn a_relabelled_record_does_not_open() {
        let cipher = cipher(1);
        let mut packer = Packer::new();
        let plain = b"the same words over and over, ".repeat(20);
        let id: ChunkId = blake3::hash(&plain).into();
        let record =
            cipher.chunk_record(&mut packer, Compression::default(), true, &id, &plain).unwrap();
        assert_eq!(cipher.open(&mut packer, &record.header, record.payload.clone()), Ok(plain));
        let mut relabelled = record.header.clone();
        relabelled.name = [3; 32];
        assert!(cipher.open(&mut packer, &relabelled, record.payload.clone()).is_err());
        let mut as_fact = record.header.clone();
        as_fact.kind = RecordKind::Fact;
        assert!(cipher.open(&mut packer, &as_fact, record.payload.clone()).is_err());
        // The committer's own fields are not bound: a record may be placed, and moved.
        let mut placed = record.header.clone();
        placed.sequence = 99;
        assert!(cipher.open(&mut packer, &placed, record.payload).is_ok());
    }

    #[test]
    fn chunks_and_facts_open_again_at_their_limits_and_are_refused_one_byte_over() {
        for cipher in [cipher(1), Cipher::new(None)] {
            let mut packer = Packer::new();
            let chunk = |packer: &mut Packer, length: usize, how| {
                let plain = vec![7; length];
                let id: ChunkId = blake3::hash(&plain).into();
                cipher.chunk_record(packer, how, true, &id, &plain)
            };
            for how in [Compression::None, Compression::default()] {
                let record = chunk(&mut packer, CHUNK_BYTES_MAX, how).unwrap();
                let header = Header::decode(&record.header.encode()).unwrap();
                let opened = cipher.open(&mut packer, &header, record.payload).unwrap();
                assert_eq!(opened.len(), CHUNK_BYTES_MAX);
                let fault = chunk(&mut packer, CHUNK_BYTES_MAX + 1, how).unwrap_err();
                let told =
                    "a chunk of 16777217 bytes is over the limit of 16777216, and was not written";
                assert_eq!(fault.to_string(), told);
            }
            // Bytes that do not compress, so that the record is as long as a fact's can be.
            let mut noise = vec![0; FACT_BYTES_MAX];
            blake3::Hasher::new().finalize_xof().fill(&mut noise);
            let record = cipher.fact_record(&mut packer, &noise).unwrap();
            let header = Header::decode(&record.header.encode()).unwrap();
            assert_eq!(cipher.open(&mut packer, &header, record.payload).unwrap(), noise);
            noise.push(0);
            let fault = cipher.fact_record(&mut packer, &noise).unwrap_err();
            let told = "a fact of 8388609 bytes is over the limit of 8388608, and was not written";
            assert_eq!(fault.to_string(), told);
        }
    }

    #[test]
    fn another_stores_keys_open_nothing() {
        let mut packer = Packer::new();
        let record = cipher(1).fact_record(&mut packer, b"a fact").unwrap();
        let why = cipher(2).open(&mut packer, &record.header, record.payload).unwrap_err();
        assert_eq!(why.to_string(), "the record does not open under its key");
    }

    #[test]
    fn wrapped_keys_open_under_their_root_and_label_only() {
        let (root, other) = (Zeroizing::new([1; 32]), Zeroizing::new([2; 32]));
        let wrapped = wrap(&root, "dedup", &[7; 32]).unwrap();
        assert_eq!(unwrap(&root, "dedup", &wrapped).as_deref(), Some(&[7; 32]));
        assert!(unwrap(&other, "dedup", &wrapped).is_none());
        assert!(unwrap(&root, "epoch 1", &wrapped).is_none());
    }

    #[test]
    fn index_values_open_and_do_not_repeat() {
        let cipher = cipher(1);
        let record = || cipher.encrypt_value(b"row", b"v").unwrap();
        let (a, b) = (record(), record());
        assert_ne!(a, b);
        assert_eq!(cipher.decrypt_value(b"row", a).unwrap(), b"v");
    }

    #[test]
    fn the_value_of_one_row_does_not_open_in_another() {
        let cipher = cipher(1);
        let value = cipher.encrypt_value(b"row 1", b"v").unwrap();
        assert_eq!(cipher.decrypt_value(b"row 1", value.clone()).unwrap(), b"v");
        for other in [&b"row 2"[..], b"row ", b"row 11", b""] {
            let fault = cipher.decrypt_value(other, value.clone()).unwrap_err().to_string();
            assert!(fault.contains("lucid reindex"), "{fault}");
        }
        assert!(cipher.decrypt_value(b"row 1", value[..11].to_vec()).is_err());
    }

    #[test]
    fn an_index_of_an_earlier_version_is_read_and_written_under_its_one_key() {
        let cipher = cipher(1);
        let bound = cipher.encrypt_value(b"row 1", b"v").unwrap();
        cipher.bind_rows(false);
        let unbound = cipher.encrypt_value(b"row 1", b"v").unwrap();
        // As that version would: no value knew its row.
        assert_eq!(cipher.decrypt_value(b"row 2", unbound.clone()).unwrap(), b"v");
        // Neither opens as the other, so a marker that was removed or added opens nothing wrongly.
        assert!(cipher.decrypt_value(b"row 1", bound.clone()).is_err());
        cipher.bind_rows(true);
        assert!(cipher.decrypt_value(b"row 1", unbound).is_err());
        assert_eq!(cipher.decrypt_value(b"row 1", bound).unwrap(), b"v");
    }

    #[test]
    fn the_longest_plaintext_that_a_header_may_claim_is_judged_by_the_payload() {
        let cipher = Cipher::new(None);
        let mut packer = Packer::new();
        let record = Record::plain(RecordKind::Body, [1; 32], vec![7]).unwrap();
        let most = RecordKind::Body.bytes_read_max();
        for (claimed, is_impossible) in [(most, false), (most + 1, true)] {
            let header = Header { plain_length: claimed, ..record.header.clone() };
            let why = cipher.open(&mut packer, &header, record.payload.clone()).unwrap_err();
            let told = why.to_string() == "the record claims an impossible length";
            assert_eq!(told, is_impossible, "{claimed} bytes: {why}");
        }
    }
}
