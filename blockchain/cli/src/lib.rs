//! The insides of the `lucid` command.
//!
//! [`cmd`] has the verbs, one a file; [`place`] is where sessions live, in this process or behind a
//! server; [`ingest`] is the way in and [`restore`] the way out; [`folder`] touches the user's files;
//! [`ending`] says what the exit codes mean; [`watch`] sees them grow; `showing` knows which token is shown to which
//! server; [`stream`] is what the recording verbs share. Only [`output`] and [`progress`] write to the terminal.

pub mod cmd;
pub mod ending;
pub mod folder;
mod ingest;
mod interrupt;
pub mod output;
pub mod place;
pub mod progress;
mod remedy;
pub mod restore;
pub mod showing;
mod stream;
pub mod text;
pub mod watch;
