//! Which credentials count, and when what is on disk counts.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue};
use lucid_api::access::{Role, Token};
use lucid_api::problem::ErrorCode;
use lucid_http::config::{CommonConfig, load};
use lucid_http::credentials::{AccessConfig, Credentials, SecretSource};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use crate::access::{HS256, SECRET, jwt, list, token};
use crate::problems::assert_problem;
use crate::server::{NOW, SERVICE, Server, settings};

fn shown(text: &str) -> HeaderMap {
    let value = HeaderValue::from_str(&format!("Bearer {text}")).unwrap();
    HeaderMap::from_iter([(AUTHORIZATION, value)])
}

fn open(config: &AccessConfig) -> Credentials {
    Credentials::open(config, Arc::new(|| NOW)).unwrap()
}

/// Has the files looked at, as in front of a request.
fn look(credentials: &Credentials) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(credentials.look_again());
}

/// What is told of files that do not count.
fn fault(credentials: &Credentials) -> Option<String> {
    look(credentials);
    credentials.fault()
}

/// Who a text makes its holder; the error is the code and the sentence.
fn who(credentials: &Credentials, text: &str) -> Result<String, String> {
    look(credentials);
    let caller = credentials.caller(&shown(text));
    caller.map(|caller| caller.to_string()).map_err(|refusal| {
        assert_eq!(refusal.code(), ErrorCode::Unauthorized);
        refusal.detail().to_owned()
    })
}

/// Waits until `is_so`: within a second and what a busy machine takes.
fn soon(is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn write(path: &Path, text: &str) {
    // As `lucid token` does it: whole or not at all.
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, text).unwrap();
    std::fs::rename(fresh, path).unwrap();
}

#[test]
fn a_list_counts_as_it_is_now_and_one_that_cannot_be_read_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = list(folder.path());
    let config = AccessConfig { tokens: Some(path.clone()), ..AccessConfig::default() };
    let credentials = open(&config);
    assert!(credentials.are_asked_for() && fault(&credentials).is_none());
    assert_eq!(who(&credentials, "lucid_read").unwrap(), "read (read)");
    assert!(who(&credentials, "lucid_dead").unwrap_err().contains("expired"));
    assert!(who(&credentials, "lucid_new").unwrap_err().contains("none that counts"));
    let before = std::fs::read_to_string(&path).unwrap();
    let added = format!("{before}new write,audit {}\n", token("new").hash());
    write(&path, &added);
    soon(|| who(&credentials, "lucid_new").is_ok());
    assert_eq!(who(&credentials, "lucid_new").unwrap(), "new (write,audit)");
    // What cannot be read is said, and what counted counts.
    for broken in [Some(format!("{added}more\n")), None] {
        match &broken {
            Some(text) => write(&path, text),
            None => std::fs::remove_file(&path).unwrap(),
        }
        soon(|| fault(&credentials).is_some());
        let told = fault(&credentials).unwrap();
        assert!(told.contains("stay as they were") && told.contains("LUCID_TOKENS_FILE"), "{told}");
        assert!(who(&credentials, "lucid_new").is_ok());
        write(&path, &added);
        soon(|| fault(&credentials).is_none());
    }
    write(&path, &before);
    soon(|| who(&credentials, "lucid_new").is_err());
    write(&path, "");
    soon(|| who(&credentials, "lucid_read").is_err());
    assert!(credentials.are_asked_for(), "without any token nobody is let in");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    let refused = Credentials::open(&config, Arc::new(|| NOW)).unwrap_err();
    assert!(refused.contains("chmod o-w"), "{refused}");
}

#[test]
fn a_list_that_may_be_there_asks_from_when_it_is_and_goes_on_when_it_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens");
    let config = AccessConfig { kept: vec![path.clone()], ..AccessConfig::default() };
    let credentials = open(&config);
    assert!(!credentials.are_asked_for());
    assert_eq!(credentials.caller(&HeaderMap::new()).unwrap().to_string(), "anyone");
    write(&path, &format!("a admin {}\n", token("a").hash()));
    soon(|| {
        look(&credentials);
        credentials.are_asked_for()
    });
    assert_eq!(who(&credentials, "lucid_a").unwrap(), "a (admin)");
    assert!(credentials.caller(&HeaderMap::new()).is_err());
    std::fs::remove_file(&path).unwrap();
    soon(|| who(&credentials, "lucid_a").is_err());
    assert!(credentials.are_asked_for(), "a list that is taken away opens nothing");
}

