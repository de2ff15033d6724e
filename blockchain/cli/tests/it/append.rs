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
    assert!(less.contains("sealed with 9,000,500 bytes"), "{less}");
    let piped = home.fed(&[&"append", &"--session", &"live"], b"");
    assert_eq!(piped.code, 1);
    assert!(piped.complaint().contains("sealed"), "{}", piped.err);
}

/// The file was replaced, or the pipe brings something else: what is kept says so.
#[test]
fn only_the_same_recording_goes_on() {
    let home = Home::new();
    let bytes = noise(6, 9_000_000);
    let mut other = bytes.clone();
    for (session, kept, at) in
        [("short", 5, 0), ("tail", 700_000, 699_999), ("chunks", 8_000_000, 3_000_000)]
    {
        let file = home.file(session, &bytes[..kept]);
        home.done(&[&"append", &file, &"--session", &session, &"--keep-open"]);
        other.copy_from_slice(&bytes);
        other[at] ^= 1;
        fs::write(&file, &other).unwrap();
        let refused = home.refused(1, &[&"append", &file, &"--session", &session]);
        assert!(refused.contains(&format!("the first {kept} bytes differ")), "{refused}");
        assert!(refused.contains("--session"), "{refused}");
        let piped = home.fed(&[&"append", &"--session", &session, &"--from-start"], &other);
        assert_eq!(piped.code, 1, "{}", piped.err);
        assert!(piped.complaint().contains("bytes differ"), "{}", piped.err);
        assert_eq!(home.sessions()[session]["offset"], kept, "nothing was added");
        // What does begin so goes on, and is told from another once it is sealed.
        fs::write(&file, &bytes).unwrap();
        home.done(&[&"append", &file, &"--session", &session, &"--timeline"]);
        assert!(home.done(&[&"cat", &session]).out == bytes);
        fs::write(&file, &other).unwrap();
        let sealed = home.refused(1, &[&"append", &file, &"--session", &session]);
        assert!(sealed.contains("bytes differ") && sealed.contains("sealed"), "{sealed}");
    }
    home.assert_sound();
}

/// All that the end of a pipe shows is that nobody writes to it any more.
#[test]
fn the_end_of_a_pipe_seals_only_when_that_is_said() {
    let home = Home::new();
    home.fed(&[&"append", &"--session", &"pipe"], b"part");
    assert_eq!(home.sessions()["pipe"]["status"], "active");
    let sealed = home.fed(&[&"append", &"--session", &"pipe", &"--seal-on-eof"], b" and end");
    assert_eq!(sealed.code, 0, "{}", sealed.err);
    // What sealing put behind the content is nothing that was sent.
    assert!(sealed.text().contains("kept       12 bytes"), "{}", sealed.text());
    assert_eq!(home.sessions()["pipe"]["end"], "eof");
    home.fed(&[&"archive", &"-", &"--session", &"archived"], b"all");
    assert_eq!(home.sessions()["archived"]["end"], "eof");
    let both = home.run(&[&"append", &"--seal-on-eof", &"--keep-open"]);
    assert_eq!(both.code, 64, "{}", both.err);
}

/// A pipe that is named brings what comes next, as one on standard input does.
#[test]
fn a_named_pipe_goes_on_behind_what_is_kept() {
    let home = Home::new();
    let pipe = home.at("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for part in ["one, ", "two"] {
        let child = home.command(&[&"append", &pipe, &"--session", &"s"]).spawn().unwrap();
        fs::write(&pipe, part).unwrap();
        let ran = child.wait_with_output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    }
    assert_eq!(home.done(&[&"cat", &"s"]).text(), "one, two");
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
    let done = home.fed(&[&"append", &"--session", &"pipe", &"--seal-on-eof"], b"");
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
    let again: [&dyn AsRef<std::ffi::OsStr>; 5] =
        [&"append", &"--session", &"live", &"--from-start", &"--seal-on-eof"];
    let done = home.fed(&again, &bytes);
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(home.done(&[&"cat", &"live"]).out == bytes);
    home.assert_sound();
}
