//! What is read, what is refused, what is printed; and properties over random values.

use proptest::prelude::*;

use super::*;
use crate::limits::JSON_DEPTH_MAX;

fn canonical(text: &str) -> String {
    Json::parse(text.as_bytes()).unwrap_or_else(|fault| panic!("{text}: {fault}")).canonical()
}

#[test]
fn numbers_print_as_python_prints_them() {
    for (given, want) in [
        ("1e5", "100000.0"),
        ("1E16", "1e+16"),
        ("1e15", "1000000000000000.0"),
        ("0.0001", "0.0001"),
        ("0.00001", "1e-05"),
        ("1e22", "1e+22"),
        ("1.5e300", "1.5e+300"),
        ("5e-324", "5e-324"),
        ("-0", "0"),
        ("-0.0", "-0.0"),
        ("0e400", "0.0"),
        ("1e-400", "0.0"),
        ("9999999999999998.0", "9999999999999998.0"),
        ("123456789012345680.0", "1.2345678901234568e+17"),
        ("-1.5E-7", "-1.5e-07"),
        ("1.7976931348623157e308", "1.7976931348623157e+308"),
        ("1000000000000000000000000000000", "1000000000000000000000000000000"),
        ("-17", "-17"),
        // Exactly halfway between two texts of the same length: the even one.
        ("919798545227469.25", "919798545227469.2"),
        ("919798545227469.75", "919798545227469.8"),
        ("-981332736266520.25", "-981332736266520.2"),
        ("9007199254740992.5", "9007199254740992.0"),
        ("5.960464477539063e-08", "5.960464477539063e-08"),
    ] {
        assert_eq!(canonical(given), want, "{given}");
    }
}

#[test]
fn floats_that_cannot_be_read_are_printed_as_python_prints_them() {
    for (value, want) in
        [(f64::NAN, "NaN"), (f64::INFINITY, "Infinity"), (f64::NEG_INFINITY, "-Infinity")]
    {
        assert_eq!(Json::Float(value).canonical(), want);
        assert!(Json::parse(want.as_bytes()).is_err());
    }
}

