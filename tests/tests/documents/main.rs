//! What stands at the top level beside the code says what the code does: the Compose file, the description of the API, the links between documents.

mod compose;
mod dependencies;
mod links;
mod openapi;
mod readme;

use std::path::{Path, PathBuf};

use serde_json::Value;

/// The working copy.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A file of the working copy.
fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A YAML file as the JSON that it stands for.
fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A JSON file of `tests/schemas`.
fn schema(name: &str) -> Value {
    serde_json::from_str(&read(&format!("tests/schemas/{name}"))).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Everything that is wrong with `instance`, a line each.
fn faults(validator: &jsonschema::Validator, instance: &Value) -> String {
    validator.iter_errors(instance).map(|error| format!("{}: {error}", error.instance_path())).collect::<Vec<_>>().join("\n")
}

/// All files below a directory of the working copy whose names end so, by their paths in it.
fn files(directory: &str, ending: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut to_do = vec![directory.to_owned()];
    while let Some(directory) = to_do.pop() {
        let entries = std::fs::read_dir(root().join(&directory)).unwrap_or_else(|error| panic!("{directory}: {error}"));
        for entry in entries.map(Result::unwrap) {
            let path = format!("{directory}/{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                to_do.push(path);
            } else if path.ends_with(ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
