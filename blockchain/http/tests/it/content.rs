//! Content in whole and in part, streams in both directions, and the routes every service has.

use crate::server::{CONTENT, Server};

const DATA: &str = "/api/v1/sessions/s/data";

#[tokio::test]
async fn ranges_and_conditions() {
    let server = Server::start(&[]).await;
    let ask = async |header: &str| server.ask(&format!("GET {DATA} HTTP/1.1\n{header}"), b"").await;

    let whole = server.get(DATA).await;
    assert_eq!((whole.status, whole.body.as_slice()), (200, CONTENT));
    assert_eq!(whole.header("etag"), Some("\"e\""));
    assert_eq!(whole.header("accept-ranges"), Some("bytes"));
    assert_eq!(whole.header("content-length"), Some("10"));

    let part = ask("Range: bytes=2-4").await;
    assert_eq!((part.status, part.text()), (206, "234"));
    assert_eq!(part.header("content-range"), Some("bytes 2-4/10"));
    assert_eq!(part.header("content-length"), Some("3"));

    let beyond = ask("Range: bytes=10-").await;
    assert_eq!(beyond.status, 416);
    assert_eq!(beyond.header("content-range"), Some("bytes */10"));
    assert_eq!(beyond.json()["code"], "range");

    let known = ask("If-None-Match: \"e\"").await;
    assert_eq!((known.status, known.body.len()), (304, 0));

    let head = server.ask(&format!("HEAD {DATA} HTTP/1.1"), b"").await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("10")));
}

#[tokio::test]
async fn uploads_of_any_length_are_read_piece_by_piece() {
    let server = Server::start(&[]).await;
    let body = vec![7; 9 << 20];
    assert_eq!(
        server
            .ask("POST /upload HTTP/1.1\nContent-Type: application/octet-stream", &body)
            .await
            .text(),
        body.len().to_string()
    );
}

#[tokio::test]
async fn a_download_that_breaks_off_never_looks_whole() {
    let server = Server::start(&[]).await;
    let streamed = server.get("/streamed").await;
    assert!(streamed.text().ends_with("0\r\n\r\n"), "the last chunk ends a whole body");
    let broken = server.get("/broken-off").await;
    assert!(broken.status == 200 && !broken.text().ends_with("0\r\n\r\n"));
}

#[tokio::test]
async fn every_service_describes_itself() {
    let server = Server::start(&[]).await;
    let root = server.get("/").await.json();
    assert_eq!(root["message"], "Lucid Test");
    assert_eq!(root["docs"], "/docs");
    assert_eq!(root["endpoints"][0], "/api/v1/things");
    // It has nothing there: a list of nothing would say that it is all there is.
    assert_eq!(server.get("/api/v1/things").await.status, 404);

    for path in ["/health", "/health/", "/api/v1/health", "/api/v1/test/health"] {
        let health = server.get(path).await;
        assert_eq!(health.status, 200, "{path}");
        assert_eq!(health.json()["status"], "degraded");
        assert_eq!(health.json()["store"], true);
        assert_eq!(health.json()["sync"], false);
        assert_eq!(health.json()["details"]["sync"], "down");
    }

    let openapi = server.get("/openapi.json").await.json();
    assert_eq!(openapi["info"]["title"], "Lucid Test");
    let health = &openapi["paths"]["/health"]["get"]["responses"];
    assert!(health["503"].is_object());
    assert_eq!(health["default"]["$ref"], "#/components/responses/other");
    assert!(openapi["components"]["schemas"]["Problem"].is_object());
    assert!([200, 303, 307, 308].contains(&server.get("/docs").await.status));
    let docs = server.get("/docs/").await;
    assert_eq!((docs.status, docs.header("content-type")), (200, Some("text/html")));
    assert_eq!(server.get("/docs/swagger-ui-bundle.js").await.status, 200);

    let metrics = server.get("/metrics").await;
    assert!(metrics.text().contains("lucid_http_requests_total"), "{}", metrics.text());
}

#[tokio::test]
async fn any_origin_never_comes_with_credentials() {
    let preflight =
        "OPTIONS /json HTTP/1.1\nOrigin: http://a.example\nAccess-Control-Request-Method: POST";
    let origin = "access-control-allow-origin";
    let credentials = "access-control-allow-credentials";

    let closed = Server::start(&[]).await.ask(preflight, b"").await;
    assert_eq!(closed.header(origin), None);

    let open = Server::start(&[("LUCID_AUTH", "off")]).await.ask(preflight, b"").await;
    assert_eq!((open.header(origin), open.header(credentials)), (Some("*"), None));

    let listed = [("TEST_CORS_ORIGINS", "http://a.example, http://b.example")];
    let listed = Server::start(&listed).await.ask(preflight, b"").await;
    assert_eq!(listed.header(origin), Some("http://a.example"));
    assert_eq!(listed.header(credentials), Some("true"));
}
