//! What `/openapi.json` says: what the routes say of themselves, completed with what is true of all of
//! them, so that no route has to say it and none can forget it.
//!
//! Invariant: every response has a description, and a schema if it has a body; every refusal is a
//! problem document; bytes are bytes; a parameter has the kind that its name stands for.

use lucid_api::document::{self, REFUSALS, TAGS};
use lucid_api::headers::REQUEST_ID;
use lucid_api::problem::{self, Problem};
use serde_json::{Value, json};
use utoipa::OpenApi as _;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{InfoBuilder, LicenseBuilder, OpenApi, Server};

use crate::Service;
use crate::extract::JSON;
use crate::table::BEARER;

/// What every service's document holds.
#[derive(utoipa::OpenApi)]
#[openapi(components(schemas(Problem)))]
struct Common;

/// Completes what the routes say.
pub(super) fn document(mut openapi: OpenApi, service: &Service) -> Value {
    let license = LicenseBuilder::new().name(LICENSE).identifier(Some(LICENSE)).build();
    openapi.info = InfoBuilder::new()
        .title(service.title)
        .version(service.version)
        .description(Some(service.about))
        .license(Some(license))
        .build();
    openapi.servers = Some(vec![Server::new("/")]);
    // What stands in no table is open to everybody.
    openapi.security = Some(Vec::new());
    openapi.merge(Common::openapi());
    let components = openapi.components.get_or_insert_default();
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(
        "A token that `lucid token create` made, or a JWT. Where no credentials are configured, none are asked for.",
    ));
    components.add_security_scheme(BEARER, SecurityScheme::Http(bearer.build()));
    components
        .schemas
        .extend(document::kinds().into_iter().map(|(name, kind)| (name.to_owned(), kind)));
    // The router's way to say that a value may have slashes in it is not the document's.
    let paths = std::mem::take(&mut openapi.paths.paths);
    openapi.paths.paths =
        paths.into_iter().map(|(path, item)| (path.replace("{*", "{"), item)).collect();

    let mut used = Vec::new();
    let mut document = serde_json::to_value(openapi).unwrap_or_default();
    for (path, item) in members(&mut document, "/paths") {
        for (method, operation) in members(item, "") {
            complete(path, method, operation);
            used.extend(operation.pointer("/tags/0").cloned());
        }
        put(item, &["parameters"], json!([reference("parameters", REQUEST_ID)]));
    }
    let tags = TAGS.iter().filter(|(name, _)| used.iter().any(|used| used == name));
    let tags =
        tags.map(|(name, about)| TagBuilder::new().name(*name).description(Some(*about)).build());
    put(&mut document, &["tags"], json!(tags.collect::<Vec<_>>()));
    components_of(&mut document);
    document
}

/// Everything is under these terms.
const LICENSE: &str = "MIT OR Apache-2.0";

/// Makes one operation say all that is true of it.
fn complete(path: &str, method: &str, operation: &mut Value) {
    let mut has_values = false;
    for parameter in
        operation.pointer_mut("/parameters").and_then(Value::as_array_mut).into_iter().flatten()
    {
        has_values = true;
        name_kind(parameter);
    }
    let body = operation.get_mut("requestBody");
    let has_body = body.is_some();
    if let Some(body) = body {
        bodies(body);
        leave_out(body);
    }
    if operation.pointer("/responses/206").is_some() {
        offer_ranges(operation);
    }
    let mut parameters =
        operation.get("parameters").and_then(Value::as_array).into_iter().flatten();
    if parameters.any(|parameter| parameter.get("name") == Some(&json!("Prefer"))) {
        for name in ["Location", "Preference-Applied"] {
            put(operation, &["responses", "202", "headers", name], reference("headers", name));
        }
    }
    let is_guarded = operation.get("security").is_some();
    let refusals = document::refusals(method, path, has_body, has_values);
    let guarded = is_guarded.then_some(401).into_iter();
    let refusals = guarded.chain(refusals).map(|status: u16| status.to_string());
    for status in refusals.chain(["default".to_owned()]) {
        if operation.pointer(&format!("/responses/{status}")).is_none() {
            put(operation, &["responses", &status], reference("responses", known(&status).0));
        }
    }
    for (status, response) in members(operation, "/responses") {
        describe(status, response, method == "head");
    }
}

