//! Catalogues that mean harm: nothing outside the target changes, regardless of what they say.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::PathBuf,
};

use lucid::folder::{
    EntryKind,
    target::{Options, RestoreReport, Target, TargetError},
};
use proptest::prelude::*;

use super::{Entry, entry, file, link, snapshot};

/// A target beside a folder that must stay as it is, with traps already in the target.
struct Scene {
    _all: tempfile::TempDir,
    inside: PathBuf,
    outside: PathBuf,
    before: Vec<String>,
}

impl Scene {
    fn new() -> Self {
        let all = tempfile::tempdir().unwrap();
        let (inside, outside) = (all.path().join("inside"), all.path().join("outside"));
        fs::create_dir(&inside).unwrap();
        fs::create_dir_all(outside.join("below")).unwrap();
        fs::write(outside.join("secret"), "secret").unwrap();
        fs::write(outside.join("below/x"), "x").unwrap();
        fs::set_permissions(&outside, fs::Permissions::from_mode(0o711)).unwrap();
        symlink(&outside, inside.join("out")).unwrap();
        symlink("../outside", inside.join("near")).unwrap();
        symlink(outside.join("secret"), inside.join("leak")).unwrap();
        symlink(outside.join("new"), inside.join("made")).unwrap();
        let before = snapshot(&outside);
        Self { _all: all, inside, outside, before }
    }

    fn target(&self, overwrite: bool) -> Target {
        Target::create(&self.inside, Options { overwrite, ..Options::default() }).unwrap()
    }

    #[track_caller]
    fn check(&self) {
        assert_eq!(snapshot(&self.outside), self.before);
        let beside = fs::read_dir(self.inside.parent().unwrap()).unwrap().count();
        assert_eq!(beside, 2, "something was made beside the target");
    }
}

fn give(target: &Target, entry: &Entry) -> Result<(), TargetError> {
    match entry.kind {
        EntryKind::Folder => target.folder(entry),
        EntryKind::Symlink => target.symlink(entry),
        EntryKind::HardLink => target.hard_link(entry),
        EntryKind::File if entry.length > 3 => {
            let slot = target.open_file(entry)?;
            slot.write_at(0, &vec![b'!'; usize::try_from(entry.length).unwrap()])
        }
        EntryKind::File => {
            target.small_file(entry, &vec![b'!'; usize::try_from(entry.length).unwrap()])
        }
    }
}

fn restore(scene: &Scene, overwrite: bool, entries: &[Entry]) -> (Vec<TargetError>, RestoreReport) {
    let target = scene.target(overwrite);
    let refused = entries.iter().filter_map(|entry| give(&target, entry).err()).collect();
    let report = target.finish();
    scene.check();
    (refused, report)
}

#[test]
fn names_that_lead_out_are_refused_for_every_kind() {
    for name in
        ["..", "../outside/new", "/tmp/lucid-new", "a/../../outside/new", ".", "a//b", "a/", "/"]
    {
        let name = name.as_bytes();
        let entries = [
            entry(EntryKind::Folder, name),
            file(name, b"!"),
            file(name, b"!!!!"),
            link(EntryKind::Symlink, name, b"x"),
            link(EntryKind::HardLink, name, b"x"),
            link(EntryKind::HardLink, b"fine", name),
        ];
        let (refused, report) = restore(&Scene::new(), true, &entries);
        assert_eq!(refused.len(), entries.len());
        assert!(refused.iter().all(|error| matches!(error, TargetError::Unsafe { .. })));
        assert_eq!(report.restored, Default::default());
    }
}

#[test]
fn only_a_folder_may_be_nameless() {
    let (refused, _) = restore(
        &Scene::new(),
        true,
        &[
            file(b"", b"!"),
            link(EntryKind::Symlink, b"", b"x"),
            link(EntryKind::HardLink, b"x", b""),
        ],
    );
    assert!(refused.iter().all(|error| matches!(error, TargetError::Nameless)));
    assert_eq!(refused.len(), 3);
}

#[test]
fn links_that_were_there_before_are_not_followed() {
    let entries = [
        file(b"out/secret", b"!"),
        file(b"near/below/x", b"!!!!"),
        entry(EntryKind::Folder, b"out"),
        entry(EntryKind::Folder, b"near/below"),
        file(b"leak", b"!"),
        file(b"made", b"!!!!"),
    ];
    let scene = Scene::new();
    let (refused, _) = restore(&scene, false, &entries);
    assert_eq!(refused.len(), entries.len());
    // With overwriting, the links give way, and real folders and files take their place.
    let (refused, _) = restore(&scene, true, &entries);
    assert!(refused.is_empty(), "{refused:?}");
    assert!(fs::symlink_metadata(scene.inside.join("out")).unwrap().is_dir());
    assert_eq!(fs::read(scene.inside.join("out/secret")).unwrap(), b"!");
    assert_eq!(fs::read(scene.inside.join("leak")).unwrap(), b"!");
}

