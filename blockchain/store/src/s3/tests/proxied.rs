//! What is lost, repeated, delayed or refused between a store and its bucket, over the driver's own connections: no
//! unit is called damaged for what a network does, nothing that was put is lost, and what comes late harms nothing.

use super::*;
use crate::proxy::http::HttpWire;
use crate::proxy::plan::{Tried, seeds};
use crate::proxy::{Fault as Met, Proxy};
use crate::s3::scripted::ScriptedBucket;

/// What is met on the way to a bucket in suites whose every call has to come to a good end.
const ON_THE_WAY: [Met; 11] = [
    Met::Cut,
    Met::CutInRequest,
    Met::ReplyLost,
    Met::CutInReply,
    Met::Repeated,
    Met::RepeatedLater,
    Met::Stalled,
    Met::StalledDone,
    Met::Late,
    Met::SlowDown,
    Met::SlowDown,
];

/// What is stalled is tried again after a second; how long all of it may take is a matter of the machine.
const SOON: Patience = Patience { attempt: Duration::from_secs(1), ..PATIENT };

/// A server behind a proxy.
struct Proxied {
    name: &'static str,
    proxy: Proxy,
    /// The way through the proxy.
    settings: Settings,
    /// The way around it.
    direct: Settings,
    /// The scripted one, if it is that.
    scripted: Option<ScriptedBucket>,
}

impl Proxied {
    fn before(name: &'static str, at: std::net::SocketAddr, direct: Settings) -> Self {
        let proxy = Proxy::before(at, HttpWire);
        // What a request is signed for is where its sender thinks the server is, which no server of ours minds.
        let settings =
            Settings { endpoint: format!("http://{}", proxy.address()), ..direct.clone() };
        Self { name, proxy, settings, direct, scripted: None }
    }

    fn scripted() -> Self {
        provide();
        let server = ScriptedBucket::start();
        let direct = plain(format!("http://{}", server.address()));
        let mut proxied =
            Self::before("a scripted server, through a proxy", server.address(), direct);
        proxied.scripted = Some(server);
        proxied
    }

    /// Each server that there is, behind a proxy; none that is reached by TLS, which a proxy cannot read.
    fn all() -> Vec<Self> {
        use std::net::ToSocketAddrs as _;
        let real = server().and_then(|mut direct| {
            let at = direct.endpoint.strip_prefix("http://")?.trim_end_matches('/').to_owned();
            direct.prefix = format!("lucid-tests/{}", hex::encode(random::<8>().unwrap()));
            let at = at.to_socket_addrs().unwrap().next().unwrap();
            Some(Self::before("a real server, through a proxy", at, direct))
        });
        [Some(Self::scripted()), real.filter(|real| real.direct.path_style)]
            .into_iter()
            .flatten()
            .collect()
    }

    fn open(&self, patience: Patience) -> S3Blobs {
        let driver = Driver::start().unwrap();
        let bucket = opening::connect_within(&self.settings, driver, patience).unwrap();
        S3Blobs::over(bucket, STORE).unwrap()
    }

    /// The bucket as it is.
    fn bucket(&self) -> Bucket {
        opening::connect_within(&self.direct, Driver::start().unwrap(), PATIENT).unwrap()
    }

    fn objects(&self) -> usize {
        self.bucket().list(FOLDER, None).unwrap().len()
    }
}

impl Drop for Proxied {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.proxy.rest();
        let bucket = self.bucket();
        for folder in [FOLDER, numbers::FOLDER, "probe"] {
            for (name, _) in bucket.list(folder, None).unwrap() {
                bucket.delete(folder, &name).unwrap();
            }
        }
    }
}

fn plain(endpoint: String) -> Settings {
    Settings {
        endpoint,
        bucket: "vault".into(),
        region: String::new(),
        prefix: PREFIX.into(),
        access_key: "KEY".into(),
        secret_key: "hunter2".to_owned().into(),
        path_style: true,
        deadline: Duration::from_secs(60),
    }
}

/// Tries the chunks of a store over HTTP: on a scripted server, and through a proxy on each server that there is.
pub(crate) fn over_http(test: impl Fn(&str, S3Blobs)) {
    let server = Proxied::scripted();
    let bucket = opening::connect(&server.direct, Driver::start().unwrap()).unwrap();
    test("objects on a scripted server", S3Blobs::over(bucket, STORE).unwrap());
    for seed in seeds() {
        for server in Proxied::all() {
            let name = format!("objects on {}, seed {seed}", server.name);
            let _tried = Tried(name.clone());
            server.proxy.draw(seed, &ON_THE_WAY);
            test(&name, server.open(SOON));
            server.proxy.rest();
            server.proxy.settle();
            server.proxy.assert_right();
        }
    }
}

/// A chunk whose body is longer than what is read of a connection at once.
fn large() -> Record {
    let mut bytes = vec![0; 1 << 20];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    Record::plain(crate::frame::RecordKind::Chunk, [9; 32], bytes).unwrap()
}

