//! What holds for every route of a kind, derived from the description: a new route is called here without anybody writing it down.

use std::collections::BTreeMap;
use std::sync::Arc;

use reqwest::Method;
use tokio::task::JoinSet;

use super::described::{Described, Request};
use super::document::{Audience, Operation};
use super::things::{Things, make_token};

/// Every scope there is.
pub(crate) const SCOPES: [&str; 7] =
    ["certificates:read", "certificates:write", "deployments:write", "keys:read", "zones:read", "zones:write", "account:admin"];

/// Who calls.
pub(crate) struct Callers {
    /// The access token of an owner.
    pub(crate) person: String,
    /// An API token of the same account with all scopes.
    pub(crate) program: String,
    pub(crate) operator: String,
}

impl Callers {
    /// Whoever may call the operation.
    pub(crate) fn welcome(&self, operation: &Operation<'_>) -> Option<&str> {
        match operation.audience() {
            Audience::Everybody | Audience::ApiKey => None,
            Audience::Account | Audience::People => Some(&self.person),
            Audience::Operator => Some(&self.operator),
        }
    }
}

/// The operation as its description shows it.
pub(crate) fn example(operation: &Operation<'_>, path: String, credential: Option<&str>) -> Request {
    let mut request = Request::new(operation.method(), path);
    if let Some(body) = operation.example_body() {
        request = request.body("application/json", body.to_string());
    }
    match credential {
        Some(credential) => request.by(credential),
        None => request,
    }
}

pub(crate) async fn wants_a_credential(api: &Described) {
    for operation in api.document.operations().filter(|operation| operation.audience() != Audience::Everybody) {
        let nobody = api.expect(401, example(&operation, operation.absent_path(), None)).await;
        let somebody = api.expect(401, example(&operation, operation.absent_path(), Some("zc_nonsense"))).await;
        for (answer, expected) in [(nobody, "credential_missing"), (somebody, "credential_invalid")] {
            let expected = match operation.audience() {
                Audience::Operator => "operator_credential_required",
                Audience::ApiKey => "api_key_refused",
                _ => expected,
            };
            assert_eq!(answer["code"], expected, "{}", operation.name());
        }
    }
}

/// Each scope is needed: with all others, it is refused.
pub(crate) async fn wants_each_scope(api: &Described, callers: &Callers) {
    let mut tokens = BTreeMap::new();
    for missing in SCOPES {
        let others: Vec<&str> = SCOPES.into_iter().filter(|scope| *scope != missing).collect();
        tokens.insert(missing, make_token(api, &callers.person, &others).await);
    }
    for operation in api.document.operations() {
        for scope in operation.scopes() {
            let token = tokens.get(scope).unwrap_or_else(|| panic!("{scope} is a new scope: say so in every_route.rs"));
            let refused = api.expect(403, example(&operation, operation.absent_path(), Some(token))).await;
            assert_eq!(refused["code"], "scope_missing", "{}", operation.name());
            assert!(refused["detail"].as_str().unwrap().contains(scope), "{}: {refused}", operation.name());
        }
        if operation.audience() == Audience::People {
            let refused = api.expect(403, example(&operation, operation.absent_path(), Some(&callers.program))).await;
            assert_eq!(refused["code"], "person_required", "{}", operation.name());
        }
    }
}

/// The scopes that are described are enough: a program that holds these and no others is let in.
pub(crate) async fn is_content_with_its_scopes(api: &Described, callers: &Callers, things: &Things) {
    for operation in api.document.operations().filter(|operation| operation.audience() == Audience::Account) {
        let scopes = operation.scopes();
        if operation.method() == Method::GET && !scopes.is_empty() {
            let token = make_token(api, &callers.person, &scopes).await;
            let path = operation.path_with(|name, prefix| things.fill(name, prefix));
            let answer = api.answer(example(&operation, path, Some(&token))).await;
            assert!(answer.status != 401 && answer.status != 403, "{} wants more than {scopes:?}: {}", operation.name(), answer.body);
        }
    }
}

