//! `docs/ARCHITECTURE.md` is a map: every file that it names is there, and every name that it says to be in a file is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// All source files, by their paths from the folder of all crates.
fn sources() -> BTreeMap<String, String> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = BTreeMap::new();
    let mut waiting: Vec<PathBuf> = vec![crates.clone()];
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).unwrap();
            waiting.extend(entries.map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let name = path.strip_prefix(&crates).unwrap().to_str().unwrap().to_owned();
            found.insert(name, std::fs::read_to_string(&path).unwrap());
        }
    }
    found
}

/// What a text has between backticks, and what stands before each.
fn quoted(text: &str) -> Vec<(&str, &str)> {
    let mut parts = text.split('`');
    let mut found = Vec::new();
    while let (Some(before), Some(code)) = (parts.next(), parts.next()) {
        found.push((before, code));
    }
    found
}

/// Whether two names belong to one list.
fn is_list(between: &str) -> bool {
    [", ", " and ", ", and ", " or "].contains(&between)
}

/// The files that a text names, each with the names that it says are in it: "`a` and `b` in `file.rs`", or
/// "`file.rs` (`a`, `b`)".
fn named(text: &str) -> Vec<(&str, Vec<&str>)> {
    let quoted = quoted(text);
    let mut files = Vec::new();
    for (at, (before, file)) in quoted.iter().enumerate() {
        let is_file = file.ends_with(".rs") && !file.contains([' ', '{', '*']);
        if !is_file {
            continue;
        }
        let mut names = Vec::new();
        if *before == " in " {
            let last = at - 1;
            // What stands before a file that ends a list of its own is not in this one.
            let listed = (1..=last)
                .rev()
                .take_while(|name| {
                    is_list(quoted[*name].0) && !quoted[*name - 1].1.ends_with(".rs")
                })
                .count();
            names.extend(quoted[last - listed..=last].iter().map(|(_, name)| *name));
        }
        if let Some((" (", first)) = quoted.get(at + 1) {
            let rest = quoted[at + 2..].iter().take_while(|(between, _)| is_list(between));
            names.push(*first);
            names.extend(rest.map(|(_, name)| *name));
        }
        files.push((*file, names));
    }
    files
}

#[test]
fn names_and_their_files_are_told_from_the_text_around_them() {
    let text = "Either `a` and `B::c` in `x/y.rs`, or `z.rs` (`d`, `e`), but `f` is none, nor `g` of `h.rs`.";
    let told = named(text);
    assert_eq!(told, [("x/y.rs", vec!["a", "B::c"]), ("z.rs", vec!["d", "e"]), ("h.rs", vec![])]);
}

#[test]
fn every_file_and_name_of_the_architecture_is_where_it_says() {
    let sources = sources();
    let text = include_str!("../../../../docs/ARCHITECTURE.md");
    let (mut wrong, mut checked) = (Vec::new(), 0);
    for (file, names) in text.lines().flat_map(named) {
        let called: Vec<&String> = sources
            .iter()
            .filter(|(path, _)| path == &file || path.ends_with(&format!("/{file}")))
            .map(|(_, source)| source)
            .collect();
        if called.is_empty() {
            wrong.push(format!("there is no {file}"));
        }
        for name in names {
            let word = name.rsplit("::").next().unwrap();
            let is_part = |c: char| c.is_alphanumeric() || c == '_';
            let has = |source: &&String| source.split(|c| !is_part(c)).any(|found| found == word);
            if !called.iter().any(has) {
                wrong.push(format!("{file} has no {name}"));
            }
            checked += 1;
        }
    }
    assert!(checked > 20, "only {checked} names are said to be in a file");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