#[test]
fn strings_print_as_python_prints_them() {
    for (given, want) in [
        (r#""café 😀""#, r#""caf\u00e9 \ud83d\ude00""#),
        (r#""\u00E9\/\b\f\n\r\t\"\\""#, r#""\u00e9/\b\f\n\r\t\"\\""#),
        ("\"\u{7f}~ \"", r#""\u007f~ ""#),
        (r#""\ud83d\ude00\u0000\u001f""#, r#""\ud83d\ude00\u0000\u001f""#),
        (r#""""#, r#""""#),
    ] {
        assert_eq!(canonical(given), want, "{given}");
    }
}

#[test]
fn keys_are_sorted_by_code_point_and_not_by_utf_16() {
    assert_eq!(
        canonical("{\"\u{10000}\":1,\"\u{e000}\":2,\"a\":{\"b\":[],\"B\":{}}}"),
        r#"{"a": {"B": {}, "b": []}, "\ue000": 2, "\ud800\udc00": 1}"#
    );
}

#[test]
fn white_space_is_dropped_and_words_are_kept() {
    assert_eq!(canonical(" [ true ,\tfalse\r,\nnull , { } ] "), "[true, false, null, {}]");
}

#[test]
fn what_has_no_canonical_form_is_refused() {
    for text in [
        "",
        " ",
        "{",
        "[",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "{1:1}",
        "{\"a\":1 \"b\":2}",
        "{\"a\":1]",
        "[1}",
        "tru",
        "True",
        "nul",
        "NaN",
        "Infinity",
        "-Infinity",
        "-",
        "+1",
        "01",
        "-01",
        "1.",
        ".5",
        "1e",
        "1e+",
        "0x1",
        "1_000",
        "\"",
        "\"a",
        "\"\\",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\\u+123\"",
        "\"\n\"",
        "'a'",
        "1 2",
        "null,",
        "\u{feff}1",
        "// 1",
        "1e400",
        "-1e309",
    ] {
        assert!(Json::parse(text.as_bytes()).is_err(), "{text:?}");
    }
    assert_eq!(Json::parse(b"\"\xff\""), Err(JsonFault::NotUtf8 { at: 1 }));
    assert_eq!(Json::parse(b"[1e999]"), Err(JsonFault::FloatTooLarge { at: 1 }));
}

#[test]
fn half_a_surrogate_pair_is_refused() {
    for text in
        [r#""\ud800""#, r#""\udc00""#, r#""\ud800x""#, r#""\ud800\u0041""#, r#""\ud800\ud800""#]
    {
        assert!(
            matches!(Json::parse(text.as_bytes()), Err(JsonFault::LoneSurrogate { .. })),
            "{text}"
        );
    }
}

#[test]
fn a_key_may_stand_once_however_it_is_spelled() {
    let twice = Json::parse(br#"[{"k":1,"x":2,"\u006b":3}]"#);
    assert_eq!(twice, Err(JsonFault::DuplicateKey { key: "k".into() }));
}

#[test]
fn depth_and_length_have_their_bounds() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(Json::parse(nested(JSON_DEPTH_MAX).as_bytes()).is_ok());
    let deeper = nested(JSON_DEPTH_MAX + 1);
    assert!(matches!(Json::parse(deeper.as_bytes()), Err(JsonFault::TooDeep { .. })));
    assert!(Json::parse_wrapped(deeper.as_bytes(), 1).is_ok());
    assert!(Json::parse("[".repeat(1_000_000).as_bytes()).is_err());

    let digits = "9".repeat(JSON_INTEGER_DIGITS_MAX);
    assert_eq!(canonical(&format!("-{digits}")), format!("-{digits}"));
    assert!(Json::parse(format!("{digits}9").as_bytes()).is_err());
    assert_eq!(canonical(&format!("1.{digits}9")), "2.0");
}

#[test]
fn an_object_that_some_readers_take_for_a_number_stays_an_object() {
    let text = r#"{"$serde_json::private::Number": "1"}"#;
    assert_eq!(canonical(text), text);
}

#[test]
fn built_values_are_sorted_and_found() {
    let value =
        Json::object([("b", Json::from(1_u64)), ("a", Json::from("x")), ("b", Json::from(true))]);
    assert_eq!(value.canonical(), r#"{"a": "x", "b": true}"#);
    assert_eq!(value.get("a").and_then(Json::as_text), Some("x"));
    assert_eq!(value.get("c"), None);
}

/// The canonical text, made straight from the spelling.
fn straight(text: &str, depth: usize) -> Result<String, JsonFault> {
    let mut reader = Reader::new(text.as_bytes())?;
    let mut canonical = Canonical::default();
    // Appended behind something, and the buffers used before.
    let mut out = "before".to_owned();
    let mut used = Reader::new(br#"{"x": [1.5, {"b": 1, "a": "\u00e9"}]}"#)?;
    canonical.append(&mut used, 9, &mut String::new(), |_| {})?;
    let mut members = Vec::new();
    canonical.append(&mut reader, depth, &mut out, |member: TopMember<'_>| {
        members.push((member.key.to_owned(), member.start, member.value));
    })?;
    reader.finish()?;
    let text = out.strip_prefix("before").unwrap().to_owned();
    let value = Json::parse_wrapped(text.as_bytes(), depth).unwrap();
    let keys = members.iter().map(|(key, ..)| key.as_str());
    assert!(keys.eq(value.as_object().unwrap_or_default().iter().map(|(key, _)| key.as_str())));
    for (key, start, (from, to)) in members {
        let printed = Json::Text(key.clone()).canonical() + ": ";
        assert!(text[start..].starts_with(&printed), "{text} {key}");
        assert_eq!(start + printed.len(), from, "{text} {key}");
        assert_eq!(&text[from..to], value.get(&key).unwrap().canonical(), "{text} {key}");
    }
    Ok(text)
}

/// What the tree says and what the straight way says, which must be the same.
fn agree(text: &str) -> Option<String> {
    let tree = Json::parse(text.as_bytes()).map(|value| value.canonical());
    let made = straight(text, JSON_DEPTH_MAX);
    assert_eq!(made, tree, "{text}");
    made.ok()
}

#[test]
fn spaces_order_and_spelling_do_not_matter_and_the_straight_way_agrees() {
    for text in [
        r#"{"a": 1, "b": 2}"#,
        r#"{"b": 2, "a": 1}"#,
        r#"{"a":1,"b":2}"#,
        r#"{ "a": 1}"#,
        r#"{"a": 1 }"#,
        r#"{"a" : 1}"#,
        r#"{"a":  1}"#,
        r#"{"a": 1 ,"b": 2}"#,
        r#"{"a": 1,  "b": 2}"#,
        r#"{"a": 1,	"b": 2}"#,
        "{}",
        "{ }",
        "[]",
        "[ ]",
        "[1, 2]",
        "[1 ,2]",
        "[ 1, 2]",
        "[1, 2 ]",
        r#"{"a": -0, "b": 0, "c": -0.0, "d": 1e2, "e": 1.5}"#,
        r#"{"b": {"d": [1, {"f": -0, "e": {}}], "c": "\u0041"}, "a": [[], [ ], {"x":{ }}]}"#,
        r#"{"\u0062": 1, "a": 2, "\u00e9": {"y": 1, "x": 1}, "é": 3}"#,
        r#"{"\u0061": {"y": 1, "x": 1}, "b": "\/"}"#,
        r#"{"a": {"k": 1, "k": 2}, "a": 1}"#,
        r#"{"id": "x", "n": 1, "id": "y"}"#,
        "{\"\u{7f}\": \"\u{7f}\"}",
        r#"{"a": "12345678", "b": "1234567\"", "c": "12345678\\", "é": "1234567é"}"#,
        r#"{"a": true, "b": [false, null, tru]}"#,
        r#"{"a": 1,}"#,
        r#"{"a": 1 "b"}"#,
        "  ",
        "[1,]",
    ] {
        agree(text);
    }
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    assert!(agree(&nested(JSON_DEPTH_MAX)).is_some());
    assert!(agree(&nested(JSON_DEPTH_MAX + 1)).is_none());
    let unsorted =
        |depth: usize| format!("{}1{}", r#"{"b": 1, "a": "#.repeat(depth), "}".repeat(depth));
    assert!(agree(&unsorted(JSON_DEPTH_MAX)).is_some());
}

#[test]
fn plain_runs_end_at_the_first_byte_that_is_not_printed_as_it_stands() {
    for byte in 0..=u8::MAX {
        let plain = matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
        for at in 0..20 {
            for (before, behind) in [(b'a', b'a'), (b'~', b' '), (b' ', 0xff), (b'!', 0)] {
                let mut bytes = [before; 24];
                bytes[at] = byte;
                bytes[at + 1..].fill(behind);
                let want = match plain {
                    true if matches!(behind, 0 | 0xff) => at + 1,
                    true => 24,
                    false => at,
                };
                assert_eq!(read::plain_run(&bytes), want, "{byte} at {at}");
            }
        }
    }
}

/// A spelling of a value: members in any order, spaces and escapes here and there.
fn spelled(value: &Json, choices: &mut impl FnMut(usize) -> usize) -> String {
    let space = |choices: &mut dyn FnMut(usize) -> usize| ["", " ", "", "\n\t"][choices(4)];
    let text = |text: &str, choices: &mut dyn FnMut(usize) -> usize| match choices(3) {
        0 => Json::Text(text.to_owned()).canonical(),
        1 => {
            let units = text.encode_utf16().map(|unit| format!("\\u{unit:04X}"));
            format!("\"{}\"", units.collect::<String>())
        }
        _ => serde_json::to_string(text).unwrap(),
    };
    match value {
        Json::Text(inner) => text(inner, choices),
        Json::List(values) => {
            let values: Vec<_> = values
                .iter()
                .map(|value| {
                    let inner = spelled(value, choices);
                    format!("{}{inner}{}", space(choices), space(choices))
                })
                .collect();
            format!("[{}]", values.join([",", ", "][choices(2)]))
        }
        Json::Object(members) => {
            let mut members: Vec<_> = members
                .iter()
                .map(|(key, value)| {
                    let (key, inner) = (text(key, choices), spelled(value, choices));
                    format!("{key}{}:{}{inner}", space(choices), [" ", ""][choices(2)])
                })
                .collect();
            for at in 1..members.len() {
                members.swap(at, choices(at + 1));
            }
            if choices(8) == 0 && !members.is_empty() {
                members.push(members[choices(members.len())].clone());
            }
            format!("{{{}{}}}", space(choices), members.join([",", ", "][choices(2)]))
        }
        other => other.canonical(),
    }
}

fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        "0|-?[1-9][0-9]{0,30}".prop_map(Json::Integer),
        any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(Json::Float),
        any::<String>().prop_map(Json::Text),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Json::List),
            prop::collection::vec((any::<String>(), inner), 0..8).prop_map(Json::object),
        ]
    })
}

#[test]
fn whoever_wants_a_list_or_an_object_is_told_which() {
    let wanted = |read: fn(&mut Reader<'_>) -> Result<(), JsonFault>| {
        read(&mut Reader::new(b"5").unwrap()).unwrap_err().to_string()
    };
    let list = wanted(|reader| reader.values(|_| Ok(())));
    assert!(list.contains("a list"), "{list}");
    let object = wanted(|reader| reader.members(|_, _| Ok(())));
    assert!(object.contains("an object"), "{object}");
}

proptest! {
    #[test]
    fn the_canonical_text_reads_back_and_prints_the_same(value in any_json()) {
        let text = value.canonical();
        prop_assert!(text.is_ascii());
        let read = Json::parse(text.as_bytes()).unwrap();
        prop_assert_eq!(read.canonical(), text);
        prop_assert_eq!(read, value);
    }

    #[test]
    fn however_it_is_spelled_the_straight_way_agrees(value in any_json(), seed: u64) {
        let mut state = seed | 1;
        let mut choices = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        agree(&spelled(&value, &mut choices));
        agree(&value.canonical());
    }

    #[test]
    fn another_reader_understands_what_we_print(value in any_json()) {
        let read: Result<serde_json::Value, _> = serde_json::from_str(&value.canonical());
        prop_assert!(read.is_ok());
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Json::parse(&bytes);
    }

    #[test]
    fn nearly_json_does_not_make_the_reader_panic(text in r#"[\[\]{}",:0-9eE.+\-\\u ntrfalsd😀]{0,80}"#) {
        agree(&text);
        if let Ok(value) = Json::parse(text.as_bytes()) {
            let printed = value.canonical();
            prop_assert_eq!(Json::parse(printed.as_bytes()).unwrap().canonical(), printed);
        }
    }

    #[test]
    fn floats_read_back_bit_by_bit(value in any::<f64>().prop_filter("finite", |f| f.is_finite())) {
        let text = Json::Float(value).canonical();
        prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), value.to_bits());
        let read = Json::parse(text.as_bytes()).unwrap();
        prop_assert!(matches!(read, Json::Float(float) if float.to_bits() == value.to_bits()));
    }
}
