//! The manual pages of all programs, made of the same declarations by which they read their arguments, so that no page
//! says what a program does not do.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;
use lucid::cmd::Arguments;
use lucid_http::program::command;
use lucid_http::{Service, program};

/// Where the pages of programs that people run belong, and where those of services.
const SECTIONS: [&str; 2] = ["1", "8"];

/// Makes folders `man1` and `man8` below this one, with a page for each program and each verb of `lucid`. Fails where
/// nothing can be written.
pub fn write(folder: &Path) -> io::Result<()> {
    let [verbs, services] = SECTIONS.map(|section| folder.join(format!("man{section}")));
    fs::create_dir_all(&verbs)?;
    fs::create_dir_all(&services)?;
    clap_mangen::generate_to(Arguments::command(), &verbs)?;
    for service in SERVICES {
        let mut page = File::create(services.join(format!("{}.8", service.name)))?;
        service_page(service, &mut page)?;
    }
    Ok(())
}

/// The services that are programs of their own.
const SERVICES: [&Service; 2] =
    [lucid_data_chain::config::SERVICE, lucid_block_manager::config::SERVICE];

/// What a service is told by variables is too much for a page: it says who tells it.
fn service_page(service: &'static Service, into: &mut dyn Write) -> io::Result<()> {
    let described: Command = command(service).long_about(service.about);
    Man::new(described).section(SECTIONS[1]).manual(service.title).render(into)?;
    writeln!(
        into,
        ".SH SETTINGS\nSettings are variables of the environment, or keys of the file of \\fB\\-\\-config\\fR. \
         \\fBlucid config manual\\fR prints all of them, and \\fB\\-\\-check\\-config\\fR what counts here.\n\
         .SH \"EXIT STATUS\"\n0 if it ended in order, 1 if it did not start or did not end in order, {} for arguments \
         that make no sense.\n.SH \"SEE ALSO\"\n\\fBlucid\\fR(1)",
        program::WRONG_USE
    )
}
