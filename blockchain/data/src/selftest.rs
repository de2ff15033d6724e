//! What `lucid-data-chain selftest` computes and keeps: hashes of sessions, and a session that outlives a kill.

use std::io::Read as _;

use lucid_api::client::{Append, ClientError, ClientOptions, DataChainClient};
use lucid_api::v1::sessions::{CreateSession, SealSession};
use lucid_core::digest::ChunkId;
use lucid_core::session::SessionId;
use lucid_core::tree::{Blake3Tree, TreeHash as _};
use lucid_http::selftest::{SelfTest, Vector};

/// What the program tries on itself.
pub const SELF_TEST: SelfTest = SelfTest { settings: &[], vectors, keep, find };

/// The session that is kept.
const SESSION: &str = "selftest";
/// Longer than a chunk may be short, so that it is cut.
const BYTES: usize = 3 << 20;

/// docs/FORMATS.md has them, and so have the vectors of the core.
const HELLO: &str = "ea8f163db38682925e4491c5e58d4bb3506ef8c14eb78a86e908c5624a67200f";
const SESSION_KEY: &str = "0b02743d4e830925d305b5f156a26a1f0a3772715c8cd9fa59378367fb2c1f8d";
const EMPTY: &str = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";

fn vectors() -> Result<Vec<Vector>, String> {
    let session: SessionId = "session-1".parse().map_err(|_| "an id is none".to_owned())?;
    Ok(vec![
        ("a chunk's id", ChunkId::from(blake3::hash(b"hello")).to_string(), HELLO),
        ("a session's key", session.key().to_string(), SESSION_KEY),
        ("an empty tree", hex::encode(Blake3Tree::empty()), EMPTY),
    ])
}

fn keep(address: &str) -> Result<String, ClientError> {
    let session =
        CreateSession { session_id: Some(SESSION.to_owned()), ..CreateSession::default() };
    let client = DataChainClient::new(address, ClientOptions::default())?;
    let root = client.root()?;
    client.create_session(&session)?;
    client.append(SESSION, &Append::default(), content())?;
    client.seal(SESSION, &SealSession::default())?;
    Ok(root.message)
}

fn find(address: &str) -> Result<(), String> {
    let told = |error: ClientError| format!("what was kept cannot be read: {error}");
    let client = DataChainClient::new(address, ClientOptions::default()).map_err(told)?;
    let mut found = Vec::new();
    let read = client.data(SESSION, None).map_err(told)?.read_to_end(&mut found);
    read.map_err(|error| format!("what was kept cannot be read: {error}"))?;
    match found == content() {
        true => Ok(()),
        false => Err(format!("{} other bytes came back than were kept", found.len())),
    }
}

/// Bytes that do not compress.
fn content() -> Vec<u8> {
    let mut bytes = vec![0; BYTES];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}
