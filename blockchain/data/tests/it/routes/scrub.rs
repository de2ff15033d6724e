//! Reading stored bytes again over HTTP.

use lucid_api::v1::scrub::{FindingState, Scrub};

use crate::sample::noise;
use crate::service::Service;

fn scrubbed(service: &Service, round: u64) -> Scrub {
    service.client.begin_scrub().unwrap();
    service.wait(|| {
        let shown = service.client.scrub().unwrap();
        (shown.complete && shown.round == round).then_some(shown)
    })
}

#[test]
fn damage_is_found_listed_and_healed_by_the_same_content() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    assert_eq!(service.client.scrub().unwrap().round, 0);
    let content = noise(1, 200_000);
    service.begin("s");
    service.add("s", 0, &[&content]);
    let sound = scrubbed(&service, 1);
    assert!(sound.damage.is_empty() && sound.bytes > 200_000, "{sound:?}");
    service.stop();

    let path = folder.path().join("chunks/00000001.seg");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let service = Service::start(folder.path());
    let damaged = scrubbed(&service, 2);
    assert_eq!(damaged.damage.len(), 1, "{damaged:?}");
    assert_eq!(damaged.damage[0].file, "chunks/00000001.seg");
    assert_eq!(damaged.damage[0].state, FindingState::Quarantined);
    service.client.put_chunks([content.as_slice()]).unwrap();
    assert_eq!(service.client.scrub().unwrap().damage[0].state, FindingState::Healed);
    assert!(service.client.verify_session("s", None).unwrap().verified);
}
