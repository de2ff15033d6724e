//! The table of figures in OPERATING is what both services show.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use crate::home::{Home, prose};
use crate::server::Server;

/// What is known of a figure: its kind, its labels, and what it says.
type Told = (String, BTreeSet<String>, String);

/// The page of figures of a service.
pub fn scrape(url: &str) -> String {
    let address = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    body.to_owned()
}

/// The figures of a page, each by its name.
fn shown(page: &str) -> BTreeMap<String, Told> {
    let mut found: BTreeMap<String, Told> = BTreeMap::new();
    for line in page.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').unwrap();
            let told = (String::new(), BTreeSet::new(), help.to_owned());
            assert!(found.insert(name.to_owned(), told).is_none(), "{name} is there twice");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            let told = found.get_mut(name).unwrap_or_else(|| panic!("nothing says what {name} is"));
            told.0 = kind.to_owned();
        } else if !line.is_empty() {
            let (name, rest) = line.split_at(line.find(['{', ' ']).unwrap());
            let part = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let family =
                part.filter(|family| found.get(*family).is_some_and(|of| of.0 == "histogram"));
            let told = found.get_mut(family.unwrap_or(name)).unwrap_or_else(|| panic!("{line}"));
            let labels =
                rest.trim_start_matches('{').split(",").filter_map(|label| label.split_once("=\""));
            told.1.extend(labels.map(|(label, _)| label.to_owned()).filter(|label| label != "le"));
        }
    }
    found
}

/// The figures of the table.
fn documented() -> BTreeMap<String, Told> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/OPERATING.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, table) = text.split_once("| figure | kind | labels | |\n").unwrap();
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let labels = names(cells[2]).collect();
        (names(cells[0]).next().unwrap(), (cells[1].to_owned(), labels, cells[3].to_owned()))
    })
    .collect()
}

/// The names in a cell.
fn names(cell: &str) -> impl Iterator<Item = String> {
    let names = cell.split(", ").map(|name| name.trim_matches('`'));
    names.filter(|name| !name.is_empty()).map(str::to_owned)
}

#[test]
fn the_table_of_figures_is_what_both_services_show() {
    let (behind, home) = (Home::new(), Home::new());
    let server = Server::start(&behind);
    home.file("tree/small", prose(2, 5_000));
    // A chunk, a session and a block: an empty chain has no height.
    server.run(&home, &[&"archive", &home.at("tree")]);
    let (data, chain) = (shown(&scrape(&server.url)), shown(&scrape(&server.chain)));
    let documented = documented();
    let differ = |shown: &BTreeMap<String, Told>| {
        let silent = shown.iter().filter(|(name, told)| documented.get(*name) != Some(told));
        let gone = documented.iter().filter(|(name, _)| !shown.contains_key(*name));
        let row = |(name, (kind, labels, help)): (&String, &Told)| {
            let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
            format!("| `{name}` | {kind} | {} | {help} |", labels.join(", "))
        };
        let (silent, gone): (Vec<_>, Vec<_>) = (silent.map(row).collect(), gone.map(row).collect());
        (silent.join("\n"), gone.join("\n"))
    };
    for (service, page) in [("data-chain", &data), ("block-manager", &chain)] {
        let (silent, gone) = differ(page);
        assert!(
            silent.is_empty(),
            "OPERATING does not have these rows of the {service}:\n{silent}"
        );
        assert!(gone.is_empty(), "the {service} does not show these rows of OPERATING:\n{gone}");
    }
}
