//! The API answers as `openapi.yaml` says: every operation is called, every answer is held to the description, and every status that is described has
//! been seen. What follows from the kind of a route is in `every_route`; what is a route's own, in a scenario.

mod acme_accounts;
mod certificates;
mod described;
mod document;
mod downloads;
mod every_route;
mod isolation;
mod keys;
mod operators;
mod people;
mod things;
mod tokens;
mod webhooks;
mod zones;

use std::path::PathBuf;
use std::sync::Arc;

use described::{Described, Request};
use every_route::{Callers, SCOPES};
use serde_json::Value;
use things::{Things, make_token};
use zonecert_devstack::product::setting;
use zonecert_tests::{Account, System};

/// The product, and an account that has one of everything.
struct World {
    system: System,
    api: Described,
    owner: Account,
    callers: Arc<Callers>,
    things: Things,
    /// Where the worker writes mail.
    mail: PathBuf,
    _scratch: tempfile::TempDir,
}

impl World {
    async fn make() -> anyhow::Result<Self> {
        let scratch = tempfile::tempdir()?;
        let mail = scratch.path().join("mail");
        let with_mail = |product: zonecert_devstack::Product| product.with(setting::MAIL_DIR, mail.display().to_string());
        let system = System::start_with(&zonecert_devstack::shared().await?, with_mail).await?;
        let api = Described::new(system.api.api_url());
        let owner = system.account("elite").await?;
        let things = Things::make(&api, &system, &owner).await;
        let program = make_token(&api, &owner.access_token, &SCOPES).await;
        let callers = Callers { person: owner.access_token.clone(), program, operator: setting::STACK_OPERATOR_TOKEN.to_owned() };
        Ok(Self { system, api, owner, callers: Arc::new(callers), things, mail, _scratch: scratch })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_as_described_and_every_described_status_is_answered() -> anyhow::Result<()> {
    let world = World::make().await?;
    let World { system, api, callers, things, .. } = &world;

    every_route::wants_a_credential(api).await;
    every_route::wants_each_scope(api, callers).await;
    every_route::is_content_with_its_scopes(api, callers, things).await;
    every_route::knows_nothing_by_an_absent_identifier(api, callers).await;
    every_route::refuses_what_cannot_be_read(api, callers, things).await;
    every_route::answers_nobody_who_takes_nothing_of_it(api, callers).await;
    every_route::refuses_other_methods(api, callers).await;
    let suspended = system.account("elite").await?;
    operators::suspend(&world, &suspended, "abuse").await;
    every_route::is_closed_to_the_suspended(api, &suspended.access_token).await;

    open_routes(api).await;
    people::scenario(&world).await?;
    tokens::scenario(&world).await;
    acme_accounts::scenario(&world).await?;
    webhooks::scenario(&world).await;
    zones::scenario(&world).await?;
    certificates::scenario(&world).await?;
    keys::scenario(&world).await;
    downloads::scenario(&world).await?;
    operators::scenario(&world).await?;

    // Two calls that are refused use the address up.
    let limits = "free=9/1,plus=9/1,pro=9/1,elite=9/1,address=1/3600";
    let counting = system.product.serve_with(&[(setting::RATE_LIMITS, limits)]).await?;
    let counted = api.at(counting.api_url());
    counted.expect(200, Request::get("/api/v1/plans")).await;
    counted.expect(401, Request::get("/api/v1/me").by("zc_nonsense")).await;
    every_route::is_counted(&counted, callers).await;

    let impatient = system.product.serve_with(&[(setting::DATABASE_PATIENCE_SECONDS, "1")]).await?;
    system.close_database().await?;
    every_route::says_so_without_the_database(&api.at(impatient.api_url()), callers).await;

    assert_eq!(api.not_seen(), Vec::<String>::new(), "described, and never answered");
    Ok(())
}

async fn open_routes(api: &Described) {
    for path in ["/healthz", "/readyz", "/openapi.json", "/docs", "/api/v1/plans"] {
        api.expect(200, Request::get(path)).await;
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// The token of an answer that shows one.
fn token_of(created: &Value) -> String {
    text(&created["token"])
}