#[test]
fn what_cannot_be_looked_at_is_not_taken_for_absent() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens");
    std::os::unix::fs::symlink(folder.path().join("nowhere"), &path).unwrap();
    let config = AccessConfig { kept: vec![path.clone()], ..AccessConfig::default() };
    assert!(config.asks());
    let [fault] = &config.faults()[..] else { panic!("one is wanted: {:?}", config.faults()) };
    assert!(fault.contains(path.to_str().unwrap()), "{fault}");
}

/// A list of a thousand that is written anew all the time, with others before and behind those who call meanwhile.
#[test]
fn nobody_is_refused_while_a_long_list_is_read_again() {
    const TOKENS: u32 = 1_000;
    let folder = tempfile::tempdir().unwrap();
    let path = list(folder.path());
    let ours = std::fs::read_to_string(&path).unwrap();
    let lines = |round: u32| -> String {
        let others = (0..TOKENS).map(|number| {
            let hash = Token::new(&[round as u8; 32]).hash();
            format!("other-{round}-{number} read {hash}\n")
        });
        let (before, behind): (Vec<_>, Vec<_>) = others.enumerate().partition(|(n, _)| n % 2 == 0);
        let text = |lines: Vec<(usize, String)>| {
            lines.into_iter().map(|(_, line)| line).collect::<String>()
        };
        format!("{}{ours}{}", text(before), text(behind))
    };
    write(&path, &lines(0));
    let config = AccessConfig { tokens: Some(path.clone()), ..AccessConfig::default() };
    let credentials = open(&config);
    let ends = Instant::now() + Duration::from_secs(5);
    let asked: u64 = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut asked = 0;
                    while Instant::now() < ends {
                        assert_eq!(
                            who(&credentials, token("read").expose()).unwrap(),
                            "read (read)"
                        );
                        asked += 1;
                    }
                    asked
                })
            })
            .collect();
        for round in 1.. {
            if Instant::now() >= ends {
                break;
            }
            write(&path, &lines(round));
            std::thread::sleep(Duration::from_millis(10));
        }
        callers.into_iter().map(|caller| caller.join().unwrap()).sum()
    });
    assert!(asked > 1_000, "{asked}");
    assert_eq!(fault(&credentials), None);
}

/// A list on a file system that hangs: here a pipe that nobody writes to.
#[tokio::test]
async fn a_list_that_cannot_be_read_to_its_end_holds_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = list(folder.path());
    let server = Server::start(&[("LUCID_TOKENS_FILE", path.to_str().unwrap())]).await;
    std::fs::remove_file(&path).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let shown =
        format!("GET /api/v1/things/7 HTTP/1.1\nAuthorization: Bearer {}", token("read").expose());
    // From the second second on the list is looked at, and no look ends.
    let ends = Instant::now() + Duration::from_secs(5);
    while Instant::now() < ends {
        for head in [shown.as_str(), "GET /health HTTP/1.1"] {
            let asked = tokio::time::timeout(Duration::from_secs(20), server.ask(head, b"")).await;
            assert_eq!(asked.unwrap().status, 200, "{head}");
        }
    }
    server.stop().await;
    // The one that looks is let go.
    std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
}

