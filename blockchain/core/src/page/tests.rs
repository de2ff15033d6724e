//! Pages are written in one pass, found again from the root, and believed only when sound.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

fn write(map: &Map) -> Vec<Vec<u8>> {
    let mut writer = PageWriter::new();
    let mut pages = Vec::new();
    for (key, value) in map {
        pages.extend(writer.push(key, value).unwrap());
    }
    pages.extend(writer.finish().unwrap());
    pages
}

fn loader<'a>(pages: &'a [Vec<u8>]) -> impl FnMut(u32) -> Result<&'a [u8], String> {
    move |ordinal| {
        pages.get(ordinal as usize).map(Vec::as_slice).ok_or_else(|| format!("no page {ordinal}"))
    }
}

fn root(pages: &[Vec<u8>]) -> u32 {
    pages.len() as u32 - 1
}

fn many(count: u32, value: usize) -> Map {
    (0..count).map(|i| (format!("key/{i:08}").into_bytes(), vec![i as u8; value])).collect()
}

fn check_all(map: &Map) {
    let pages = write(map);
    for (ordinal, bytes) in pages.iter().enumerate() {
        let page = Page::decode(bytes).unwrap();
        assert_eq!(page.ordinal() as usize, ordinal);
        assert!(bytes.len() <= CHUNK_BYTES_MAX);
    }
    for (key, value) in map {
        let hit = find(root(&pages), key, loader(&pages)).unwrap().unwrap();
        assert_eq!(&hit.value, value);
        let page = Page::decode(&pages[hit.ordinal as usize]).unwrap();
        assert_eq!(page.get(key), Some(value.as_slice()));
    }
    let mut seen = Map::new();
    scan(root(&pages), b"", loader(&pages), |_, key, value| {
        seen.insert(key.to_vec(), value.to_vec());
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(&seen, map);
}

#[test]
fn an_empty_appendix_is_one_empty_page() {
    let pages = write(&Map::new());
    assert_eq!(pages.len(), 1);
    assert_eq!(pages[0], [b"LPG1".as_slice(), &[0; 9]].concat());
    assert_eq!(find(0, b"a", loader(&pages)).unwrap(), None);
    check_all(&Map::new());
}

#[test]
fn entries_are_found_over_several_levels() {
    check_all(&many(1, 10));
    check_all(&many(3_000, 100));
    let deep = many(1_200, 65_000);
    let pages = write(&deep);
    assert_eq!(Page::decode(pages.last().unwrap()).unwrap().level(), 1);
    check_all(&many(300, 0));
}

#[test]
fn long_keys_still_come_to_one_root() {
    let map: Map = (0..9u8).map(|i| ([vec![i], vec![b'x'; 700_000]].concat(), vec![i])).collect();
    let pages = write(&map);
    assert_eq!(Page::decode(pages.last().unwrap()).unwrap().level(), 4);
    check_all(&map);
}

#[test]
fn an_oversized_entry_has_a_page_of_its_own() {
    let mut map = many(3, 10);
    map.insert(b"key/00000001x".to_vec(), vec![1; 200_000]);
    let pages = write(&map);
    let counts: Vec<usize> =
        pages.iter().map(|bytes| Page::decode(bytes).unwrap().entries().len()).collect();
    assert_eq!(counts, [2, 1, 1, 0]);
    check_all(&map);
    let mut writer = PageWriter::new();
    assert!(matches!(
        writer.push(b"a", &vec![0; CHUNK_BYTES_MAX]),
        Err(PageFault::EntryTooLarge { .. })
    ));
}

#[test]
fn a_page_is_filled_to_its_last_byte_and_no_further() {
    // Magic, level, ordinal and count take 13 bytes, and the two lengths of an entry 8.
    let two = |second: usize| {
        Map::from([(b"a".to_vec(), vec![1; 30_000]), (b"b".to_vec(), vec![2; second])])
    };
    let room = (64 << 10) - 13 - (8 + 1 + 30_000) - (8 + 1);
    let pages = write(&two(room));
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [64 << 10]);
    check_all(&two(room));
    assert_eq!(write(&two(room + 1)).len(), 3);
    // A page that is filled further is refused.
    let mut longer = Writer::new();
    longer.raw(&MAGIC).u8(0).u32(0).u32(2);
    two(room + 1).iter().for_each(|(key, value)| {
        longer.bytes(key).bytes(value);
    });
    let fault = Page::decode(&longer.finish()).unwrap_err();
    assert_eq!(fault, PageFault::Unsound { ordinal: 0, rule: "it is too long" });
}

#[test]
fn an_index_is_filled_to_its_last_byte_and_no_further() {
    // Three keys, each with a length and an ordinal, behind the 13 bytes of the header.
    let key = ((64 << 10) - 13 - 3 * 8) / 3;
    let three = |last: usize| -> Map {
        let keys = [vec![b'a'; key], vec![b'b'; key], vec![b'c'; last]];
        keys.into_iter().map(|key| (key, vec![0; 30_000])).collect()
    };
    let pages = write(&three(key));
    assert_eq!(pages.len(), 4);
    assert_eq!(pages[3].len(), 64 << 10);
    let index = Page::decode(&pages[3]).unwrap();
    let keys: Vec<Vec<u8>> = three(key).into_keys().collect();
    assert_eq!(index.children(), [(&keys[0][..], 0), (&keys[1][..], 1), (&keys[2][..], 2)]);
    // Two indexes, and one over them.
    assert_eq!(write(&three(key + 1)).len(), 6);
    check_all(&three(key + 1));
}

#[test]
fn an_entry_is_as_long_as_a_chunk_allows() {
    let mut writer = PageWriter::new();
    let fault = writer.push(&vec![b'a'; KEY_BYTES_MAX + 1], b"");
    assert_eq!(fault, Err(PageFault::EntryTooLarge { bytes: 8 + KEY_BYTES_MAX + 1 }));
    assert_eq!(writer.push(&vec![b'a'; KEY_BYTES_MAX], b""), Ok(None));
    assert_eq!(writer.pages(), 0);
    let room = CHUNK_BYTES_MAX - 13 - 8 - 1;
    assert!(writer.push(b"b", &vec![0; room]).unwrap().is_some());
    assert_eq!(writer.pages(), 1);
    let fault = writer.push(b"c", &vec![0; room + 1]);
    assert_eq!(fault, Err(PageFault::EntryTooLarge { bytes: CHUNK_BYTES_MAX - 13 + 1 }));
    assert_eq!(writer.finish().unwrap()[0].len(), CHUNK_BYTES_MAX);
}

#[test]
fn keys_that_do_not_ascend_are_refused() {
    let mut writer = PageWriter::new();
    writer.push(b"b", b"").unwrap();
    assert!(matches!(writer.push(b"b", b""), Err(PageFault::Order { .. })));
    assert!(matches!(writer.push(b"a", b""), Err(PageFault::Order { .. })));
}

#[test]
fn a_floor_is_the_greatest_key_not_above() {
    let map = many(2_000, 100);
    let pages = write(&map);
    let floor = |key: &[u8]| find_floor(root(&pages), key, loader(&pages)).unwrap();
    assert_eq!(floor(b"a"), None);
    assert_eq!(floor(b"zzz").unwrap().key, b"key/00001999");
    assert_eq!(floor(b"key/00001234x").unwrap().key, b"key/00001234");
}

#[test]
fn a_prefix_is_scanned_and_no_page_beyond_it() {
    let map = many(5_000, 100);
    let pages = write(&map);
    let mut loads = 0;
    let mut seen = Vec::new();
    scan_prefix(
        root(&pages),
        b"key/0000123",
        |ordinal| {
            loads += 1;
            loader(&pages)(ordinal)
        },
        |_, key, _| {
            seen.push(key.to_vec());
            ControlFlow::Continue(())
        },
    )
    .unwrap();
    assert_eq!(seen.len(), 10);
    assert!(loads <= 4, "{loads}");
}

#[test]
fn a_misplaced_page_is_noticed() {
    let mut pages = write(&many(3_000, 100));
    pages.swap(0, 1);
    let found = find(root(&pages), b"key/00000000", loader(&pages));
    assert!(matches!(
        found,
        Err(PageWalkError::Page(PageFault::Misplaced { wanted: 0, found: 1, .. }))
    ));
    let missing = find(99, b"a", loader(&pages));
    assert!(matches!(missing, Err(PageWalkError::Load(_))));
}

#[test]
fn unsound_pages_are_refused() {
    let page = |level: u8, ordinal: u32, count: u32, body: &[u8]| {
        let mut w = Writer::new();
        w.raw(&MAGIC).u8(level).u32(ordinal).u32(count).raw(body);
        w.finish()
    };
    let entry = |key: &[u8]| {
        let mut w = Writer::new();
        w.bytes(key).bytes(b"v");
        w.finish()
    };
    let child = |key: &[u8], child: u32| {
        let mut w = Writer::new();
        w.bytes(key).u32(child);
        w.finish()
    };
    assert!(Page::decode(&page(0, 3, 1, &entry(b"a"))).is_ok());
    assert!(Page::decode(&page(1, 3, 2, &[child(b"a", 1), child(b"b", 2)].concat())).is_ok());
    let long = entry(&[b'k'; 40_000]);
    for (why, bytes) in [
        ("an empty page that is not the only one", page(0, 1, 0, &[])),
        ("an empty index", page(1, 0, 0, &[])),
        ("equal keys", page(0, 0, 2, &[entry(b"a"), entry(b"a")].concat())),
        ("falling keys", page(0, 0, 2, &[entry(b"b"), entry(b"a")].concat())),
        ("a gap", page(1, 9, 2, &[child(b"a", 1), child(b"b", 3)].concat())),
        ("itself as a child", page(1, 2, 2, &[child(b"a", 1), child(b"b", 2)].concat())),
        ("too few", page(0, 0, 2, &entry(b"a"))),
        ("too many", page(0, 0, 0, &entry(b"a"))),
        ("a count without bytes", page(0, 0, u32::MAX, &[])),
        ("two long entries", page(0, 0, 2, &[long.clone(), [&long[..], b""].concat()].concat())),
        ("another magic", vec![0; 13]),
    ] {
        assert!(Page::decode(&bytes).is_err(), "{why}");
    }
}

// Frozen: a page is a chunk, so any other encoding would change the roots of unchanged folders.
#[test]
fn pages_are_frozen() {
    let vectors = include_str!("../../tests/vectors/pages.txt");
    let pages = write(&many(1_500, 100));
    let mut found = format!("small {}\n", hex::encode(&write(&many(2, 3))[0]));
    for (ordinal, page) in pages.iter().enumerate() {
        found += &format!("{ordinal} {} {}\n", page.len(), blake3::hash(page));
    }
    found += &format!("root {}\n", hex::encode(pages.last().unwrap()));
    assert!(vectors.ends_with(&found), "{found}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn any_map_reads_back(
        map in proptest::collection::btree_map(
            proptest::collection::vec(any::<u8>(), 0..40),
            proptest::collection::vec(any::<u8>(), 0..3_000),
            0..120,
        )
    ) {
        check_all(&map);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), level in 0u8..3) {
        let _ = Page::decode(&bytes);
        let framed = [&MAGIC, &[level][..], &bytes].concat();
        let _ = Page::decode(&framed);
    }

    #[test]
    fn every_cut_of_a_page_is_refused(count in 1u32..40) {
        let page = &write(&many(count, 5))[0];
        for cut in 0..page.len() {
            prop_assert!(Page::decode(&page[..cut]).is_err());
        }
    }
}
