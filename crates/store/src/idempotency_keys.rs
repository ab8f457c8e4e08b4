//! Answers to requests that named an `Idempotency-Key`, kept to be given again (draft-ietf-httpapi-idempotency-key-header).

use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::RunQueryDsl;
use zonecert_domain::id::AccountId;

use crate::schema::idempotency_keys;
use crate::statement::sql_query;
use crate::{Connection, StoreError};

/// A request that names a key.
#[derive(Clone, Debug)]
pub struct KeyedRequest {
    /// Who sent it: the key of one caller does not answer another.
    pub caller: String,
    /// The key, 1 to 255 characters.
    pub key: String,
    /// SHA-256 of what was sent, and where to.
    pub sha256: [u8; 32],
}

/// An answer as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptAnswer {
    /// SHA-256 of the request that it answered.
    pub request_sha256: [u8; 32],
    /// Its HTTP status.
    pub status: u16,
    /// Its header `Location`.
    pub location: Option<String>,
    /// Its body. Never holds a secret.
    pub body: Vec<u8>,
}

/// The answer that was given to the key. To be sure that none is being made, ask in a transaction to write.
pub async fn find_answer(conn: &mut Connection, account: AccountId, request: &KeyedRequest) -> Result<Option<KeptAnswer>, StoreError> {
    let row = idempotency_keys::table
        .filter(idempotency_keys::account_id.eq(account.0))
        .filter(idempotency_keys::caller.eq(&request.caller).and(idempotency_keys::key.eq(&request.key)))
        .select((idempotency_keys::request_sha256, idempotency_keys::status, idempotency_keys::location, idempotency_keys::body))
        .first::<(Vec<u8>, i32, Option<String>, Vec<u8>)>(conn)
        .await
        .optional()?;
    let Some((sha256, status, location, body)) = row else { return Ok(None) };
    let request_sha256 = sha256
        .try_into()
        .map_err(|hash: Vec<u8>| StoreError::corrupt("idempotency_keys.request_sha256", format!("{} bytes", hash.len())))?;
    let status = u16::try_from(status).map_err(|_| StoreError::corrupt("idempotency_keys.status", status.to_string()))?;
    Ok(Some(KeptAnswer { request_sha256, status, location, body }))
}

/// Keeps the answer to a request, in the transaction of what the request has changed.
pub async fn insert_answer(
    conn: &mut Connection,
    account: AccountId,
    request: &KeyedRequest,
    status: u16,
    location: Option<&str>,
    body: &[u8],
) -> Result<(), StoreError> {
    diesel::insert_into(idempotency_keys::table)
        .values((
            idempotency_keys::account_id.eq(account.0),
            idempotency_keys::caller.eq(&request.caller),
            idempotency_keys::key.eq(&request.key),
            idempotency_keys::request_sha256.eq(request.sha256.as_slice()),
            idempotency_keys::status.eq(i32::from(status)),
            idempotency_keys::location.eq(location),
            idempotency_keys::body.eq(body),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// Forgets the answers of all tenants that were given longer than `age` ago, at most `batch`. Returns how many. Runs without a tenant.
pub async fn purge(conn: &mut Connection, age: Duration, batch: i32) -> Result<i64, StoreError> {
    #[derive(QueryableByName)]
    struct Purged {
        #[diesel(sql_type = sql_types::BigInt)]
        purged: i64,
    }

    let row: Purged = sql_query("SELECT sweep_idempotency_keys(make_interval(secs => $1), $2) AS purged")
        .bind::<sql_types::Double, _>(age.as_secs_f64())
        .bind::<sql_types::Integer, _>(batch)
        .get_result(conn)
        .await?;
    Ok(row.purged)
}