#[test]
fn whatever_a_call_meets_it_is_made_again_and_comes_to_its_end() {
    for server in Proxied::all() {
        for met in ON_THE_WAY {
            let blobs = server.open(SOON);
            let before = blobs.numbers().unwrap();
            for name in ["PUT", "GET", "LIST", "DELETE"] {
                server.proxy.next(name, "", met);
                server.proxy.next(name, "", met);
            }
            let mut records = [large(), chunk(1).1];
            let written = blobs.write(&mut records).unwrap();
            blobs.settle(&written).unwrap();
            blobs.end(false).unwrap();
            for ((name, place), record) in written.places.iter().zip(&records) {
                let (_, payload) = blobs.read(name, place).unwrap();
                assert_eq!(payload, record.payload, "{}, {met:?}", server.name);
            }
            let unit = written.extent.unit;
            let again = server.open(SOON);
            assert_eq!(again.numbers().unwrap(), [before, vec![unit]].concat(), "{met:?}");
            assert_eq!(again.places(&written.extent).unwrap(), written.places, "{met:?}");
            again.remove(&[unit]).unwrap();
            assert_eq!(server.proxy.rest(), 8, "{}, {met:?}", server.name);
            drop((blobs, again));
            server.proxy.settle();
            // What was put once more when it had been removed is named by nothing, and in the way of nothing.
            let is_back = server.open(SOON).numbers().unwrap().contains(&unit);
            assert!(!is_back || matches!(met, Met::RepeatedLater | Met::Late), "{met:?}");
        }
        server.proxy.assert_right();
    }
}

#[test]
fn a_put_that_comes_when_it_was_given_up_counts_for_nothing() {
    for server in Proxied::all() {
        let blobs = server.open(Patience { tries: 2, ..SOON });
        let kept = keep(&blobs, &[1]);
        server.proxy.next("PUT", FOLDER, Met::Held);
        server.proxy.next("PUT", FOLDER, Met::Held);
        let written = write(&blobs, &[2]);
        let settled = blobs.settle(&written);
        // No commit names it, nor ever will: so that surely did not happen.
        assert!(matches!(settled, Err(CommitError::Failed(_))), "{}: {settled:?}", server.name);
        blobs.take_back(&written).unwrap();
        let next = keep(&blobs, &[3]);
        assert_eq!((server.proxy.release(), server.objects()), (2, 3), "{}", server.name);
        assert!(is_damage(&reads(&blobs, &written)), "{}", server.name);
        let again = server.open(SOON);
        for written in [&kept, &next] {
            reads(&blobs, written).unwrap();
            reads(&again, written).unwrap();
        }
        let later = keep(&again, &[4]);
        assert!(later.extent.unit > next.extent.unit && next.extent.unit > written.extent.unit);
    }
}

#[test]
fn what_was_removed_may_be_put_or_deleted_once_more_at_any_time() {
    for server in Proxied::all() {
        let blobs = server.open(SOON);
        let (gone, kept) = (keep(&blobs, &[1, 2]), keep(&blobs, &[3]));
        let puts = server.proxy.seen("PUT", FOLDER);
        blobs.remove(&[gone.extent.unit]).unwrap();
        let deletes = server.proxy.seen("DELETE", FOLDER);
        assert_eq!((puts.len(), deletes.len(), server.objects()), (2, 1, 1), "{}", server.name);
        for put in &puts {
            assert!(server.proxy.again(put).starts_with(b"HTTP/1.1 200"), "{}", server.name);
        }
        assert_eq!(server.objects(), 2, "{}", server.name);
        assert!(is_damage(&reads(&blobs, &gone)), "it was removed");
        let again = server.open(SOON);
        reads(&blobs, &kept).unwrap();
        reads(&again, &kept).unwrap();
        let next = keep(&again, &[4]);
        assert!(next.extent.unit > kept.extent.unit && next.extent.unit > gone.extent.unit);
        for delete in &deletes {
            server.proxy.again(delete);
        }
        assert_eq!(server.objects(), 2, "{}", server.name);
        reads(&again, &kept).unwrap();
        reads(&again, &next).unwrap();
    }
}

#[test]
fn an_object_that_is_not_found_is_unavailable_and_never_called_damaged_for_it() {
    for server in Proxied::all() {
        let blobs = server.open(SOON);
        let written = keep(&blobs, &[1, 2]);
        for _ in 0..3 {
            server.proxy.next("GET", FOLDER, Met::NotFound);
            let read = reads(&blobs, &written);
            assert!(is_unavailable(&read), "{}: {read:?}", server.name);
            let why = read.unwrap_err().to_string();
            assert!(why.contains("the object is not there now"), "{why}");
            // Looked for twice in a row is once: only hours apart it is missed.
            server.proxy.next("GET", FOLDER, Met::NotFound);
            let looked = blobs.contents(written.extent.unit, 0);
            assert!(is_unavailable(&looked), "{}: {looked:?}", server.name);
        }
        reads(&blobs, &written).unwrap();
        assert!(blobs.contents(written.extent.unit, 0).unwrap().unwrap().damage.is_empty());
    }
}

#[test]
fn a_bucket_that_only_asks_for_fewer_requests_is_unavailable_and_loses_nothing() {
    for server in Proxied::all() {
        let blobs = server.open(Patience { tries: 3, ..SOON });
        let kept = keep(&blobs, &[1]);
        (0..3).for_each(|_| server.proxy.next("PUT", FOLDER, Met::SlowDown));
        let written = write(&blobs, &[2]);
        let refused = blobs.settle(&written).unwrap_err();
        assert!(!refused.maybe_applied(), "{refused}");
        assert!(refused.to_string().contains("it asks for fewer requests"), "{refused}");
        blobs.take_back(&written).unwrap();
        (0..3).for_each(|_| server.proxy.next("GET", FOLDER, Met::SlowDown));
        let read = reads(&blobs, &kept);
        assert!(is_unavailable(&read), "{}: {read:?}", server.name);
        reads(&blobs, &kept).unwrap();
        let unnamed = format!("{FOLDER}/{:016x}", written.extent.unit);
        let there = server.scripted.as_ref().map_or(0, |it| it.names(&unnamed).len());
        assert_eq!((server.objects(), there), (1, 0), "{}", server.name);
    }
}
