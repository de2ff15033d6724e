//! The program `lucid-data-chain`.

use std::process::ExitCode;

use lucid_data_chain::config::{self, SERVICE};
use lucid_data_chain::selftest::SELF_TEST;
use lucid_data_chain::service::run;
use lucid_http::program::Program;
use lucid_store::files::descriptors::raise_limit;
use lucid_store::files::disk::real::keep_to_owner;

fn main() -> ExitCode {
    raise_limit();
    keep_to_owner();
    Program {
        service: SERVICE,
        load: config::load,
        common: |config| &config.common,
        selftest: SELF_TEST,
    }
    .main(run)
}
