//! Before the tenant is known: what the role `zonecert_api` finds out, and what stays hidden from it.

use reqwest::{Method, StatusCode};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;
use zonecert_devstack::product::Role;

use crate::support::TestApi;

/// The tables of people and credentials; each of them has a row of the account in these tests.
const TABLES: [&str; 6] = ["accounts", "users", "refresh_tokens", "api_tokens", "audit_log", "data_keys"];

async fn as_api_role(api: &TestApi) -> Client {
    let (client, connection) = tokio_postgres::connect(&api.product.database_url(Role::Api), NoTls).await.unwrap();
    tokio::spawn(connection);
    let role: String = client.query_one("SELECT current_user::text", &[]).await.unwrap().get(0);
    assert_eq!(role, "zonecert_api");
    client
}

async fn count(client: &Client, table: &str) -> i64 {
    client.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await.unwrap().get(0)
}

async fn set_account(client: &Client, account: Uuid) {
    client.execute("SELECT set_config('zonecert.account', $1, true)", &[&account.to_string()]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_look_ups_answer_with_identifiers_while_the_tables_stay_hidden() {
    let api = TestApi::start().await;
    let email = "Somebody@customer.zonecert.io";
    let registration = json!({"email": email, "password": "correct horse battery staple", "account_name": "Customer"});
    let session = api.send(Method::POST, "/api/v1/auth/register", None, Some(registration)).await.expect(StatusCode::CREATED);
    api.execute("UPDATE accounts SET plan = 'plus'").await;
    let body = json!({"name": "a", "scopes": ["zones:read"]});
    let made = api.send(Method::POST, "/api/v1/tokens", session["access_token"].as_str(), Some(body)).await.expect(StatusCode::CREATED);
    let stranger = api.register("plus").await;
    let account = Uuid::try_parse(&session["account"]["id"].as_str().unwrap()[5..]).unwrap();
    let sha256 = |text: &str| Sha256::digest(text.as_bytes()).to_vec();
    let (refresh, token) = (sha256(session["refresh_token"].as_str().unwrap()), sha256(made["token"].as_str().unwrap()));

    let mut client = as_api_role(&api).await;
    let look_up = async |client: &Client| {
        let user = client.query("SELECT account_id::text FROM lookup_user($1)", &[&email.to_lowercase()]).await.unwrap();
        let refresh = client.query("SELECT account_id::text FROM lookup_refresh_token($1)", &[&refresh]).await.unwrap();
        let token = client.query("SELECT account_id::text FROM lookup_api_token($1)", &[&token]).await.unwrap();
        for rows in [user, refresh, token] {
            assert_eq!(rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>(), [account.to_string()]);
        }
        let nobody = client.query("SELECT FROM lookup_user('nobody@customer.zonecert.io')", &[]).await.unwrap();
        let nothing =
            client.query("SELECT FROM lookup_refresh_token('\\x00') UNION ALL SELECT FROM lookup_api_token('\\x00')", &[]).await.unwrap();
        assert!(nobody.is_empty() && nothing.is_empty());
    };

    // No account was ever set on this connection.
    look_up(&client).await;
    for table in TABLES {
        assert_eq!(count(&client, table).await, 0, "{table}");
    }
    // The right one: here are the rows.
    let right = client.transaction().await.unwrap();
    right.execute("SELECT set_config('zonecert.account', $1, true)", &[&account.to_string()]).await.unwrap();
    for table in TABLES {
        let seen: i64 = right.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await.unwrap().get(0);
        assert!(seen > 0, "{table}");
    }
    right.commit().await.unwrap();
    // The setting has ended with its transaction, and is an empty string now.
    let after: String = client.query_one("SELECT current_setting('zonecert.account', true)", &[]).await.unwrap().get(0);
    assert_eq!(after, "");
    look_up(&client).await;
    for table in TABLES {
        assert_eq!(count(&client, table).await, 0, "{table}");
    }
    // Somebody else's account, and one that is nobody's.
    for (other, rows) in [(stranger.account.0, 1), (Uuid::nil(), 0)] {
        client.batch_execute("BEGIN").await.unwrap();
        set_account(&client, other).await;
        look_up(&client).await;
        assert_eq!(count(&client, "users").await, rows);
        assert!(client.query("SELECT FROM users WHERE account_id::text = $1", &[&account.to_string()]).await.unwrap().is_empty());
        client.batch_execute("ROLLBACK").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_apis_role_writes_no_row_of_another_account_and_no_plan() {
    let api = TestApi::start().await;
    let (caller, stranger) = (api.register("plus").await, api.register("plus").await);
    let client = as_api_role(&api).await;
    let attempt = async |statement: &str| {
        client.batch_execute("BEGIN").await.unwrap();
        set_account(&client, caller.account.0).await;
        let outcome = client.execute(statement, &[]).await.map_err(|error| error.code().cloned());
        client.batch_execute("ROLLBACK").await.unwrap();
        outcome
    };
    let theirs = stranger.account.0;
    assert_eq!(attempt(&format!("UPDATE users SET role = 'viewer' WHERE account_id = '{theirs}'")).await, Ok(0));
    let forbidden = Err(Some(tokio_postgres::error::SqlState::INSUFFICIENT_PRIVILEGE));
    let insert = format!(
        "INSERT INTO users (id, account_id, email, password_hash, role) VALUES (gen_random_uuid(), '{theirs}', 'a@zonecert.io', '', 'owner')"
    );
    for statement in [
        insert.as_str(),
        "UPDATE accounts SET plan = 'elite'",
        "UPDATE accounts SET status = 'active'",
        "DELETE FROM users",
        "UPDATE audit_log SET actor = 'nobody'",
        "SELECT FROM acme_accounts",
        "SELECT FROM apalis.jobs",
    ] {
        assert_eq!(attempt(statement).await, forbidden, "{statement}");
    }
}
