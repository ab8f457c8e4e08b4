//! Answers that are kept to be given again.

use std::time::Duration;

use zonecert_store::idempotency_keys::{self, KeptAnswer, KeyedRequest};

use crate::world::World;

fn request(key: &str) -> KeyedRequest {
    KeyedRequest { caller: "user_1 POST /zones".to_owned(), key: key.to_owned(), sha256: [7; 32] }
}

#[tokio::test]
async fn an_answer_is_found_by_its_account_caller_and_key_alone() {
    let world = World::new().await;
    let (mine, theirs) = (world.tenant().await.account, world.tenant().await.account);
    let keep = async |conn: &mut _| idempotency_keys::insert_answer(conn, mine, &request("a"), 201, Some("/zones/1"), b"{}").await;
    world.api.tenant_write(mine, keep).await.unwrap();
    let found = async |account, request: KeyedRequest| {
        world.api.tenant(account, async |conn| idempotency_keys::find_answer(conn, account, &request).await).await.unwrap()
    };
    let kept = KeptAnswer { request_sha256: [7; 32], status: 201, location: Some("/zones/1".to_owned()), body: b"{}".to_vec() };
    assert_eq!(found(mine, request("a")).await, Some(kept));
    assert_eq!(found(mine, request("b")).await, None);
    assert_eq!(found(mine, KeyedRequest { caller: "user_2 POST /zones".to_owned(), ..request("a") }).await, None);
    assert_eq!(found(theirs, request("a")).await, None);
    let again = async |conn: &mut _| idempotency_keys::insert_answer(conn, mine, &request("a"), 201, None, b"").await;
    assert!(world.api.tenant_write(mine, again).await.unwrap_err().is_constraint("idempotency_keys_pkey"));
}

#[tokio::test]
async fn the_answers_of_all_tenants_are_forgotten_after_a_day() {
    let world = World::new().await;
    for _ in 0..2 {
        let account = world.tenant().await.account;
        for key in ["old", "older", "new"] {
            let keep = async |conn: &mut _| idempotency_keys::insert_answer(conn, account, &request(key), 200, None, b"").await;
            world.api.tenant_write(account, keep).await.unwrap();
        }
    }
    world.database.run("UPDATE idempotency_keys SET created_at = now() - interval '24 h' WHERE key LIKE 'old%'").await;
    world.database.run("UPDATE idempotency_keys SET created_at = now() - interval '23 h' WHERE key = 'new'").await;
    let mut purged = Vec::new();
    for _ in 0..3 {
        let purge = async |conn: &mut _| idempotency_keys::purge(conn, Duration::from_hours(24), 3).await;
        purged.push(world.worker.platform(purge).await.unwrap());
    }
    assert_eq!(purged, [3, 1, 0]);
    assert_eq!(world.database.column::<String>("SELECT key FROM idempotency_keys").await, ["new", "new"]);
}
