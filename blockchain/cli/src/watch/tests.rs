use lucid_data_chain::ops::error::OpError;
use lucid_store::StoreError;
use lucid_store::error::CommitError;

use super::*;
use crate::cmd::Home;
use crate::place::local::Local;

#[test]
fn a_store_of_this_process_that_stopped_writing_ends_it_and_other_failures_do_not() {
    let room = tempfile::tempdir().unwrap();
    let folder = room.path().join("recordings");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("file"), "content").unwrap();
    let home = Home {
        data: room.path().join("store"),
        server: None,
        limit_upload: None,
        limit_download: None,
        key_file: None,
        token_file: None,
        ca: None,
        pin: None,
        passphrase_file: None,
        profile: None,
        expected: None,
        blocks: None,
        reserve: None,
        read_only: false,
        reading: None,
        beside: false,
        typed: None,
        heard: Default::default(),
        given: Default::default(),
    };
    let place = Local::create(&home, "watch", &crate::cmd::clock(), true).unwrap();
    let plan = WatchPlan {
        folder: folder.clone(),
        not: Vec::new(),
        naming: "{path}-{tail}".parse().unwrap(),
        group_by: None,
        user: String::new(),
        metadata: BTreeMap::new(),
        source: Source::default(),
        idle: Duration::ZERO,
        interval: Duration::ZERO,
        polls: true,
        once: true,
        clock: Clock::system(),
    };
    let spool = Spool::open(&room.path().join("spool")).unwrap();
    let storage = StorageOptions::default();
    let mut watcher = Watcher::start(&place, storage, plan, spool).unwrap();
    let file = files::scan(&folder, &[], &mut |_| ()).unwrap().files.remove(0).identity;
    let mut fail = |error: OpError| {
        watcher.attempt(file, "file", &mut |_, _| (), |_| {
            Err(anyhow::Error::from(error).context("while it was sent"))
        })
    };
    let commit = CommitError::Broken("the disk is gone".to_owned());
    let stored = StoreError::Commit { what: "a piece", error: commit.clone() };
    for stopped in [OpError::from(commit), OpError::from(stored)] {
        let ended = format!("{:#}", fail(stopped).unwrap_err());
        assert!(ended.contains("stopped writing") && ended.contains("start"), "{ended}");
    }
    assert!(fail(OpError::from(CommitError::Failed("no room".to_owned()))).unwrap());
}
