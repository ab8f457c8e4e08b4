//! `GET /docs`: the description of the API for reading. The page is made of the same document as `/openapi.json`, by the server, once; it runs no script
//! and loads nothing, from here or from elsewhere.

mod markup;
mod operation;
mod schema;

use std::fmt::Write as _;
use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, ContentType};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use utoipa::openapi::{OpenApi, PathItem};

use crate::openapi;
use crate::route::{Access, Route};
use markup::{blocks, escape, inline};

const STYLE: &str = include_str!("reference/style.css");

/// Two processes of one version have the same page. A new one is seen within minutes.
const KEPT: &str = "public, max-age=300";

static PAGE: LazyLock<String> = LazyLock::new(|| page(&openapi::document()));

/// Nothing but the one style sheet that the page carries.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let style = STANDARD.encode(Sha256::digest(STYLE));
    format!("default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
});

pub(crate) fn routes() -> Vec<Route> {
    vec![Route::new(__path_html, html, Access::Open)]
}

/// This description, for reading
///
/// Every operation, field and code on one page, which needs no script and loads nothing from elsewhere.
#[utoipa::path(
    get, path = "/docs", tag = "service", operation_id = "getReference",
    responses((status = 200, description = "The page.", body = String, content_type = "text/html")),
)]
async fn html() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header(ContentType::html())
        .insert_header((CONTENT_SECURITY_POLICY, POLICY.as_str()))
        .insert_header((CACHE_CONTROL, KEPT))
        .body(PAGE.as_str())
}

/// An operation, with where it stands in the document.
struct Described {
    method: &'static str,
    path: String,
    value: Value,
}

impl Described {
    fn text(&self, field: &str) -> &str {
        self.value[field].as_str().unwrap_or_default()
    }

    /// The fragment of its place in the page.
    fn anchor(&self) -> &str {
        self.text("operationId")
    }

    fn is_of(&self, tag: &str) -> bool {
        self.value["tags"][0] == tag
    }
}

fn page(document: &OpenApi) -> String {
    // In the order of the table of routes, which a JSON object has not.
    let operations: Vec<Described> = document.paths.paths.iter().flat_map(|(path, item)| described(path, item)).collect();
    let root = serde_json::to_value(document).unwrap_or_default();
    let version = root["info"]["version"].as_str().unwrap_or_default();
    let title = format!("{} {version}: API reference", root["info"]["title"].as_str().unwrap_or_default());
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<a class=\"skip\" href=\"#content\">Skip to the content</a>\n",
        title = escape(&title),
    );
    contents(&mut html, &root, &operations);
    let _ = writeln!(html, "<main id=\"content\">\n<h1>{}</h1>", escape(&title));
    html.push_str(&blocks(root["info"]["description"].as_str().unwrap_or_default()));
    html.push_str("<p>The same for programs: <a href=\"/openapi.json\">openapi.json</a> (OpenAPI 3.1).</p>\n");
    credentials(&mut html, &root);
    for tag in tags(&root) {
        let (name, description) = tag;
        let _ = write!(html, "<section>\n<h2 id=\"tag-{name}\">{}</h2>\n{}", escape(&capitalized(name)), blocks(description));
        for operation in operations.iter().filter(|operation| operation.is_of(name)) {
            operation::write(&mut html, operation, &root);
        }
        html.push_str("</section>\n");
    }
    html.push_str("<section>\n<h2 id=\"types\">Types</h2>\n");
    for (name, schema) in root["components"]["schemas"].as_object().into_iter().flatten() {
        schema::write(&mut html, name, schema);
    }
    html.push_str("</section>\n</main>\n</body>\n</html>\n");
    html
}

fn described<'a>(path: &'a str, item: &'a PathItem) -> impl Iterator<Item = Described> + use<'a> {
    let methods = [("GET", &item.get), ("POST", &item.post), ("PUT", &item.put), ("PATCH", &item.patch), ("DELETE", &item.delete)];
    methods.into_iter().filter_map(|(method, operation)| {
        let value = serde_json::to_value(operation.as_ref()?).ok()?;
        Some(Described { method, path: path.to_owned(), value })
    })
}

fn tags(root: &Value) -> impl Iterator<Item = (&str, &str)> {
    let tags = root["tags"].as_array().into_iter().flatten();
    tags.filter_map(|tag| Some((tag["name"].as_str()?, tag["description"].as_str().unwrap_or_default())))
}

