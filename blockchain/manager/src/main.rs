//! The program `lucid-block-manager`.

use std::process::ExitCode;

use lucid_block_manager::config::{Config, SERVICE};
use lucid_block_manager::selftest::SELF_TEST;
use lucid_block_manager::service::run;
use lucid_http::program::Program;
use lucid_store::files::descriptors::raise_limit;
use lucid_store::files::disk::real::keep_to_owner;

fn main() -> ExitCode {
    raise_limit();
    keep_to_owner();
    Program {
        service: SERVICE,
        load: Config::load,
        common: |config| &config.common,
        selftest: SELF_TEST,
    }
    .main(run)
}
