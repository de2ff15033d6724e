//! What a data-chain can be told about chunks: how they are cut, kept, checked and collected.
//!
//! The founding documents have a switch for much that is no choice here: each of them is read, and what
//! cannot be had is refused with the reason, so that nobody believes in a setting that does nothing.

use std::path::PathBuf;
use std::time::Duration;

use lucid_core::cut::{ChunkProfile, FIXED_BYTES_MAX};
use lucid_core::limits::CHUNK_BYTES_MAX;
use lucid_http::config::{Key, Settings};
use lucid_store::codec::Compression;

use crate::ops::upkeep::optimise::LEVELS;

/// An hour in seconds.
const HOUR: u64 = 3_600;
/// The longest interval: a year.
const HOURS_MAX: u64 = 8_760;

/// Everything about chunks.
#[derive(Debug, Clone, PartialEq)]
pub struct ChunkSettings {
    /// `DATA_CHAIN_CUTTING` (`content` or `fixed`) and `DATA_CHAIN_CHUNK_SIZE_BYTES`: how sessions are
    /// cut that do not say so themselves.
    pub profile: ChunkProfile,
    /// `DATA_CHAIN_COMPRESSION_ALGORITHM`: `zstd`, `zstd:1` to `zstd:19`, `lz4`, `gzip` or `none`; and
    /// `DATA_CHAIN_COMPRESSION_ENABLED`.
    pub compression: Compression,
    /// `DATA_CHAIN_ENCRYPTION_ENABLED`: whether a new store is encrypted, and new chunks of a store
    /// that is.
    pub encrypt: bool,
    /// `DATA_CHAIN_DEDUPLICATION_ENABLED`: whether sessions that are begun share their chunks with
    /// others; otherwise each keeps copies of its own.
    pub deduplicate: bool,
    /// `DATA_CHAIN_MAX_CHUNK_SIZE_BYTES`: the longest chunk that an upload may bring.
    pub upload_max: usize,
    /// `DATA_CHAIN_SPLIT_THRESHOLD_BYTES`, `DATA_CHAIN_AUTO_SPLIT`: what becomes of an uploaded chunk
    /// that is longer.
    pub split: Split,
    /// `DATA_CHAIN_CHUNK_STORAGE_PATH`: where the segments are, if not in `chunks/` of the folder.
    pub folder: Option<PathBuf>,
    /// `DATA_CHAIN_GC_ENABLED`, `DATA_CHAIN_GC_INTERVAL_HOURS`: how often garbage is collected.
    pub gc: Option<Duration>,
    /// `DATA_CHAIN_OPTIMISE_LEVEL`: the zstd level that full segments are packed at in the background.
    pub optimise: Option<u8>,
    /// `DATA_CHAIN_PERIODIC_VERIFICATION_ENABLED` and what goes with it: how stored bytes are read
    /// again in the background.
    pub scrub: Option<Scrub>,
}

/// What becomes of an upload that is longer than the threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split {
    /// `DATA_CHAIN_SPLIT_THRESHOLD_BYTES`.
    pub over: usize,
    /// `DATA_CHAIN_AUTO_SPLIT`: whether it is cut, or refused.
    pub allowed: bool,
}

/// How stored bytes are read again in the background.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scrub {
    /// `DATA_CHAIN_VERIFICATION_INTERVAL_HOURS`: one round takes so long.
    pub interval: Duration,
    /// `DATA_CHAIN_VERIFY_SAMPLE_PERCENTAGE`: how much of the store one round reads.
    pub percent: u8,
}

/// A key of our own that other programs set without our prefix.
fn aliased(settings: &Settings<'_>, file: &'static str, suffix: &str, about: &'static str) -> Key {
    settings.own(file, suffix, about).or(suffix)
}

/// Reads all of them.
pub fn read(settings: &mut Settings<'_>) -> ChunkSettings {
    fixed_answers(settings);
    let encrypt = settings.own(
        "encryption_enabled",
        "ENCRYPTION_ENABLED",
        "whether a new store is encrypted, and new chunks of a store that is",
    );
    let profile = profile(settings);
    let upload_max = bounds(settings, &profile);
    let deduplicate = settings.own("deduplication_enabled", "DEDUPLICATION_ENABLED",
"`false`: sessions that are begun then keep copies of their own, shared with no other session",
);
    ChunkSettings {
        compression: compression(settings),
        encrypt: settings.flag(&encrypt, true),
        deduplicate: settings.flag(&deduplicate, true),
        split: split(settings, upload_max),
        profile,
        upload_max,
        folder: {
            let key = aliased(
                settings,
                "chunk_storage_path",
                "CHUNK_STORAGE_PATH",
                "segments on another disk: an empty folder, to which `chunks` becomes a symbolic link. Everyone who opens the data folder follows it, `lucid` too, so the setting may be left out later. Existing chunks are not moved: that is refused, and says how",
            );
            settings.optional(&key.otherwise("`chunks/` in the folder")).map(PathBuf::from)
        },
        gc: {
            let enabled = settings.own(
                "gc_enabled",
                "GC_ENABLED",
                "whether garbage is collected in the background",
            );
            let interval =
                aliased(settings, "gc_interval_hours", "GC_INTERVAL_HOURS", "how often, in hours");
            let interval = hours(settings, &interval);
            settings.flag(&enabled, true).then_some(interval)
        },
        optimise: {
            let key = settings.own("optimise_level", "OPTIMISE_LEVEL",
"after garbage was to be collected in the background, full segments are packed anew at this zstd level; 0, or `DATA_CHAIN_GC_ENABLED=false`, leaves them",
);
            Some(settings.within(&key, 0, 0..=*LEVELS.end())).filter(|level| *level > 0)
        },
        scrub: scrub(settings),
    }
}

