//! Types in the page.

use std::fmt::Write as _;

use serde_json::Value;

use super::markup::{blocks, escape, inline};

/// A type of the document, under its name.
pub(super) fn write(html: &mut String, name: &str, schema: &Value) {
    let anchor = escape(name);
    let _ = writeln!(html, "<article>\n<h3 id=\"type-{anchor}\">{anchor}</h3>");
    html.push_str(&blocks(schema["description"].as_str().unwrap_or_default()));
    if is_object(schema) || schema["allOf"].is_array() {
        for part in schema["allOf"].as_array().into_iter().flatten().filter(|part| part["$ref"].is_string()) {
            let _ = writeln!(html, "<p>The fields of {}, and:</p>", kind(part));
        }
        fields(html, schema);
    } else {
        let _ = writeln!(html, "<p>{}{}</p>", kind(schema), constraints(schema));
    }
    html.push_str("</article>\n");
}

fn is_object(schema: &Value) -> bool {
    schema["properties"].is_object()
}

fn fields(html: &mut String, schema: &Value) {
    let parts = std::iter::once(schema).chain(schema["allOf"].as_array().into_iter().flatten());
    html.push_str("<div class=\"wide\"><table>\n<thead><tr><th scope=\"col\">Field</th><th scope=\"col\">Type</th><th scope=\"col\">What it is</th></tr></thead>\n<tbody>\n");
    for part in parts {
        let needed: Vec<&str> = part["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (name, field) in part["properties"].as_object().into_iter().flatten() {
            let note = if needed.contains(&name.as_str()) { "" } else { " <span class=\"note\">optional</span>" };
            let _ = writeln!(
                html,
                "<tr><th scope=\"row\"><code>{}</code>{note}</th><td>{}</td><td>{}{}</td></tr>",
                escape(name),
                kind(field),
                inline(description(field)),
                constraints(field),
            );
        }
    }
    html.push_str("</tbody></table></div>\n");
}

/// Of a field that can be null, it stands at the other choice.
fn description(field: &Value) -> &str {
    let choices = field["oneOf"].as_array().into_iter().flatten();
    std::iter::once(field).chain(choices).find_map(|part| part["description"].as_str()).unwrap_or_default()
}

/// What kind of value it is, with links to the types that have a name.
pub(super) fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()) {
        let name = escape(name);
        return format!("<a href=\"#type-{name}\">{name}</a>");
    }
    if let Some(all) = schema["allOf"].as_array() {
        return all.first().map(kind).unwrap_or_default();
    }
    if let Some(choices) = schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array()) {
        return choices.iter().map(kind).collect::<Vec<_>>().join(" or ");
    }
    let words = match &schema["type"] {
        Value::String(word) => vec![word.as_str()],
        Value::Array(words) => words.iter().filter_map(Value::as_str).collect(),
        _ => return "any value".to_owned(),
    };
    words.into_iter().map(|word| plain(word, schema)).collect::<Vec<_>>().join(" or ")
}

fn plain(word: &str, schema: &Value) -> String {
    match word {
        "array" => format!("list of {}", kind(&schema["items"])),
        "string" => schema["format"].as_str().map_or_else(|| "string".to_owned(), |format| format!("string ({})", escape(format))),
        other => escape(other),
    }
}

/// What else a value has to be: words to choose from, bounds, form, and what it is where it is not given.
pub(super) fn constraints(schema: &Value) -> String {
    let mut notes = Vec::new();
    if let Some(words) = schema["enum"].as_array() {
        let words: Vec<String> = words.iter().map(code).collect();
        notes.push(format!("One of {}.", words.join(", ")));
    }
    for (least, most, unit) in
        [("minimum", "maximum", ""), ("minLength", "maxLength", " characters"), ("minItems", "maxItems", " elements")]
    {
        notes.extend(match (&schema[least], &schema[most]) {
            (Value::Null, Value::Null) => None,
            (least, Value::Null) => Some(format!("At least {least}{unit}.")),
            (Value::Null, most) => Some(format!("At most {most}{unit}.")),
            (least, most) => Some(format!("{least} to {most}{unit}.")),
        });
    }
    if schema["pattern"].is_string() {
        notes.push(format!("Has the form {}.", code(&schema["pattern"])));
    }
    if !schema["default"].is_null() {
        notes.push(format!("{} where it is not given.", code(&schema["default"])));
    }
    if notes.is_empty() { String::new() } else { format!(" <span class=\"note\">{}</span>", notes.join(" ")) }
}

fn code(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    format!("<code>{}</code>", escape(&text))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn kinds_are_said_in_words_and_named_types_are_linked() {
        let zone = json!({"$ref": "#/components/schemas/Zone"});
        assert_eq!(kind(&zone), "<a href=\"#type-Zone\">Zone</a>");
        assert_eq!(kind(&json!({"type": ["array", "null"], "items": zone})), "list of <a href=\"#type-Zone\">Zone</a> or null");
        assert_eq!(kind(&json!({"oneOf": [zone, {"type": "null"}]})), "<a href=\"#type-Zone\">Zone</a> or null");
        assert_eq!(kind(&json!({"type": "string", "format": "date-time"})), "string (date-time)");
        assert_eq!(kind(&json!({})), "any value");
    }

    #[test]
    fn bounds_words_and_defaults_are_told() {
        assert_eq!(constraints(&json!({"type": "string"})), "");
        let bounds = json!({"minimum": 1, "maximum": 100, "default": 50});
        assert_eq!(constraints(&bounds), " <span class=\"note\">1 to 100. <code>50</code> where it is not given.</span>");
        let words = json!({"enum": ["a", "<"], "maxLength": 3});
        assert_eq!(constraints(&words), " <span class=\"note\">One of <code>a</code>, <code>&lt;</code>. At most 3 characters.</span>");
    }
}