#[test]
fn a_link_in_the_catalogue_does_not_lead_its_own_followers_out() {
    for overwrite in [false, true] {
        let scene = Scene::new();
        let outside = scene.outside.to_str().unwrap().as_bytes().to_vec();
        let (_, report) = restore(
            &scene,
            overwrite,
            &[
                link(EntryKind::Symlink, b"a", &outside),
                file(b"a/secret", b"!"),
                entry(EntryKind::Folder, b"a/below"),
                file(b"a/below/x", b"!!!!"),
                link(EntryKind::Symlink, b"b", b".."),
                link(EntryKind::Symlink, b"b/c", b"x"),
                link(EntryKind::HardLink, b"d", b"b/outside/secret"),
                link(EntryKind::Symlink, b"e", &outside),
                link(EntryKind::HardLink, b"e/stolen", b"a/secret"),
            ],
        );
        assert!(fs::symlink_metadata(scene.inside.join("a")).unwrap().is_dir());
        assert!(!scene.inside.join("d").exists());
        assert!(report.refused.total() == 4, "{report:?}");
    }
}

#[test]
fn hard_links_lead_only_to_what_was_restored() {
    let scene = Scene::new();
    fs::write(scene.inside.join("mine"), "mine").unwrap();
    let (refused, report) = restore(
        &scene,
        true,
        &[
            link(EntryKind::HardLink, b"1", b"out/secret"),
            link(EntryKind::HardLink, b"2", b"leak"),
            link(EntryKind::HardLink, b"3", b"mine"),
            link(EntryKind::HardLink, b"4", b"missing"),
            file(b"real", b"!"),
            link(EntryKind::HardLink, b"real", b"real"),
            link(EntryKind::HardLink, b"good", b"real"),
            link(EntryKind::HardLink, b"better", b"good"),
        ],
    );
    assert!(refused.is_empty());
    assert_eq!(report.refused.total(), 5, "{:?}", report.refused);
    assert!(
        report.refused.first.iter().all(|error| matches!(error, TargetError::NoSuchFile { .. }))
    );
    assert_eq!(fs::metadata(scene.inside.join("real")).unwrap().nlink(), 3);
    assert_eq!(fs::metadata(scene.inside.join("mine")).unwrap().nlink(), 1);
}

#[test]
fn the_same_name_twice_is_refused_the_second_time() {
    let scene = Scene::new();
    let (refused, _) = restore(
        &scene,
        false,
        &[file(b"a", b"!"), file(b"a", b"!!"), file(b"a/b", b"!"), entry(EntryKind::Folder, b"a")],
    );
    assert!(matches!(refused[0], TargetError::Exists { .. }));
    assert!(matches!(refused[1], TargetError::NotAFolder { .. }));
    assert!(matches!(refused[2], TargetError::NotAFolder { .. }));
    assert_eq!(fs::read(scene.inside.join("a")).unwrap(), b"!");
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let part = prop::sample::select(vec![
        "a", "b", "out", "near", "leak", "made", "secret", "below", "..", "", "x",
    ]);
    let path = prop::collection::vec(part, 1..4).prop_map(|parts| parts.join("/").into_bytes());
    let text = prop::sample::select(vec![
        "..",
        "../outside",
        "../outside/secret",
        "a",
        "/tmp",
        "out",
        "x/../..",
    ]);
    let kind = prop::sample::select(vec![
        EntryKind::Folder,
        EntryKind::File,
        EntryKind::Symlink,
        EntryKind::HardLink,
    ]);
    (path.clone(), path, text, kind, 0_u64..6, 0_u32..0o10000).prop_map(
        |(path, first, text, kind, length, mode)| Entry {
            target: if kind == EntryKind::HardLink { first } else { text.as_bytes().to_vec() },
            length: if kind == EntryKind::File { length } else { 0 },
            // Otherwise a user who is not root cannot clean up.
            mode: mode | 0o700,
            ..entry(kind, &path)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn no_catalogue_changes_anything_outside(
        entries in prop::collection::vec(any_entry(), 1..25),
        overwrite: bool,
    ) {
        let scene = Scene::new();
        restore(&scene, overwrite, &entries);
        // Once more, over the links that the first round made.
        restore(&scene, true, &entries);
    }
}
