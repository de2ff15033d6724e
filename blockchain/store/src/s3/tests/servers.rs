//! What servers answer, and what is said of it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::time::Duration;

use super::*;

/// A server that gives these answers, one a connection, and the last one for ever.
fn answering(answers: Vec<String>) -> Settings {
    provide();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let last = answers.last().cloned().unwrap();
        for answer in answers.into_iter().chain(std::iter::repeat(last)) {
            let Ok((stream, _)) = listener.accept() else { return };
            let mut lines = BufReader::new(stream);
            let (mut line, mut length) = (String::new(), 0);
            while lines.read_line(&mut line).is_ok_and(|count| count > 2) {
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                line.clear();
            }
            let _body = lines.by_ref().take(length).read_to_end(&mut Vec::new());
            // Who asked may have gone.
            let _sent = lines.into_inner().write_all(answer.as_bytes());
        }
    });
    settings(endpoint)
}

fn settings(endpoint: String) -> Settings {
    Settings {
        endpoint,
        bucket: "vault".into(),
        region: String::new(),
        prefix: "a/store".into(),
        access_key: "KEY".into(),
        secret_key: "hunter2".to_owned().into(),
        path_style: true,
        deadline: Duration::from_secs(60),
    }
}

fn answer(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

fn error(status: &str, code: &str, message: &str) -> String {
    let body = format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>");
    answer(status, &body)
}

fn refusal(settings: &Settings) -> String {
    let driver = Driver::start().unwrap();
    crate::s3::open(settings, STORE, driver).unwrap_err().to_string()
}

#[test]
fn what_is_wrong_with_a_bucket_is_said_in_one_sentence() {
    let garage = "Forbidden: No such key: KEY";
    for (answer, expected) in [
        (error("404 Not Found", "NoSuchBucket", "None"), "there is no bucket vault at http://"),
        (error("403 Forbidden", "InvalidAccessKeyId", "None"), "does not know the access key KEY"),
        (error("403 Forbidden", "AccessDenied", garage), "does not know the access key KEY"),
        (
            error("403 Forbidden", "SignatureDoesNotMatch", "No"),
            "is not that of the access key KEY",
        ),
        (error("403 Forbidden", "AccessDenied", "No"), "does not allow bucket vault to be listed"),
        (answer("301 Moved Permanently", ""), "bucket vault at http://"),
        (error("400 Bad Request", "AuthorizationHeaderMalformed", "use eu-1"), "use eu-1"),
    ] {
        let said = refusal(&answering(vec![answer.clone()]));
        assert!(said.contains(expected), "{answer}\n{said}");
        assert!(!said.contains('\n') && !said.contains("hunter2"), "{said}");
    }
    for endpoint in ["127.0.0.1:9000", "ftp://127.0.0.1"] {
        assert!(refusal(&settings(endpoint.into())).contains("is no address of an S3 server"));
    }
}

#[test]
fn who_may_only_read_is_told_so() {
    let list = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";
    let forbidden = error("403 Forbidden", "AccessDenied", "Access Denied");
    let said = refusal(&answering(vec![answer("200 OK", list), forbidden]));
    assert!(said.contains("does not allow bucket vault to be written to"), "{said}");
}

#[test]
fn an_endpoint_that_is_not_there_is_named() {
    provide();
    let unused = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", unused.local_addr().unwrap());
    drop(unused);
    let deadline = Duration::from_millis(300);
    let said = refusal(&Settings { deadline, ..settings(endpoint.clone()) });
    assert!(said.contains(&format!("{endpoint} does not answer")), "{said}");
}

#[test]
fn a_server_that_asks_for_fewer_requests_is_asked_again() {
    let slow = error("503 Slow Down", "SlowDown", "Please reduce your request rate.");
    let many = answer("429 Too Many Requests", "");
    let internal = error("500 Internal Server Error", "InternalError", "Please try again.");
    let list = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";
    let conflict = error("409 Conflict", "OperationAborted", "Try again.");
    let answers = vec![slow.clone(), many, internal, conflict, slow, answer("200 OK", list)];
    let settings = answering(answers);
    let bucket = opening::connect(&settings, Driver::start().unwrap()).unwrap();
    assert_eq!(bucket.list("unit", None).unwrap(), []);
}

#[test]
fn a_real_server_is_understood() {
    let Some(real) = server() else { return };
    let stranger = Settings { access_key: "LUCIDNOBODY".into(), ..real.clone() };
    let said = refusal(&stranger);
    assert!(said.contains("does not know the access key LUCIDNOBODY"), "{said}");
    let forger = Settings { secret_key: "not the secret".to_owned().into(), ..real.clone() };
    let said = refusal(&forger);
    assert!(said.contains("the secret key is not that of the access key"), "{said}");
    let nowhere = Settings { bucket: "lucid-no-such-bucket".into(), ..real.clone() };
    let said = refusal(&nowhere);
    assert!(said.contains("lucid-no-such-bucket"), "{said}");
    let reader = given("READER_ACCESS_KEY_ID").zip(given("READER_SECRET_ACCESS_KEY"));
    if let Some((access_key, secret_key)) = reader {
        let reader = Settings { access_key, secret_key: secret_key.into(), ..real };
        let said = refusal(&reader);
        assert!(said.contains("to be written to"), "{said}");
    }
    // An object of the largest kind goes through in one piece.
    on_a_server(|blobs| {
        let mut making = blobs.begin(0, Origin::default()).unwrap();
        let (number, payload) = (making.number(), vec![5; 8 << 20]);
        let record = Record::plain(crate::frame::RecordKind::Chunk, [9; 32], payload).unwrap();
        for _ in 0..16 {
            making.add(&record.header, &record.payload).unwrap();
        }
        assert!(making.finish().unwrap() > 128 << 20);
        let UnitState::Ended(unit) = blobs.state(number).unwrap() else { panic!("it has ended") };
        let last = &unit.entries[15];
        assert_eq!(blobs.read(&last.name, &last.placement).unwrap().1, record.payload);
    });
}
