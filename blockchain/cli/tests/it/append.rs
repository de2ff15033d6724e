//! `lucid append`: a live stream is kept piece by piece, and goes on where it was broken off.

use std::{fs, io::Write as _, process::Stdio};

use super::home::{Home, noise, prose};

#[test]
fn a_file_that_grows_is_appended_to_and_ends_sealed_and_anchored() {
    let home = Home::new();
    let bytes = [prose(1, 3_000_000), noise(2, 6_000_000), prose(3, 500)].concat();
    let file = home.at("growing");
    for length in [0, 1, 2_500_000, 7_000_001] {
        fs::write(&file, &bytes[..length]).unwrap();
        let kept = home.json(&[&"append", &file, &"--session", &"live", &"--keep-open"]);
        assert_eq!(kept["offset"], length);
        assert_eq!(kept["status"], "active");
    }
    fs::write(&file, &bytes).unwrap();
    let kept = home.json(&[&"append", &file, &"--session", &"live"]);
    assert_eq!((&kept["offset"], &kept["status"]), (&bytes.len().into(), &"anchored".into()));
    assert!(home.done(&[&"cat", &"live"]).out == bytes);
    home.assert_sound();

    // The same command once more changes nothing; a file with more in it is refused.
    let again = home.json(&[&"append", &file, &"--session", &"live"]);
    assert_eq!(again["merkle_root"], kept["merkle_root"]);
    fs::write(&file, [bytes.as_slice(), b"more"].concat()).unwrap();
    let more = home.refused(1, &[&"append", &file, &"--session", &"live"]);
    assert!(more.contains("sealed"), "{more}");
    fs::write(&file, b"short").unwrap();
    let less = home.refused(1, &[&"append", &file, &"--session", &"live"]);
    assert!(less.contains("has 9000500 bytes already"), "{less}");
}

#[test]
fn a_stream_goes_on_where_it_was_broken_off() {
    let home = Home::new();
    let bytes = noise(4, 5_000_000);
    let append = |from_start: bool, input: &[u8]| {
        let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> =
            vec![&"--json", &"append", &"--session", &"pipe", &"--keep-open"];
        if from_start {
            arguments.push(&"--from-start");
        }
        let ran = home.fed(&arguments, input);
        assert_eq!(ran.code, 0, "{}", ran.err);
        ran.json()["offset"].as_u64().unwrap()
    };
    assert_eq!(append(false, &bytes[..1_234_567]), 1_234_567);
    assert_eq!(append(false, &bytes[1_234_567..2_000_000]), 2_000_000);
    assert_eq!(append(true, &bytes), 5_000_000);
    let short = home.fed(&[&"append", &"--session", &"pipe", &"--from-start"], &bytes[..10]);
    assert_eq!(short.code, 1);
    assert!(short.complaint().contains("only 10"), "{}", short.err);
    let done = home.fed(&[&"append", &"--session", &"pipe"], b"");
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(home.done(&[&"cat", &"pipe"]).out == bytes);
    home.assert_sound();
}

#[test]
fn what_a_stream_has_brought_is_durable_while_it_is_still_open() {
    let home = Home::new();
    let mut child = home
        .command(&[&"append", &"--session", &"live"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let bytes = noise(5, 3_000_000);
    input.write_all(&bytes).unwrap();
    // The pipe holds at most 64 KiB, so all but that and one buffer has been read, and all but that
    // buffer of it was made durable.
    child.kill().unwrap();
    child.wait().unwrap();
    let kept = home.sessions()["live"]["offset"].as_u64().unwrap() as usize;
    assert!(kept + (1 << 20) + (128 << 10) >= bytes.len(), "{kept}");
    let done = home.fed(&[&"append", &"--session", &"live", &"--from-start"], &bytes);
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(home.done(&[&"cat", &"live"]).out == bytes);
    home.assert_sound();
}
