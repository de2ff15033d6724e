//! One manifest has one text, and a text with anything else in it is refused.

use proptest::prelude::*;

use super::*;

/// A folder of three chunks, the last of them its catalogue.
pub(crate) fn sample() -> Manifest {
    Manifest {
        version: Version::Two,
        session_id: "session-1".parse().unwrap(),
        user_id: "ada".into(),
        started_at: Timestamp::from_micros(1_700_000_000_000_000),
        ended_at: Timestamp::from_micros(1_700_000_060_500_000),
        layout: Layout::Tree,
        public: false,
        chunk_profile: ChunkProfile::default(),
        chunk_count: 3,
        content_bytes: 1000,
        appendix: Some(Appendix { kind: AppendixKind::Catalogue, offset: 1000, length: 200 }),
        total_bytes: 1200,
        merkle_root: SessionRoot::new([0xab; 32]),
        end: End::Exit(ExitStatus::Code(3)),
        metadata: [("host".to_owned(), "büro".to_owned())].into(),
        previous_manifest: Some(ManifestHash::new([0xcd; 32])),
        source: Some(Source {
            host: "recorder-7".into(),
            paths: vec![b"/var/log".to_vec(), b"/odd\\\xff".to_vec()],
            tags: vec!["audit".into(), "night".into()],
        }),
        terminal: Some(Terminal { columns: 80, rows: 24 }),
        retain_until: Some(Timestamp::from_micros(1_900_000_000_000_000)),
    }
}

/// The same as version 1 had it.
pub(crate) fn sample_of_version_1() -> Manifest {
    Manifest {
        version: Version::One,
        end: End::Complete,
        source: None,
        terminal: None,
        retain_until: None,
        ..sample()
    }
}

#[test]
fn a_manifest_reads_back() {
    let none = BTreeMap::new();
    let plain = Manifest {
        layout: Layout::Raw,
        public: true,
        content_bytes: 1200,
        appendix: None,
        previous_manifest: None,
        end: End::Unterminated,
        metadata: none.clone(),
        ..sample()
    };
    let empty = Manifest {
        chunk_count: 0,
        content_bytes: 0,
        total_bytes: 0,
        merkle_root: SessionRoot::new(Blake3Tree::empty()),
        ..plain.clone()
    };
    let bare =
        Manifest { end: End::Eof, source: None, terminal: None, retain_until: None, ..sample() };
    let killed = Manifest { end: End::Exit(ExitStatus::Signal(9)), ..sample() };
    let no_source = Manifest { source: Some(Source::default()), ..sample() };
    let old = Manifest { end: End::Unterminated, ..sample_of_version_1() };
    let all = [sample(), plain, empty, bare, killed, no_source, sample_of_version_1(), old];
    for manifest in all {
        let text = manifest.to_text().unwrap();
        assert_eq!(Manifest::parse(text.as_bytes()), Ok(manifest.clone()));
        assert_eq!(manifest.hash(), Ok(hash_of(&text)));
    }
}

// Frozen: the anchor names the hash of exactly this text.
#[test]
fn the_text_is_frozen() {
    let vectors = include_str!("../../tests/vectors/manifest.txt");
    for manifest in [sample_of_version_1(), sample()] {
        let text = manifest.to_text().unwrap();
        let found = format!("{text}\nhash {}\n", hash_of(&text));
        assert!(vectors.contains(&found), "{found}");
    }
}

#[test]
fn another_spelling_is_refused() {
    let text = sample().to_text().unwrap();
    for (from, to) in [
        ("\": ", "\":"),
        ("b\\u00fcro", "büro"),
        ("\"chunk_count\": 3", "\"chunk_count\": 3.0"),
        (".000000Z\", \"terminal", "Z\", \"terminal"),
        ("20.000000Z", "20.000000+00:00"),
        ("{", " {"),
    ] {
        let other = text.replacen(from, to, 1);
        assert_ne!(other, text, "{from}");
        assert!(Manifest::parse(other.as_bytes()).is_err(), "{from}");
    }
}

