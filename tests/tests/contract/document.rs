//! `openapi.yaml` as the tests read it.

use std::path::Path;

use jsonschema::Validator;
use reqwest::Method;
use serde_json::Value;

/// The description, closed: a field that it does not know is a fault.
pub(crate) struct Document(Value);

/// An operation of the description.
#[derive(Clone, Copy)]
pub(crate) struct Operation<'a> {
    document: &'a Document,
    method: &'static str,
    /// With its parameters in braces.
    pub(crate) path: &'a str,
    described: &'a Value,
}

/// Whom an operation answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Everybody, or whoever has a refresh token.
    Everybody,
    /// People and programs of an account.
    Account,
    /// People of an account.
    People,
    /// Whoever has an API key of what is asked for.
    ApiKey,
    Operator,
}

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

impl Document {
    pub(crate) fn read() -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../openapi.yaml");
        let mut document: Value = serde_saphyr::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        close(&mut document);
        for schema in document["components"]["schemas"].as_object_mut().into_iter().flat_map(|schemas| schemas.values_mut()) {
            close_schema(schema, true);
        }
        Self(document)
    }

    /// Every operation.
    pub(crate) fn operations(&self) -> impl Iterator<Item = Operation<'_>> {
        self.0["paths"].as_object().unwrap().iter().flat_map(|(path, item)| {
            METHODS.into_iter().filter_map(|method| Some(Operation { document: self, method, path, described: item.get(method)? }))
        })
    }

    /// The operation that a call goes to. One whose path is given in full comes before one whose path has a parameter there.
    pub(crate) fn operation(&self, method: &Method, path: &str) -> Operation<'_> {
        let path = path.split('?').next().unwrap();
        let fits = |template: &str| {
            let (there, here): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
            there.len() == here.len() && there.iter().zip(here).all(|(there, here)| there.starts_with('{') || *there == here)
        };
        let mut found: Vec<Operation<'_>> = self.operations().filter(|operation| operation.is(method) && fits(operation.path)).collect();
        found.sort_by_key(|operation| operation.path.matches('{').count());
        *found.first().unwrap_or_else(|| panic!("{method} {path} is not described"))
    }

    /// What a reference leads to, or the value itself.
    pub(crate) fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value.get("$ref").and_then(Value::as_str) {
            Some(reference) => self.0.pointer(&reference[1..]).unwrap(),
            None => value,
        }
    }

    /// Panics with all that is wrong with `instance`.
    pub(crate) fn hold(&self, schema: &Value, instance: &Value, what: &str) {
        let mut schema = schema.clone();
        schema["components"] = self.0["components"].clone();
        let validator: Validator =
            jsonschema::options().with_draft(jsonschema::Draft::Draft202012).should_validate_formats(true).build(&schema).unwrap();
        let faults: String =
            validator.iter_errors(instance).map(|error| format!("{}: {error}", error.instance_path())).collect::<Vec<_>>().join("\n");
        assert!(faults.is_empty(), "{what} is not as described:\n{faults}\n{instance:#}");
    }
}

impl<'a> Operation<'a> {
    fn is(&self, method: &Method) -> bool {
        method.as_str().eq_ignore_ascii_case(self.method)
    }

    pub(crate) fn method(&self) -> Method {
        self.method.to_uppercase().parse().unwrap()
    }

