//! What `lucid-block-manager selftest` computes and keeps: hashes of blocks, and a transaction that outlives a kill and
//! comes into a block.

use std::thread::sleep;
use std::time::{Duration, Instant};

use lucid_api::client::{BlockManagerClient, ClientError, ClientOptions};
use lucid_api::v1::transactions::TransactionStatus;
use lucid_core::block::block_hash;
use lucid_core::transaction::Transaction;
use lucid_http::selftest::{SelfTest, Vector};

/// What the program tries on itself.
pub const SELF_TEST: SelfTest =
    SelfTest { settings: &[("BLOCK_INTERVAL_SECONDS", "0.1")], vectors, keep, find };

/// The transaction that is kept, and its id.
const TRANSACTION: (&str, &str) = (r#"{"id":"selftest","type":"data_storage"}"#, "selftest");
/// How long it may take until a block is made, on an emulated processor too.
const PATIENCE: Duration = Duration::from_secs(60);

const ZEROS: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// The block-manager plan has the rule; docs/FORMATS.md and the vectors of the core have these.
const GENESIS: &str = "3a3856a65beec20b5f8fba0642e4e7cfe15eb5f726f58b649686091553c59b92";
const HASHED: (&str, &str) = (
    r#"{"id":"tx-2","type":"data_storage","data":{"b":1,"a":[1.0,2.5,1e16,1e-5,-0.0,true,null]},"fee":0.1}"#,
    "731e7b8da16c39182c466b7947f7977bcd28965f0b364c62800c6a1788b03274",
);

fn vectors() -> Result<Vec<Vector>, String> {
    let transaction = Transaction::parse(HASHED.0.as_bytes());
    let transaction = transaction.map_err(|error| format!("a transaction is none: {error}"))?;
    let genesis = block_hash("0", "2025-01-27T00:00:00Z", ZEROS, ZEROS, "0");
    Ok(vec![
        ("a transaction's hash", transaction.hash().to_string(), HASHED.1),
        ("a block's hash", genesis.to_string(), GENESIS),
    ])
}

fn keep(address: &str) -> Result<String, ClientError> {
    let client = BlockManagerClient::new(address, ClientOptions::default())?;
    let root = client.root()?;
    client.submit_transaction(TRANSACTION.0)?;
    Ok(root.message)
}

fn find(address: &str) -> Result<(), String> {
    let told = |error: ClientError| format!("what was kept cannot be read: {error}");
    let client = BlockManagerClient::new(address, ClientOptions::default()).map_err(told)?;
    let begun = Instant::now();
    while client.transaction(TRANSACTION.1).map_err(told)?.status != TransactionStatus::Confirmed {
        if begun.elapsed() > PATIENCE {
            return Err("what was kept came into no block".to_owned());
        }
        sleep(Duration::from_millis(50));
    }
    Ok(())
}