#[test]
fn missing_unknown_and_wrong_fields_are_refused() {
    let text = sample().to_text().unwrap();
    let json = Json::parse(text.as_bytes()).unwrap();
    let members = json.as_object().unwrap();
    for (left_out, _) in members {
        let fewer = Json::object(members.iter().filter(|(k, _)| k != left_out).cloned());
        assert!(Manifest::parse(fewer.canonical().as_bytes()).is_err(), "without {left_out}");
        let null = |(k, v): &(String, Json)| {
            (k.clone(), if k == left_out { Json::list([1u64]) } else { v.clone() })
        };
        let wrong = Json::object(members.iter().map(null));
        assert!(Manifest::parse(wrong.canonical().as_bytes()).is_err(), "list as {left_out}");
    }
    let more = Json::object(members.iter().cloned().chain([("zz".to_owned(), Json::Null)]));
    assert!(Manifest::parse(more.canonical().as_bytes()).is_err());
    for (from, to) in [
        ("session-tree/v1", "session-tree/v2"),
        ("\"version\": 2", "\"version\": 3"),
        ("\"version\": 2", "\"version\": 1"),
        ("\"exit\"", "\"maybe\""),
        ("\"exit\"", "\"eof\""),
        ("\"exit\"", "\"complete\""),
        ("{\"code\": 3}", "null"),
        ("{\"code\": 3}", "{\"code\": -3}"),
        ("{\"code\": 3}", "{\"code\": 4294967296}"),
        ("{\"code\": 3}", "{\"signal\": 0}"),
        ("{\"code\": 3}", "{\"signal\": 128}"),
        ("{\"code\": 3}", "{\"code\": 3, \"signal\": 9}"),
        ("{\"code\": 3}", "{}"),
        ("\"columns\": 80", "\"columns\": 65536"),
        ("\"columns\": 80", "\"columns\": 0"),
        ("xff", "xFF"),
        ("\"audit\", \"night\"", "\"night\", \"audit\""),
        ("\"audit\", \"night\"", "\"night\", \"night\""),
        ("\"audit\"", "\"\""),
        ("\"tree\"", "\"leaf\""),
        ("\"catalogue\"", "\"timeline\""),
        ("\"length\": 200", "\"length\": 200, \"more\": 1"),
        ("abab", "ABAB"),
    ] {
        let other = text.replacen(from, to, 1);
        assert_ne!(other, text, "{from}");
        assert!(Manifest::parse(other.as_bytes()).is_err(), "{from}");
    }
}

#[test]
fn numbers_that_do_not_agree_make_no_manifest() {
    let appendix = |offset, length| Some(Appendix { offset, length, ..sample().appendix.unwrap() });
    let empty_root = SessionRoot::new(Blake3Tree::empty());
    let source = |source| Manifest { source: Some(source), ..sample() };
    for (why, manifest) in [
        ("a sum", Manifest { total_bytes: 1201, ..sample() }),
        ("a gap", Manifest { appendix: appendix(1001, 199), ..sample() }),
        (
            "an empty appendix",
            Manifest { content_bytes: 1200, appendix: appendix(1200, 0), ..sample() },
        ),
        ("no catalogue", Manifest { content_bytes: 1200, appendix: None, ..sample() }),
        ("a catalogue of bytes", Manifest { layout: Layout::Raw, ..sample() }),
        ("too many chunks", Manifest { chunk_count: 1201, ..sample() }),
        (
            "too few chunks",
            Manifest {
                content_bytes: 60 << 20,
                appendix: appendix(60 << 20, 200),
                total_bytes: (60 << 20) + 200,
                ..sample()
            },
        ),
        ("no chunks", Manifest { chunk_count: 0, ..sample() }),
        ("the root of nothing", Manifest { merkle_root: empty_root, ..sample() }),
        ("an old end", Manifest { end: End::Complete, ..sample() }),
        ("a new end", Manifest { end: End::Eof, ..sample_of_version_1() }),
        ("no such signal", Manifest { end: End::Exit(ExitStatus::Signal(0)), ..sample() }),
        ("a long host", source(Source { host: "h".repeat(256), ..Source::default() })),
        ("many paths", source(Source { paths: vec![b"p".to_vec(); 257], ..Source::default() })),
        ("long paths", source(Source { paths: vec![vec![b'p'; 33 << 10]], ..Source::default() })),
        ("an empty path", source(Source { paths: vec![Vec::new()], ..Source::default() })),
        ("a long tag", source(Source { tags: vec!["t".repeat(257)], ..Source::default() })),
        ("a long user", Manifest { user_id: "u".repeat(257), ..sample() }),
        (
            "long metadata",
            Manifest { metadata: [("k".to_owned(), "v".repeat(4096))].into(), ..sample() },
        ),
        (
            "much metadata",
            Manifest {
                metadata: (0..65).map(|i| (i.to_string(), String::new())).collect(),
                ..sample()
            },
        ),
    ] {
        assert!(manifest.to_text().is_err(), "{why}");
        let text = manifest.to_json().canonical();
        assert!(Manifest::parse(text.as_bytes()).is_err(), "{why}");
    }
}

