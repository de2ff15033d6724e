//! JWTs (RFC 7519), which another party signs: by HS256 with a secret that is shared, or by EdDSA.
//!
//! A key has one algorithm, and a token that names another one is refused before anything is checked, so `none` is
//! never an algorithm. The library takes tokens apart and compares signatures through ring; times are held against
//! the clock that the service was given.

use std::sync::Once;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{Error as SignatureError, Verifier};
use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, EncodingKey, Validation, decode, decode_header,
};
use lucid_api::access::{Narrowing, Roles};
use ring::{hmac, signature};
use serde::Deserialize;

use crate::caller::Caller;
use crate::config::Secret;

/// As many bytes as SHA-256 gives (RFC 7518, 3.2).
const SECRET_BYTES_MIN: usize = 32;
/// What stands in front of the 32 bytes of an Ed25519 key in its DER form (RFC 8410, 4).
const ED25519_DER: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];
/// Characters of a subject: it stands in logs.
const SUBJECT_CHARS_MAX: usize = 128;
/// What a JWT that names many sessions may have.
const TOKEN_BYTES_MAX: usize = 16 << 10;

/// A key that signatures are checked with.
#[derive(Clone)]
pub(super) struct JwtKey {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl JwtKey {
    /// The secret of HS256.
    pub(super) fn secret(secret: &Secret) -> Result<Self, String> {
        let bytes = secret.expose().as_bytes();
        if bytes.len() < SECRET_BYTES_MIN {
            return Err(format!(
                "a secret of {} bytes can be guessed; HS256 wants {SECRET_BYTES_MIN} at least",
                bytes.len()
            ));
        }
        Ok(Self { algorithm: Algorithm::HS256, key: DecodingKey::from_secret(bytes) })
    }

    /// The public key of EdDSA: PEM, or 64 hex digits.
    pub(super) fn public(text: &str) -> Result<Self, String> {
        let wrong =
            "it is no Ed25519 public key: PEM (`openssl pkey -pubout`) or 64 hex digits are wanted";
        let bytes = match text.trim().strip_prefix("-----BEGIN PUBLIC KEY-----") {
            None => hex::decode(text.trim()).ok(),
            Some(rest) => rest.split_once("-----END PUBLIC KEY-----").and_then(|(body, _)| {
                let body: String = body.split_ascii_whitespace().collect();
                let der = STANDARD.decode(body).ok()?;
                der.strip_prefix(&ED25519_DER).map(<[u8]>::to_vec)
            }),
        };
        let bytes = bytes.filter(|bytes| bytes.len() == 32).ok_or_else(|| wrong.to_owned())?;
        Ok(Self { algorithm: Algorithm::EdDSA, key: DecodingKey::from_ed_der(&bytes) })
    }
}

/// Keys for JWTs: one an algorithm.
#[derive(Clone, Default)]
pub(super) struct JwtKeys(Vec<JwtKey>);

/// What a JWT says of its holder; other claims say nothing here.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    role: RoleClaim,
    exp: serde_json::Number,
    nbf: Option<serde_json::Number>,
    /// Ids of sessions; one that ends in `*` is the beginning of ids.
    #[serde(default, deserialize_with = "said")]
    sessions: Option<Vec<String>>,
    /// Whose sessions.
    #[serde(default, deserialize_with = "said")]
    users: Option<Vec<String>>,
}

/// A claim that is there, as it must be: one that is `null` would narrow to nothing and be taken for none.
fn said<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Vec<String>>, D::Error> {
    Vec::deserialize(from).map(Some)
}

/// One role, or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum RoleClaim {
    One(String),
    Several(Vec<String>),
}

/// Whether a token is a JWT: three parts, with dots between. A token of a list has none.
pub(super) fn looks_like_one(text: &str) -> bool {
    text.bytes().filter(|byte| *byte == b'.').count() == 2
}

impl JwtKeys {
    pub(super) fn add(&mut self, key: JwtKey) {
        self.0.push(key);
    }

