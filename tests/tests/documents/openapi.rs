//! `openapi.yaml` is valid, and what the code says. That the answers are as it says is for `tests/contract`.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::{Value, json};

use super::{faults, files, read, schema, yaml};

const FILE: &str = "openapi.yaml";

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

/// The table of routes is what both the server and the description are made of, so that no route can be missing in it.
#[test]
fn the_file_is_what_the_code_says() {
    let binary = zonecert_devstack::product::binary().unwrap();
    let output = Command::new(&binary).arg("openapi").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (generated, file) = (String::from_utf8(output.stdout).unwrap(), read(FILE));
    if generated != file {
        let first = generated.lines().zip(file.lines()).position(|(one, other)| one != other);
        let line = first.map_or_else(|| "at its end".to_owned(), |line| format!("from line {} on", line + 1));
        panic!("{FILE} is not what {} says, {line}. Run `cargo xtask openapi` and commit the file.", binary.display());
    }
}

#[test]
fn every_operation_is_described_in_words_and_by_example() {
    let document = yaml(FILE);
    let mut operations = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            operations += 1;
            assert!(operation["operationId"].is_string() && operation["summary"].is_string(), "{method} {path}");
            let answers = operation["responses"].as_object().unwrap().values().map(|response| resolve(&document, response));
            for part in answers.chain(operation.get("requestBody")) {
                if let Some(json) = part["content"].get("application/json").filter(|json| json["schema"] != json!({})) {
                    assert!(json.get("example").or(json.get("examples")).is_some(), "{method} {path}: no example in {part:#}");
                }
            }
        }
    }
    assert!(operations > 20, "only {operations} operations were found");
}

/// An exception of schemathesis for what is not there would be none, and nobody would notice.
#[test]
fn every_exception_of_schemathesis_is_for_an_operation_and_has_its_reason() {
    let (description, exceptions) = (read(FILE), read("schemathesis.toml"));
    let mut operations = BTreeSet::new();
    for exception in exceptions.split("[[operations]]\n").skip(1) {
        assert!(exception.starts_with("# "), "no reason is given:\n{exception}");
        let named = exception.lines().find_map(|line| line.strip_prefix("include-operation-id = ")).unwrap();
        let named: Vec<String> = serde_json::from_str(named).unwrap();
        for operation in named {
            assert!(description.contains(&format!("operationId: {operation}\n")), "{operation} is not in {FILE}");
            assert!(operations.insert(operation.clone()), "{operation} has two exceptions");
        }
    }
    assert!(operations.len() > 10, "exceptions are no longer found in schemathesis.toml");
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
fn codes_are_found_as_they_are_written() {
    assert_eq!(first_code("\"/name\", \"certificate_name_invalid\", detail)"), Some("certificate_name_invalid"));
    assert_eq!(first_code("pointer, \"text_empty\", format!(\"Give at least one\"))"), Some("text_empty"));
    let mut objects = 0;
    each(&json!({"a": [{"b": {}}]}), &mut |_| objects += 1);
    assert_eq!(objects, 3);
}
