//! Recordings by the clock: what is piped in can be asked for, and proved, by when it came.

use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use lucid_core::time::Timestamp;

use super::home::Home;

/// The time, as a user would write it.
fn now() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp::from_micros(since.as_micros() as i64).to_string()
}

#[test]
fn a_recording_is_read_restored_and_proved_by_the_clock() {
    let home = Home::new();
    let mut child = home
        .command(&[&"append", &"--session", &"live", &"--seal-on-eof"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let write = |input: &mut std::process::ChildStdin, bytes: &[u8]| {
        input.write_all(bytes).unwrap();
        // The clock is looked at when they are read, however long the program takes to begin.
        while rustix::io::ioctl_fionread(&*input).unwrap() > 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(1_300));
    };
    write(&mut input, b"first ");
    let from = now();
    write(&mut input, b"second ");
    let to = now();
    std::thread::sleep(Duration::from_millis(20));
    let later = now();
    input.write_all(b"third").unwrap();
    drop(input);
    assert!(child.wait().unwrap().success());
    let shown = home.json(&[&"show", &"live"]);
    assert_eq!((&shown["content_bytes"], &shown["end"]), (&18.into(), &"eof".into()));

    // From when to when there is something, without a word of doubt.
    let times = &shown["times"];
    let at = |which: &str| times[which].as_str().unwrap().to_owned();
    assert!(at("from") < from && to <= at("to") && at("to") <= now(), "{times}");
    assert_eq!(times["doubt_seconds"], 0);
    let text = home.done(&[&"show", &"live"]).text();
    let second = |which: &str| format!("{}Z", &at(which)[..19]);
    let line = format!("times      {} to {}\n", second("from"), second("to"));
    assert!(text.contains(&line), "{text}");

    let span: [&dyn AsRef<std::ffi::OsStr>; 4] = [&"--from", &from, &"--to", &to];
    let with = |verb: &[&'static str], more: &[&dyn AsRef<std::ffi::OsStr>]| {
        let mut all: Vec<&dyn AsRef<std::ffi::OsStr>> = Vec::new();
        all.extend(verb.iter().map(|word| word as &dyn AsRef<std::ffi::OsStr>));
        all.extend(span);
        all.extend(more);
        home.done(&all)
    };
    assert_eq!(with(&["cat", "live"], &[]).text(), "second ");
    assert_eq!(home.done(&[&"cat", &"live", &"--from", &from]).text(), "second third");
    // Nothing of it is beyond its ends, and inside there may be nothing.
    for beyond in [["--to", "2001-01-01T00:00:00Z"], ["--from", "2999-01-01T00:00:00Z"]] {
        let why = home.refused(1, &[&"cat", &"live", &beyond[0], &beyond[1]]);
        assert!(why.contains("nothing was recorded then"), "{why}");
        assert!(why.contains(&shown["started_at"].as_str().unwrap()[..19]), "{why}");
        home.refused(1, &[&"restore", &"live", &"-o", &"no", &beyond[0], &beyond[1]]);
    }
    let silence = home.done(&[&"cat", &"live", &"--from", &to, &"--to", &later]);
    assert!(silence.out.is_empty(), "{}", silence.text());
    assert!(silence.err.contains("nothing was recorded in that time"), "{}", silence.err);
    let of_day = &from[11..19];
    assert!(home.done(&[&"cat", &"live", &"--from", &of_day]).text().ends_with("second third"));
    with(&["restore", "live"], &[&"-o", &home.at("back")]);
    assert_eq!(std::fs::read(home.at("back/live")).unwrap(), b"second ");
    with(&["prove", "live"], &[&"-o", &home.at("bundle")]);
    let key = |name: &str| shown["anchor"]["trust"][name].as_str().unwrap().to_owned();
    let (block, recorder) = (key("block"), key("recorder"));
    let checked = home.done(&[
        &"check-proof",
        &home.at("bundle"),
        &home.at("back/live"),
        &"--trust",
        &block,
        &"--trust",
        &recorder,
    ]);
    assert!(checked.text().contains("everything is proved"), "{}", checked.text());
    assert!(checked.text().contains(&from[..19]), "{}", checked.text());
    home.assert_sound();

    let backwards = home.refused(1, &[&"cat", &"live", &"--from", &to, &"--to", &from]);
    assert!(backwards.contains("--to is not after --from"), "{backwards}");
    home.file("plain", "recorded long ago");
    home.done(&[&"append", &home.at("plain"), &"--session", &"plain"]);
    assert!(home.json(&[&"show", &"plain"])["times"].is_null(), "it has no timeline");
    let none = home.refused(1, &[&"cat", &"plain", &"--from", &from]);
    assert!(none.contains("no timeline"), "{none}");
    home.done(&[&"append", &home.at("plain"), &"--session", &"timed", &"--timeline"]);
    assert_eq!(home.done(&[&"cat", &"timed", &"--from", &from]).text(), "recorded long ago");
}

#[test]
fn a_session_that_was_left_open_is_sealed_as_what_it_is() {
    let home = Home::new();
    for (session, flag, end) in
        [("done", None, "eof"), ("gone", Some("--unterminated"), "unterminated")]
    {
        home.fed(&[&"append", &"--session", &session, &"--keep-open"], b"bytes");
        let open = home.json(&[&"show", &session]);
        assert_eq!(open["status"], "active");
        assert_eq!(open["times"]["from"], open["started_at"], "{open:#}");
        assert_eq!(open["times"]["to"], open["appended_at"]);
        assert_eq!(home.done(&[&"cat", &session]).text(), "bytes", "what is not cut yet, too");
        let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"seal", &session];
        arguments.extend(flag.as_ref().map(|flag| flag as &dyn AsRef<std::ffi::OsStr>));
        let sealed = home.json(&arguments);
        assert_eq!((&sealed["status"], &sealed["end"]), (&"anchored".into(), &end.into()));
        assert_eq!(home.done(&[&"cat", &session]).text(), "bytes");
    }
    home.assert_sound();
    let absent = home.refused(1, &[&"seal", &"absent"]);
    assert!(absent.contains("no session"), "{absent}");
}

#[test]
fn a_timeline_that_cannot_be_read_is_a_warning_beside_all_else_that_is_known() {
    let home = Home::new();
    let file = home.file("plain", "recorded long ago");
    home.done(&[&"append", &file, &"--session", &"timed", &"--timeline"]);
    let whole = home.json(&[&"show", &"timed"]);
    assert!(whole["times"].is_object(), "{whole:#}");
    let segment = home.data().join("data-chain/chunks/00000001.seg");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[64..].iter_mut().for_each(|byte| *byte ^= 1);
    std::fs::write(&segment, bytes).unwrap();

    let shown = home.run(&[&"--json", &"show", &"timed"]);
    let warning = "from when to when there is something is not known: ";
    assert_eq!((shown.code, shown.err.contains(warning)), (0, true), "{}", shown.err);
    let mut lacking = whole;
    lacking.as_object_mut().unwrap().remove("times");
    assert_eq!(shown.json(), lacking);
}
