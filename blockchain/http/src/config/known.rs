//! Every variable that a program of ours heeds, so that one that is misspelt is said and not passed over.
//!
//! A service knows what it asks for itself; beside that it may be given what others heed, since several are
//! often started with the same environment. A test of the command line holds this list against what both
//! services and every verb ask for.

use super::Environment;

/// What our variables begin with. Other programs have others, and so have some settings of ours.
pub const FAMILIES: &[&str] = &["DATA_CHAIN_", "BLOCK_", "LUCID_"];

/// Ours that begin otherwise, in the order of the alphabet: a name that differs from one of them in a letter may have
/// been meant for it.
pub const OTHERS: &[&str] = &[
    "ANCHORING_HASH_ALGORITHM",
    "BLOCKCHAIN_ENGINE_URL",
    "CHAIN_MAINTENANCE_INTERVAL",
    "CHUNK_OVERLAP_BYTES",
    "CHUNK_SIZE_BYTES",
    "CHUNK_STORAGE_PATH",
    "CORS_ORIGINS",
    "DATABASE_NAME",
    "DATA_SYNC_INTERVAL",
    "GC_INTERVAL_HOURS",
    "INDEXING_BATCH_SIZE",
    "LOG_FORMAT",
    "LOG_LEVEL",
    "MAX_BLOCKS_TO_KEEP",
    "MAX_CHUNK_SIZE_BYTES",
    "MIN_CHUNK_SIZE_BYTES",
    "MONGODB_CONNECT_TIMEOUT_MS",
    "MONGODB_MAX_IDLE_TIME_MS",
    "MONGODB_MAX_POOL_SIZE",
    "MONGODB_MIN_POOL_SIZE",
    "MONGODB_PASSWORD",
    "MONGODB_PASSWORD_FILE",
    "MONGODB_RETRY_READS",
    "MONGODB_RETRY_WRITES",
    "MONGODB_SERVER_SELECTION_TIMEOUT_MS",
    "MONGODB_SOCKET_TIMEOUT_MS",
    "MONGODB_URI",
    "MONGODB_URI_FILE",
    "MONGODB_URL",
    "MONGODB_URL_FILE",
    "MONGO_DB",
    "MONGO_URL",
    "MONGO_URL_FILE",
    "QUERY_CACHE_SIZE",
    "SERVICE_RETRY_COUNT",
    "SERVICE_RETRY_DELAY_SECONDS",
    "SERVICE_TIMEOUT_SECONDS",
    "SPLIT_THRESHOLD_BYTES",
    "SYNC_BATCH_SIZE",
    "SYNC_INTERVAL_SECONDS",
    "SYNC_TIMEOUT",
    "VERIFICATION_INTERVAL_HOURS",
];

