//! The header names that are ours, once. Routes set them, clients read them, CORS exposes them.

/// Names a request in logs and problem documents; taken from the caller, or made.
pub const REQUEST_ID: &str = "x-request-id";
/// Where in a session the next appended byte goes.
pub const UPLOAD_OFFSET: &str = "upload-offset";
/// RFC 9530 digest of a body.
pub const CONTENT_DIGEST: &str = "content-digest";
/// The hash that an uploaded chunk is to have.
pub const X_CONTENT_HASH: &str = "x-content-hash";
/// When the appended bytes were recorded, for a session's timeline (RFC 3339).
pub const LUCID_TIME: &str = "lucid-time";
/// By how many seconds the clock of `Lucid-Time` has gone back since it told of bytes before.
pub const LUCID_CLOCK_BACK: &str = "lucid-clock-back";
/// How often a request was handed on from follower to follower.
pub const HOPS: &str = "lucid-hops";
/// How long a caller waits for long work to end (RFC 7240).
pub const PREFER: &str = "prefer";
/// Which of its preferences a caller was answered by (RFC 7240).
pub const PREFERENCE_APPLIED: &str = "preference-applied";