/// What stands in the wrong place of a list may be a secret, and everybody may ask for `/health`.
#[tokio::test]
async fn health_does_not_quote_what_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = list(folder.path());
    let server = Server::start(&[("LUCID_TOKENS_FILE", path.to_str().unwrap())]).await;
    let hash = Token::new(&[9; 32]).hash();
    write(&path, &format!("one read {hash} lucid_pasted\n"));
    let deadline = Instant::now() + Duration::from_secs(20);
    let told = loop {
        let reply = server.get("/health").await.text().to_owned();
        if reply.contains("credentials") {
            break reply;
        }
        assert!(Instant::now() < deadline, "{reply}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(told.contains("the log says why") && !told.contains("lucid_pasted"), "{told}");
    server.stop().await;
}

#[test]
fn two_lists_have_no_two_tokens_of_one_id() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [first, second] = folders.each_ref().map(|folder| list(folder.path()));
    let config =
        AccessConfig { tokens: Some(first), kept: vec![second.clone()], ..AccessConfig::default() };
    // The same token twice is one.
    assert!(who(&open(&config), token("read").expose()).is_ok());
    let other = Token::new(&[9; 32]).hash();
    write(&second, &format!("read admin {other}\n"));
    let why = Credentials::open(&config, Arc::new(|| NOW)).map(drop).unwrap_err();
    assert!(why.contains("two lists have a token read"), "{why}");
    for reserved in ["local", "peer"] {
        write(&second, &format!("{reserved} admin {other}\n"));
        assert!(config.faults()[0].contains("line 1"), "{:?}", config.faults());
    }
}

#[test]
fn a_token_expires_by_the_clock_that_the_service_has() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("list");
    let line = format!("a admin {} 2026-11-28T00:00:01Z\n", token("a").hash());
    std::fs::write(&path, line).unwrap();
    let clock = Arc::new(AtomicI64::new(NOW));
    let now = clock.clone();
    let config = AccessConfig { tokens: Some(path), ..AccessConfig::default() };
    let credentials =
        Credentials::open(&config, Arc::new(move || now.load(Ordering::SeqCst))).unwrap();
    assert!(who(&credentials, "lucid_a").is_ok());
    for (micros, counts) in
        [(999_999, true), (1_000_000, false), (i64::MAX - NOW, false), (0, true), (-NOW, true)]
    {
        clock.store(NOW + micros, Ordering::SeqCst);
        assert_eq!(who(&credentials, "lucid_a").is_ok(), counts, "{micros}");
    }
}