fn hours(settings: &mut Settings<'_>, key: &Key) -> Duration {
    Duration::from_secs(settings.within(key, 24, 1..=HOURS_MAX) * HOUR)
}

fn profile(settings: &mut Settings<'_>) -> ChunkProfile {
    let cutting = settings.own("cutting", "CUTTING",
"`content`: boundaries follow the content; `fixed`: every so many bytes. For sessions that do not say",
);
    let fixed = settings.choice(&cutting, ("content", false), &[("fixed", true)]);
    let size = aliased(
        settings,
        "chunk_size_bytes",
        "CHUNK_SIZE_BYTES",
        "average chunk of sessions that do not say: by content a power of two from 65536 to 4194304, fixed from 1024 to 16777216",
    );
    let default = ChunkProfile::default();
    let given = u32::try_from(default.average()).unwrap_or(FIXED_BYTES_MAX);
    let given = settings.value(&size, given);
    let profile = match fixed {
        true => ChunkProfile::fixed(given),
        false => ChunkProfile::content_defined(given),
    };
    profile.unwrap_or_else(|fault| {
        settings.invalid(&size, given.to_string(), Some(fault.to_string()));
        default
    })
}

/// The bounds that the documents have around the chunk size: held against what the cutting makes.
fn bounds(settings: &mut Settings<'_>, profile: &ChunkProfile) -> usize {
    let least = aliased(
        settings,
        "min_chunk_size_bytes",
        "MIN_CHUNK_SIZE_BYTES",
        "refuses to start if the cutting makes shorter chunks: by content they have a quarter of the average at least. The last chunk of a session, and one that was uploaded as it is, may be shorter",
    );
    let min = settings.within(&least, 1_024, 1..=CHUNK_BYTES_MAX);
    if min > profile.min() {
        let reason = format!(
            "the cutting makes chunks from {} bytes on; raise DATA_CHAIN_CHUNK_SIZE_BYTES",
            profile.min()
        );
        settings.invalid(&least, min.to_string(), Some(reason));
    }
    let most = aliased(
        settings,
        "max_chunk_size_bytes",
        "MAX_CHUNK_SIZE_BYTES",
        "a longer uploaded chunk is refused (413); and refuses to start if the cutting makes longer ones: by content they have four times the average at most",
    );
    let max = settings.within(&most, CHUNK_BYTES_MAX, 1_024..=CHUNK_BYTES_MAX);
    if max < profile.max() {
        let reason = format!(
            "the cutting makes chunks of up to {} bytes; lower DATA_CHAIN_CHUNK_SIZE_BYTES",
            profile.max()
        );
        settings.invalid(&most, max.to_string(), Some(reason));
    }
    max
}

fn split(settings: &mut Settings<'_>, upload_max: usize) -> Split {
    let threshold = aliased(
        settings,
        "split_threshold_bytes",
        "SPLIT_THRESHOLD_BYTES",
        "a chunk uploaded on its own that is longer is cut",
    );
    let over = settings.within(&threshold, CHUNK_BYTES_MAX, 1_024..=CHUNK_BYTES_MAX);
    let automatic = settings.own("auto_split", "AUTO_SPLIT", "`false`: it is refused (413)");
    Split { over: over.min(upload_max), allowed: settings.flag(&automatic, true) }
}

fn compression(settings: &mut Settings<'_>) -> Compression {
    let algorithm = settings
        .own(
            "compression_algorithm",
            "COMPRESSION_ALGORITHM",
            "of new chunks: `zstd` (level 3; `lucid archive` as tight as keeps pace with its input), `zstd:1` to \
             `zstd:19`, `lz4`, `gzip`, `none`. What does not gain 3 % is kept as it is",
        )
        .or(format!("{}_CHUNK_COMPRESSION_ALGORITHM", settings.service.prefix));
    let compression = settings.value(&algorithm, Compression::default());
    let enabled = settings.own(
        "compression_enabled",
        "COMPRESSION_ENABLED",
        "`false` is the algorithm `none`",
    );
    if settings.flag(&enabled, true) { compression } else { Compression::None }
}

