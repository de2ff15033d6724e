//! The YAML file: nested keys become dotted ones, and `${VAR}`, `${VAR:default}` and
//! `${VAR:-default}` become what the environment says. Substitution happens inside values, after
//! parsing, so a variable can never bring in structure.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::{Environment, Mistake};

/// A file's values under their dotted keys. A list has many, anything else one. A key without a value
/// (null, or a section with nothing in it) has `None`: it sets nothing, and must be a known one.
pub(super) type Values = BTreeMap<String, Option<Vec<String>>>;

/// A file larger than this is not one of ours.
const FILE_BYTES_MAX: u64 = 1 << 20;

pub(super) fn read(path: &Path, environment: &Environment) -> (Values, Vec<Mistake>) {
    let mut values = Values::new();
    let mut mistakes = Vec::new();
    let wrong =
        |what: String| Mistake::Other(format!("configuration file {}: {what}", path.display()));
    match text(path).and_then(|text| parse(&text)) {
        Err(what) => mistakes.push(wrong(what)),
        Ok(Value::Null) => {}
        Ok(Value::Object(fields)) => {
            let mut faults = Vec::new();
            flatten("", Value::Object(fields), environment, &mut values, &mut faults);
            mistakes.extend(faults.into_iter().map(wrong));
        }
        Ok(_) => mistakes.push(wrong("not a mapping".to_owned())),
    }
    (values, mistakes)
}

/// What stands in a file that is not too large to be one of settings.
pub(super) fn text(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > FILE_BYTES_MAX {
        return Err(format!("larger than {FILE_BYTES_MAX} bytes"));
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

fn parse(text: &str) -> Result<Value, String> {
    let empty = text.lines().all(|line| line.trim().is_empty() || line.trim().starts_with('#'));
    if empty {
        return Ok(Value::Null);
    }
    // A line of the file may be a secret, so none is shown.
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| error.to_string())
}

fn flatten(
    key: &str,
    value: Value,
    environment: &Environment,
    values: &mut Values,
    faults: &mut Vec<String>,
) {
    let mut scalar = |value: Value| match value {
        Value::String(text) => substitute(&text, environment)
            .map_err(|what| faults.push(format!("{key}: {what}")))
            .ok(),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            faults.push(format!("{key}: a list holds only texts and numbers"));
            None
        }
    };
    match value {
        Value::Null => {
            values.insert(key.to_owned(), None);
        }
        Value::Object(fields) if fields.is_empty() && !key.is_empty() => {
            values.insert(key.to_owned(), None);
        }
        Value::Object(fields) => {
            for (name, inner) in fields {
                let key = if key.is_empty() { name } else { format!("{key}.{name}") };
                flatten(&key, inner, environment, values, faults);
            }
        }
        Value::Array(items) => {
            let items = items.into_iter().filter_map(&mut scalar).collect();
            values.insert(key.to_owned(), Some(items));
        }
        other => {
            if let Some(text) = scalar(other) {
                values.insert(key.to_owned(), Some(vec![text]));
            }
        }
    }
}

/// Replaces every `${..}`. An unset variable without a default is a fault: an empty text in its
/// place would look like a decision.
pub(super) fn substitute(text: &str, environment: &Environment) -> Result<String, String> {
    let mut result = String::new();
    let mut rest = text;
    while let Some((before, expression)) = rest.split_once("${") {
        let (inner, after) = expression.split_once('}').ok_or("${ without }")?;
        let (name, default) = match inner.split_once(':') {
            Some((name, default)) => (name, Some(default.strip_prefix('-').unwrap_or(default))),
            None => (inner, None),
        };
        let value = environment.get(name).map(String::as_str).filter(|value| !value.is_empty());
        result.push_str(before);
        result.push_str(value.or(default).ok_or_else(|| format!("variable {name} is not set"))?);
        rest = after;
    }
    result.push_str(rest);
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_put_in() {
        let environment =
            Environment::from([("A".into(), "1".into()), ("E".into(), String::new())]);
        for (text, wanted) in [
            ("plain $A {A}", "plain $A {A}"),
            ("${A}", "1"),
            ("x${A}y${B:2}z${C:-3}", "x1y2z3"),
            ("${B:-http://h:1/}", "http://h:1/"),
            ("${E:-default}", "default"),
            ("${B:}", ""),
        ] {
            assert_eq!(substitute(text, &environment).as_deref(), Ok(wanted), "{text}");
        }
        assert!(substitute("${B}", &environment).is_err());
        assert!(substitute("${A", &environment).is_err());
    }
}
