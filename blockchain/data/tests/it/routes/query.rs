//! Querying documents: every filter, pages, cursors, bounds, and what is at hand.

use std::collections::BTreeSet;

use lucid_api::v1::sessions::CreateSession;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use super::storage::{block, transaction};
use crate::service::{Service, problem};

impl Service {
    pub fn query(&self, kind: &str, wanted: Value) -> Value {
        let answer = self.post(&format!("/api/v1/query/{kind}"), wanted.clone());
        let status = answer.status();
        let text = answer.text().unwrap();
        assert_eq!(status, 200, "{wanted}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// The ids of all pages of a query, in order.
    fn pages(&self, kind: &str, mut wanted: Value, id: &str) -> Vec<Value> {
        let mut ids = Vec::new();
        loop {
            let page = self.query(kind, wanted.clone());
            let results = page["results"].as_array().unwrap();
            assert!(results.len() <= wanted["limit"].as_u64().unwrap_or(100) as usize, "{page}");
            assert_eq!(page["meta"].as_array().unwrap().len(), results.len());
            ids.extend(results.iter().map(|found| found[id].clone()));
            match &page["next_cursor"] {
                Value::Null => return ids,
                cursor => wanted["cursor"] = cursor.clone(),
            }
        }
    }
}

fn moment(seconds: u32) -> String {
    format!("2026-01-01T00:{:02}:{:02}Z", seconds / 60, seconds % 60)
}

#[test]
fn the_documented_requests_have_the_documented_keys() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let first = block(None, 1, &[transaction("t-1", "session_anchor", "s-1")]);
    service.post_text("/api/v1/storage/blocks", &first.to_json_text());
    let page = service.query("blocks", json!({ "filters": {}, "limit": 10 }));
    for key in ["results", "count", "limit", "offset", "cached", "next_cursor", "complete", "meta"]
    {
        assert!(page.get(key).is_some(), "{key}: {page}");
    }
    assert_eq!(page["results"][0]["hash"], first.hash.to_string());
    let meta = &page["meta"][0];
    assert_eq!((&meta["source"], &meta["block_index"]), (&json!("submitted"), &json!(0)));
    assert!(meta["indexed_at"].as_str().unwrap().ends_with('Z'));
    for kind in ["blocks", "transactions", "sessions"] {
        let page: Value = service.get(&format!("/api/v1/data/{kind}")).json().unwrap();
        for key in ["items", "count", "limit", "offset", "next_cursor", "complete", "meta"] {
            assert!(page.get(key).is_some(), "{kind} {key}: {page}");
        }
        // A body may be left out whole.
        let sent = service.http.post(service.url(&format!("/api/v1/query/{kind}"))).send().unwrap();
        assert_eq!(sent.status(), 200);
    }
    let found: Value = service.get("/api/v1/data/transactions?type=session_anchor").json().unwrap();
    assert_eq!(found["items"][0]["id"], "t-1");
    assert_eq!(found["meta"][0]["block_index"], 0);
    let stats: Value = service.get("/api/v1/query/stats").json().unwrap();
    for key in ["cache_size", "total_queries", "average_query_time"] {
        assert!(stats[key].is_number(), "{key}: {stats}");
    }
    assert!(stats["total_queries"].as_u64().unwrap() >= 8, "{stats}");
    for (root, below) in [
        ("data", "/api/v1/data/blocks"),
        ("query", "/api/v1/query/stats"),
        ("storage", "/api/v1/storage/stats"),
    ] {
        for prefix in ["/api/v1", "/api/v1/data-chain"] {
            let listed: Value = service.get(&format!("{prefix}/{root}")).json().unwrap();
            assert!(listed["endpoints"].as_array().unwrap().contains(&below.into()), "{listed}");
        }
    }
}

/// What a session's document says in a test.
#[derive(Debug, Clone)]
struct Said {
    id: String,
    seconds: u32,
    status: &'static str,
    user: &'static str,
    host: Option<&'static str>,
    lasts: Option<u32>,
}

fn said() -> impl Strategy<Value = Vec<Said>> {
    let one = (
        0_u32..40,
        prop::sample::select(vec!["active", "done", "unterminated"]),
        prop::sample::select(vec!["ann", "bob"]),
        prop::option::of(prop::sample::select(vec!["web", "db"])),
        prop::option::of(0_u32..20),
    );
    prop::collection::vec(one, 1..30).prop_map(|all| {
        let said = |(n, (seconds, status, user, host, lasts))| Said {
            id: format!("d-{n}"),
            seconds,
            status,
            user,
            host,
            lasts,
        };
        all.into_iter().enumerate().map(said).collect()
    })
}

#[derive(Debug, Clone)]
struct Wanted {
    status: Option<&'static str>,
    user: Option<&'static str>,
    host: Option<&'static str>,
    range: Option<(u32, u32)>,
    active_at: Option<u32>,
    limit: usize,
    offset: usize,
    ascending: bool,
}

fn wanted() -> impl Strategy<Value = Wanted> {
    (
        prop::option::of(prop::sample::select(vec!["active", "done", "unterminated", "other"])),
        prop::option::of(prop::sample::select(vec!["ann", "bob"])),
        prop::option::of(prop::sample::select(vec!["web", "db"])),
        prop::option::of((0_u32..40, 0_u32..40)),
        prop::option::of(0_u32..60),
        1_usize..8,
        0_usize..6,
        any::<bool>(),
    )
        .prop_map(|(status, user, host, range, active_at, limit, offset, ascending)| Wanted {
            status,
            user,
            host,
            range,
            active_at,
            limit,
            offset,
            ascending,
        })
}

#[test]
fn every_combination_of_filters_finds_just_what_it_says_in_one_order_on_all_pages() {
    let config = Config { cases: 12, ..Config::default() };
    TestRunner::new(config)
        .run(&(said(), prop::collection::vec(wanted(), 20)), |(said, queries)| {
            let folder = tempfile::tempdir().unwrap();
            let service = Service::start(folder.path());
            for (n, one) in said.iter().enumerate() {
                let metadata: Value = one.host.map_or(json!({}), |host| json!({ "host": host }));
                // Some are kept here, and so are active.
                if one.status == "active" && one.lasts.is_none() && n % 2 == 0 {
                    let metadata = serde_json::from_value(metadata).unwrap();
                    let session = CreateSession {
                        session_id: Some(one.id.clone()),
                        user_id: Some(one.user.into()),
                        started_at: Some(moment(one.seconds)),
                        metadata,
                        ..CreateSession::default()
                    };
                    service.client.create_session(&session).unwrap();
                    continue;
                }
                let document = json!({
                    "id": one.id,
                    "status": one.status,
                    "user_id": one.user,
                    "timestamp": moment(one.seconds),
                    "ended_at": one.lasts.map(|lasts| moment(one.seconds + lasts)),
                    "metadata": metadata,
                });
                assert_eq!(service.post("/api/v1/storage/sessions", document).status(), 201);
            }
            // One order of all of them, which every query keeps to.
            let all = service.pages("sessions", json!({ "order": "asc", "limit": 7 }), "id");
            prop_assert_eq!(all.len(), said.len());
            let of = |id: &Value| said.iter().find(|one| one.id == id.as_str().unwrap()).unwrap();
            prop_assert!(all.windows(2).all(|two| of(&two[0]).seconds <= of(&two[1]).seconds));
            for wanted in queries {
                check(&service, &all, &of, &wanted);
            }
            Ok(())
        })
        .unwrap();
}

fn check<'a>(service: &Service, all: &[Value], of: &impl Fn(&Value) -> &'a Said, wanted: &Wanted) {
    let is_wanted = |id: &&Value| {
        let one = of(id);
        let within = |(from, to): (u32, u32)| from <= one.seconds && one.seconds <= to;
        let lasts =
            |at: u32| one.seconds <= at && one.lasts.is_none_or(|lasts| at <= one.seconds + lasts);
        wanted.status.is_none_or(|status| status == one.status)
            && wanted.user.is_none_or(|user| user == one.user)
            && wanted.host.is_none_or(|host| Some(host) == one.host)
            && wanted.range.is_none_or(within)
            && wanted.active_at.is_none_or(lasts)
    };
    let mut expected: Vec<Value> = all.iter().filter(is_wanted).cloned().collect();
    if !wanted.ascending {
        expected.reverse();
    }
    let mut filters = json!({});
    if let Some(status) = wanted.status {
        filters["status"] = status.into();
    }
    if let Some(user) = wanted.user {
        filters["user_id"] = user.into();
    }
    if let Some(host) = wanted.host {
        filters["metadata"] = json!({ "host": host });
    }
    if let Some((from, to)) = wanted.range {
        filters["timestamp_range"] = json!([moment(from), moment(to)]);
    }
    if let Some(at) = wanted.active_at {
        filters["active_at"] = moment(at).into();
    }
    let order = if wanted.ascending { "asc" } else { "desc" };
    let query = json!({ "filters": filters, "limit": wanted.limit, "order": order, "total": true });
    assert_eq!(service.pages("sessions", query.clone(), "id"), expected, "{query}");
    let mut skipping = query.clone();
    skipping["offset"] = wanted.offset.into();
    let page = service.query("sessions", skipping);
    let ids: Vec<&Value> =
        page["results"].as_array().unwrap().iter().map(|found| &found["id"]).collect();
    let part: Vec<&Value> = expected.iter().skip(wanted.offset).take(wanted.limit).collect();
    assert_eq!(ids, part, "{query} from {}", wanted.offset);
    assert_eq!(page["total"], expected.len(), "{query}");
}