fn scrub(settings: &mut Settings<'_>) -> Option<Scrub> {
    let enabled = settings.own(
        "periodic_verification_enabled",
        "PERIODIC_VERIFICATION_ENABLED",
        "whether stored bytes are read again in the background",
    );
    let interval = aliased(
        settings,
        "verification_interval_hours",
        "VERIFICATION_INTERVAL_HOURS",
        "one round of that takes so long, in hours",
    );
    let percent = settings.own(
        "verify_sample_percentage",
        "VERIFY_SAMPLE_PERCENTAGE",
        "how much of the store one round reads, in per cent",
    );
    let scrub = Scrub {
        interval: hours(settings, &interval),
        percent: settings.within(&percent, 100, 1..=100),
    };
    settings.flag(&enabled, true).then_some(scrub)
}

/// Switches that can only be on, and why.
const ALWAYS_ON: &[(&str, &str, &str)] = &[
    ("store_content", "STORE_CONTENT", "only true: a store without content would keep nothing"),
    ("store_metadata", "STORE_METADATA", "only true: metadata is part of what is sealed"),
    ("store_hashes", "STORE_HASHES", "only true: chunks are found by their hashes"),
    ("store_references", "STORE_REFERENCES", "only true: sessions consist of references"),
    (
        "reference_counting",
        "REFERENCE_COUNTING",
        "only true: without it, collecting garbage would delete chunks that are in use",
    ),
    ("hash_verification_enabled", "HASH_VERIFICATION_ENABLED", EVERY_READ),
    ("verify_chunk_hashes", "VERIFY_CHUNK_HASHES", EVERY_READ),
    ("verification_on_retrieval", "VERIFICATION_ON_RETRIEVAL", EVERY_READ),
    ("checksum_verification", "CHECKSUM_VERIFICATION", EVERY_READ),
    ("size_verification", "SIZE_VERIFICATION", EVERY_READ),
    ("corruption_detection", "CORRUPTION_DETECTION", EVERY_READ),
    (
        "verification_on_storage",
        "VERIFICATION_ON_STORAGE",
        "only true: a chunk's name is computed from its bytes before it is stored",
    ),
    ("verify_merkle_root", "VERIFY_MERKLE_ROOT", PROOFS),
    ("verify_proof_paths", "VERIFY_PROOF_PATHS", PROOFS),
];

const EVERY_READ: &str = "only true: every read is checked, so that wrong bytes are never returned";
const PROOFS: &str = "only true: a proof that is not checked proves nothing";

/// Settings with one sound value: anything else is refused with the reason.
fn fixed_answers(settings: &mut Settings<'_>) {
    for (file, suffix, reason) in ALWAYS_ON {
        let key = settings.own(file, suffix, reason);
        if !settings.flag(&key, true) {
            settings.invalid(&key, "false", Some((*reason).to_owned()));
        }
    }
    let overlap = aliased(
        settings,
        "chunk_overlap_bytes",
        "CHUNK_OVERLAP_BYTES",
        "only 0: every byte is in one leaf",
    );
    let bytes = settings.value(&overlap, 0_u64);
    if bytes != 0 {
        let reason =
            "only 0: chunks follow each other without overlap, so every byte is in one leaf";
        settings.invalid(&overlap, bytes.to_string(), Some(reason.to_owned()));
    }
    let hash = settings
        .own("hash_algorithm", "HASH_ALGORITHM", "only `BLAKE3`: one content has one name")
        .or("ANCHORING_HASH_ALGORITHM");
    let dedup = settings.own(
        "deduplication_hash_algorithm",
        "DEDUPLICATION_HASH_ALGORITHM",
        "only `BLAKE3`: one content has one name",
    );
    let method = settings.own(
        "deduplication_method",
        "DEDUPLICATION_METHOD",
        "only `content_hash`: chunks are known by their bytes",
    );
    let one_name = "only BLAKE3: one content has one name, and proofs are built on it; \
        SHA-256 is the chain's hash, over blocks and transactions";
    only(settings, &hash, "BLAKE3", one_name);
    only(settings, &dedup, "BLAKE3", one_name);
    only(settings, &method, "content_hash", "only content_hash: chunks are known by their bytes");
    let boundaries = settings.own(
        "preserve_boundaries",
        "PRESERVE_BOUNDARIES",
        "changes nothing: the ends of an upload are chunk boundaries in any case",
    );
    if !settings.flag(&boundaries, true) {
        settings.warn(format!(
            "{} is false: the ends of uploads are chunk boundaries all the same, since a chunk that \
             was acknowledged is never joined with another",
            boundaries.name()
        ));
    }
}

fn only(settings: &mut Settings<'_>, key: &Key, word: &str, reason: &str) {
    let given = settings.text(key, word);
    if !given.trim().eq_ignore_ascii_case(word) {
        settings.invalid(key, given, Some(reason.to_owned()));
    }
}
