//! The description of the API: `openapi.yaml`, made of the table of routes, of what stands at each handler, and of the types that they
//! read and write. `CONTRIBUTING.md` says how a route is described.

mod example;
mod headers;
mod kind;
mod links;
mod problems;
pub(crate) mod values;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::http::Method;
use actix_web::http::header::ContentType;
use utoipa::PartialSchema;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::request_body::RequestBody;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    Components, Content, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, PathsBuilder, Ref, RefOr, Required, Response, Schema,
    ServerBuilder,
};

use crate::live;
use crate::problem::{Document, FieldError, Problem};
use crate::route::{Access, Route};
use crate::routes;
use kind::{COMMON, Common, Kind};
use problems::Answers;

/// The groups of operations, in the order in which they are shown.
const TAGS: [(&str, &str); 11] = [
    ("people", "Signing in, oneself, the people of an account, and the account."),
    ("tokens", "API tokens, for programs."),
    ("zones", "DNS zones and the proof that they are yours."),
    ("certificates", "Certificates, their logs and their files."),
    ("acme-accounts", "Accounts of your own at a certificate authority, to order certificates with."),
    ("keys", "Private keys, which certificates can share."),
    ("downloads", "Files for programs, by an API key of just these: the download API of LeGo CertHub and Cert Warden."),
    ("webhooks", "Messages to you when something becomes of a certificate."),
    ("plans", "What an account may have."),
    ("operators", "For the operator of the service."),
    ("service", "For load balancers and for whoever writes a client."),
];

/// What is answered, which nothing changes while the process runs.
static TEXT: LazyLock<serde_json::Result<String>> = LazyLock::new(|| serde_json::to_string(&document()));

pub(crate) fn routes() -> Vec<Route> {
    vec![Route::new(__path_json, json, Access::Open)]
}

/// This description
///
/// The same as `openapi.yaml`, in JSON.
#[utoipa::path(
    get, path = "/openapi.json", tag = "service", operation_id = "getDescription",
    responses((status = 200, description = "The description.", body = serde_json::Value, content_type = "application/json")),
)]
async fn json() -> Result<HttpResponse, Problem> {
    let text = TEXT.as_ref().map_err(|error| Problem::caused_by(error))?;
    Ok(HttpResponse::Ok().insert_header(ContentType::json()).body(text.as_str()))
}

/// The whole description.
pub fn document() -> OpenApi {
    let mut components = Components::new();
    components.schemas.insert("Problem".to_owned(), Document::schema());
    components.schemas.insert("FieldError".to_owned(), FieldError::schema());
    components.schemas.extend(live::schemas());
    components.headers = headers::all();
    components.responses = COMMON.iter().map(|common| (common.name.to_owned(), RefOr::T(shared(common)))).collect();
    add_security_schemes(&mut components);
    let mut all = routes::all();
    for route in &mut all {
        components.schemas.extend(std::mem::take(&mut route.schemas));
    }
    let built = all.into_iter().fold(PathsBuilder::new(), |paths, route| {
        let (path, method) = (route.path.clone(), route.method.clone());
        paths.path(path, item(&method, operation(route, &components)))
    });
    let mut paths = built.build();
    links::add(&mut paths);
    let description = include_str!("openapi/description.md").trim_end();
    let info = InfoBuilder::new()
        .title("Zonecert")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(description))
        .license(Some(LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build()));
    let server = ServerBuilder::new()
        .url("http://127.0.0.1:8080")
        .description(Some("A process on this machine with its default address. Put your own here."));
    let tags = TAGS.iter().map(|&(name, description)| TagBuilder::new().name(name).description(Some(description)).build());
    OpenApiBuilder::new()
        .info(info.build())
        .servers(Some([server.build()]))
        .tags(Some(tags))
        .paths(paths)
        .components(Some(components))
        .build()
}

/// What was written at the handler, and what its kind adds to that.
fn operation(route: Route, components: &Components) -> Operation {
    let kind = &Kind::of(&route);
    let Route { path, access, mut operation, .. } = route;
    operation.description = describe(access, operation.description.as_deref());
    operation.security = Some(security(access));
    let responses = std::mem::take(&mut operation.responses.responses);
    operation.responses.responses = complete(responses, kind, &example::path(&path, &operation, components));
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response {
            headers::complete(status.parse().unwrap_or_default(), response, kind);
            example::complete(&mut response.content, components);
        }
    }
    if let Some(RefOr::T(body)) = &mut operation.request_body {
        can_be_left_out(body);
        example::complete(&mut body.content, components);
    }
    operation
}

/// Of an `Option` as a body utoipa says that it can be null. It can be absent, and is not null.
fn can_be_left_out(body: &mut RequestBody) {
    for content in body.content.values_mut() {
        if let RefOr::T(Content { schema: Some(schema), .. }) = content
            && let RefOr::T(Schema::OneOf(choice)) = schema
            && let Some(other) = choice.items.iter().find(|item| !example::is_null(item))
        {
            *schema = other.clone();
            body.required = Some(Required::False);
        }
    }
}

