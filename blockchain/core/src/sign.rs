//! Ed25519: the keys that sign transactions and blocks, and their base64 spellings.
//!
//! [`crate::transaction`] and [`crate::record`] say what is signed; this room only signs and
//! verifies. Verification follows ZIP-215, under which checking one signature and checking many at
//! once always agree. Base64 is the standard alphabet, padded, and strict: one key has one spelling.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::spelling::{Spelling, spelled};

/// A text that is not the base64 of a key or of a signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not a {noun}: {bytes} bytes in padded standard base64 are wanted")]
pub struct Base64Fault {
    noun: &'static str,
    bytes: usize,
    given: String,
}

/// Padded standard base64.
struct Base64;

impl Spelling for Base64 {
    type Fault = Base64Fault;

    fn write<const N: usize>(bytes: &[u8; N], to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&STANDARD.encode(bytes))
    }

    fn read<const N: usize>(noun: &'static str, text: &str) -> Result<[u8; N], Base64Fault> {
        let fault = || Base64Fault { noun, bytes: N, given: text.chars().take(100).collect() };
        // The length comes first: a text of megabytes is not decoded to find that it is too long.
        if text.len() != N.div_ceil(3) * 4 {
            return Err(fault());
        }
        STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok()).ok_or_else(fault)
    }
}

spelled! { Base64, Base64Fault:
    /// What others know a signer by.
    PublicKey[32] = "public key";
    /// What a signer leaves under a message.
    Signature[64] = "signature";
}

impl PublicKey {
    /// Whether this key made `signature` over `message`, by the rule of ZIP-215.
    pub fn verify(&self, message: &[u8], signature: &Signature) -> bool {
        ed25519_zebra::VerificationKey::try_from(self.0)
            .and_then(|key| key.verify(&ed25519_zebra::Signature::from(signature.0), message))
            .is_ok()
    }
}

/// How many keys one chain may have been signed with.
const PRODUCERS_MAX: usize = 8;

/// The keys that may have signed the blocks of a chain: none where that is not pinned, and more than one
/// where another authority went on with it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Producers([Option<PublicKey>; PRODUCERS_MAX]);

/// Why a text or a list is not [`Producers`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProducersFault {
    /// One of them is no key.
    #[error(transparent)]
    Key(#[from] Base64Fault),
    /// There are more than a chain may have.
    #[error("{0} keys are too many for the producers of one chain: at most {PRODUCERS_MAX} are")]
    TooMany(usize),
}

impl Producers {
    /// These keys.
    pub fn of(keys: &[PublicKey]) -> Result<Self, ProducersFault> {
        let mut producers = Self::default();
        if keys.len() > PRODUCERS_MAX {
            return Err(ProducersFault::TooMany(keys.len()));
        }
        for (slot, key) in producers.0.iter_mut().zip(keys) {
            *slot = Some(*key);
        }
        Ok(producers)
    }

    /// Whether it is pinned at all who may sign.
    pub fn are_pinned(&self) -> bool {
        self.iter().next().is_some()
    }

    /// Whether this key is one of them.
    pub fn have(&self, key: &PublicKey) -> bool {
        self.iter().any(|one| one == key)
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &PublicKey> {
        self.0.iter().flatten()
    }
}

impl From<PublicKey> for Producers {
    fn from(key: PublicKey) -> Self {
        let mut keys = [None; PRODUCERS_MAX];
        let [first, ..] = &mut keys;
        *first = Some(key);
        Self(keys)
    }
}

impl FromStr for Producers {
    type Err = ProducersFault;

    /// Keys in base64, with commas between them.
    fn from_str(text: &str) -> Result<Self, ProducersFault> {
        let keys = text.split(',').map(|key| key.trim().parse());
        Self::of(&keys.collect::<Result<Vec<PublicKey>, _>>()?)
    }
}

impl fmt::Display for Producers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<String> = self.iter().map(ToString::to_string).collect();
        f.write_str(&keys.join(","))
    }
}

/// How many signatures are verified in one equation: enough for the gain, few enough for memory.
const BATCH_MAX: usize = 4_096;

/// Signatures that are verified together, which costs about half of verifying each. The answers are
/// those of [`PublicKey::verify`]: under ZIP-215 one and many always agree.
///
/// The equation weighs each signature with a coefficient that nobody may know when the signatures are
/// made. Since this crate has no randomness, coefficients are derived from all keys, signatures and
/// messages of the batch: a forger who changes one of them changes every coefficient, and a batch
/// with a wrong signature passes with a chance of 2^-128.
pub struct SignatureBatch {
    items: Vec<ed25519_zebra::batch::Item>,
    seed: blake3::Hasher,
}

impl Default for SignatureBatch {
    fn default() -> Self {
        let seed = blake3::Hasher::new_derive_key("lucid 2026 coefficients of a signature batch");
        Self { items: Vec::new(), seed }
    }
}

