//! What `/metrics` shows of every service.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use lucid_http::porch::Porch;

use crate::server::Server;

#[tokio::test]
async fn every_figure_is_described_once_and_has_its_lines() {
    let server = Server::start(&[]).await;
    server.get("/json").await;
    let page = server.get("/metrics").await;
    assert_eq!(page.header("content-type"), Some("text/plain; version=0.0.4"));
    let page = page.text();
    let of = |what: &str| -> Vec<&str> {
        let lines = page.lines().filter_map(|line| line.strip_prefix(what));
        lines.map(|line| line.split(' ').next().unwrap()).collect()
    };
    let (described, kinds) = (of("# HELP "), of("# TYPE "));
    assert_eq!(described, kinds, "{page}");
    assert_eq!(described.iter().collect::<BTreeSet<_>>().len(), described.len(), "{page}");
    for line in [
        "lucid_health{service=\"lucid-test\",state=\"degraded\"} 1",
        "lucid_health{service=\"lucid-test\",state=\"healthy\"} 0",
        "lucid_health_component{service=\"lucid-test\",component=\"store\"} 1",
        "lucid_health_component{service=\"lucid-test\",component=\"sync\"} 0",
        "lucid_http_memory_taken_bytes{service=\"lucid-test\",of=\"bodies\"} 0",
        "lucid_http_memory_bytes{service=\"lucid-test\",of=\"replies\"} 134217728",
        "lucid_build_info{service=\"lucid-test\",version=",
        "lucid_http_places_taken{service=\"lucid-test\",work=\"requests in work\"} ",
        "lucid_http_request_seconds_bucket{route=\"/json\",le=\"0.001\"} ",
    ] {
        assert!(page.lines().any(|shown| shown.starts_with(line)), "{line}: {page}");
    }
    // The one that asks is open, too.
    let open = "lucid_http_connections{service=\"lucid-test\"} ";
    let open = page.lines().find_map(|line| line.strip_prefix(open)).unwrap();
    assert!(open.parse::<f64>().unwrap() >= 1.0, "{open}");
}

/// How long a look, or the test, waits for the other.
const PATIENCE: Duration = Duration::from_secs(60);

/// Looks that wait, and whether they may go on.
static HELD: (Mutex<(usize, bool)>, Condvar) = (Mutex::new((0, false)), Condvar::new());

#[tokio::test(flavor = "multi_thread")]
async fn looks_that_hang_hold_few_threads_and_what_comes_meanwhile_is_told_so() {
    let look = |porch: Porch| {
        porch.look(|page| {
            let (held, news) = &HELD;
            let mut held = held.lock().unwrap();
            held.0 += 1;
            news.notify_all();
            drop(news.wait_timeout_while(held, PATIENCE, |held| !held.1).unwrap());
            page.gauge("lucid_test_looked", "It was let go on.", &[], 1.0);
        })
    };
    let server = Arc::new(Server::start_with(&[], look).await);
    let asking: Vec<_> = (0..4)
        .map(|_| {
            let server = server.clone();
            tokio::spawn(async move { server.get("/metrics").await })
        })
        .collect();
    let begun = tokio::task::spawn_blocking(|| {
        let (held, news) = &HELD;
        let held = held.lock().unwrap();
        let waited = news.wait_timeout_while(held, PATIENCE, |held| held.0 < 4).unwrap();
        assert!(!waited.1.timed_out(), "four looks did not begin");
    });
    begun.await.unwrap();
    let refused = server.get("/metrics").await;
    assert_eq!((refused.status, refused.json()["code"].as_str()), (429, Some("busy")));
    HELD.0.lock().unwrap().1 = true;
    HELD.1.notify_all();
    for one in asking {
        let page = one.await.unwrap();
        assert!(page.status == 200 && page.text().contains("\nlucid_test_looked 1\n"));
    }
}
