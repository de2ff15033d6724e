//! `lucid scrub`: damage is named, and heals when the same content comes again.

use super::home::{Home, noise};

#[test]
fn damage_is_named_until_it_has_healed() {
    let home = Home::new();
    let file = home.file("a", noise(1, 500_000));
    home.archive("one", &file);
    assert!(home.done(&[&"scrub"]).text().contains("nothing was read again yet"));
    home.done(&[&"scrub", &"--now"]);
    let path = home.data().join("data-chain/chunks/00000001.seg");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[250_000] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let found = home.run(&[&"scrub", &"--now"]);
    assert_eq!(found.code, 1, "{}", found.err);
    assert!(found.text().contains("quarantined: chunks/00000001.seg at byte"), "{}", found.text());
    home.archive("two", &file);
    let healed = home.json(&[&"scrub"]);
    assert_eq!(healed["damage"][0]["state"], "healed");
    assert_eq!(home.done(&[&"cat", &"one", &"a"]).out, noise(1, 500_000));
}
