//! Patterns held against what restic documents, and what its matcher is known to do.

use proptest::prelude::*;

use super::*;

fn takes(pattern: &str, path: &str) -> bool {
    takes_of(pattern, path, false)
}

fn takes_of(pattern: &str, path: &str, ignores_case: bool) -> bool {
    let pattern = Pattern::parse(pattern.as_bytes(), ignores_case).unwrap();
    pattern.takes(&Components::of(path.as_bytes(), ignores_case))
}

#[test]
fn the_examples_of_the_manual_hold() {
    // "Excluding Files" of restic's manual, sentence by sentence.
    for (pattern, path, wanted) in [
        ("*.c", "/home/ann/code/main.c", true),
        ("*.go", "/home/ann/code/x/main.go", true),
        ("*.go", "/home/ann/code/x/main.god", false),
        ("foo/**/bar", "/w/foo/x/y/z/bar", true),
        ("foo/**/bar", "/w/foo/x/bar", true),
        ("foo/**/bar", "/w/foo/bar", true),
        ("foo", "/dir1/foo/dir2/file", true),
        ("foo", "/dir/foo", true),
        ("foo", "/dir/foobar", false),
        ("foo", "/barfoo", false),
        ("foo/", "/dir/foo", true),
        ("/bin", "/bin/bash", true),
        ("/bin", "/usr/bin/restic", false),
        ("b*ash", "/bin/bash", true),
        ("b*ash", "/bin/ash", false),
        ("foo/**/bar", "/dir1/foo/dir2/bar/file", true),
        ("foo/**/bar", "/foo/bar/file", true),
        ("foo/**/bar", "/tmp/foo/bar", true),
        ("foo bar star/foo.txt", "/a/foo bar star/foo.txt", true),
        ("$HOME/*", "/$HOME/x", true),
    ] {
        assert_eq!(takes(pattern, path), wanted, "{pattern} {path}");
    }
}

#[test]
fn parts_take_neighbours_and_all_below_them() {
    for (pattern, path, wanted) in [
        ("*", "/foo/bar/test.go", true),
        ("**", "/foo/bar/test.go", true),
        ("/bar*", "/foo/bar/test.go", false),
        ("bar/*", "/foo/bar/baz", true),
        ("bar/*", "/foo/bar", false),
        ("ba*/*.go", "/foo/bar/test.go", true),
        ("bb*/*.go", "/foo/bar/test.go", false),
        ("/foo///bar", "/foo/bar", true),
        ("/foo/../bar", "/foo/bar", false),
        ("/foo/../bar", "/bar", true),
        ("/../bar", "/bar", true),
        ("./bar", "/foo/bar", true),
        ("/foo/*", "/foo", false),
        ("/foo/*/test.*", "/foo/bar/test.go", true),
        ("/*/*/baz/test.*", "/foo/bar/baz/test.go", true),
        ("/*/foo/bar/test.*", "/foo/bar/baz/test.go", false),
        ("sdk/*/cpp/*/*vars*.html", "/usr/sdk/docs/cpp/ref/a00517.html", false),
        ("sdk/*/cpp/*/*vars*.html", "/usr/sdk/docs/cpp/ref/a-vars-b.html", true),
        ("foo/**/bar/*.go", "/foo/bar/baz/bar/test.go", true),
        ("foo/**/bar/*.go", "/home/user/foo/test.c", false),
        ("foo/**/bar/**/x", "/home/foo/bla/blaz/bar/shared/code/x", true),
        ("user/**/important*", "/home/user/code/x/y/hidden/x", false),
        ("foo/**", "/foo", true),
        ("/**/x", "/x", true),
        ("**/**/x", "/a/b/x", true),
        ("/", "/anything", true),
    ] {
        assert_eq!(takes(pattern, path), wanted, "{pattern} {path}");
    }
}

#[test]
fn names_are_matched_like_those_of_go() {
    for (pattern, name, wanted) in [
        ("a?c", "abc", true),
        ("a?c", "a€c", true),
        ("a??c", "a€c", false),
        ("*??", "€", false),
        ("*?", "€", true),
        ("[a-c]x", "bx", true),
        ("[^a-c]x", "bx", false),
        ("[^a-c]x", "dx", true),
        ("[äö]", "ö", true),
        ("[\\]]", "]", true),
        ("[a\\-c]", "-", true),
        ("[a\\-c]", "b", false),
        ("[!a]", "!", true),
        ("[!a]", "b", false),
        ("a]", "a]", true),
        ("\\*", "*", true),
        ("\\*", "a", false),
        ("\\!x", "!x", true),
        ("{a,b}", "a", false),
        ("{a,b}", "{a,b}", true),
        ("a*b*c", "a-b-b-c-c", true),
        ("a*b*c", "a-c-b", false),
        ("*~", "notes~", true),
    ] {
        assert_eq!(takes(pattern, &format!("/x/{name}")), wanted, "{pattern} {name}");
    }
    let stray = Pattern::parse(b"a?b", false).unwrap();
    assert!(stray.takes(&Components::of(b"/a\xffb", false)));
    let stray = Pattern::parse(b"a[\xfe-\xff]b", false).unwrap();
    assert!(stray.takes(&Components::of(b"/a\xffb", false)));
    assert!(!stray.takes(&Components::of(b"/a\xfdb", false)));
}

#[test]
fn case_is_ignored_only_where_that_is_asked_for() {
    for (pattern, path) in [("*.JPG", "/a/b.jpg"), ("straße", "/STRAßE/x"), ("[A-C]x", "/bX")] {
        assert!(takes_of(pattern, path, true), "{pattern} {path}");
        assert!(!takes(pattern, path), "{pattern} {path}");
    }
}

#[test]
fn what_is_no_pattern_says_why() {
    for (text, fault) in [
        ("", PatternFault::Empty),
        ("!", PatternFault::Empty),
        ("test/[", PatternFault::Bracket),
        ("test/**/[", PatternFault::Bracket),
        ("[]", PatternFault::Bracket),
        ("[a", PatternFault::Bracket),
        ("[-a]", PatternFault::Bracket),
        ("[a-]", PatternFault::Bracket),
        ("a\\", PatternFault::Escape),
    ] {
        assert_eq!(Pattern::parse(text.as_bytes(), false), Err(fault), "{text}");
    }
    assert!(Pattern::parse(b"!a", false).unwrap().is_negated());
}

proptest! {
    #[test]
    fn any_text_is_a_pattern_or_none_and_any_path_can_be_asked_for(
        text in proptest::collection::vec(proptest::sample::select(b"a*?[]^-\\/!\xc3\xa4\xff".as_slice()), 0..12),
        path in proptest::collection::vec(proptest::sample::select(b"ab-]/\xc3\xa4\xff".as_slice()), 0..12),
    ) {
        if let Ok(pattern) = Pattern::parse(&text, false) {
            pattern.takes(&Components::of(&path, false));
        }
    }

    #[test]
    fn a_pattern_takes_what_is_below_what_it_takes(
        text in "[ab*?/]{1,8}", path in "(/[ab]{1,3}){1,4}", below in "(/[ab]{1,2}){1,2}",
    ) {
        if takes(&text, &path) {
            let below = format!("{path}{below}");
            prop_assert!(takes(&text, &below), "{}", below);
        }
    }
}
