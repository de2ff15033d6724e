//! Every route, asked as callers of every kind.

use axum::http::Method;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lucid_api::access::Role;
use lucid_http::table::Wanted;
use reqwest::blocking::Client;

use crate::access::{HS256, SECRET, jwt, token};

/// A path with something in each of its places.
fn filled(path: &str) -> String {
    let mut filled = path.to_owned();
    for (place, value) in [
        ("{session_id}", "elsewhere-1"),
        ("{chunk_id}", "0000000000000000000000000000000000000000000000000000000000000000"),
        ("{root_hash}", "0000000000000000000000000000000000000000000000000000000000000000"),
        ("{hash}", "0000000000000000000000000000000000000000000000000000000000000000"),
        ("{index}", "0"),
        ("{leaf_index}", "0"),
        ("{height}", "0"),
        ("{id}", "0"),
        ("{kind}", "block"),
        ("{tx_id}", "0"),
        ("{path}", "a"),
        ("{*path}", "a"),
    ] {
        filled = filled.replace(place, value);
    }
    assert!(!filled.contains('{'), "{path} has a place that nothing is put into");
    filled
}

/// Asks every route as callers of every kind, and says what was answered otherwise than the table says.
pub fn wrong_answers(
    http: &Client,
    base: &str,
    table: &[(Method, &'static str, Wanted)],
) -> Vec<String> {
    let soon = r#""exp":4102444800"#;
    let good = jwt(HS256, &format!(r#"{{"sub":"ann","role":"admin",{soon}}}"#), SECRET);
    let strangers = [
        ("nothing", String::new()),
        ("a forged token", "lucid_forged".to_owned()),
        ("the hash of a token", token("admin").hash().to_string()),
        ("an expired token", token("dead").expose().to_owned()),
        (
            "a JWT by another key",
            jwt(
                HS256,
                &format!(r#"{{"sub":"ann","role":"admin",{soon}}}"#),
                "another secret of thirty-two bytes.",
            ),
        ),
        ("an expired JWT", jwt(HS256, r#"{"sub":"ann","role":"admin","exp":1}"#, SECRET)),
        ("a JWT without expiry", jwt(HS256, r#"{"sub":"ann","role":"admin"}"#, SECRET)),
        (
            "a JWT of another algorithm",
            jwt(r#"{"alg":"HS384"}"#, &format!(r#"{{"sub":"ann","role":"admin",{soon}}}"#), SECRET),
        ),
        ("alg:none", good_without_signature(soon)),
        ("a cut JWT", good.get(..good.len() - 2).unwrap().to_owned()),
    ];
    let mut wrong = Vec::new();
    for (method, path, wanted) in table {
        let url = format!("{base}{}", filled(path));
        let ask = |bearer: &str| {
            let request = http.request(method.clone(), &url);
            let request = match bearer {
                "" => request,
                bearer => request.bearer_auth(bearer),
            };
            let reply = request.send().unwrap();
            let challenge = reply.headers().get("www-authenticate").cloned();
            (reply.status().as_u16(), challenge.is_some())
        };
        let mut hold = |who: &str, is_right: bool, (status, challenged): (u16, bool)| {
            if !is_right || challenged != [401, 403].contains(&status) {
                wrong.push(format!("{method} {path} as {who}: {status} {challenged}"));
            }
        };
        for (who, bearer) in &strangers {
            let answer = ask(bearer);
            hold(who, answer.0 == 401, answer);
        }
        for role in Role::ALL {
            let may = wanted.access.roles().contains(&role);
            let answer = ask(token(role.as_str()).expose());
            hold(role.as_str(), may != [401, 403].contains(&answer.0), answer);
            let name = format!("{role}-narrowed");
            let answer = ask(token(&name).expose());
            let may = may && wanted.is_within;
            hold(&name, may != [401, 403].contains(&answer.0), answer);
            let claims = format!(r#"{{"sub":"ann","role":"{role}",{soon}}}"#);
            let answer = ask(&jwt(HS256, &claims, SECRET));
            hold(
                &format!("{role} by JWT"),
                wanted.access.roles().contains(&role) != [401, 403].contains(&answer.0),
                answer,
            );
        }
    }
    wrong
}

fn good_without_signature(soon: &str) -> String {
    let claims = format!(r#"{{"sub":"ann","role":"admin",{soon}}}"#);
    let parts = [r#"{"alg":"none"}"#, &claims].map(|part| URL_SAFE_NO_PAD.encode(part));
    format!("{}.", parts.join("."))
}
