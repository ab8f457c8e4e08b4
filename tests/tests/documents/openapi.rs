//! `openapi.yaml` is valid, and describes exactly the routes that there are. That the answers are as it says is for `tests/contract`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{faults, files, read, schema, yaml};

const FILE: &str = "openapi.yaml";
const METHODS: [&str; 7] = ["get", "put", "post", "delete", "patch", "head", "options"];

#[test]
fn the_description_keeps_openapi_3_1() {
    let validator = jsonschema::draft202012::new(&schema("openapi-3.1.json")).unwrap();
    let faults = faults(&validator, &yaml(FILE));
    assert!(faults.is_empty(), "{FILE}:\n{faults}");
}

#[test]
fn every_schema_is_one_and_every_reference_leads_somewhere() {
    let document = yaml(FILE);
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        assert!(jsonschema::meta::is_valid(schema), "{name} is no JSON schema");
    }
    each(&document, &mut |value| {
        if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            let found = document.pointer(reference.strip_prefix('#').expect("a reference within the file"));
            assert!(found.is_some(), "{reference} leads nowhere");
        }
    });
}

#[test]
fn every_example_keeps_the_schema_that_it_stands_beside() {
    let document = yaml(FILE);
    let mut checked = 0;
    each(&document, &mut |value| {
        let Some(schema) = value.get("schema") else { return };
        let mut schema = schema.clone();
        schema["components"] = document["components"].clone();
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        let several = value
            .get("examples")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .map(|(_, example)| &resolve(&document, example)["value"]);
        for example in value.get("example").into_iter().chain(several) {
            checked += 1;
            let faults = faults(&validator, example);
            assert!(faults.is_empty(), "{example:#}\n{faults}");
        }
    });
    assert!(checked > 15, "only {checked} examples were found");
}

#[test]
fn exactly_the_routes_that_there_are_are_described() {
    let document = yaml(FILE);
    let described: BTreeSet<String> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().keys().filter(|key| METHODS.contains(&key.as_str()));
            methods.map(move |method| format!("{} {path}", method.to_uppercase()))
        })
        .collect();
    let routes = routes();
    assert!(routes.len() > 15, "the table of routes is no longer found in the source: {routes:?}");
    let missing: Vec<_> = routes.difference(&described).collect();
    let too_many: Vec<_> = described.difference(&routes).collect();
    assert!(missing.is_empty() && too_many.is_empty(), "not described: {missing:?}; described, but not there: {too_many:?}");
}

#[test]
fn every_code_of_a_problem_is_described() {
    let description = read(FILE);
    let mut codes = BTreeSet::new();
    for file in files("crates/api/src", ".rs") {
        let text = read(&file);
        // Tests may make problems of any code.
        let text = text.split("#[cfg(test)]").next().unwrap();
        for maker in ["bad_request(", "unauthorized(", "forbidden(", "absent(", "conflict(", "unavailable(", "FieldError::new("] {
            for (position, _) in text.match_indices(maker) {
                codes.extend(first_code(&text[position + maker.len()..]).map(|code| (code.to_owned(), file.clone())));
            }
        }
    }
    assert!(codes.len() > 25, "codes are no longer found in the source: {codes:?}");
    for (code, file) in codes {
        assert!(
            description.contains(&format!("`{code}`")) || description.contains(&format!("- {code}\n")),
            "{code} ({file}) is not in {FILE}"
        );
    }
}

/// The first string of the arguments that has the form of a code.
fn first_code(arguments: &str) -> Option<&str> {
    let arguments = &arguments[..arguments.find(';').unwrap_or(arguments.len())];
    let code = |text: &&str| text.len() > 3 && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    arguments.split('"').skip(1).step_by(2).take(2).find(code)
}

/// The routes in the source: `resource("…")` and the methods that follow it, up to the next one. Those of `routes.rs` that stand before its
/// scope lie at the root, all others below it.
fn routes() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for file in files("crates/api/src", ".rs") {
        let text = read(&file);
        let scope = if file.ends_with("/routes.rs") { text.find("scope(\"/api/v1\")").expect("the scope of the routes") } else { 0 };
        let parts: Vec<(usize, &str)> = text.match_indices("resource(\"").map(|(at, found)| (at, &text[at + found.len()..])).collect();
        for (at, part) in parts {
            let (path, rest) = part.split_once('"').unwrap();
            let rest = rest.split("resource(\"").next().unwrap().split(';').next().unwrap();
            let prefix = if at < scope { "" } else { "/api/v1" };
            for method in METHODS {
                if rest.contains(&format!(".{method}(")) || rest.contains(&format!("route({method}()")) {
                    found.insert(format!("{} {prefix}{path}", method.to_uppercase()));
                }
            }
        }
    }
    found
}

fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value.get("$ref").and_then(Value::as_str) {
        Some(reference) => document.pointer(&reference[1..]).unwrap(),
        None => value,
    }
}

/// Calls `look` with every object in a document.
fn each(value: &Value, look: &mut impl FnMut(&Value)) {
    match value {
        Value::Object(object) => {
            look(value);
            for inner in object.values() {
                each(inner, look);
            }
        }
        Value::Array(array) => {
            for inner in array {
                each(inner, look);
            }
        }
        _ => {}
    }
}

#[test]
fn the_table_of_routes_is_found_as_it_is_written() {
    assert!(routes().contains("GET /healthz"));
    assert!(routes().contains("DELETE /api/v1/tokens/{id}"));
    assert!(routes().contains("POST /api/v1/certificates"));
    assert_eq!(first_code("\"/name\", \"certificate_name_invalid\", detail)"), Some("certificate_name_invalid"));
    assert_eq!(first_code("pointer, \"text_empty\", format!(\"Give at least one\"))"), Some("text_empty"));
    let mut objects = 0;
    each(&json!({"a": [{"b": {}}]}), &mut |_| objects += 1);
    assert_eq!(objects, 3);
}
