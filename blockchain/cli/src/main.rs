//! The `lucid` command.
fn main() {}
