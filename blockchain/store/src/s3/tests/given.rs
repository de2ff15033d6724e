//! Numbers of units: none is given twice, and none beyond the last.

use std::collections::BTreeSet;

use super::*;

#[test]
fn numbers_are_never_given_twice_by_any_number_of_processes() {
    let objects = nothing();
    let mut all = BTreeSet::new();
    let given: Vec<u32> = std::thread::scope(|scope| {
        let one = || {
            let blobs = in_objects(objects.clone());
            let numbers = (0..3).map(|number| {
                keep(&blobs, &[number]);
                blobs.begin(0, Origin::default()).unwrap().number() & !numbers::MADE
            });
            let made: Vec<u32> = numbers.collect();
            [made, blobs.numbers().unwrap()].concat()
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(one)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let written = in_objects(objects.clone()).numbers().unwrap();
    assert_eq!(written.len(), 12, "each has an object of its own");
    all.extend(given.iter().copied().filter(|number| !written.contains(number)));
    assert_eq!(all.len(), 12, "{given:?}");
    // More than were taken at once, and behind what a log says.
    let blobs = in_objects(objects.clone());
    let behind = blobs.begin(numbers::MADE | 1_000_000, Origin::default()).unwrap().number();
    assert!(behind > numbers::MADE | 1_000_000);
    let next = write(&blobs, &[1]).extent.unit;
    assert!(next > 1_000_000);
    assert!(write(&in_objects(objects), &[1]).extent.unit > next);
}

#[test]
fn the_last_number_is_refused_in_a_sentence_before_it_is_given() {
    let objects = nothing();
    let blobs = in_objects(objects.clone());
    let last = numbers::MADE - 1;
    let kept = keep(&blobs, &[1]);
    let Err(refused) = blobs.begin(numbers::MADE | last, Origin::default()) else {
        panic!("there is no such number")
    };
    let said = refused.to_string();
    assert!(
        said.contains("has had 2147483647 units") && said.contains(": begin another"),
        "{said}"
    );
    // Nothing is taken by that, and what there is goes on.
    assert!(keep(&blobs, &[2]).extent.unit > kept.extent.unit);
    let near = blobs.begin(numbers::MADE | (last - 4_000), Origin::default()).unwrap().number();
    assert!(near > numbers::MADE | (last - 4_000));
    let reopen = |_| S3Blobs::over(bucket(&objects, PATIENT), STORE).map(drop);
    let reopened: Vec<_> = (0..4).map(reopen).collect();
    let Some(Err(refused)) = reopened.last() else { panic!("all numbers were taken") };
    assert!(
        refused.to_string().contains("which is all that one store can tell apart"),
        "{refused}"
    );
    reads(&blobs, &kept).unwrap();
}

#[test]
fn what_others_take_while_a_bucket_is_opened_is_no_failure() {
    for _ in 0..50 {
        let objects = nothing();
        in_objects(objects.clone());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| in_objects(objects.clone()));
            }
        });
    }
}
