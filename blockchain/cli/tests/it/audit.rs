//! The read log, as auditors ask it.

use std::ffi::OsStr;

use serde_json::Value;

use crate::access::{create, done_as, run_as};
use crate::home::{Home, noise};
use crate::server::Server;

fn lines(printed: &[u8]) -> Vec<Value> {
    let text = String::from_utf8(printed.to_vec()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn an_auditor_learns_who_read_what() {
    let (behind, home) = (Home::new(), Home::new());
    let token = |role: &str, id: &str| create(&behind, &[&"--role", &role, &"--id", &id]).0;
    let (admin, reader, auditor) =
        (token("admin", "root"), token("read", "ann"), token("audit", "eve"));
    let server = Server::start(&behind);
    let file = home.file("file", noise(1, 600_000));
    done_as(&server, &home, &admin, &[&"archive", &file, &"--session", &"s"]);
    assert_eq!(done_as(&server, &home, &reader, &[&"cat", &"s", &"file"]), noise(1, 600_000));
    let refused = run_as(&server, &home, &reader, &[&"rm", &"s", &"--yes"]);
    assert!(!refused.status.success());

    let audit = |more: &[&dyn AsRef<OsStr>]| {
        let all = [&[&"--json" as &dyn AsRef<OsStr>, &"audit"], more].concat();
        lines(&done_as(&server, &home, &auditor, &all))
    };
    let days = audit(&[&"ls"]);
    let log = days[0]["session_id"].as_str().unwrap().to_owned();
    assert!(log.starts_with("lucid.audit.20") && days.len() < 3, "{days:?}");
    let mut known = audit(&[&"who", &"s"]);
    known.sort_by_key(|did| did["caller"].to_string());
    let of = |name: &str| known.iter().find(|did| did["caller"] == name).unwrap();
    // It read by hashes of chunks, which lead to the session.
    assert!(of("ann")["read_bytes"].as_u64().unwrap() >= 600_000, "{known:?}");
    assert_eq!(of("ann")["refused"], 1, "{known:?}");
    assert!(of("root")["changes"].as_u64().unwrap() >= 2, "{known:?}");
    assert_eq!(of("ann")["from"], "127.0.0.1");
    let refused = audit(&[&"show", &"--caller", &"ann", &"--refused"]);
    assert_eq!(refused.len(), 1);
    assert_eq!((&refused[0]["method"], &refused[0]["status"]), (&"DELETE".into(), &403.into()));
    assert!(audit(&[&"show", &"--to", &"2020-01-01"]).is_empty());
    let printed = done_as(&server, &home, &auditor, &[&"--json", &"audit", &"verify"]);
    let verified: Value = serde_json::from_slice(&printed).unwrap();
    assert!(verified["entries"].as_u64().unwrap() > 5, "{verified}");
    assert_eq!(verified["faults"], Value::Array(Vec::new()));
    // For people.
    let shown = done_as(&server, &home, &auditor, &[&"audit", &"show", &"--session", &"s"]);
    let shown = String::from_utf8(shown).unwrap();
    assert!(shown.contains("  ann  127.0.0.1  read  whole  200  "), "{shown}");
    let who = done_as(&server, &home, &auditor, &[&"audit", &"who", &"s"]);
    let who = String::from_utf8(who).unwrap();
    assert!(who.starts_with("caller  from") && who.contains("ann"), "{who}");
    // Who may read everything else may not read this, nor take it away.
    for (token, verb) in [(&reader, "show"), (&reader, "ls"), (&reader, "verify")] {
        let ran = run_as(&server, &home, token, &[&"audit", &verb]);
        assert_eq!(ran.status.code(), Some(if verb == "verify" { 74 } else { 1 }), "{verb}");
        let said = String::from_utf8(ran.stderr).unwrap();
        assert!(said.contains("audit, admin"), "{said}");
    }
    assert!(!run_as(&server, &home, &reader, &[&"cat", &log]).status.success());
    let removed = run_as(&server, &home, &admin, &[&"rm", &log, &"--yes"]);
    assert!(!removed.status.success());
    assert!(String::from_utf8(removed.stderr).unwrap().contains("the service's own"));
    drop(server);
    // The folder says the same, and a mirror has it too.
    let known = lines(behind.done(&[&"--json", &"audit", &"who", &"s"]).out.as_slice());
    assert!(known.iter().any(|did| did["caller"] == "ann"), "{known:?}");
    let verified = behind.json(&[&"audit", &"verify"]);
    assert_eq!(verified["faults"], Value::Array(Vec::new()));
    for wrong in [vec!["rm", &log, "--yes"], vec!["seal", &log]] {
        let wrong: Vec<&dyn AsRef<OsStr>> = wrong.iter().map(|word| word as _).collect();
        let said = behind.hindered(&wrong);
        assert!(said.contains("the service's own"), "{said}");
    }
    let said = behind.hindered(&[&"archive", &file, &"--session", &"lucid.mine"]);
    assert!(said.contains("choose another"), "{said}");
}