impl SignatureBatch {
    /// Adds one signature over a message.
    pub fn add(&mut self, key: &PublicKey, message: &[u8], signature: &Signature) {
        let length = (message.len() as u64).to_le_bytes();
        let parts: [&[u8]; 4] = [&key.0, &signature.0, &length, message];
        parts.into_iter().for_each(|part| {
            self.seed.update(part);
        });
        let key = ed25519_zebra::VerificationKeyBytes::from(key.0);
        let signature = ed25519_zebra::Signature::from(signature.0);
        self.items.push((key, signature, message).into());
    }

    /// Whether each of them verifies, in the order in which they were added.
    pub fn verify(self) -> Vec<bool> {
        let mut coefficients = Coefficients(self.seed.finalize_xof());
        let mut answers = Vec::with_capacity(self.items.len());
        for items in self.items.chunks(BATCH_MAX) {
            let mut together = ed25519_zebra::batch::Verifier::new();
            items.iter().for_each(|item| together.queue(item.clone()));
            // One alone is cheaper alone; and where not all verify, each is asked.
            let all = items.len() > 1 && together.verify(&mut coefficients).is_ok();
            answers.extend(items.iter().map(|item| all || item.clone().verify_single().is_ok()));
        }
        answers
    }
}

/// The stream of a batch's coefficients, in the form that the verifier takes.
struct Coefficients(blake3::OutputReader);

impl Coefficients {
    fn next<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill(&mut bytes);
        bytes
    }
}

impl rand_core::TryRng for Coefficients {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_le_bytes(self.next()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_le_bytes(self.next()))
    }

    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(to);
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Coefficients {}

/// The secret half of a key. Nothing prints it, and it is wiped when dropped.
#[derive(Clone)]
pub struct SigningKey(Zeroizing<ed25519_zebra::SigningKey>);

