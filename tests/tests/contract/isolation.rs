//! Another account's things do not exist, and nobody gets in with a credential that is no good: for every route and every method, derived from the
//! description, so that a new route cannot be forgotten.

use reqwest::Method;
use serde_json::{Value, json};

use super::described::Request;
use super::document::{Audience, Operation, absent};
use super::every_route::{self, SCOPES, example};
use super::things::{Things, make_token};
use super::{World, text, token_of};

const METHODS: [Method; 5] = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

#[tokio::test(flavor = "multi_thread")]
async fn no_route_tells_a_stranger_anything_or_lets_in_who_has_no_right() -> anyhow::Result<()> {
    let world = World::make().await?;
    let World { system, api, callers, things, .. } = &world;
    let stranger = system.account("elite").await?;
    let own = Things::make(api, system, &stranger).await;
    let before = shown(&world).await;

    for operation in api.document.operations().filter(Operation::is_of_account) {
        paths_are_foreign(&world, &operation, &stranger.access_token, &own).await;
        values_are_foreign(&world, &operation, &stranger.access_token, &own).await;
    }
    every_route::wants_a_credential(api).await;
    every_route::wants_each_scope(api, callers).await;
    credentials_that_are_no_good(&world).await?;
    methods_that_are_not_described(&world, &stranger.access_token).await;
    lists_hold_nothing_foreign(&world, &stranger.access_token).await;

    assert_eq!(shown(&world).await, before, "a stranger has changed something");
    let (theirs, mine) = (things.id("cert"), own.id("cert"));
    assert_ne!(theirs, mine);
    Ok(())
}

/// Each parameter of the path in turn is another account's: the same answer, but for the path it names, as where there is nothing.
async fn paths_are_foreign(World { api, things, .. }: &World, operation: &Operation<'_>, stranger: &str, own: &Things) {
    let named: Vec<(&str, &str)> = operation.path_parameters().filter_map(|(name, prefix)| Some((name, prefix?))).collect();
    for (foreign, _) in &named {
        let path = |stands_there: &dyn Fn(&str) -> String| {
            operation.path_with(|name, prefix| match prefix {
                Some(prefix) if name == *foreign => stands_there(prefix),
                _ => own.fill(name, prefix),
            })
        };
        let theirs = api.expect(404, example(operation, path(&|prefix| things.id(prefix).to_owned()), Some(stranger))).await;
        let nothing = api.expect(404, example(operation, path(&absent), Some(stranger))).await;
        assert_eq!(without_instance(theirs), without_instance(nothing), "{}: {{{foreign}}}", operation.name());
    }
}

/// The same for identifiers in bodies and queries, whatever the answer is.
async fn values_are_foreign(World { api, things, .. }: &World, operation: &Operation<'_>, stranger: &str, own: &Things) {
    let path = operation.path_with(|name, prefix| own.fill(name, prefix));
    let mut body = operation.example_body();
    let fields: Vec<(String, String)> = body.iter().flat_map(identifiers).collect();
    for (field, prefix) in fields {
        let mut ask = async |id: &str| {
            let body = body.as_mut().unwrap();
            body[&field] = json!(id);
            let request = Request::new(operation.method(), path.clone()).by(stranger).body("application/json", body.to_string());
            without_instance(api.answer(request).await.body)
        };
        assert_eq!(ask(things.id(&prefix)).await, ask(&absent(&prefix)).await, "{}: {field}", operation.name());
    }
    for (parameter, prefix) in operation.query_identifiers() {
        let ask = async |id: &str| {
            let mark = if path.contains('?') { '&' } else { '?' };
            let request = Request::new(operation.method(), format!("{path}{mark}{parameter}={id}")).by(stranger);
            without_instance(api.answer(request).await.body)
        };
        assert_eq!(ask(things.id(prefix)).await, ask(&absent(prefix)).await, "{}: ?{parameter}", operation.name());
    }
}

/// The fields of an example that hold an identifier, each with its prefix.
fn identifiers(body: &Value) -> Vec<(String, String)> {
    let fields = body.as_object().into_iter().flatten();
    let prefix = |value: &Value| {
        let (prefix, digits) = value.as_str()?.split_once('_')?;
        (digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| prefix.to_owned())
    };
    fields.filter_map(|(name, value)| Some((name.clone(), prefix(value)?))).collect()
}