#[test]
fn a_jwt_counts_by_the_key_of_its_algorithm_alone() {
    let folder = tempfile::tempdir().unwrap();
    let pair = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let pair = Ed25519KeyPair::from_pkcs8(pair.as_ref()).unwrap();
    let public = hex::encode(pair.public_key().as_ref());
    let path = folder.path().join("key");
    std::fs::write(&path, &public).unwrap();
    let signed = |header: &str, claims: &str| {
        let text = jwt(header, claims, SECRET);
        let (text, _) = text.rsplit_once('.').unwrap();
        format!("{text}.{}", base64_url(pair.sign(text.as_bytes()).as_ref()))
    };
    let secret = SecretSource::File(folder.path().join("secret"));
    std::fs::write(folder.path().join("secret"), format!("{SECRET}\n")).unwrap();
    let by_secret = AccessConfig { jwt_secret: Some(secret), ..AccessConfig::default() };
    let by_key = AccessConfig { jwt_public_key: Some(path), ..AccessConfig::default() };
    let claims = |rest: &str| format!(r#"{{"sub":"ann","role":"read"{rest}}}"#);
    let soon = r#","exp":1795824001"#;
    let eddsa = r#"{"alg":"EdDSA"}"#;
    let (secret, key) = (open(&by_secret), open(&by_key));
    assert_eq!(who(&secret, &jwt(HS256, &claims(soon), SECRET)).unwrap(), "jwt:ann (read)");
    assert_eq!(who(&key, &signed(eddsa, &claims(soon))).unwrap(), "jwt:ann (read)");
    // The public key is no secret of HS256.
    for text in [jwt(HS256, &claims(soon), &public), jwt(eddsa, &claims(soon), SECRET)] {
        assert!(who(&key, &text).is_err());
    }
    assert!(who(&secret, &signed(eddsa, &claims(soon))).unwrap_err().contains("no key here"));
    for (rest, why) in [
        ("", "`exp`"),
        (r#","exp":1795824000"#, "expired"),
        (r#","exp":1795823999.9"#, "expired"),
        (r#","exp":-1"#, "`exp`"),
        (r#","exp":"soon""#, "JWT"),
        (r#","exp":null"#, ""),
        (r#","exp":1795824001,"nbf":1795824000.5"#, "not count yet"),
        (r#","exp":1795824001,"sessions":[]"#, "narrowed to nothing"),
        (r#","exp":1795824001,"sessions":null"#, "claims"),
        (r#","exp":1795824001,"users":null"#, "claims"),
        (r#","exp":1795824001,"sessions":["a b"]"#, "sessions"),
        (r#","exp":1795824001,"sessions":["*"]"#, "sessions"),
        (r#","exp":1795824001,"sessions":"a""#, "claims"),
        (r#","exp":1795824001,"users":[""]"#, "user"),
    ] {
        let refused = who(&secret, &jwt(HS256, &claims(rest), SECRET)).unwrap_err();
        assert!(refused.contains(why), "{rest}: {refused}");
    }
    for (wrong, why) in [
        (r#"{"role":"read","exp":1795824001}"#, "sub"),
        (r#"{"sub":"","role":"read","exp":1795824001}"#, "`sub`"),
        (r#"{"sub":"a\nb","role":"read","exp":1795824001}"#, "`sub`"),
        (r#"{"sub":"a","role":"root","exp":1795824001}"#, "`role`"),
        (r#"{"sub":"a","role":[],"exp":1795824001}"#, "`role`"),
        (r#"{"sub":"a","exp":1795824001}"#, "claims"),
        ("[]", ""),
    ] {
        let refused = who(&secret, &jwt(HS256, wrong, SECRET)).unwrap_err();
        assert!(refused.contains(why), "{wrong}: {refused}");
    }
    let several = r#"{"sub":"a","role":["audit","read"],"exp":4102444800,"nbf":0}"#;
    assert_eq!(who(&secret, &jwt(HS256, several, SECRET)).unwrap(), "jwt:a (read,audit)");
    let weak = AccessConfig {
        jwt_secret: Some(SecretSource::File(folder.path().join("weak"))),
        ..AccessConfig::default()
    };
    std::fs::write(folder.path().join("weak"), "short").unwrap();
    assert!(weak.faults()[0].contains("can be guessed"), "{:?}", weak.faults());
    let no_key = AccessConfig {
        jwt_public_key: Some(folder.path().join("weak")),
        ..AccessConfig::default()
    };
    assert!(no_key.faults()[0].contains("no Ed25519 public key"), "{:?}", no_key.faults());
}

/// The key of RFC 8037, A.2, as `openssl` writes it.
#[test]
fn a_public_key_is_read_as_openssl_writes_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pem");
    let pem = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n";
    std::fs::write(&path, pem).unwrap();
    let config = AccessConfig { jwt_public_key: Some(path), ..AccessConfig::default() };
    assert_eq!(config.faults(), Vec::<String>::new());
    // RFC 8037, A.4: a signature by it, over what is no claims.
    let signed = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    let credentials = open(&config);
    assert!(!who(&credentials, signed).unwrap_err().contains("signature"));
    let other = signed.replace("hgyY", "hgyZ");
    assert!(who(&credentials, &other).unwrap_err().contains("signature"));
}

#[test]
fn a_token_of_this_process_counts_where_others_have_to_show_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let own = Token::new(&[3; 32]);
    let config = AccessConfig {
        tokens: Some(list(folder.path())),
        own: Some(own.clone()),
        ..AccessConfig::default()
    };
    let caller = open(&config).caller(&shown(own.expose())).unwrap();
    assert!(caller.has_any(&[Role::Write]) && !caller.has_any(&[Role::Admin]));
    let alone = AccessConfig { own: Some(own), ..AccessConfig::default() };
    assert!(!open(&alone).are_asked_for());
}

fn bind(pairs: &[(&str, &str)]) -> Result<SocketAddr, String> {
    let loaded = load(&SERVICE, &settings(pairs), None, CommonConfig::read);
    loaded.map(|loaded| loaded.config.bind).map_err(|error| error.to_string())
}

#[test]
fn with_credentials_every_address_is_bound_and_without_any_this_machines_alone() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = list(folder.path());
    let tokens = tokens.to_str().unwrap();
    let data = folder.path().join("store/test");
    let data = data.to_str().unwrap();
    let everywhere = ("TEST_HOST", "0.0.0.0");
    let refused = bind(&[everywhere, ("LUCID_DATA_DIR", data)]).unwrap_err();
    assert!(
        refused.contains("lucid token create --data") && refused.contains("/store "),
        "{refused}"
    );
    for known in
        [("LUCID_TOKENS_FILE", tokens), ("LUCID_JWT_SECRET", SECRET), ("LUCID_AUTH", "off")]
    {
        let bound = bind(&[everywhere, known, ("LUCID_DATA_DIR", data)]);
        assert!(bound.is_ok(), "{known:?}: {bound:?}");
    }
    // A list beside the service's folder, where the command line makes it; and one in it.
    for kept in ["store/tokens", "store/test/tokens"] {
        let kept = folder.path().join(kept);
        std::fs::create_dir_all(kept.parent().unwrap()).unwrap();
        std::fs::copy(tokens, &kept).unwrap();
        assert!(bind(&[everywhere, ("LUCID_DATA_DIR", data)]).is_ok());
        let both = bind(&[("LUCID_AUTH", "off"), ("LUCID_DATA_DIR", data)]).unwrap_err();
        assert!(both.contains("unset one of them"), "{both}");
        std::fs::write(&kept, "x").unwrap();
        let broken = bind(&[("LUCID_DATA_DIR", data)]).unwrap_err();
        assert!(broken.contains("line 1"), "{broken}");
        std::fs::remove_file(kept).unwrap();
    }
    for wrong in [
        ("LUCID_TOKENS_FILE", "/nowhere"),
        ("LUCID_JWT_SECRET", "short"),
        ("LUCID_JWT_PUBLIC_KEY_FILE", tokens),
        ("LUCID_PEER_TOKEN_FILE", "/nowhere"),
    ] {
        let refused = bind(&[wrong]).unwrap_err();
        assert!(refused.contains(wrong.0), "{refused}");
    }
}

fn base64_url(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_again_and_nobody_else_is_kept_from_asking() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = list(folder.path());
    let settings = [("LUCID_RATE_LIMIT", "5"), ("LUCID_TOKENS_FILE", tokens.to_str().unwrap())];
    let server = Server::start(&settings).await;
    let ask = async |bearer: &str| {
        let head = match bearer {
            "" => "GET /api/v1/nothing HTTP/1.1".to_owned(),
            bearer => format!("GET /api/v1/nothing HTTP/1.1\nAuthorization: Bearer {bearer}"),
        };
        server.ask(&head, b"").await
    };
    // Guessing tokens counts to the address.
    for (bearer, answered) in [("lucid_read", 404), ("lucid_write", 404), ("lucid_guess", 401)] {
        let mut last = ask(bearer).await;
        assert_eq!(last.status, answered);
        if answered == 401 {
            assert_problem(&last, 401, "unauthorized");
        }
        for _ in 0..30 {
            last = ask(bearer).await;
        }
        assert_eq!(last.status, 429, "{bearer}");
        assert_eq!(last.header("retry-after"), Some("1"));
        assert!(last.json()["detail"].as_str().unwrap().contains("too many requests of"));
    }
    for _ in 0..30 {
        assert_eq!(server.get("/health").await.status, 200);
    }
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert_eq!(ask("lucid_read").await.status, 404);
    server.stop().await;
    let refused =
        bind(&[("LUCID_RATE_LIMIT", "-1"), ("LUCID_TRUSTED_PROXIES", "proxy")]).unwrap_err();
    assert!(refused.contains("LUCID_RATE_LIMIT") && refused.contains("like 10.0.0.1"), "{refused}");
}