impl SigningKey {
    /// The key of an RFC 8032 seed: 32 secret random bytes, made and kept by the caller.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let seed = Zeroizing::new(seed);
        Self(Zeroizing::new(ed25519_zebra::SigningKey::from(*seed)))
    }

    /// What others know this key by.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verification_key().into())
    }

    /// Signs a message.
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).into())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey of {}", self.public())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(first: u8) -> SigningKey {
        let mut seed = [0; 32];
        for (byte, value) in seed.iter_mut().zip(first..) {
            *byte = value;
        }
        SigningKey::from_seed(seed)
    }

    #[test]
    fn a_secret_key_is_wiped_when_dropped_and_never_shown() {
        fn is_wiped<T: zeroize::ZeroizeOnDrop>(_: &T) {}
        let signing = key(1);
        let SigningKey(inner) = &signing;
        is_wiped(inner);
        assert_eq!(format!("{signing:?}"), format!("SigningKey of {}", signing.public()));
    }

    /// RFC 8032, section 7.1, test 2.
    #[test]
    fn the_vector_of_the_standard_holds() {
        let seed = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb";
        let key = SigningKey::from_seed(hex::decode(seed).unwrap().try_into().unwrap());
        let public = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
        assert_eq!(hex::encode(key.public().as_bytes()), public);
        let signature = key.sign(&[0x72]);
        let want = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
                    085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";
        assert_eq!(hex::encode(signature.as_bytes()), want);
        assert!(key.public().verify(&[0x72], &signature));
    }

    #[test]
    fn another_message_another_key_or_a_flipped_bit_does_not_verify() {
        let (signer, other) = (key(0), key(32));
        let signature = signer.sign(b"message");
        assert!(!signer.public().verify(b"massage", &signature));
        assert!(!other.public().verify(b"message", &signature));
        for position in 0..64 {
            let mut bytes = *signature.as_bytes();
            bytes[position] ^= 1;
            assert!(!signer.public().verify(b"message", &Signature::new(bytes)), "{position}");
        }
        assert!(!PublicKey::new([0xff; 32]).verify(b"message", &signature));
    }

    /// ZIP-215 takes small-order points, which stricter rules refuse.
    #[test]
    fn the_rule_is_that_of_zip_215() {
        let mut identity = [0; 32];
        identity[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1;
        assert!(PublicKey::new(identity).verify(b"anything", &Signature::new(signature)));
    }

    #[test]
    fn producers_are_read_and_shown_as_keys_with_commas() {
        let keys: Vec<PublicKey> = (0..9).map(|n| key(n).public()).collect();
        let two = Producers::of(&keys[..2]).unwrap();
        assert_eq!(two.to_string(), format!("{},{}", keys[0], keys[1]));
        assert_eq!(format!("{}, {}", keys[0], keys[1]).parse(), Ok(two));
        assert!(two.are_pinned() && two.have(&keys[1]) && !two.have(&keys[2]));
        assert_eq!(keys[0].to_string().parse(), Ok(Producers::from(keys[0])));
        assert!(matches!("".parse::<Producers>(), Err(ProducersFault::Key(_))));
        let most = Producers::of(&keys[..8]).unwrap();
        assert_eq!(most.iter().collect::<Vec<_>>(), keys[..8].iter().collect::<Vec<_>>());
        let fault = Producers::of(&keys).unwrap_err();
        assert_eq!(
            fault.to_string(),
            "9 keys are too many for the producers of one chain: at most 8 are"
        );
    }

    /// Known by BLAKE3 of nothing, whose first bytes are af1349b9 f5f9a1a6 a0404dea.
    #[test]
    fn coefficients_are_the_bytes_of_their_stream_however_they_are_asked_for() {
        use rand_core::TryRng as _;
        let mut coefficients = Coefficients(blake3::Hasher::new().finalize_xof());
        assert_eq!(coefficients.try_next_u32(), Ok(0xb949_13af));
        assert_eq!(coefficients.try_next_u64(), Ok(0xea4d_40a0_a6a1_f9f5));
        let mut rest = [0; 20];
        coefficients.try_fill_bytes(&mut rest).unwrap();
        assert_eq!(rest, blake3::hash(b"").as_bytes()[12..]);
    }

    fn agree(claims: &[(PublicKey, Vec<u8>, Signature)]) -> Vec<bool> {
        let mut batch = SignatureBatch::default();
        claims.iter().for_each(|(key, message, signature)| batch.add(key, message, signature));
        let together = batch.verify();
        let single = claims.iter().map(|(key, message, signature)| key.verify(message, signature));
        assert_eq!(together, single.collect::<Vec<_>>());
        together
    }

    fn claims(count: u8) -> Vec<(PublicKey, Vec<u8>, Signature)> {
        let claim = |n: u8| (key(n % 3).public(), vec![n; 9], key(n % 3).sign(&[n; 9]));
        (0..count).map(claim).collect()
    }

    #[test]
    fn many_together_are_judged_as_each_alone() {
        assert_eq!(agree(&[]), [false; 0]);
        assert_eq!(agree(&claims(1)), [true]);
        assert_eq!(agree(&claims(40)), [true; 40]);
        for wrong in 0..40 {
            let mut mixed = claims(40);
            mixed[wrong].1.push(0);
            let found = agree(&mixed);
            assert_eq!(found.iter().position(|valid| !valid), Some(wrong));
            assert_eq!(found.iter().filter(|valid| **valid).count(), 39);
        }
        // Two faults that would cancel out if the coefficients were all the same.
        let mut swapped = claims(3);
        (swapped[0].2, swapped[1].2) = (swapped[1].2, swapped[0].2);
        assert_eq!(agree(&swapped), [false, false, true]);
    }

    /// The edges where implementations differ: points of small order, encodings of coordinates that
    /// are not reduced, a scalar that is not; as key and as the signature's first half, each with
    /// each, alone and among sound ones.
    #[test]
    fn the_edges_of_the_curve_are_judged_alike() {
        let points = [
            "0100000000000000000000000000000000000000000000000000000000000000",
            "0100000000000000000000000000000000000000000000000000000000000080",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "0000000000000000000000000000000000000000000000000000000000000000",
            "0000000000000000000000000000000000000000000000000000000000000080",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
            "0200000000000000000000000000000000000000000000000000000000000000",
        ];
        // Zero, and the order of the group, which is zero spelled otherwise.
        let scalars = [
            "0000000000000000000000000000000000000000000000000000000000000000",
            "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010",
        ];
        let bytes = |text: &str| <[u8; 32]>::try_from(hex::decode(text).unwrap()).unwrap();
        let mut edges = Vec::new();
        for key in points {
            for first in points {
                for scalar in scalars {
                    let mut signature = [0; 64];
                    signature[..32].copy_from_slice(&bytes(first));
                    signature[32..].copy_from_slice(&bytes(scalar));
                    let signature = Signature::new(signature);
                    edges.push((PublicKey::new(bytes(key)), b"Zcash".to_vec(), signature));
                }
            }
        }
        let valid: Vec<bool> = agree(&edges);
        // ZIP-215: every small-order key and point with the scalar zero, and nothing else.
        assert_eq!(valid.iter().filter(|valid| **valid).count(), 14 * 14);
        for edge in &edges {
            let mut among = claims(5);
            among.insert(2, edge.clone());
            agree(&among);
        }
        let sound: Vec<_> = edges
            .iter()
            .zip(&valid)
            .filter(|(_, valid)| **valid)
            .map(|(edge, _)| edge.clone())
            .collect();
        assert!(agree(&sound).into_iter().all(|valid| valid));
    }

    #[test]
    fn base64_has_one_spelling() {
        let public = key(0).public();
        assert_eq!(public.to_string(), "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=");
        assert_eq!(public.to_string().parse(), Ok(public));
        for wrong in [
            "",
            "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg",
            "A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=",
            "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbh=",
            "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=\n",
        ] {
            assert!(wrong.parse::<PublicKey>().is_err(), "{wrong:?}");
        }
        assert!(public.to_string().parse::<Signature>().is_err());
    }

    #[test]
    fn a_secret_is_never_printed() {
        let printed = format!("{:?}", SigningKey::from_seed([7; 32]));
        assert!(printed.starts_with("SigningKey of ") && !printed.contains("7, 7"), "{printed}");
    }
}
