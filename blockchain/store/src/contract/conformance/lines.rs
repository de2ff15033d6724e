//! Keepers of chunks that several processes write to: numbers of units and the line that is drawn among them.

use super::*;

#[test]
fn numbers_rise_above_a_line_and_up_to_where_they_are_taken_none_is_given_anew() {
    every_back_end(|name, mut kept| {
        let blobs = kept.blobs.clone();
        if !blobs.is_shared() {
            kept.commits(&[], &[1]);
            assert_eq!(blobs.taken().unwrap(), 0, "{name}");
            return;
        }
        kept.commits(&[], &[1]);
        let first = blobs.numbers().unwrap()[0];
        let taken = blobs.taken().unwrap();
        assert!(taken >= first && !blobs.is_above(first, taken), "{name}: {first} {taken}");
        for line in [taken, taken + 5_000] {
            blobs.rise(line);
            kept.commits(&[], &[2]);
            let made = blobs.begin(0, Origin::default()).unwrap().number();
            let written = blobs.numbers().unwrap();
            let written =
                written.iter().filter(|unit| blobs.kind(**unit) == Some(UnitKind::Written));
            let newest = written.max().copied().unwrap();
            for unit in [newest, made] {
                assert!(blobs.is_above(unit, line), "{name}: {unit} {line}");
                assert!(!blobs.is_above(unit, blobs.taken().unwrap()), "{name}: {unit}");
            }
        }
        // A line of the past takes nothing back.
        blobs.rise(1);
        kept.commits(&[], &[3]);
        let last = blobs.numbers().unwrap();
        let last = last.iter().filter(|unit| blobs.kind(**unit) == Some(UnitKind::Written)).max();
        assert!(blobs.is_above(*last.unwrap(), taken + 5_000), "{name}: {last:?}");
    });
}
