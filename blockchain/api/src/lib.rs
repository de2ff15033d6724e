//! Words on the wire: every path, every request and reply, the problem document, the framing of
//! many chunks in one body, and (feature `client`) a typed blocking client.
//!
//! The services build their routes from it and the command line builds its calls from it, so
//! neither can misspell the other. It decides nothing: a type here holds what a body may say,
//! the nouns of `lucid-core` hold what is true.

pub mod access;
pub mod address;
pub mod behalf;
#[cfg(feature = "client")]
pub mod client;
pub mod document;
pub mod framing;
pub mod headers;
pub mod paths;
pub mod percent;
pub mod problem;
#[cfg(feature = "tls")]
pub mod tls;
pub mod v1;