pub(crate) async fn knows_nothing_by_an_absent_identifier(api: &Described, callers: &Callers) {
    // What an API key opens is found by the key: without it there is nothing to be absent.
    let named = |operation: &Operation<'_>| operation.path.contains('{') && operation.audience() != Audience::ApiKey;
    for operation in api.document.operations().filter(named) {
        api.expect(404, example(&operation, operation.absent_path(), callers.welcome(&operation))).await;
    }
}

pub(crate) async fn refuses_what_cannot_be_read(api: &Described, callers: &Callers, things: &Things) {
    for operation in api.document.operations() {
        let path = operation.path_with(|name, prefix| things.fill(name, prefix));
        let start = || {
            let request = Request::new(operation.method(), path.clone());
            callers.welcome(&operation).map_or_else(|| request.clone(), |credential| request.clone().by(credential))
        };
        if operation.body_schema().is_some() {
            let json = |body: String| start().body("application/json", body);
            assert_eq!(api.expect(400, json("{".to_owned())).await["code"], "malformed_json", "{path}");
            let unknown = api.expect(400, json("{\"colour\": \"blue\"}".to_owned())).await;
            assert!(["unknown_field", "required", "invalid_input"].contains(&unknown["code"].as_str().unwrap()), "{path}: {unknown}");
            api.expect(413, json(format!("\"{}\"", "x".repeat(2 * 1024 * 1024)))).await;
            api.expect(415, start().body("text/plain", "{}")).await;
        }
        if operation.takes_query() {
            let mark = if path.contains('?') { '&' } else { '?' };
            let unknown = Request::new(operation.method(), format!("{path}{mark}colour=blue"));
            let unknown = callers.welcome(&operation).map_or_else(|| unknown.clone(), |credential| unknown.clone().by(credential));
            assert_eq!(api.expect(400, unknown).await["code"], "invalid_query", "{path}");
        }
        if operation.takes_key() {
            let request = example(&operation, path.clone(), callers.welcome(&operation)).header("idempotency-key", "");
            assert_eq!(api.expect(400, request).await["code"], "idempotency_key_invalid", "{path}");
        }
    }
}

/// Before it does anything: the identifiers are absent.
pub(crate) async fn answers_nobody_who_takes_nothing_of_it(api: &Described, callers: &Callers) {
    for operation in api.document.operations() {
        let request = example(&operation, operation.absent_path(), callers.welcome(&operation)).header("accept", "image/png");
        if operation.answers(406) {
            assert_eq!(api.expect(406, request).await["code"], "not_acceptable", "{}", operation.name());
        }
    }
}

/// A method that is not described is answered 405, with exactly the described ones in `Allow`.
pub(crate) async fn refuses_other_methods(api: &Described, callers: &Callers) {
    let mut described: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for operation in api.document.operations() {
        described
            .entry(operation.path_with(|_, prefix| prefix.map_or_else(|| "plus".to_owned(), super::document::absent)))
            .or_default()
            .push(operation.method().to_string());
    }
    let mut by_path: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (path, methods) in described {
        by_path.entry(path.split('?').next().unwrap().to_owned()).or_default().extend(methods);
    }
    for (path, mut methods) in by_path {
        if methods.contains(&"GET".to_owned()) {
            methods.push("HEAD".to_owned());
        }
        methods.sort();
        for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            if methods.contains(&method.to_string()) {
                continue;
            }
            let answer = api.send(Request::new(method, path.clone()).by(&callers.person)).await;
            let mut allowed: Vec<String> = answer.header("allow").split(',').map(|method| method.trim().to_owned()).collect();
            allowed.sort();
            assert_eq!(answer.is(405)["code"], "method_not_allowed");
            assert_eq!(allowed, methods, "{path}");
        }
    }
}

/// Nothing answers an account that is suspended for abuse.
pub(crate) async fn is_closed_to_the_suspended(api: &Described, suspended: &str) {
    for operation in api.document.operations().filter(Operation::is_of_account) {
        let refused = api.expect(403, example(&operation, operation.absent_path(), Some(suspended))).await;
        assert_eq!(refused["code"], "account_suspended", "{}", operation.name());
    }
}

/// At an address that is over its limit.
pub(crate) async fn is_counted(api: &Described, callers: &Callers) {
    for operation in api.document.operations().filter(|operation| operation.answers(429)) {
        let refused = api.expect(429, example(&operation, operation.absent_path(), callers.welcome(&operation))).await;
        assert_eq!(refused["code"], "rate_limited", "{}", operation.name());
    }
}

/// All at once, since each waits for the database as long as it may.
pub(crate) async fn says_so_without_the_database(api: &Described, callers: &Arc<Callers>) {
    let mut calls = JoinSet::new();
    for operation in api.document.operations().filter(|operation| operation.answers(503)) {
        let (api, request) = (api.clone(), example(&operation, operation.absent_path(), callers.welcome(&operation)));
        calls.spawn(async move { api.expect(503, request).await });
    }
    for refused in calls.join_all().await {
        assert_eq!(refused["code"], "database_unavailable", "{refused}");
    }
}
