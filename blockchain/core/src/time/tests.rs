//! Known instants, the spellings that are taken, and those that are not.

use proptest::prelude::*;

use super::*;

#[test]
fn known_instants_read_and_print() {
    for (text, micros) in [
        ("1970-01-01T00:00:00Z", 0),
        ("2000-02-29T12:34:56.789Z", 951_827_696_789_000),
        ("2025-01-27T00:00:00Z", 1_737_936_000_000_000),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("0001-01-01T00:00:00Z", FIRST),
        ("9999-12-31T23:59:59.999999Z", LAST),
    ] {
        let time = Timestamp::parse(text).unwrap();
        assert_eq!(time.as_micros(), micros, "{text}");
        assert_eq!(parse_block_time(&time.to_string()), Ok(time));
    }
    assert_eq!(
        Timestamp::from_micros(951_827_696_789_000).to_string(),
        "2000-02-29T12:34:56.789000Z"
    );
}

#[test]
fn every_spelling_of_one_instant_is_that_instant() {
    let want = Timestamp::parse("2025-01-27T10:30:00Z").unwrap();
    for text in [
        "2025-01-27T10:30:00",
        "2025-01-27T10:30",
        "2025-01-27 10:30:00+00:00",
        "20250127T103000Z",
        "20250127T1030Z",
        "2025-01-27t10:30:00z",
        "2025-01-27T10:30:00.0000009Z",
        "2025-01-27T10:30:00,000Z",
        "2025-01-27T12:30:00+02",
        "2025-01-27T12:30:00+0200",
        "2025-01-27T05:00:00.000-05:30",
    ] {
        assert_eq!(Timestamp::parse(text), Ok(want), "{text}");
    }
    assert_eq!(Timestamp::parse("2025-01-27").unwrap(), want.plus_seconds(-37_800));
}

#[test]
fn what_no_calendar_has_is_refused() {
    for text in [
        "",
        "2025",
        "2025-01",
        "2025-13-01",
        "2025-00-01",
        "2025-02-29T00:00:00Z",
        "1900-02-29",
        "0000-01-01",
        "2025-01-27T24:00:00Z",
        "2025-01-27T10:60:00Z",
        "2025-01-27T10:30:60Z",
        "2025-01-27T10:30:00.Z",
        "2025-01-27T10.5Z",
        "2025-01-27T10:30:00ZZ",
        "2025-01-27T",
        "now",
        "2025-01-27T10:30:00+24:00",
        "2025-01-2710:30:00",
        " 2025-01-27",
        "2025-01-27T10:30:00Z\n",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "２025-01-27",
    ] {
        assert!(Timestamp::parse(text).is_err(), "{text:?}");
    }
}

#[test]
fn a_block_spells_its_time_one_of_six_ways() {
    for text in [
        "2025-01-27T00:00:10",
        "2025-01-27T00:00:10Z",
        "2025-01-27T00:00:10+00:00",
        "2025-01-27T00:00:10.000001",
        "2025-01-27T00:00:10.000001Z",
        "2025-01-27T00:00:10.000001+00:00",
    ] {
        assert!(parse_block_time(text).is_ok(), "{text}");
    }
    for text in [
        "2025-01-27T00:00:10.1Z",
        "2025-01-27T00:00:10.0000001Z",
        "2025-01-27T00:00:10z",
        "2025-01-27 00:00:10Z",
        "2025-01-27T00:00:10-00:00",
        "2025-01-27T00:00:10+01:00",
        "025-01-27T00:00:10Z",
        "22025-01-27T00:00:10Z",
        "2025-01-27T00:00:60Z",
        "2025-01-27",
        "2025-02-30T00:00:10Z",
        "2025-01-27T00:00:10Z ",
        "+2025-01-27T00:00:10Z",
    ] {
        assert!(parse_block_time(text).is_err(), "{text:?}");
    }
}

#[test]
fn an_instant_outside_the_calendar_is_held_at_its_edge() {
    assert_eq!(Timestamp::from_micros(i64::MAX).to_string(), "9999-12-31T23:59:59.999999Z");
    assert_eq!(Timestamp::from_micros(i64::MIN).to_string(), "0001-01-01T00:00:00.000000Z");
    assert_eq!(Timestamp::from_micros(0).plus_seconds(i64::MAX).as_micros(), LAST);
}

proptest! {
    #[test]
    fn every_instant_reads_back_from_its_text(micros in FIRST..=LAST) {
        let time = Timestamp::from_micros(micros);
        prop_assert_eq!(Timestamp::parse(&time.to_string()), Ok(time));
        prop_assert_eq!(parse_block_time(&time.to_string()), Ok(time));
    }

    #[test]
    fn no_text_makes_a_reader_panic(text in "\\PC{0,40}|[0-9TZ:.+-]{0,40}") {
        let _ = Timestamp::parse(&text);
        if let Ok(time) = parse_block_time(&text) {
            prop_assert_eq!(Timestamp::parse(&text), Ok(time));
        }
    }
}
