//! Both services' documents, as they are committed (each service's own tests see to it that this is
//! what it serves): an author who makes a client or a test of them finds everything said.

use std::collections::BTreeSet;

use serde_json::Value;

const SERVICES: [&str; 2] = ["data-chain", "block-manager"];

fn document(service: &str) -> Value {
    let path = format!("{}/../../docs/openapi/{service}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Every operation: `get /path`, and what is said of it.
fn operations(document: &Value) -> Vec<(String, &Value)> {
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if method != "parameters" {
                operations.push((format!("{method} {path}"), operation));
            }
        }
    }
    operations
}

/// What a reference leads to, or the thing itself.
fn resolved<'a>(document: &'a Value, thing: &'a Value) -> &'a Value {
    match thing["$ref"].as_str() {
        Some(reference) => document.pointer(reference.strip_prefix('#').unwrap()).unwrap(),
        None => thing,
    }
}

fn is_said(text: &Value) -> bool {
    text.as_str().is_some_and(|text| !text.is_empty())
}

#[test]
fn every_response_says_what_it_means_and_what_it_holds() {
    for service in SERVICES {
        let document = document(service);
        for (name, operation) in operations(&document) {
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.keys().any(|status| status.starts_with('4')), "{name}");
            for (status, response) in responses {
                let response = resolved(&document, response);
                let whole = format!("{service}: {name} {status}: {response}");
                assert!(is_said(&response["description"]), "{whole}");
                let contents = response["content"].as_object();
                for (kind, content) in contents.into_iter().flatten() {
                    assert!(content["schema"].is_object(), "{kind}: {whole}");
                    let is_binary = content["schema"]["format"] == "binary";
                    assert_eq!(is_binary, !kind.contains("json"), "{kind}: {whole}");
                }
                let is_refusal = status.starts_with(['4', '5', 'd']);
                let is_health = name.ends_with("/health");
                if is_refusal && !is_health && !name.starts_with("head ") {
                    let problem = &response["content"]["application/problem+json"]["schema"];
                    assert_eq!(problem["$ref"], "#/components/schemas/Problem", "{whole}");
                }
            }
        }
    }
}

#[test]
fn every_operation_has_a_name_of_its_own() {
    for service in SERVICES {
        let document = document(service);
        let mut names = BTreeSet::new();
        for (operation, said) in operations(&document) {
            let name = said["operationId"].as_str().unwrap();
            assert!(names.insert(name), "{service}: {name} is there twice, also {operation}");
            assert!(is_said(&said["summary"]), "{service}: {operation}");
        }
        assert!(is_said(&document["info"]["description"]));
    }
}

#[test]
fn every_parameter_has_a_kind_and_a_meaning() {
    for service in SERVICES {
        let document = document(service);
        for (name, operation) in operations(&document) {
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let parameter = resolved(&document, parameter);
                let whole = format!("{service}: {name}: {parameter}");
                // A path of files is any bytes.
                let schema = resolved(&document, &parameter["schema"]);
                let is_bounded = schema["type"] != "string" || is_bounded_text(schema);
                assert!(is_bounded || parameter["name"] == "path", "{whole}");
                let is_number = schema["type"] == "integer";
                assert!(!is_number || schema["minimum"].is_number(), "{whole}");
                if parameter["name"] == "limit" {
                    assert!(schema["maximum"].is_number(), "{whole}");
                }
                let is_place = ["index", "height", "leaf_index"]
                    .contains(&parameter["name"].as_str().unwrap());
                assert!(is_place || is_said(&parameter["description"]), "{whole}");
            }
        }
    }
}

fn is_bounded_text(schema: &Value) -> bool {
    ["pattern", "enum", "format", "maxLength", "minLength"]
        .iter()
        .any(|key| schema[key] != Value::Null)
}

#[test]
fn a_property_of_a_known_kind_has_its_form() {
    for service in SERVICES {
        let document = document(service);
        let mut seen = 0;
        for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
            let parts = schema["allOf"].as_array().cloned().unwrap_or(vec![schema.clone()]);
            for (property, said) in
                parts.iter().filter_map(|part| part["properties"].as_object()).flatten()
            {
                let wanted = match property.as_str() {
                    "session_id" => "SessionId",
                    "chunk_id" => "ChunkName",
                    "tx_id" | "transaction_id" => "TransactionId",
                    text if text.ends_with("_hash") || text.ends_with("merkle_root") => "Hash",
                    text if text.ends_with("_at") => "Time",
                    text if text.ends_with("_base64") => "Base64",
                    _ => continue,
                };
                // A transaction says of itself what it will, and so does another engine.
                if name.ends_with("Transaction") || name == "AnchoredElsewhere" {
                    continue;
                }
                let text = said.to_string();
                let is_chunk = wanted == "ChunkName" && text.contains("schemas/Hash\"");
                assert!(
                    text.contains(&format!("\"#/components/schemas/{wanted}\"")) || is_chunk,
                    "{service}: {name}.{property} is no {wanted}: {said}"
                );
                seen += 1;
            }
        }
        assert!(seen > 20, "{service}: {seen}");
    }
}

#[test]
fn a_type_is_named_and_not_repeated() {
    let document = document("data-chain");
    let items = &document["components"]["schemas"]["List_Session"]["properties"]["items"]["items"];
    assert_eq!(items["$ref"], "#/components/schemas/Session");
}

#[test]
fn parts_are_offered_where_they_are_served() {
    let document = document("data-chain");
    let data = &document["paths"]["/api/v1/sessions/{session_id}/data"]["get"];
    for status in ["200", "206", "304", "412", "416"] {
        assert!(data["responses"][status].is_object(), "{status}");
    }
    assert!(data["responses"]["206"]["headers"]["Content-Range"].is_object());
    assert!(data["parameters"].to_string().contains("#/components/parameters/Range"));
}

#[test]
fn a_body_that_may_be_left_out_is_not_required() {
    let document = document("block-manager");
    let validate = &document["paths"]["/api/v1/validation/chain"]["post"]["requestBody"];
    assert_eq!(validate["required"], false);
    let schema = &validate["content"]["application/json"]["schema"];
    assert_eq!(schema["$ref"], "#/components/schemas/ValidateChain");
}