#[test]
fn blocks_are_found_by_index_time_and_hash() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let mut blocks: Vec<lucid_core::block::Block> = Vec::new();
    for n in 0..6 {
        let next = block(blocks.last(), n, &[transaction(&format!("t-{n}"), "a", "s")]);
        assert_eq!(service.post_text("/api/v1/storage/blocks", &next.to_json_text()).status(), 201);
        blocks.push(next);
    }
    let indexes = |filters: Value, order: &str| {
        service.pages("blocks", json!({ "filters": filters, "limit": 2, "order": order }), "index")
    };
    assert_eq!(indexes(json!({}), "desc"), [5, 4, 3, 2, 1, 0]);
    assert_eq!(indexes(json!({ "index_range": [1, 3] }), "asc"), [1, 2, 3]);
    assert_eq!(indexes(json!({ "index_range": [4, u64::MAX] }), "desc"), [5, 4]);
    assert_eq!(indexes(json!({ "index_range": [3, 1] }), "asc"), [0; 0]);
    let times = json!([moment(2), moment(4)]);
    assert_eq!(indexes(json!({ "timestamp_range": times }), "asc"), [2, 3, 4]);
    let both = json!({ "timestamp_range": times, "index_range": [0, 3] });
    assert_eq!(indexes(both.clone(), "desc"), [3, 2]);
    let hash = blocks[3].hash.to_string();
    assert_eq!(indexes(json!({ "hash": hash }), "asc"), [3]);
    assert_eq!(indexes(json!({ "hash": hash, "index_range": [0, 2] }), "asc"), [0; 0]);
    assert_eq!(indexes(json!({ "hash": "0".repeat(64) }), "asc"), [0; 0]);
    let counted = service.query("blocks", json!({ "filters": both, "total": true }));
    assert_eq!(counted["total"], 2);
    // An address says the same, and may leave one end open.
    let by = |query: &str| {
        let page: Value = service.get(&format!("/api/v1/data/blocks?{query}")).json().unwrap();
        let found = page["items"].as_array().unwrap();
        found.iter().map(|block| block["index"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(by("index_from=4&order=asc"), [4, 5]);
    assert_eq!(by("index_to=1"), [1, 0]);
    assert_eq!(by(&format!("timestamp_from={}", moment(5))), [5]);
    assert_eq!(by("offset=4"), [1, 0]);
    // The seconds that are in clear in no order but time: transactions of a type and a session.
    let of = |filters: Value| {
        service.pages("transactions", json!({ "filters": filters, "limit": 4 }), "id").len()
    };
    assert_eq!(of(json!({ "type": "a" })), 6);
    assert_eq!(of(json!({ "type": "a", "session_id": "s" })), 6);
    assert_eq!(of(json!({ "type": "b", "session_id": "s" })), 0);
}

#[test]
fn what_is_no_query_is_refused_by_the_name_of_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    for (kind, body, wanted) in [
        ("blocks", json!({ "filters": { "colour": "red" } }), "colour"),
        ("blocks", json!({ "filters": { "hash": { "$ne": null } } }), "hash"),
        ("blocks", json!({ "filters": { "index_range": [1] } }), "index_range"),
        ("blocks", json!({ "filters": { "index_range": ["1", "2"] } }), "index_range"),
        ("blocks", json!({ "filters": { "status": "x" } }), "status"),
        ("blocks", json!({ "filters": [] }), "filters"),
        ("blocks", json!([]), "DocumentsWanted"),
        ("transactions", json!({ "filters": { "$or": [] } }), "$or"),
        ("transactions", json!({ "limit": 0 }), "limit"),
        ("transactions", json!({ "limit": 1001 }), "limit"),
        ("transactions", json!({ "limit": "10" }), "limit"),
        ("transactions", json!({ "limit": 1e99 }), "limit"),
        ("transactions", json!({ "offset": 10_001 }), "cursor"),
        ("transactions", json!({ "cursor": "%" }), "cursor"),
        ("transactions", json!({ "cursor": "AAAA" }), "cursor"),
        ("sessions", json!({ "filters": { "timestamp_range": ["a", "b"] } }), "timestamp_range"),
        ("sessions", json!({ "filters": { "metadata": { "a": 1 } } }), "metadata.a"),
        ("sessions", json!({ "order": "sideways" }), "sideways"),
        ("sessions", json!({ "wanted": 1 }), "wanted"),
    ] {
        let sent = service.post(&format!("/api/v1/query/{kind}"), body.clone());
        let (status, code, document) = problem(sent);
        assert_eq!((status, code.as_str()), (422, "invalid"), "{body}: {document}");
        assert!(document["detail"].as_str().unwrap().contains(wanted), "{body}: {document}");
    }
    for (query, wanted) in [
        ("colour=red", "colour"),
        ("limit=0", "limit"),
        ("limit=x", "limit"),
        ("limit=1&limit=2", "twice"),
        ("offset=10001", "cursor"),
        ("timestamp_from=x", "timestamp_from"),
        ("order=up", "order"),
        ("total=1", "total"),
        ("metadata.a=b", "metadata.a"),
    ] {
        let (status, _, document) = problem(service.get(&format!("/api/v1/data/blocks?{query}")));
        assert_eq!(status, 422, "{query}");
        assert!(document["detail"].as_str().unwrap().contains(wanted), "{query}: {document}");
    }
    // A cursor goes on with its own query alone.
    for n in 0..3 {
        service.post("/api/v1/storage/sessions", json!({ "id": format!("s-{n}") }));
    }
    let page = service.query("sessions", json!({ "limit": 1 }));
    let cursor = &page["next_cursor"];
    for other in [
        json!({ "cursor": cursor, "order": "asc" }),
        json!({ "cursor": cursor, "filters": { "status": "x" } }),
    ] {
        assert_eq!(problem(service.post("/api/v1/query/sessions", other)).0, 422);
    }
    assert_eq!(problem(service.post("/api/v1/query/blocks", json!({ "cursor": cursor }))).0, 422);
}

#[test]
fn an_answer_is_at_hand_until_something_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let store = |id: &str| {
        let said = json!({ "id": id, "status": "done" });
        assert_eq!(service.post("/api/v1/storage/sessions", said).status(), 201);
    };
    let wanted = json!({ "filters": { "user_id": "ann" } });
    let ask = || {
        let page = service.query("sessions", wanted.clone());
        (page["cached"].as_bool().unwrap(), page["count"].as_u64().unwrap())
    };
    store("a");
    assert_eq!(ask(), (false, 0));
    assert_eq!(ask(), (true, 0));
    let ann = json!({ "id": "b", "user_id": "ann" });
    service.post("/api/v1/storage/sessions", ann);
    assert_eq!(ask(), (false, 1));
    assert_eq!(ask(), (true, 1));
    // A session that is kept here changes by itself while it is not sealed.
    let begun = CreateSession {
        session_id: Some("own".into()),
        user_id: Some("ann".into()),
        ..CreateSession::default()
    };
    service.client.create_session(&begun).unwrap();
    assert_eq!([ask(), ask()], [(false, 2), (false, 2)]);
    service.client.seal("own", &Default::default()).unwrap();
    assert_eq!([ask(), ask()], [(false, 2), (true, 2)]);
    service.client.remove_session("own", &Default::default()).unwrap();
    assert_eq!(ask(), (false, 1));
    let stats: Value = service.get("/api/v1/query/stats").json().unwrap();
    assert_eq!(stats["cache_hits"], 3, "{stats}");
    let folder = tempfile::tempdir().unwrap();
    let small = Service::start_with(folder.path(), &[("QUERY_CACHE_SIZE", "0")]);
    assert_eq!(
        [0, 1].map(|_| small.query("sessions", json!({}))["cached"].clone()),
        [false, false]
    );
}