/// Adds the problems that every route of the kind has.
fn complete(written: BTreeMap<String, RefOr<Response>>, kind: &Kind, instance: &str) -> BTreeMap<String, RefOr<Response>> {
    let mut responses = BTreeMap::new();
    let mut own: BTreeMap<u16, Answers> = BTreeMap::new();
    for (status, response) in written {
        match (status.parse(), response) {
            (Ok(status @ 400..), RefOr::T(response)) => {
                own.insert(status, Answers::read(&response.description));
            }
            (_, response) => {
                responses.insert(status, response);
            }
        }
    }
    let mut common: BTreeMap<u16, Vec<&Common>> = BTreeMap::new();
    for one in COMMON.iter().filter(|one| (one.applies)(kind)) {
        common.entry(one.status).or_default().push(one);
    }
    if own.contains_key(&409)
        && let Some(conflict) = kind.conflict()
    {
        common.entry(409).or_default().push(conflict);
    }
    for (&status, common) in &common {
        if let (None, [only]) = (own.get(&status), common.as_slice()) {
            responses.insert(status.to_string(), RefOr::Ref(Ref::from_response_name(only.name)));
            continue;
        }
        let all = common.iter().fold(own.remove(&status).unwrap_or_default(), |all, one| all.and(&Answers::read(one.codes)));
        own.insert(status, all);
    }
    responses.extend(own.into_iter().map(|(status, answers)| (status.to_string(), RefOr::T(answers.response(status, instance)))));
    responses
}

fn shared(common: &Common) -> Response {
    let mut response = Answers::read(common.codes).response(common.status, "/api/v1/zones");
    headers::complete_problem(common.status, &mut response);
    response
}

fn describe(access: Access, written: Option<&str>) -> Option<String> {
    let who = match access {
        Access::Operator => "Needs a credential of the operator.",
        Access::Person | Access::PersonWith(_) => "For people, and not for programs.",
        _ => "",
    };
    let names: Vec<String> = access.scopes().iter().map(|scope| format!("`{scope}`")).collect();
    let needed = match names.as_slice() {
        [] => String::new(),
        [only] => format!("Needs the scope {only}."),
        several => format!("Needs the scopes {}.", several.join(" and ")),
    };
    let sentences = [who, &needed, written.unwrap_or_default()].into_iter().filter(|text| !text.is_empty());
    let text = sentences.collect::<Vec<_>>().join(" ");
    (!text.is_empty()).then_some(text)
}

/// Any of them will do. An empty one: none is needed.
fn security(access: Access) -> Vec<SecurityRequirement> {
    let scopes: Vec<&str> = access.scopes().iter().map(|scope| scope.as_str()).collect();
    let by = |scheme: &str| SecurityRequirement::new(scheme, scopes.iter().copied());
    match access {
        Access::Open | Access::ApiKeyInPath => Vec::new(),
        Access::ApiKey => vec![by("apiKey")],
        Access::RefreshToken => vec![SecurityRequirement::default(), by("refreshCookie")],
        Access::Person | Access::PersonWith(_) => vec![by("accessToken")],
        Access::Account | Access::Scopes(_) => vec![by("accessToken"), by("apiToken")],
        Access::Operator => vec![by("operatorToken")],
    }
}

fn add_security_schemes(components: &mut Components) {
    for (name, format, description) in [
        ("accessToken", "JWT", "The `access_token` of a sign-in. 15 minutes. Its scopes follow from the person's role."),
        (
            "apiToken",
            "zc_ and 43 characters",
            "An API token. On a plan without API access, tokens that exist go on reading and downloading.",
        ),
        ("operatorToken", "zca_ and 43 characters", "A token of the operator: `zonecert admin new-token` makes one."),
    ] {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format(format).description(Some(description));
        components.add_security_scheme(name, SecurityScheme::Http(scheme.build()));
    }
    let description = "An API key of the certificate or private key that is asked for; of both, `<certificate's>.<private key's>`. The header `apiKey` is read \
        as well.";
    let header = ApiKeyValue::with_description("X-API-Key", description);
    components.add_security_scheme("apiKey", SecurityScheme::ApiKey(ApiKey::Header(header)));
    let description = "The refresh token of a browser, set `HttpOnly` and `SameSite=Strict` by a sign-in with `cookie: true`.";
    let cookie = ApiKeyValue::with_description("zonecert_refresh", description);
    components.add_security_scheme("refreshCookie", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
}

fn item(method: &Method, operation: Operation) -> PathItem {
    let mut item = PathItem::default();
    let place = match *method {
        Method::PUT => &mut item.put,
        Method::POST => &mut item.post,
        Method::DELETE => &mut item.delete,
        Method::PATCH => &mut item.patch,
        _ => &mut item.get,
    };
    *place = Some(operation);
    item
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of two types with one name, the document would hold one, and describe the other wrongly.
    #[test]
    fn no_two_types_are_described_by_one_name() {
        let mut known = BTreeMap::new();
        for (name, schema) in routes::all().into_iter().flat_map(|route| route.schemas) {
            let earlier = known.entry(name.clone()).or_insert_with(|| schema.clone());
            assert!(*earlier == schema, "two types are described as {name}: give one of them another name by #[schema(as = …)]");
        }
        assert!(known.len() > 30);
    }
}
