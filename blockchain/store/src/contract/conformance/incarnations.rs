//! Logs of numbered commits: what stands at a place, and how a new incarnation begins.

use super::*;
use crate::contract::fact_log::{Following, Incarnation, Place};

impl Tried {
    fn place(&self) -> Option<Place> {
        self.log.place(&self.at).unwrap()
    }

    fn begins_incarnation(&mut self) {
        match self.log.begin_incarnation(&self.at).unwrap() {
            Appended::Here(position) => self.at = position,
            Appended::Overtaken => panic!("nobody else writes"),
        }
    }
}

#[test]
fn a_new_incarnation_follows_the_last_commit_and_every_later_commit_is_of_it() {
    every_back_end(|name, mut kept| {
        kept.commits(&["one"], &[1]);
        let Some(first) = kept.place() else {
            assert!(kept.log.begin_incarnation(&kept.at).is_err(), "{name}");
            assert_eq!(kept.log.following(&kept.at).unwrap(), Following::GoesOn, "{name}");
            return;
        };
        assert_eq!((first.n, first.incarnation.number), (1, 1), "{name}");
        let early = kept.at.clone();
        kept.begins_incarnation();
        let begun = kept.place().unwrap();
        assert_eq!((begun.n, begun.incarnation.number), (2, 2), "{name}");
        assert_ne!(begun.incarnation.id, first.incarnation.id, "{name}");
        kept.commits(&["two"], &[2]);
        let second = kept.place().unwrap();
        assert_eq!((second.n, second.incarnation), (3, begun.incarnation), "{name}");
        // Who stood in front of it follows, and comes to the same places.
        let places: Vec<Position> =
            kept.behind(Some(&early)).into_iter().map(|(.., place)| place).collect();
        assert_eq!(places, [begun.position(), second.position()], "{name}");
        assert_eq!(kept.log.begin_incarnation(&early).unwrap(), Appended::Overtaken, "{name}");
        assert_eq!(kept.facts(), ["one", "two"], "{name}");
        for place in [first, begun, second] {
            assert_eq!(kept.log.has(&place).unwrap(), Some(true), "{name}");
            assert_eq!(kept.log.following(&place.position()).unwrap(), Following::GoesOn, "{name}");
        }
    });
}

#[test]
fn an_index_stands_where_its_log_has_the_commit_and_nowhere_else() {
    every_back_end(|name, mut kept| {
        kept.commits(&["one"], &[]);
        let Some(place) = kept.place() else { return };
        let lost = Place { n: 2, digest: [9; 32], ..place };
        assert_eq!(kept.log.has(&lost).unwrap(), None, "{name}");
        kept.commits(&["two"], &[]);
        assert_eq!(kept.log.has(&lost).unwrap(), Some(false), "{name}");
        let Err(StoreError::Folder(why)) = kept.log.following(&lost.position()) else {
            panic!("{name}: it was lost, and nobody accepted that")
        };
        let end = kept.place().unwrap();
        for said in [lost.to_string(), end.to_string(), "a different one there".into()] {
            assert!(why.contains(&said), "{name}: {why}");
        }
        assert!(why.contains("; restore what is newer"), "{name}: {why}");
        let refused = kept.log.replay(Some(&lost.position()), &mut |_, _| Ok(true));
        assert!(matches!(refused, Err(StoreError::Folder(_))), "{name}: {refused:?}");
        let refused = kept.log.commit(&lost.position(), &mut [fact("three")], None);
        assert!(matches!(refused, Err(CommitError::Broken(_))), "{name}: {refused:?}");
        // Once that is accepted, it is no loss any more, and an index that stood there is of no use.
        kept.begins_incarnation();
        let accepted = kept.log.following(&lost.position()).unwrap();
        assert!(matches!(accepted, Following::Anew(_)), "{name}: {accepted:?}");
        let refused = kept.log.replay(Some(&lost.position()), &mut |_, _| Ok(true));
        assert!(matches!(refused, Err(StoreError::Anew(_))), "{name}: {refused:?}");
    });
}

#[test]
fn the_highest_place_that_was_noted_is_of_the_highest_incarnation() {
    every_back_end(|name, kept| {
        let blobs = kept.blobs;
        assert_eq!(blobs.marked().unwrap(), None, "{name}");
        let place = |number, n| {
            let incarnation = Incarnation { number, id: [number as u8; 16] };
            Place { n, digest: [n as u8; 32], incarnation }
        };
        let mut highest = None;
        for (number, n) in [(1, 3), (1, 40), (2, 5), (1, 90), (2, 6)] {
            // It is put once; where calls fail, the committer's next note takes its place.
            let tried = (0..20).find(|_| blobs.mark(&place(number, n)).is_ok());
            assert!(tried.is_some(), "{name}");
            if blobs.is_shared() {
                highest = Place::higher(highest, Some(place(number, n)));
            }
            assert_eq!(blobs.marked().unwrap(), highest, "{name}");
        }
    });
}