    /// `GET /api/v1/zones/{id}`.
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.method(), self.path)
    }

    /// Every status that is described.
    pub(crate) fn statuses(&self) -> impl Iterator<Item = u16> + use<'a> {
        self.described["responses"].as_object().unwrap().keys().map(|status| status.parse().unwrap())
    }

    pub(crate) fn answers(&self, status: u16) -> bool {
        self.statuses().any(|described| described == status)
    }

    /// What is described of an answer.
    pub(crate) fn response(&self, status: u16) -> Option<&'a Value> {
        self.described["responses"].get(status.to_string()).map(|response| self.document.resolve(response))
    }

    pub(crate) fn audience(&self) -> Audience {
        let ways: Vec<&str> = self.security().flat_map(|way| way.keys().map(String::as_str)).collect();
        match ways.as_slice() {
            ["apiKey"] => Audience::ApiKey,
            [] if self.path.ends_with("/{api_key}") => Audience::ApiKey,
            ["operatorToken"] => Audience::Operator,
            ["accessToken"] => Audience::People,
            ["accessToken", "apiToken"] => Audience::Account,
            [] | ["refreshCookie"] => Audience::Everybody,
            other => panic!("{}: say in document.rs whom {other:?} lets in", self.name()),
        }
    }

    /// Whether a credential of an account is asked for.
    pub(crate) fn is_of_account(&self) -> bool {
        matches!(self.audience(), Audience::Account | Audience::People)
    }

    /// The scopes that the credential must hold.
    pub(crate) fn scopes(&self) -> Vec<&'a str> {
        let scopes = self.security().find_map(|way| way.get("accessToken")).and_then(Value::as_array);
        scopes.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    fn security(&self) -> impl Iterator<Item = &'a serde_json::Map<String, Value>> {
        self.described["security"].as_array().unwrap().iter().filter_map(Value::as_object)
    }

    /// The schema of its JSON body.
    pub(crate) fn body_schema(&self) -> Option<&'a Value> {
        self.described.pointer("/requestBody/content/application~1json/schema")
    }

    /// The first example of its JSON body.
    pub(crate) fn example_body(&self) -> Option<Value> {
        let content = self.described.pointer("/requestBody/content/application~1json")?;
        let first = content["examples"].as_object().and_then(|examples| examples.values().next()).map(|example| &example["value"]);
        Some(content.get("example").or(first).unwrap_or_else(|| panic!("{}: no example of its body", self.name())).clone())
    }

    pub(crate) fn takes_key(&self) -> bool {
        self.parameters("header").any(|parameter| parameter["name"] == "Idempotency-Key")
    }

    pub(crate) fn takes_query(&self) -> bool {
        self.parameters("query").next().is_some()
    }

    /// The query that has to be there, by example.
    pub(crate) fn required_query(&self) -> String {
        let required = self.parameters("query").filter(|parameter| parameter["required"] == true);
        let pairs = required.map(|parameter| {
            let schema = self.document.resolve(&parameter["schema"]);
            let places = [parameter.get("example"), schema.get("example"), schema.pointer("/examples/0"), schema.pointer("/enum/0")];
            let example = places.into_iter().flatten().find_map(Value::as_str);
            format!("{}={}", parameter["name"].as_str().unwrap(), example.unwrap_or_else(|| panic!("{parameter}: no example")))
        });
        let query = pairs.collect::<Vec<_>>().join("&");
        if query.is_empty() { query } else { format!("?{query}") }
    }

    /// The parameters of its query that take an identifier, by their examples, each with its prefix.
    pub(crate) fn query_identifiers(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.parameters("query").filter_map(|parameter| {
            let example = parameter.get("example").or(parameter.pointer("/schema/example"))?.as_str()?;
            let (prefix, digits) = example.split_once('_')?;
            (digits.len() == 32).then(|| (parameter["name"].as_str().unwrap(), prefix))
        })
    }

    /// The parameters of its path, each with the prefix of the identifiers that it takes: `("id", Some("zone"))`.
    pub(crate) fn path_parameters(&self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> {
        self.parameters("path").map(|parameter| {
            let pattern = parameter["schema"]["pattern"].as_str();
            (parameter["name"].as_str().unwrap(), pattern.and_then(|pattern| pattern.strip_prefix('^')?.strip_suffix("_[0-9a-f]{32}$")))
        })
    }

    /// Its path with what `fill` says for each parameter, and the query that has to be there.
    pub(crate) fn path_with(&self, fill: impl Fn(&str, Option<&str>) -> String) -> String {
        let path = self
            .path_parameters()
            .fold(self.path.to_owned(), |path, (name, prefix)| path.replace(&format!("{{{name}}}"), &fill(name, prefix)));
        path + &self.required_query()
    }

    /// The same with identifiers that nobody has. Of a download by an API key, of a kind that there is: another is no path at all.
    pub(crate) fn absent_path(&self) -> String {
        self.path_with(|name, prefix| prefix.map_or_else(|| self.first_word(name).unwrap_or("absent").to_owned(), absent))
    }

    fn first_word(&self, name: &str) -> Option<&'a str> {
        if self.audience() != Audience::ApiKey {
            return None;
        }
        self.parameters("path").find(|parameter| parameter["name"] == name)?.pointer("/schema/enum/0")?.as_str()
    }

    fn parameters(&self, place: &'static str) -> impl Iterator<Item = &'a Value> + use<'a> {
        let parameters = self.described["parameters"].as_array().into_iter().flatten();
        parameters.filter(move |parameter| parameter["in"] == place)
    }
}

/// An identifier that nobody has.
pub(crate) fn absent(prefix: &str) -> String {
    format!("{prefix}_{}", "0".repeat(32))
}

/// A client takes fields that it does not know. Here each of them is a fault: of the description.
fn close(value: &mut Value) {
    match value {
        Value::Object(object) => {
            for (key, inner) in object {
                if key == "schema" { close_schema(inner, false) } else { close(inner) }
            }
        }
        Value::Array(array) => array.iter_mut().for_each(close),
        _ => {}
    }
}

/// `is_part`: of a whole that says itself what else there may be.
fn close_schema(schema: &mut Value, is_part: bool) {
    let Value::Object(object) = schema else { return };
    for (key, inner) in object.iter_mut() {
        match (key.as_str(), inner) {
            ("properties", Value::Object(properties)) => properties.values_mut().for_each(|property| close_schema(property, false)),
            ("items", items) => close_schema(items, false),
            ("allOf", Value::Array(parts)) => parts.iter_mut().for_each(|part| close_schema(part, true)),
            ("oneOf" | "anyOf", Value::Array(choices)) => choices.iter_mut().for_each(|choice| close_schema(choice, is_part)),
            _ => {}
        }
    }
    let has_fields = ["$ref", "allOf", "properties"].iter().any(|key| object.contains_key(*key));
    if has_fields && !is_part {
        object.insert("unevaluatedProperties".to_owned(), Value::Bool(false));
    }
}
