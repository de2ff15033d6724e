//! Logs that keep snapshots: what is put is there, what is announced is where reading begins, and what is hollow is not
//! followed and not written over.

use super::*;
use crate::contract::fact_log::Place;
use crate::contract::fact_log::snapshot::{Piece, PieceId, Remains, Snapshot};

impl Tried {
    fn numbered(&self) -> Place {
        self.log.place(&self.at).unwrap().unwrap()
    }
}

/// A piece with one fact, as of this commit, and a chunk.
fn piece(n: u64, text: &str, number: u8) -> Vec<u8> {
    let place = crate::contract::blobs::Placement {
        unit: 1,
        offset: u64::from(number),
        stored_length: 1,
        plain_length: 1,
        encrypted: false,
    };
    Remains { n, facts: vec![fact(text)], places: vec![(chunk(number).0, place)] }.encode()
}

fn snapshot(number: u64, place: Place, pieces: Vec<Piece>) -> Snapshot {
    Snapshot { number, place, rows: [number as u8; 32], pieces }
}

#[test]
fn pieces_are_there_as_they_were_put_until_they_are_removed_by_their_names() {
    every_back_end(|name, kept| {
        let Some(snapshots) = kept.log.snapshots() else { return };
        let ids: [PieceId; 3] = [[1; 16], [2; 16], [3; 16]];
        let contents: [Vec<u8>; 3] = [vec![7; 100_000], vec![8; 5], Vec::new()];
        let mut put = Vec::new();
        for (id, content) in ids.iter().zip(&contents) {
            let piece = snapshots.put(id, content).unwrap();
            let digest = *blake3::hash(content).as_bytes();
            assert_eq!(piece, Piece { id: *id, digest, bytes: content.len() as u64 }, "{name}");
            put.push(piece);
        }
        for (piece, content) in put.iter().zip(&contents) {
            assert_eq!(snapshots.piece(piece).unwrap(), *content, "{name}");
            let other = snapshots.piece(&Piece { digest: [0; 32], ..*piece });
            assert!(matches!(other, Err(StoreError::Damaged(_))), "{name}: {other:?}");
        }
        snapshots.remove(&[ids[0], [9; 16]]).unwrap();
        assert!(matches!(snapshots.piece(&put[0]), Err(StoreError::Damaged(_))), "{name}");
        assert_eq!(snapshots.piece(&put[1]).unwrap(), contents[1], "{name}");
        // Nothing of that is in the log.
        assert_eq!((kept.facts(), snapshots.kept().unwrap()), (Vec::new(), Vec::new()), "{name}");
    });
}

#[test]
fn a_log_is_read_from_its_newest_snapshot_on_and_hollow_commits_keep_their_numbers() {
    every_back_end(|name, mut kept| {
        let log = kept.log.clone();
        let Some(snapshots) = log.snapshots() else { return };
        let mut places = vec![kept.at.clone()];
        for number in 1..=8_u8 {
            kept.commits(&[&format!("fact {number}")], &[number]);
            places.push(kept.at.clone());
        }
        let numbered = |n: usize| log.place(&places[n]).unwrap().unwrap();
        let pieces: Vec<Piece> = [(1, "one", 1), (2, "two", 2)]
            .map(|(n, text, number)| snapshots.put(&[number; 16], &piece(n, text, number)).unwrap())
            .to_vec();
        let made = [
            snapshot(1, numbered(2), pieces[..1].to_vec()),
            snapshot(2, numbered(4), pieces.clone()),
            snapshot(3, numbered(6), pieces),
        ];
        for (at, one) in made.iter().enumerate() {
            snapshots.announce(one).unwrap();
            // Twice is once, and another of its number is none.
            snapshots.announce(&Snapshot { rows: [99; 32], ..one.clone() }).unwrap();
            let newest: Vec<Snapshot> = made[..=at].iter().rev().take(2).cloned().collect();
            assert_eq!(snapshots.kept().unwrap(), newest, "{name}");
        }
        let from_snapshot = ["one", "two", "fact 7", "fact 8"];
        assert_eq!(kept.facts(), from_snapshot, "{name}");
        let all = kept.behind_told(None);
        assert_eq!(all.last().map(|(_, place)| place.clone()), places.last().cloned(), "{name}");
        // Whoever stands anywhere is not led into the snapshot.
        assert_eq!(kept.behind(Some(&places[0])).len(), 8, "{name}");

        assert_eq!(snapshots.hollow(0, &made[1].place).unwrap(), 4, "{name}");
        assert_eq!(snapshots.hollow(0, &made[1].place).unwrap(), 0, "{name}: again");
        assert_eq!(kept.facts(), from_snapshot, "{name}");
        for (n, place) in places.iter().enumerate() {
            let shown = kept.log.replay(Some(place), &mut |_, _| Ok(true));
            match n < 4 {
                true => assert!(matches!(shown, Err(StoreError::Anew(_))), "{name} {n}: {shown:?}"),
                false => assert!(shown.unwrap(), "{name} {n}"),
            }
            // The digest is still there, and the number still taken.
            if n > 0 {
                assert_eq!(kept.log.has(&numbered(n)).unwrap(), Some(true), "{name} {n}");
            }
            if n < 8 {
                let late = kept.log.commit(place, &mut [fact("late")], None);
                assert_eq!(late.unwrap(), Appended::Overtaken, "{name} {n}");
            }
        }
        let mut read_again = 0;
        let end = kept.log.reread((0, 0), &mut |found| {
            assert!(matches!(found, Reread::Record { .. }), "{name}: {found:?}");
            read_again += 1;
            Ok(true)
        });
        assert_eq!((end.unwrap(), read_again), (None, 4), "{name}");
        kept.commits(&["nine"], &[]);
        assert_eq!(kept.numbered().n, 9, "{name}");
    });
}

impl Tried {
    /// What is there behind a place, where commits say where their chunks are: of every commit how many chunks it
    /// names, and the place behind it.
    fn behind_told(&self, place: Option<&Position>) -> Vec<(usize, Position)> {
        let mut all = Vec::new();
        let shown = self.log.replay(place, &mut |found, passed| {
            assert!(passed.done <= passed.total);
            if let Replayed::Commit { places, position, .. } = found {
                all.push((places.map_or(0, |places| places.len()), position));
            }
            Ok(true)
        });
        assert!(shown.unwrap());
        all
    }
}