/// Gives a parameter the kind that its name stands for. A parameter is there or not, and never null.
fn name_kind(parameter: &mut Value) {
    let name = parameter.get("name").and_then(Value::as_str).unwrap_or_default();
    let kind = document::parameter(name);
    let Some(schema) = parameter.get_mut("schema") else { return };
    if schema.get("type") == Some(&json!(["string", "null"])) {
        put(schema, &["type"], json!("string"));
    }
    let Some((kind, about)) = kind.filter(|_| *schema == json!({ "type": "string" })) else {
        return;
    };
    *schema = reference("schemas", kind);
    let says_nothing = parameter.get("description").is_none_or(|about| about == "");
    if says_nothing {
        put(parameter, &["description"], json!(about));
    }
}

/// Lets a body be left out that the route can do without: it has `Option` around it.
fn leave_out(body: &mut Value) {
    let schema = body.pointer_mut("/content/application~1json/schema");
    let choices = schema.as_ref().and_then(|schema| schema.get("oneOf")).and_then(Value::as_array);
    let given = choices.and_then(|all| {
        let is_null = |one: &&Value| **one == json!({ "type": "null" });
        all.iter().find(is_null)?;
        all.iter().find(|one| !is_null(one)).cloned()
    });
    let required = given.is_none();
    if let (Some(schema), Some(given)) = (schema, given) {
        *schema = given;
    }
    put(body, &["required"], json!(required));
}

/// What is no JSON is bytes.
fn bodies(holder: &mut Value) {
    for (kind, content) in members(holder, "/content") {
        if !kind.contains("json") && kind != FORM {
            *content = json!({ "schema": { "type": "string", "format": "binary" } });
        }
    }
}

/// A form has fields.
const FORM: &str = "multipart/form-data";
/// The response that stands for every status that is not listed.
const OTHER: &str = "other";
/// What a request for a part may say.
const CONDITIONS: [(&str, &str, &str); 4] = [
    ("Range", "Range", "Asks for a part."),
    (
        "If-Range",
        "EntityTags",
        "Asks for the part if the content is this one, and else for everything.",
    ),
    ("If-None-Match", "EntityTags", "Asks for what the caller does not have yet."),
    ("If-Match", "EntityTags", "Asks for this content, and no other."),
];

/// Says what may be asked of content that is served in part: of every route that answers 206.
fn offer_ranges(operation: &mut Value) {
    let given = operation.get("parameters").and_then(Value::as_array).cloned();
    let conditions = CONDITIONS.map(|(name, ..)| reference("parameters", name));
    let parameters: Vec<_> = given.into_iter().flatten().chain(conditions).collect();
    put(operation, &["parameters"], json!(parameters));
    let mut bytes = operation.pointer("/responses/200/content").cloned().unwrap_or_default();
    if let Some(bytes) = bytes.as_object_mut() {
        bytes.remove(JSON);
    }
    put(operation, &["responses", "206", "content"], bytes);
    for (status, headers) in [
        ("200", &["ETag", "Accept-Ranges"][..]),
        ("206", &["ETag", "Accept-Ranges", "Content-Range"]),
        ("304", &["ETag", "Accept-Ranges"]),
    ] {
        for name in headers {
            let header = reference("headers", name);
            put(operation, &["responses", status, "headers", name], header);
        }
    }
    for status in ["412", "416"] {
        put(operation, &["responses", status], reference("responses", known(status).0));
    }
}

/// The name and the meaning of a refusal.
fn known(status: &str) -> (&'static str, &'static str) {
    let found = REFUSALS.iter().find(|(known, ..)| known.to_string() == status);
    found.map_or((OTHER, "Refused, or failed."), |(_, name, meaning)| (*name, *meaning))
}

/// Says what a response means and what it holds.
fn describe(status: &str, response: &mut Value, is_head: bool) {
    let is_refusal = !status.starts_with(['2', '3']);
    if response.get("$ref").is_some() {
        if !is_head {
            return;
        }
        *response = json!({});
    }
    let meaning = match status {
        "200" => "It is so.",
        "201" => "It was made.",
        "202" => "It is kept, and goes on.",
        "204" => "It is done.",
        "206" => "The part asked for.",
        "304" => "The caller has it.",
        _ => known(status).1,
    };
    if response.get("description").is_none() {
        put(response, &["description"], json!(meaning));
    }
    if is_refusal && response.get("content").is_none() && !is_head {
        put(response, &["content"], problem_content());
    }
    bodies(response);
    if let Some(response) = response.as_object_mut() {
        response.retain(|name, value| {
            name != "content" || value.as_object().is_some_and(|all| !all.is_empty())
        });
    }
    put(response, &["headers", REQUEST_ID], reference("headers", REQUEST_ID));
}

