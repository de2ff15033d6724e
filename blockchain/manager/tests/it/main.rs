//! The block-manager as its callers see it.

mod crashes;
mod embedded;
mod program;
mod service;
