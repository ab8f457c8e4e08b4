//! The audit log in pages, and what the actors in it are called.

use std::collections::HashMap;

use chrono::TimeDelta;
use uuid::Uuid;
use zonecert_domain::id::{AccountId, TokenId, UserId};
use zonecert_store::audit_log::{self, Entry, Filter, Position, RecordedEntry};

use crate::tables;
use crate::world::{World, now};

async fn list(world: &World, account: AccountId, filter: &Filter, after: Option<Position>, limit: i64) -> Vec<RecordedEntry> {
    let read = world.api.tenant(account, async |conn| audit_log::list_entries(conn, account, filter, after, limit).await);
    read.await.unwrap()
}

#[tokio::test]
async fn entries_are_read_newest_first_page_by_page_by_their_account_alone() {
    let world = World::new().await;
    let (account, other) = (world.tenant().await.account, world.tenant().await.account);
    for (number, account) in (0..10).map(|number| (number, if number % 5 == 4 { other } else { account })) {
        let subject = format!("subject {number}");
        let entry = Entry {
            actor: if number % 2 == 0 { "operator" } else { "system" },
            action: "tested",
            subject: Some(&subject),
            request_id: Some("request"),
            details: serde_json::json!({"number": number}),
        };
        world.api.tenant(account, async |conn| audit_log::insert_entry(conn, account, &entry).await).await.unwrap();
    }
    // All at one moment: the identifier decides.
    world.database.run("UPDATE audit_log SET at = date_trunc('second', now())").await;
    let all = list(&world, account, &Filter::default(), None, 100).await;
    let numbers = |entries: &[RecordedEntry]| entries.iter().map(|entry| entry.details["number"].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!(numbers(&all), [8, 7, 6, 5, 3, 2, 1, 0]);
    assert_eq!(numbers(&list(&world, other, &Filter::default(), None, 100).await), [9, 4]);
    let first = &all[0];
    assert_eq!((first.actor.as_str(), first.action.as_str(), first.subject.as_deref()), ("operator", "tested", Some("subject 8")));
    assert_eq!(first.request_id.as_deref(), Some("request"));

    let mut pages = Vec::new();
    let mut after = None;
    loop {
        let page = list(&world, account, &Filter::default(), after, 3).await;
        let Some(last) = page.last() else { break };
        after = Some(Position { at: last.at, id: last.id });
        pages.extend(numbers(&page));
    }
    assert_eq!(pages, numbers(&all));

    let filter = Filter { actor: Some("system".to_owned()), ..Filter::default() };
    assert_eq!(numbers(&list(&world, account, &filter, None, 100).await), [7, 5, 3, 1]);
    let nothing = Filter { action: Some("other".to_owned()), ..Filter::default() };
    assert!(list(&world, account, &nothing, None, 100).await.is_empty());
    let moment = first.at;
    for (since, until, found) in [(Some(moment), None, 8), (None, Some(moment), 0), (Some(now() + TimeDelta::hours(1)), None, 0)] {
        let filter = Filter { since, until, ..Filter::default() };
        assert_eq!(list(&world, account, &filter, None, 100).await.len(), found, "{since:?} {until:?}");
    }
}

#[tokio::test]
async fn a_page_is_a_range_of_an_index() {
    let world = World::new().await;
    let account = world.tenant().await.account;
    world
        .database
        .run(&format!(
            "INSERT INTO audit_log (id, account_id, at, actor, action)
             SELECT gen_random_uuid(), '{}', now() - n * interval '1 minute', 'system', 'tested' FROM generate_series(1, 20000) AS n;
             ANALYZE audit_log",
            account.0
        ))
        .await;
    let plan: String = world
        .database
        .column::<String>(&format!(
            "EXPLAIN SELECT * FROM audit_log WHERE account_id = '{}' AND at <= now() - interval '1 day' AND (at < now() - interval '1 day' OR id < gen_random_uuid())
             ORDER BY at DESC, id DESC LIMIT 51",
            account.0
        ))
        .await
        .join("\n");
    assert!(plan.contains("audit_log_account_id_at_id_idx") && !plan.contains("Sort"), "{plan}");
}

#[tokio::test]
async fn actors_are_called_by_name_within_their_account() {
    let world = World::new().await;
    let (mine, theirs) = tables::fill_two_tenants(&world.database).await;
    let id = async |table: &str, account: AccountId| {
        let id = format!("SELECT id::text FROM {table} WHERE account_id = '{}' LIMIT 1", account.0);
        world.database.value::<String>(&id).await.parse::<Uuid>().unwrap()
    };
    let (user, token, stranger) = (id("users", mine).await, id("api_tokens", mine).await, id("users", theirs).await);
    let names = async || {
        let (people, programs) = ([UserId(user), UserId(stranger)], [TokenId(token)]);
        world.api.tenant(mine, async |conn| audit_log::list_actor_names(conn, mine, &people, &programs).await).await.unwrap()
    };
    world.database.run(&format!("UPDATE users SET name = NULL, email = 'ada@b.test', deleted_at = now() WHERE id = '{user}'")).await;
    world.database.run(&format!("UPDATE api_tokens SET name = 'deploy', revoked_at = now() WHERE id = '{token}'")).await;
    assert_eq!(names().await, HashMap::from([(user, "ada@b.test".to_owned()), (token, "deploy".to_owned())]));
    world.database.run(&format!("UPDATE users SET name = 'Ada' WHERE id = '{user}'")).await;
    assert_eq!(names().await[&user], "Ada");
}