fn problem_content() -> Value {
    json!({ problem::CONTENT_TYPE: { "schema": reference("schemas", "Problem") } })
}

/// What operations refer to: refusals, headers, parameters, and only those types that are used.
fn components_of(document: &mut Value) {
    let refusals = REFUSALS.iter().map(|(status, ..)| status.to_string());
    for status in refusals.chain(["default".to_owned()]) {
        let (name, meaning) = known(&status);
        let own = match name {
            "busy" | "unavailable" => &["Retry-After"][..],
            "unauthorized" => &["WWW-Authenticate"],
            "range" => &["Content-Range"],
            _ => &[],
        };
        let headers = own.iter().chain([&REQUEST_ID]);
        let headers = headers.map(|name| ((*name).to_owned(), reference("headers", name)));
        let refusal = json!({
            "description": meaning, "headers": headers.collect::<Value>(), "content": problem_content(),
        });
        put(document, &["components", "responses", name], refusal);
    }
    for (name, kind, about) in CONDITIONS.into_iter().chain([(REQUEST_ID, "RequestId", NAMES_IT)]) {
        let parameter = json!({
            "name": name, "in": "header", "required": false, "description": about,
            "schema": reference("schemas", kind),
        });
        put(document, &["components", "parameters", name], parameter);
    }
    let text = |pattern: &str| json!({ "type": "string", "pattern": pattern });
    for (name, about, schema) in [
        (
            REQUEST_ID,
            "Names the request in logs and problem documents.",
            reference("schemas", "RequestId"),
        ),
        ("ETag", "Names exactly these bytes.", text("^\"[^\"]+\"$")),
        ("Accept-Ranges", "Parts may be asked for.", text("^bytes$")),
        ("Location", "Where to look how far it is.", text("^/[!-~]*$")),
        (
            "Preference-Applied",
            "The preference that was answered by; absent where none was sent.",
            text("^(respond-async|wait=[0-9]+)$"),
        ),
        (
            "Content-Range",
            "Which bytes these are, of how many.",
            text(r"^bytes ([0-9]+-[0-9]+|\*)/[0-9]+$"),
        ),
        (
            "WWW-Authenticate",
            "How credentials are shown, and what is wrong with those that were (RFC 6750).",
            text("^Bearer "),
        ),
        (
            "Retry-After",
            "After so many seconds it may be tried again.",
            json!({ "type": "integer", "minimum": 0 }),
        ),
    ] {
        let header = json!({ "description": about, "schema": schema });
        put(document, &["components", "headers", name], header);
    }
    // A list names the type of its items, as everything else does.
    let known: Vec<String> =
        members(document, "/components/schemas").map(|(name, _)| name.clone()).collect();
    for (name, schema) in members(document, "/components/schemas") {
        let item =
            name.strip_prefix("List_").filter(|item| known.iter().any(|known| known == item));
        if let (Some(item), Some(items)) = (item, schema.pointer_mut("/properties/items/items")) {
            *items = reference("schemas", item);
        }
    }
    for kind in ["responses", "parameters", "headers", "schemas"] {
        leave_out_unused(document, kind);
    }
}

/// Names the request.
const NAMES_IT: &str = "Names the request in logs and problem documents; made when absent.";

/// Removes what nothing refers to, and then what only that referred to.
fn leave_out_unused(document: &mut Value, kind: &str) {
    loop {
        let text = document.to_string();
        let path = format!("/components/{kind}");
        let Some(components) = document.pointer_mut(&path).and_then(Value::as_object_mut) else {
            return;
        };
        let before = components.len();
        components.retain(|name, _| text.contains(&format!("\"#/components/{kind}/{name}\"")));
        if components.len() == before {
            return;
        }
    }
}

fn reference(kind: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/components/{kind}/{name}") })
}

/// The members of the object at a place; none where there is no object.
fn members<'a>(
    holder: &'a mut Value,
    place: &str,
) -> impl Iterator<Item = (&'a String, &'a mut Value)> + use<'a> {
    holder.pointer_mut(place).and_then(Value::as_object_mut).into_iter().flatten()
}

/// Puts a value at the end of a way of names, making the objects on it.
fn put(holder: &mut Value, way: &[&str], value: Value) {
    let Some((name, rest)) = way.split_first() else {
        *holder = value;
        return;
    };
    if !holder.is_object() {
        *holder = json!({});
    }
    if let Some(holder) = holder.as_object_mut() {
        put(holder.entry(*name).or_insert(Value::Null), rest, value);
    }
}
