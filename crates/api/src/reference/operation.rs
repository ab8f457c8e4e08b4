//! One operation in the page: who may call it, what it takes, and what it answers.

use std::fmt::Write as _;

use serde_json::Value;

use super::Described;
use super::markup::{blocks, escape, inline};
use super::schema::{constraints, kind};

pub(super) fn write(html: &mut String, operation: &Described, root: &Value) {
    let (anchor, summary) = (escape(operation.anchor()), inline(operation.text("summary")));
    let _ = writeln!(
        html,
        "<article>\n<h3 id=\"{anchor}\">{summary} <a class=\"here\" href=\"#{anchor}\" aria-label=\"Link to this operation\">#</a></h3>"
    );
    let _ = writeln!(
        html,
        "<p class=\"call\"><span class=\"method\">{}</span> <code class=\"path\">{}</code></p>",
        operation.method,
        escape(&operation.path)
    );
    html.push_str(&blocks(operation.text("description")));
    let _ = writeln!(html, "<p>Credential: {}.</p>", credential(&operation.value["security"]));
    parameters(html, operation);
    body(html, operation);
    answers(html, operation, root);
    html.push_str("</article>\n");
}

/// Any of them will do; an empty one says that none is needed.
fn credential(security: &Value) -> String {
    let ways: Vec<String> = security.as_array().into_iter().flatten().filter_map(Value::as_object).map(way).collect();
    if ways.is_empty() { "none".to_owned() } else { ways.join(", or ") }
}

fn way(way: &serde_json::Map<String, Value>) -> String {
    let Some((name, scopes)) = way.iter().next() else { return "none".to_owned() };
    let scopes: Vec<String> =
        scopes.as_array().into_iter().flatten().filter_map(Value::as_str).map(|scope| format!("<code>{}</code>", escape(scope))).collect();
    let with = if scopes.is_empty() { String::new() } else { format!(" with {}", scopes.join(" and ")) };
    format!("<a href=\"#credential-{name}\"><code>{name}</code></a>{with}")
}

fn parameters(html: &mut String, operation: &Described) {
    let Some(parameters) = operation.value["parameters"].as_array().filter(|parameters| !parameters.is_empty()) else { return };
    html.push_str("<h4>Parameters</h4>\n");
    html.push_str(
        "<div class=\"wide\"><table>\n<thead><tr><th scope=\"col\">Name</th><th scope=\"col\">In</th><th scope=\"col\">Type</th>",
    );
    html.push_str("<th scope=\"col\">What it is</th></tr></thead>\n<tbody>\n");
    for parameter in parameters {
        let name = escape(parameter["name"].as_str().unwrap_or_default());
        let needed = if parameter["required"] == true { "" } else { " <span class=\"note\">optional</span>" };
        let _ = writeln!(
            html,
            "<tr><th scope=\"row\"><code>{name}</code>{needed}</th><td>{}</td><td>{}</td><td>{}{}</td></tr>",
            escape(parameter["in"].as_str().unwrap_or_default()),
            kind(&parameter["schema"]),
            inline(parameter["description"].as_str().unwrap_or_default()),
            constraints(&parameter["schema"]),
        );
    }
    html.push_str("</tbody></table></div>\n");
}

fn body(html: &mut String, operation: &Described) {
    let body = &operation.value["requestBody"];
    if body.is_null() {
        return;
    }
    let needed = if body["required"] == true { "" } else { " <span class=\"note\">optional</span>" };
    let _ = writeln!(html, "<h4>Body{needed}</h4>");
    html.push_str(&blocks(body["description"].as_str().unwrap_or_default()));
    contents(html, &body["content"]);
}

fn answers(html: &mut String, operation: &Described, root: &Value) {
    html.push_str("<h4>Answers</h4>\n");
    for (status, answer) in operation.value["responses"].as_object().into_iter().flatten() {
        let answer = resolve(answer, root);
        let _ = writeln!(html, "<div class=\"answer\">\n<h5>{}</h5>", escape(status));
        html.push_str(&blocks(answer["description"].as_str().unwrap_or_default()));
        headers(html, answer, root);
        contents(html, &answer["content"]);
        html.push_str("</div>\n");
    }
}

/// Headers of an answer, each with what it says.
fn headers(html: &mut String, answer: &Value, root: &Value) {
    let headers = answer["headers"].as_object().into_iter().flatten();
    let listed: Vec<String> = headers
        .map(|(name, header)| {
            let what = resolve(header, root)["description"].as_str().unwrap_or_default();
            format!("<dt><code>{}</code></dt><dd>{}</dd>\n", escape(name), inline(what))
        })
        .collect();
    if !listed.is_empty() {
        let _ = writeln!(html, "<details><summary>Headers</summary>\n<dl>\n{}</dl></details>", listed.concat());
    }
}

fn contents(html: &mut String, contents: &Value) {
    for (media_type, content) in contents.as_object().into_iter().flatten() {
        let _ = writeln!(html, "<p><code>{}</code>: {}</p>", escape(media_type), kind(&content["schema"]));
        if !content["example"].is_null() {
            example(html, "Example", &content["example"]);
        }
        for (name, named) in content["examples"].as_object().into_iter().flatten() {
            example(html, &format!("Example: {}", escape(name)), &named["value"]);
        }
    }
}

fn example(html: &mut String, title: &str, value: &Value) {
    let text = value.as_str().map_or_else(|| format!("{value:#}"), str::to_owned);
    let _ = writeln!(html, "<details><summary>{title}</summary>\n<pre><code>{}</code></pre></details>", escape(&text));
}

/// What a reference leads to, or the value itself.
fn resolve<'a>(value: &'a Value, root: &'a Value) -> &'a Value {
    value["$ref"].as_str().and_then(|reference| root.pointer(reference.strip_prefix('#')?)).unwrap_or(value)
}