fn contents(html: &mut String, root: &Value, operations: &[Described]) {
    html.push_str("<nav aria-label=\"Contents\">\n<ul>\n<li><a href=\"#credentials\">Credentials</a></li>\n");
    for (name, _) in tags(root) {
        let _ = writeln!(html, "<li><a href=\"#tag-{name}\">{}</a>\n<ul>", escape(&capitalized(name)));
        for operation in operations.iter().filter(|operation| operation.is_of(name)) {
            let (anchor, summary) = (escape(operation.anchor()), inline(operation.text("summary")));
            let _ = writeln!(html, "<li><a href=\"#{anchor}\"><span class=\"method\">{}</span> {summary}</a></li>", operation.method);
        }
        html.push_str("</ul></li>\n");
    }
    html.push_str("<li><a href=\"#types\">Types</a></li>\n</ul>\n</nav>\n");
}

fn credentials(html: &mut String, root: &Value) {
    html.push_str("<section>\n<h2 id=\"credentials\">Credentials</h2>\n<dl>\n");
    for (name, scheme) in root["components"]["securitySchemes"].as_object().into_iter().flatten() {
        let how = match scheme["in"].as_str() {
            Some(place) => format!("{place} <code>{}</code>", escape(scheme["name"].as_str().unwrap_or_default())),
            None => "header <code>Authorization: Bearer …</code>".to_owned(),
        };
        let description = inline(scheme["description"].as_str().unwrap_or_default());
        let _ = writeln!(html, "<dt id=\"credential-{name}\"><code>{name}</code></dt>\n<dd>{description} Sent in the {how}.</dd>");
    }
    html.push_str("</dl>\n</section>\n");
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::routes;

    /// What stands between `before` and the next quotation mark.
    fn values<'a>(html: &'a str, before: &str) -> Vec<&'a str> {
        html.split(before).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
    }

    #[test]
    fn every_operation_type_and_code_is_in_the_page() {
        let document = openapi::document();
        let page = page(&document);
        for route in routes::all() {
            let id = route.operation.operation_id.unwrap();
            assert!(page.contains(&format!("<h3 id=\"{id}\">")), "{id} is not in the page");
            assert!(page.contains(&format!("<code class=\"path\">{}</code>", route.path)), "{} is not in the page", route.path);
        }
        for name in document.components.as_ref().unwrap().schemas.keys() {
            assert!(page.contains(&format!("<h3 id=\"type-{name}\">")), "the type {name} is not in the page");
        }
        let root = serde_json::to_value(&document).unwrap();
        let answers: Vec<&Value> =
            root["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap().values()).collect();
        let codes: BTreeSet<&str> = answers
            .iter()
            .flat_map(|operation| operation["responses"].as_object().unwrap().values())
            .filter_map(|answer| answer.pointer("/content/application~1problem+json/schema/allOf/1/properties/code/enum"))
            .flat_map(|codes| codes.as_array().unwrap())
            .map(|code| code.as_str().unwrap())
            .collect();
        assert!(codes.len() > 80, "{codes:?}");
        for code in codes {
            assert!(page.contains(&format!("<code>{code}</code>")), "{code} is not in the page");
        }
    }

    #[test]
    fn every_link_of_the_page_leads_somewhere() {
        let page = &PAGE;
        let ids = values(page, " id=\"");
        let known: BTreeSet<&str> = ids.iter().copied().collect();
        assert_eq!(ids.len(), known.len(), "two places of the page have one name");
        for link in values(page, " href=\"") {
            assert!(link == "/openapi.json" || link.strip_prefix('#').is_some_and(|id| known.contains(id)), "{link} leads nowhere");
        }
    }

    #[test]
    fn the_page_runs_and_loads_nothing() {
        for forbidden in ["<script", " src=", " style=\"", "<link", "<iframe", "url(", "@import", " onclick"] {
            assert!(!PAGE.contains(forbidden), "{forbidden}");
        }
        assert_eq!(PAGE.matches("<style>").count(), 1);
        for unsafe_source in ["unsafe", "*", "http", "data:", "'self'"] {
            assert!(!POLICY.contains(unsafe_source), "{unsafe_source}: {}", POLICY.as_str());
        }
    }

    #[test]
    fn elements_are_closed_in_the_order_in_which_they_were_opened() {
        let mut open = Vec::new();
        for tag in PAGE.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()) {
            let name = tag.split_whitespace().next().unwrap();
            match name.strip_prefix('/') {
                Some(closed) => assert_eq!(open.pop(), Some(closed), "</{closed}>"),
                None if ["!DOCTYPE", "meta"].contains(&name) => {}
                None => open.push(name),
            }
        }
        assert_eq!(open, Vec::<&str>::new());
    }
}
