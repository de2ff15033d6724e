//! The insides of the `lucid` command.
//!
//! [`cmd`] has the verbs, one a file; [`place`] is where sessions live, in this process or behind a server; [`ingest`]
//! is the way in and [`restore`] the way out; [`folder`] touches the user's files; [`ending`] says what the exit codes
//! mean; [`watch`] sees them grow; [`sink`] takes what programs write to sockets; `showing` knows which token is shown
//! to which server; [`stream`] is what the recording verbs share; `cast` is how terminals are recorded; [`webdav`]
//! shows sessions as files; `when` reads and shows times; [`which`] knows which session is meant. Only [`output`] and
//! [`progress`] write to the terminal.

mod cast;
pub mod cmd;
pub mod ending;
pub mod folder;
pub mod group;
mod ingest;
mod interrupt;
pub mod naming;
pub mod output;
pub mod place;
pub mod profile;
pub mod progress;
mod remedy;
pub mod restore;
pub mod showing;
pub mod sink;
mod stream;
pub mod text;
pub mod watch;
pub mod webdav;
mod when;
pub mod which;