#[test]
fn version_1_has_no_place_for_what_came_later() {
    let (terminal, source) = (sample().terminal, sample().source);
    for later in [
        Manifest { terminal, ..sample_of_version_1() },
        Manifest { source, ..sample_of_version_1() },
        Manifest { retain_until: sample().retain_until, ..sample_of_version_1() },
    ] {
        assert!(later.to_text().is_err());
    }
}

#[test]
fn the_largest_manifest_fits_its_limit() {
    let worst =
        |i: usize| (format!("{i:02}"), "\u{7f}\u{1}".repeat(METADATA_ENTRY_BYTES_MAX / 2 - 1));
    let manifest = Manifest {
        user_id: "\u{1}".repeat(USER_ID_BYTES_MAX),
        metadata: (0..METADATA_ENTRIES_MAX).map(worst).collect(),
        source: Some(Source {
            host: "\u{1}".repeat(HOST_BYTES_MAX),
            paths: vec![vec![1; PATHS_AND_TAGS_BYTES_MAX / 2]],
            tags: (b'!'..)
                .map(|first| format!("{}{}", char::from(first), "\u{1}".repeat(TAG_BYTES_MAX - 1)))
                .take(PATHS_AND_TAGS_BYTES_MAX / 2 / TAG_BYTES_MAX)
                .collect(),
        }),
        ..sample()
    };
    let text = manifest.to_text().unwrap();
    assert!(text.len() <= TEXT_BYTES_MAX);
    assert_eq!(Manifest::parse(text.as_bytes()), Ok(manifest));
    assert!(matches!(
        Manifest::parse(&vec![b' '; TEXT_BYTES_MAX + 1]),
        Err(ManifestFault::TooLong { .. })
    ));
}

proptest! {
    #[test]
    fn any_sound_manifest_reads_back(
        user_id in "\\PC{0,40}",
        metadata in proptest::collection::btree_map("\\PC{0,9}", "\\PC{0,30}", 0..6),
        content in 0u64..1_000_000,
        appended in 1u64..9_000,
        started in any::<i64>(),
        tree in any::<bool>(),
    ) {
        let kind = if tree { AppendixKind::Catalogue } else { AppendixKind::Timeline };
        let manifest = Manifest {
            user_id,
            metadata,
            layout: if tree { Layout::Tree } else { Layout::Raw },
            started_at: Timestamp::from_micros(started),
            chunk_count: 1,
            content_bytes: content,
            appendix: Some(Appendix { kind, offset: content, length: appended }),
            total_bytes: content + appended,
            ..sample()
        };
        let text = manifest.to_text().unwrap();
        prop_assert_eq!(Manifest::parse(text.as_bytes()), Ok(manifest));
    }

    #[test]
    fn altered_and_cut_texts_are_refused_or_are_another_manifest(
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let text = sample().to_text().unwrap().into_bytes();
        let at = at.index(text.len());
        prop_assert!(Manifest::parse(&text[..at]).is_err());
        let mut other = text.clone();
        other[at] = byte;
        if let Ok(manifest) = Manifest::parse(&other) {
            prop_assert_eq!(manifest.to_text().unwrap().into_bytes(), other.clone());
            prop_assert_eq!(manifest == sample(), other == text);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Manifest::parse(&bytes).is_err());
    }
}