/// The variables of these families.
pub const VARIABLES: &[&str] = &[
    "BLOCK_INTERVAL_SECONDS",
    "BLOCK_MANAGER_CORS_ORIGINS",
    "BLOCK_MANAGER_HOST",
    "BLOCK_MANAGER_PORT",
    "BLOCK_MANAGER_STORE_ID",
    "BLOCK_MANAGER_URL",
    "BLOCK_STORAGE_PATH",
    "BLOCK_TIMESTAMP_TOLERANCE_SECONDS",
    "BLOCK_VALIDATION_ENABLED",
    "DATA_CHAIN_AUTO_SPLIT",
    "DATA_CHAIN_CHECKSUM_VERIFICATION",
    "DATA_CHAIN_CHUNK_COMPRESSION_ALGORITHM",
    "DATA_CHAIN_CHUNK_OVERLAP_BYTES",
    "DATA_CHAIN_CHUNK_SIZE_BYTES",
    "DATA_CHAIN_CHUNK_STORAGE_BACKEND",
    "DATA_CHAIN_CHUNK_STORAGE_PATH",
    "DATA_CHAIN_COMPRESSION_ALGORITHM",
    "DATA_CHAIN_COMPRESSION_ENABLED",
    "DATA_CHAIN_CORRUPTION_DETECTION",
    "DATA_CHAIN_CORS_ORIGINS",
    "DATA_CHAIN_CUTTING",
    "DATA_CHAIN_DB_NAME",
    "DATA_CHAIN_DEDUPLICATION_ENABLED",
    "DATA_CHAIN_DEDUPLICATION_HASH_ALGORITHM",
    "DATA_CHAIN_DEDUPLICATION_METHOD",
    "DATA_CHAIN_ENCRYPTION_ENABLED",
    "DATA_CHAIN_GC_ENABLED",
    "DATA_CHAIN_GC_INTERVAL_HOURS",
    "DATA_CHAIN_HASH_ALGORITHM",
    "DATA_CHAIN_HASH_VERIFICATION_ENABLED",
    "DATA_CHAIN_HOST",
    "DATA_CHAIN_KEEP_DAYS",
    "DATA_CHAIN_MAX_CHUNK_SIZE_BYTES",
    "DATA_CHAIN_MIN_CHUNK_SIZE_BYTES",
    "DATA_CHAIN_OPTIMISE_LEVEL",
    "DATA_CHAIN_PERIODIC_VERIFICATION_ENABLED",
    "DATA_CHAIN_PORT",
    "DATA_CHAIN_PRESERVE_BOUNDARIES",
    "DATA_CHAIN_REFERENCE_COUNTING",
    "DATA_CHAIN_SESSION_TIMEOUT_SECONDS",
    "DATA_CHAIN_SIZE_VERIFICATION",
    "DATA_CHAIN_SPLIT_THRESHOLD_BYTES",
    "DATA_CHAIN_STORAGE_BACKEND",
    "DATA_CHAIN_STORE_CONTENT",
    "DATA_CHAIN_STORE_HASHES",
    "DATA_CHAIN_STORE_ID",
    "DATA_CHAIN_STORE_METADATA",
    "DATA_CHAIN_STORE_REFERENCES",
    "DATA_CHAIN_VERIFICATION_INTERVAL_HOURS",
    "DATA_CHAIN_VERIFICATION_ON_RETRIEVAL",
    "DATA_CHAIN_VERIFICATION_ON_STORAGE",
    "DATA_CHAIN_VERIFY_CHUNK_HASHES",
    "DATA_CHAIN_VERIFY_MERKLE_ROOT",
    "DATA_CHAIN_VERIFY_PROOF_PATHS",
    "DATA_CHAIN_VERIFY_SAMPLE_PERCENTAGE",
    "LUCID_ALLOWED_HOSTS",
    "LUCID_AUTH",
    "LUCID_BLOCK_MANAGER_URL",
    "LUCID_CA_FILE",
    "LUCID_CHAIN_FOLLOW_URL",
    "LUCID_CHAIN_GENESIS",
    "LUCID_CHAIN_PRODUCER_KEY",
    "LUCID_CONFIG_FILE",
    "LUCID_CREDENTIALS_FILE",
    "LUCID_DATA",
    "LUCID_DATA_CHAIN_URL",
    "LUCID_DATA_DIR",
    "LUCID_JWT_PUBLIC_KEY_FILE",
    "LUCID_JWT_SECRET",
    "LUCID_JWT_SECRET_FILE",
    "LUCID_MASTER_KEY_FILE",
    "LUCID_PASSPHRASE_FILE",
    "LUCID_PEER_PIN",
    "LUCID_PEER_TOKEN",
    "LUCID_PEER_TOKEN_FILE",
    "LUCID_PIN",
    "LUCID_PROFILE",
    "LUCID_RATE_LIMIT",
    "LUCID_READ_LOG",
    "LUCID_READ_LOG_KEEP_DAYS",
    "LUCID_RESERVE_BYTES",
    "LUCID_S3_ACCESS_KEY_ID",
    "LUCID_S3_ACCESS_KEY_ID_FILE",
    "LUCID_S3_BUCKET",
    "LUCID_S3_ENDPOINT",
    "LUCID_S3_PATH_STYLE",
    "LUCID_S3_PREFIX",
    "LUCID_S3_REGION",
    "LUCID_S3_SECRET_ACCESS_KEY",
    "LUCID_S3_SECRET_ACCESS_KEY_FILE",
    "LUCID_STORE_ID",
    "LUCID_TLS_CERT_FILE",
    "LUCID_TLS_KEY_FILE",
    "LUCID_TOKEN",
    "LUCID_TOKENS_FILE",
    "LUCID_TOKEN_FILE",
    "LUCID_TO_TOKEN_FILE",
    "LUCID_TRUSTED_PROXIES",
];

