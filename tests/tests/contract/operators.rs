//! What the operator does.

use anyhow::Result;
use serde_json::json;
use zonecert_tests::Account;

use super::described::Request;
use super::{World, text};

pub(crate) async fn scenario(world: &World) -> Result<()> {
    let World { api, callers, system, .. } = world;
    let (operator, account) = (callers.operator.as_str(), system.account("pro").await?);
    let id = id_of(world, &account).await;
    let path = format!("/api/v1/admin/accounts/{id}");
    let page = api.expect(200, Request::get("/api/v1/admin/accounts?limit=1").by(operator)).await;
    let next = format!("/api/v1/admin/accounts?cursor={}", text(&page["next_cursor"]));
    api.expect(200, Request::get(next).by(operator)).await;
    let email = account.email.replace('@', "%40");
    let found = api.expect(200, Request::get(format!("/api/v1/admin/accounts?email={email}")).by(operator)).await;
    assert_eq!(found["accounts"][0]["id"], id.as_str());
    api.expect(200, Request::get(&path).by(operator)).await;
    api.expect(200, Request::get(format!("{path}/plan-preview?plan=plus")).by(operator)).await;
    api.expect(200, Request::patch(&path).by(operator).json(json!({"plan": "plus"}))).await;
    suspend(world, &account, "payment").await;
    resume_account(world, &id).await;
    Ok(())
}

pub(crate) async fn suspend(world: &World, account: &Account, reason: &str) {
    let id = id_of(world, account).await;
    suspend_account(world, &id, reason).await;
}

pub(crate) async fn suspend_account(World { api, callers, .. }: &World, account: &str, reason: &str) {
    let suspension = Request::put(format!("/api/v1/admin/accounts/{account}/suspension")).by(&callers.operator);
    api.expect(200, suspension.json(json!({"reason": reason, "note": "for a test"}))).await;
}

pub(crate) async fn resume_account(World { api, callers, .. }: &World, account: &str) {
    let suspension = Request::delete(format!("/api/v1/admin/accounts/{account}/suspension"));
    api.expect(200, suspension.by(&callers.operator)).await;
}

async fn id_of(World { api, .. }: &World, account: &Account) -> String {
    text(&api.expect(200, Request::get("/api/v1/account").by(&account.access_token)).await["id"])
}