#[test]
fn the_life_of_a_kept_session_is_found_by_its_status() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    for id in ["a", "b", "c"] {
        service.begin(id);
    }
    service.client.seal("b", &Default::default()).unwrap();
    service.client.remove_session("c", &Default::default()).unwrap();
    let of = |status: &str| -> BTreeSet<String> {
        let page = service.query("sessions", json!({ "filters": { "status": status } }));
        let found = page["results"].as_array().unwrap().iter();
        found.map(|session| session["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(of("active"), BTreeSet::from(["a".to_owned()]));
    assert_eq!(of("sealed"), BTreeSet::from(["b".to_owned()]));
    assert_eq!(of("anchored"), BTreeSet::new());
    let page = service.query("sessions", json!({ "filters": { "status": "sealed" } }));
    assert_eq!(page["meta"][0]["source"], "kept");
    assert!(page["results"][0]["merkle_root"].is_string(), "{page}");
}

#[test]
fn all_documents_of_a_query_come_as_lines_or_as_a_table() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    for n in 0..30 {
        let text = format!(
            "{{\"id\": \"s-{n:02}\",\n \"status\": \"a \\\"b\\\", c\", \"timestamp\": \"{}\"}}",
            moment(n)
        );
        assert_eq!(service.post_text("/api/v1/storage/sessions", &text).status(), 201);
    }
    let get = |query: &str, kind: &str| {
        let url = service.url(&format!("/api/v1/data/sessions?order=asc{query}"));
        let answer = service.http.get(url).header("accept", kind).send().unwrap();
        assert_eq!(answer.headers()["content-type"], kind);
        answer.text().unwrap()
    };
    let lines = get("", "application/x-ndjson");
    let ids: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].clone())
        .collect();
    let wanted: Vec<Value> = (0..30).map(|n| format!("s-{n:02}").into()).collect();
    assert_eq!(ids, wanted);
    assert_eq!(get("&limit=7&offset=3", "application/x-ndjson").lines().count(), 7);
    assert_eq!(get("&status=none", "application/x-ndjson"), "");
    let table = get("&limit=2", "text/csv");
    let mut reader = csv::Reader::from_reader(table.as_bytes());
    let heading: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let wanted = "id timestamp status user_id ended_at source indexed_at document";
    assert_eq!(heading, wanted.split(' ').collect::<Vec<_>>());
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 2);
    assert_eq!((&rows[1][0], &rows[1][2], &rows[1][5]), ("s-01", "a \"b\", c", "submitted"));
    assert!(rows[1][7].contains("\n"), "as it was posted: {:?}", rows[1]);
    let refused = service.get("/api/v1/data/sessions?colour=red");
    assert_eq!(problem(refused).0, 422);
}