    /// The caller that a JWT tells of. `now` is in microseconds since 1970.
    pub(super) fn caller(&self, text: &str, now: i64) -> Result<Caller, String> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(format!("the JWT has more than {TOKEN_BYTES_MAX} bytes"));
        }
        let header = decode_header(text).map_err(|_| "the JWT cannot be read".to_owned())?;
        let key = self.0.iter().find(|key| key.algorithm == header.alg);
        let key =
            key.ok_or_else(|| "the JWT is signed by an algorithm that has no key here".to_owned())?;
        install();
        let mut rules = Validation::new(key.algorithm);
        // By the clock that the service has, below.
        (rules.validate_exp, rules.validate_nbf, rules.validate_aud) = (false, false, false);
        rules.set_required_spec_claims(&["exp", "sub"]);
        let claims =
            decode::<Claims>(text, &key.key, &rules).map_err(|error| match error.kind() {
                ErrorKind::InvalidSignature => {
                    "the JWT's signature is not by the key that counts here".to_owned()
                }
                ErrorKind::MissingRequiredClaim(name) => format!("the JWT has no claim `{name}`"),
                ErrorKind::Json(fault) => format!("the JWT's claims: {fault}"),
                _ => "the JWT cannot be read".to_owned(),
            })?;
        claims.claims.caller(now)
    }
}

impl Claims {
    fn caller(self, now: i64) -> Result<Caller, String> {
        if micros(&self.exp).is_none_or(|exp| exp <= now) {
            return Err("the JWT has expired".to_owned());
        }
        if self.nbf.is_some_and(|nbf| micros(&nbf).is_none_or(|nbf| now < nbf)) {
            return Err("the JWT does not count yet (`nbf`)".to_owned());
        }
        let is_name = !self.sub.is_empty() && self.sub.chars().count() <= SUBJECT_CHARS_MAX;
        if !is_name || self.sub.contains(char::is_control) {
            return Err(format!(
                "the JWT's `sub` is no name of 1 to {SUBJECT_CHARS_MAX} characters"
            ));
        }
        let roles = match self.role {
            RoleClaim::One(role) => role,
            RoleClaim::Several(roles) => roles.join(","),
        };
        let roles: Roles = roles.parse().map_err(|error| format!("the JWT's `role`: {error}"))?;
        let is_narrowed = self.sessions.is_some() || self.users.is_some();
        let (prefixes, sessions): (Vec<_>, Vec<_>) =
            self.sessions.unwrap_or_default().into_iter().partition(|id| id.ends_with('*'));
        let prefixes = prefixes.into_iter().map(|prefix| prefix.trim_end_matches('*').to_owned());
        let narrowing = Narrowing::new(sessions, prefixes, self.users.unwrap_or_default())
            .map_err(|error| format!("the JWT's `sessions`: {error}"))?;
        if is_narrowed && narrowing.is_none() {
            return Err("the JWT is narrowed to nothing: `sessions` is empty".to_owned());
        }
        Ok(Caller::known(format!("jwt:{}", self.sub), roles, narrowing))
    }
}

/// A time of a JWT, in seconds and perhaps a fraction.
fn micros(seconds: &serde_json::Number) -> Option<i64> {
    if let Some(whole) = seconds.as_i64() {
        return whole.checked_mul(1_000_000);
    }
    let micros = seconds.as_f64()? * 1e6;
    // Beyond what a clock tells it is far away, which a conversion that keeps to its bounds says, too.
    micros.is_finite().then_some(micros as i64)
}

/// Gives the library what it compares signatures with. Without it the first token would be a panic.
fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _installed_before = PROVIDER.install_default();
    });
}

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: nothing_is_signed,
    verifier_factory: verifier,
    key_utils: KeyUtils::new_unimplemented(),
};

fn nothing_is_signed(_: &Algorithm, _: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    Err(ErrorKind::InvalidAlgorithm.into())
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    let bytes = key.try_get_as_bytes()?;
    match (algorithm, key.family()) {
        (Algorithm::HS256, AlgorithmFamily::Hmac) => {
            Ok(Box::new(Hs256(hmac::Key::new(hmac::HMAC_SHA256, bytes))))
        }
        (Algorithm::EdDSA, AlgorithmFamily::Ed) => Ok(Box::new(EdDsa(bytes.to_vec()))),
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    }
}

struct Hs256(hmac::Key);

impl Verifier<Vec<u8>> for Hs256 {
    fn verify(&self, text: &[u8], tag: &Vec<u8>) -> Result<(), SignatureError> {
        hmac::verify(&self.0, text, tag).map_err(|_| SignatureError::new())
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

struct EdDsa(Vec<u8>);

impl Verifier<Vec<u8>> for EdDsa {
    fn verify(&self, text: &[u8], tag: &Vec<u8>) -> Result<(), SignatureError> {
        let key = signature::UnparsedPublicKey::new(&signature::ED25519, &self.0);
        key.verify(text, tag).map_err(|_| SignatureError::new())
    }
}

impl JwtVerifier for EdDsa {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}
