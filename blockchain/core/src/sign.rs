//! Ed25519: the keys that sign transactions and blocks, and their base64 spellings.
//!
//! [`crate::transaction`] and [`crate::record`] say what is signed; this room only signs and
//! verifies. Verification follows ZIP-215, under which checking one signature and checking many at
//! once always agree. Base64 is the standard alphabet, padded, and strict: one key has one spelling.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A text that is not the base64 of a key or of a signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not a {noun}: {bytes} bytes in padded standard base64 are wanted")]
pub struct Base64Fault {
    noun: &'static str,
    bytes: usize,
    given: String,
}

fn parse<const N: usize>(noun: &'static str, text: &str) -> Result<[u8; N], Base64Fault> {
    let fault = || Base64Fault { noun, bytes: N, given: text.chars().take(100).collect() };
    // The length comes first: a text of megabytes is not decoded to find that it is too long.
    if text.len() != N.div_ceil(3) * 4 {
        return Err(fault());
    }
    STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok()).ok_or_else(fault)
}

macro_rules! in_base64 {
    ($($(#[$doc:meta])* $name:ident[$size:literal] = $noun:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; $size]);

        impl $name {
            /// Wraps bytes; whether they verify anything is found when they are used.
            pub const fn new(bytes: [u8; $size]) -> Self {
                Self(bytes)
            }

            /// The bytes themselves.
            pub const fn as_bytes(&self) -> &[u8; $size] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&STANDARD.encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = Base64Fault;

            fn from_str(text: &str) -> Result<Self, Base64Fault> {
                parse($noun, text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
                text.parse().map_err(D::Error::custom)
            }
        }
    )*};
}

in_base64! {
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

/// The secret half of a key. Nothing prints it.
#[derive(Clone)]
pub struct SigningKey(ed25519_zebra::SigningKey);

impl SigningKey {
    /// The key of an RFC 8032 seed: 32 secret random bytes, made and kept by the caller.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(ed25519_zebra::SigningKey::from(seed))
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