#[test]
fn an_answer_that_depends_on_the_time_is_not_at_hand_and_a_page_holds_no_more_than_it_may() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    for n in 0..5 {
        let said = json!({ "id": format!("s-{n}"), "status": "active", "x": "y".repeat(900_000) });
        assert_eq!(service.post("/api/v1/storage/sessions", said).status(), 201);
    }
    let wanted = json!({ "filters": { "status": "active" }, "limit": 2 });
    let cached = [0, 1].map(|_| service.query("sessions", wanted.clone())["cached"].clone());
    assert_eq!(cached, [false, false]);
    let more: Vec<Value> =
        (5..20).map(|n| json!({ "id": format!("s-{n}"), "x": "y".repeat(900_000) })).collect();
    for said in more {
        assert_eq!(service.post("/api/v1/storage/sessions", said).status(), 201);
    }
    let page = service.query("sessions", json!({}));
    let count = page["count"].as_u64().unwrap();
    assert!((1..=9).contains(&count) && page["complete"] == true, "{count}");
    assert_eq!(service.pages("sessions", json!({}), "id").len(), 20);
    // What is skipped is skipped once.
    let skipping = service.pages("sessions", json!({ "offset": 3, "limit": 4 }), "id");
    assert_eq!(skipping.len(), 17);
}
