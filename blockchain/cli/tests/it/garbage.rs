//! `lucid gc`: room comes back, and everything else stays.

use std::path::Path;

use super::home::{Home, noise, prose};

/// Bytes of every file below a folder.
fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| match entry.file_type().unwrap().is_dir() {
            true => size(&entry.path()),
            false => entry.metadata().unwrap().len(),
        })
        .sum()
}

#[test]
fn room_comes_back_when_a_session_is_removed() {
    let home = Home::new();
    home.archive("large", &home.file("large", noise(1, 6_000_000)));
    home.archive("small", &home.file("small", noise(2, 900_000)));
    let before = size(&home.data().join("data-chain/chunks"));
    home.done(&[&"rm", &"--yes", &"large"]);
    let looked = home.json(&[&"gc", &"--dry-run"]);
    assert_eq!(looked["chunks_removed"], 0);
    assert!(looked["bytes_dead"].as_u64().unwrap() > 5_900_000, "{looked}");
    let done = home.json(&[&"gc"]);
    assert!(done["bytes_freed"].as_u64().unwrap() > 5_900_000, "{done}");
    let after = size(&home.data().join("data-chain/chunks"));
    assert!(after + 5_900_000 < before, "{before} bytes became {after}");
    assert_eq!(home.done(&[&"cat", &"small", &"small"]).out, noise(2, 900_000));
    home.assert_sound();
    home.done(&[&"reindex"]);
    home.assert_sound();
    assert!(home.done(&[&"gc"]).text().contains("removed 0 chunks"));
}

#[test]
fn sessions_of_today_are_not_too_old() {
    let home = Home::new();
    home.archive("today", &home.file("a", noise(1, 10_000)));
    let done = home.json(&[&"gc", &"--keep-days", &"1"]);
    assert_eq!(done["sessions_expired"], 0);
    assert_eq!(home.sessions().len(), 1);
}

#[test]
fn packing_more_tightly_changes_nothing_but_the_room() {
    let home = Home::new();
    let text = prose(1, 3_000_000);
    let file = home.file("text", text.clone());
    home.done(&[&"archive", &file, &"--session", &"text", &"--compression", &"none"]);
    let before = size(&home.data().join("data-chain/chunks"));
    let root = home.sessions()["text"]["merkle_root"].clone();
    let done = home.json(&[&"optimise", &"--level", &"12"]);
    assert_eq!((&done["level"], &done["segments_rewritten"]), (&12.into(), &1.into()));
    let after = size(&home.data().join("data-chain/chunks"));
    assert!(after * 2 < before, "{before} bytes became {after}");
    assert_eq!(home.sessions()["text"]["merkle_root"], root);
    assert!(home.done(&[&"cat", &"text", &"text"]).out == text);
    home.assert_sound();
    assert_eq!(home.json(&[&"optimise", &"--level", &"12"])["segments_rewritten"], 0);
    assert_eq!(home.run(&[&"optimise", &"--level", &"20"]).code, 64);
}
