//! `selftest` of a service, run as images run it. Taken in by path, so both services' tests have the same.

use std::path::Path;
use std::process::Command;

/// A program, which `command` gives with a folder to work on, tries itself and leaves nothing behind.
pub fn tries_itself(name: &str, command: impl Fn(&Path) -> Command) {
    let folder = tempfile::tempdir().unwrap();
    let marker = folder.path().join(".lucid-marker");
    std::fs::write(&marker, "LUCID\n").unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let tries = |marker: &Path, scratch: &Path| {
        let mut tried = command(folder.path());
        tried.arg("selftest").arg("--marker").arg(marker).arg("--scratch").arg(scratch);
        let tried = tried.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (tried.status.code(), text(tried.stdout), text(tried.stderr))
    };
    let (code, said, told) = tries(&marker, scratch.path());
    assert_eq!(code, Some(0), "{said}{told}");
    let lines: Vec<&str> = said.lines().collect();
    assert!(
        lines[0].starts_with("Entrypoint verified: ")
            && lines[0].contains(&format!("{name}, 1.0.0"))
    );
    assert_eq!(lines[1], format!("Marker verified (non-empty): {}", marker.display()));
    assert!(
        lines[2] == "Configuration verified" && lines[3].starts_with("Hash vectors verified: ")
    );
    assert!(lines[4].starts_with("Router and store verified: "), "{said}");
    assert_eq!(lines[5..], ["Verification complete"]);
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);

    let (code, _, told) = tries(&folder.path().join("none"), scratch.path());
    assert_eq!(code, Some(1));
    assert!(told.starts_with(&format!("ERROR: {name}: the marker ")), "{told}");
    let (code, _, told) = tries(&marker, &folder.path().join("no-such"));
    assert_eq!(code, Some(1));
    assert!(told.contains("name another place with --scratch DIR"), "{told}");
}
