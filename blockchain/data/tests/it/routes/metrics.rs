//! What `/metrics` says of the store and of what goes through it.

use lucid_api::client::Append;
use lucid_api::v1::sessions::SealSession;

use crate::sample::noise;
use crate::service::{Service, bytes};

/// The figure with these labels, or zero.
fn figure(page: &str, name: &str) -> f64 {
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().unwrap())
}

#[test]
fn every_stage_and_every_call_of_a_store_is_counted_and_timed() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let scrape = || service.get("/metrics").text().unwrap();
    let before = scrape();
    let content = noise(1, 20_000);
    service.begin("s");
    service.client.append("s", &Append::default(), content.clone()).unwrap();
    service.client.seal("s", &SealSession::default()).unwrap();
    service.add(service.begin("chunks").session_id.as_str(), 0, &[&content[..9_000]]);
    assert_eq!(bytes(service.client.data("s", None)), content);
    // Some calls take so little that only one in 64 is noted.
    for _ in 0..64 {
        assert_eq!(service.get("/api/v1/sessions/s").status(), 200);
    }
    let after = scrape();
    // Others of this process count, too.
    for (name, least) in [
        ("lucid_data_stage_seconds_count{stage=\"append\"}", 1.0),
        ("lucid_data_stage_seconds_count{stage=\"seal\"}", 1.0),
        ("lucid_data_stage_seconds_count{stage=\"store\"}", 1.0),
        ("lucid_store_stage_seconds_count{stage=\"pack\"}", 2.0),
        ("lucid_store_stage_seconds_count{stage=\"encrypt\"}", 2.0),
        ("lucid_store_stage_seconds_count{stage=\"decrypt\"}", 1.0),
        ("lucid_store_stage_seconds_count{stage=\"unpack\"}", 1.0),
        ("lucid_store_stage_seconds_count{stage=\"queue\"}", 4.0),
        ("lucid_store_stage_seconds_count{stage=\"decide\"}", 4.0),
        ("lucid_store_stage_seconds_count{stage=\"write\"}", 4.0),
        ("lucid_store_chunk_bytes_total{form=\"plain\"}", 20_000.0),
        ("lucid_store_chunk_bytes_total{form=\"stored\"}", 20_000.0),
        ("lucid_store_calls_total{part=\"index\",call=\"get\"}", 64.0),
        ("lucid_store_call_seconds_count{part=\"index\",call=\"get\"}", 1.0),
        ("lucid_store_calls_total{part=\"index\",call=\"write\"}", 4.0),
        ("lucid_store_calls_total{part=\"log\",call=\"commit\"}", 4.0),
        ("lucid_store_call_seconds_count{part=\"log\",call=\"commit\"}", 4.0),
        ("lucid_store_calls_total{part=\"chunks\",call=\"write\"}", 1.0),
        ("lucid_store_calls_total{part=\"chunks\",call=\"settle\"}", 1.0),
        ("lucid_store_calls_total{part=\"chunks\",call=\"read\"}", 1.0),
    ] {
        let counted = figure(&after, name) - figure(&before, name);
        assert!(counted >= least, "{name} grew by {counted}, not by {least}:\n{after}");
    }
}

#[test]
fn queues_caches_and_places_say_how_full_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let page = service.get("/metrics").text().unwrap();
    let of = "service=\"lucid-data-chain\"";
    for (name, value) in [
        (format!("lucid_store_queue_max_bytes{{{of}}}"), f64::from(32 << 20)),
        (format!("lucid_store_index_cache_max_bytes{{{of}}}"), f64::from(32 << 20)),
        (format!("lucid_http_places{{{of},work=\"small downloads\"}}"), 64.0),
        (format!("lucid_http_places_taken{{{of},work=\"tar streams\"}}"), 0.0),
        (format!("lucid_http_memory_bytes{{{of},of=\"streams\"}}"), f64::from(64 << 20)),
        ("lucid_read_log_failing".to_owned(), 0.0),
        ("lucid_read_log_queue_max_bytes".to_owned(), f64::from(32 << 20)),
        ("lucid_data_index_dead_letters".to_owned(), 0.0),
        ("lucid_data_sync_lag_blocks".to_owned(), 0.0),
    ] {
        assert!(page.contains(&format!("\n{name} {value}\n")), "{name}: {page}");
    }
    let query = || assert_eq!(service.get("/api/v1/data/sessions").status(), 200);
    query();
    query();
    let page = service.get("/metrics").text().unwrap();
    assert_eq!(figure(&page, "lucid_data_queries_total"), 2.0, "{page}");
    assert_eq!(figure(&page, "lucid_data_query_cache_hits_total"), 1.0, "{page}");
    assert_eq!(figure(&page, "lucid_data_query_cache_answers"), 1.0, "{page}");
}
