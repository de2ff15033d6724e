//! Who may do what: roles, what a token is narrowed to, and the list in which tokens are kept.
//!
//! The command line writes the list, the services read it. Nothing here checks a request: that is the porch's, and
//! which sessions are meant is the services' to know.

mod list;
mod narrowing;
mod role;
mod token;

pub use list::{LIST_BYTES_MAX, ListFault, TokenEntry, TokenList, TokenName, without};
pub use narrowing::{Narrowing, NarrowingFault};
pub use role::{Role, Roles};
pub use token::{Token, TokenHash, TokenSource};
