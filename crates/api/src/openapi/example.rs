//! Examples. Each field has one of its own (or needs none, being one of a few words); from these the example of a whole body is put together,
//! so that it always has the fields that there are. A handler that has a better one gives it.

use serde_json::{Map, Value, json};
use utoipa::openapi::path::{Operation, ParameterIn};
use utoipa::openapi::schema::{ArrayItems, Object, SchemaType, Type};
use utoipa::openapi::{Components, Content, RefOr, Schema};

/// Gives an example to each content that has none.
pub(super) fn complete<'a>(contents: impl IntoIterator<Item = (&'a String, &'a mut RefOr<Content>)>, components: &Components) {
    for (media_type, content) in contents {
        if let RefOr::T(content) = content
            && media_type == "application/json"
            && content.example.is_none()
            && content.examples.is_empty()
        {
            content.example = content.schema.as_ref().and_then(|schema| of(schema, components));
        }
    }
}

/// The path with examples of its parameters in their places.
pub(super) fn path(path: &str, operation: &Operation, components: &Components) -> String {
    let parameters = operation.parameters.iter().flatten();
    parameters.fold(path.to_owned(), |path, parameter| match parameter {
        RefOr::T(parameter) if parameter.parameter_in == ParameterIn::Path => {
            let example = parameter.schema.as_ref().and_then(|schema| of(schema, components));
            path.replace(&format!("{{{}}}", parameter.name), example.as_ref().and_then(Value::as_str).unwrap_or("example"))
        }
        _ => path,
    })
}

fn of(schema: &RefOr<Schema>, components: &Components) -> Option<Value> {
    let schema = match schema {
        RefOr::Ref(reference) => {
            let name = reference.ref_location.rsplit('/').next()?;
            return of(components.schemas.get(name)?, components);
        }
        RefOr::T(schema) => schema,
    };
    match schema {
        Schema::Object(object) => of_object(object, components),
        Schema::Array(array) => array.example.clone().or_else(|| array.examples.first().cloned()).or_else(|| match &array.items {
            ArrayItems::RefOrSchema(items) => Some(json!([of(items, components)?])),
            ArrayItems::False => Some(json!([])),
        }),
        Schema::OneOf(choice) => {
            choice.example.clone().or_else(|| choice.items.iter().find(|item| !is_null(item)).and_then(|item| of(item, components)))
        }
        Schema::AnyOf(choice) => {
            choice.example.clone().or_else(|| choice.items.iter().find(|item| !is_null(item)).and_then(|item| of(item, components)))
        }
        Schema::AllOf(parts) => {
            let mut whole = Map::new();
            for part in &parts.items {
                if let Some(Value::Object(part)) = of(part, components) {
                    whole.extend(part);
                }
            }
            Some(Value::Object(whole))
        }
        _ => None,
    }
}

fn of_object(object: &Object, components: &Components) -> Option<Value> {
    if let Some(given) = object.example.clone().or_else(|| object.examples.first().cloned()).or_else(|| object.default.clone()) {
        return Some(given);
    }
    if let Some(first) = object.enum_values.as_ref().and_then(|words| words.first()) {
        return Some(first.clone());
    }
    match first_type(&object.schema_type)? {
        Type::Object => {
            let properties = object.properties.iter().filter_map(|(name, schema)| Some((name.clone(), of(schema, components)?)));
            Some(Value::Object(properties.collect()))
        }
        Type::Boolean => Some(json!(false)),
        Type::String if object.format == Some(date_time()) => Some(json!("2026-11-21T10:00:00.123456Z")),
        _ => None,
    }
}

fn date_time() -> utoipa::openapi::SchemaFormat {
    utoipa::openapi::SchemaFormat::KnownFormat(utoipa::openapi::KnownFormat::DateTime)
}

fn first_type(kind: &SchemaType) -> Option<&Type> {
    match kind {
        SchemaType::Type(kind) => Some(kind),
        SchemaType::Array(kinds) => kinds.iter().find(|kind| **kind != Type::Null),
        SchemaType::AnyValue => None,
    }
}

/// Whether it is the type of `null` alone.
pub(super) fn is_null(schema: &RefOr<Schema>) -> bool {
    matches!(schema, RefOr::T(Schema::Object(object)) if matches!(object.schema_type, SchemaType::Type(Type::Null)))
}