/// A token that has expired, one that was revoked, a sign-in that was ended: each was good before.
async fn credentials_that_are_no_good(World { api, system, callers, things, .. }: &World) -> anyhow::Result<()> {
    let person = &callers.person;
    let expired = make_token(api, person, &SCOPES).await;
    let wish = json!({"name": "revoked", "scopes": SCOPES});
    let revoked = api.expect(201, Request::post("/api/v1/tokens").by(person).json(wish)).await;
    let ended = system.account("elite").await?.access_token;
    let credentials = [("expired", expired.clone()), ("revoked", token_of(&revoked)), ("signed out", ended.clone())];
    for (what, credential) in &credentials {
        let me = api.answer(Request::get("/api/v1/me").by(credential)).await;
        assert_eq!(me.status, 200, "the credential to be {what}");
    }
    let prefix = &expired[.."zc_".len() + 6];
    let past = "UPDATE api_tokens SET created_at = now() - interval '2 days', expires_at = now() - interval '1 day' WHERE prefix = $1";
    assert_eq!(system.database().await?.execute(past, &[&prefix]).await?, 1);
    api.expect(204, Request::delete(format!("/api/v1/tokens/{}", text(&revoked["id"]))).by(person)).await;
    api.expect(204, Request::post("/api/v1/auth/logout-everywhere").by(&ended)).await;
    for operation in api.document.operations().filter(Operation::is_of_account) {
        for (what, credential) in &credentials {
            let path = operation.path_with(|name, prefix| things.fill(name, prefix));
            let refused = api.expect(401, example(&operation, path, Some(credential))).await;
            assert_eq!(refused["code"], "credential_invalid", "{}: {what}", operation.name());
        }
    }
    // Nobody of an account is the operator.
    for operation in api.document.operations().filter(|operation| operation.audience() == Audience::Operator) {
        for credential in [person, &callers.program] {
            let path = operation.path_with(|name, prefix| things.fill(name, prefix));
            api.expect(401, example(&operation, path, Some(credential))).await;
        }
    }
    Ok(())
}

/// What is no route is none for a thing that is there, either.
async fn methods_that_are_not_described(World { api, things, .. }: &World, stranger: &str) {
    for operation in api.document.operations().filter(|operation| operation.path.contains('{')) {
        let path = operation.path_with(|name, prefix| things.fill(name, prefix));
        let there: Vec<Method> =
            api.document.operations().filter(|other| other.path == operation.path).map(|other| other.method()).collect();
        for method in METHODS.into_iter().filter(|method| !there.contains(method)) {
            api.send(Request::new(method, path.clone()).by(stranger)).await.is(405);
        }
    }
}

/// A list names nothing of another account, by whatever identifier.
async fn lists_hold_nothing_foreign(World { api, things, .. }: &World, stranger: &str) {
    for operation in api.document.operations().filter(Operation::is_of_account) {
        // The stream of events is called as well, and begins with what is new.
        if operation.method() == Method::GET && !operation.path.contains('{') {
            let answer = api.answer(example(&operation, operation.absent_path(), Some(stranger))).await;
            let text = answer.is(200).to_string();
            for id in things.ids() {
                assert!(!text.contains(id), "{} shows a stranger {id}", operation.name());
            }
            assert!(!text.contains(&things.zone.name), "{} shows a stranger {}", operation.name(), things.zone.name);
        }
    }
}

/// What the owner is shown of what a stranger has tried to reach.
async fn shown(World { api, callers, things, .. }: &World) -> Vec<Value> {
    let mut shown = Vec::new();
    for operation in api.document.operations().filter(|operation| operation.is_of_account() && operation.method() == Method::GET) {
        if operation.path_parameters().any(|(_, prefix)| prefix.is_some()) {
            let path = operation.path_with(|name, prefix| things.fill(name, prefix));
            let mut answer = api.answer(example(&operation, path, Some(&callers.person))).await.body;
            // Whether our name servers are up to date is theirs to say, and the time of an answer's.
            if let Some(fields) = answer.as_object_mut() {
                fields.remove("projection");
                fields.remove("instance");
            }
            shown.push(answer);
        }
    }
    shown
}

fn without_instance(mut answer: Value) -> Value {
    if let Some(fields) = answer.as_object_mut() {
        fields.remove("instance");
    }
    answer
}