/// A name that differs in so many letters may have been meant.
const MISSPELT_MAX: usize = 3;
/// The same of a name that another program may have: two letters that change places differ in two.
const STRANGE_MAX: usize = 2;

/// A sentence for each variable of these families that nothing heeds.
pub fn unknown_variables(environment: &Environment, families: &[&str]) -> Vec<String> {
    let is_ours = |name: &&String| families.iter().any(|family| name.starts_with(family));
    let names = environment.keys().filter(is_ours);
    let names = names.filter(|name| !VARIABLES.contains(&name.as_str()));
    names.filter(|name| !OTHERS.contains(&name.as_str())).map(|name| sentence(name)).collect()
}

/// A sentence for each variable that is almost one of [`OTHERS`].
pub fn misspelt_variables(environment: &Environment) -> Vec<String> {
    let names = environment.keys().map(String::as_str);
    let is_strange = |name: &&str| {
        !OTHERS.contains(name) && !FAMILIES.iter().any(|family| name.starts_with(family))
    };
    let meant = names.filter(is_strange).filter_map(|name| {
        let near = OTHERS.iter().map(|known| (distance(name, known), known)).min();
        near.filter(|(distance, _)| *distance <= STRANGE_MAX).map(|(_, known)| (name, known))
    });
    meant.map(|(name, known)| format!("{name} is not heeded: {known} may be meant")).collect()
}

fn sentence(name: &str) -> String {
    let near = VARIABLES.iter().map(|known| (distance(name, known), known)).min();
    match near.filter(|(distance, _)| *distance <= MISSPELT_MAX) {
        Some((_, known)) => format!("{name} is no setting and is not heeded: {known} may be meant"),
        None => format!("{name} is no setting and is not heeded"),
    }
}

/// In how many letters two names differ, are missing or are too many.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (position, letter) in one.bytes().enumerate() {
        let mut next = vec![position + 1];
        let mut left = position + 1;
        for (above, wanted) in row.windows(2).zip(other.bytes()) {
            let [before, up] = above else { continue };
            left = (before + usize::from(letter != wanted)).min(up + 1).min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_that_nothing_heeds_is_named_with_the_one_that_may_be_meant() {
        let names = [
            "DATA_CHAIN_KEEP_DAY",
            "DATA_CHAIN_KEEP_DAYS",
            "BLOCK_STORAGE_PAHT",
            "LUCID_SOMETHING_OF_MINE",
            "LOG_LEVEL",
            "LOG_LEVLE",
            "MONGO_URI",
            "PATH",
        ];
        let environment = names.map(|name| (name.to_owned(), String::new())).into();
        assert_eq!(
            unknown_variables(&environment, FAMILIES),
            [
                "BLOCK_STORAGE_PAHT is no setting and is not heeded: BLOCK_STORAGE_PATH may be meant",
                "DATA_CHAIN_KEEP_DAY is no setting and is not heeded: DATA_CHAIN_KEEP_DAYS may be meant",
                "LUCID_SOMETHING_OF_MINE is no setting and is not heeded",
            ]
        );
        assert_eq!(
            misspelt_variables(&environment),
            [
                "LOG_LEVLE is not heeded: LOG_LEVEL may be meant",
                "MONGO_URI is not heeded: MONGO_URL may be meant",
            ]
        );
        assert!(VARIABLES.is_sorted() && OTHERS.is_sorted(), "it is easier to read in order");
    }
}
