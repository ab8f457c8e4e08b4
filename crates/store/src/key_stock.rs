//! Private keys that belong to nobody yet: made while nobody waits, taken by whoever needs one, each by one only.

use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::RunQueryDsl;
use uuid::Uuid;
use zeroize::Zeroizing;
use zonecert_domain::key::KeyAlgorithm;
use zonecert_pki::seal::{Binding, KeyOwner, MasterKeys, SealError};

use crate::schema::key_stock;
use crate::statement::sql_query;
use crate::{Connection, StoreError, platform_data_keys};

/// How many keys of this algorithm are there. Runs without a tenant.
pub async fn count(conn: &mut Connection, algorithm: KeyAlgorithm) -> Result<i64, StoreError> {
    Ok(key_stock::table.filter(key_stock::algorithm.eq(algorithm.as_str())).count().get_result(conn).await?)
}

/// Adds a key, PKCS#8 in DER, sealed under the platform's data key. Runs without a tenant.
pub async fn insert(
    conn: &mut Connection,
    masters: &MasterKeys,
    algorithm: KeyAlgorithm,
    pkcs8_der: &[u8],
    public_key_sha256: [u8; 32],
) -> Result<(), StoreError> {
    let id = Uuid::now_v7();
    let data_key = platform_data_keys::get_or_create_platform_data_key(conn, masters).await?;
    let sealed = data_key.seal(pkcs8_der, &binding(id))?;
    diesel::insert_into(key_stock::table)
        .values((
            key_stock::id.eq(id),
            key_stock::algorithm.eq(algorithm.as_str()),
            key_stock::data_key_id.eq(data_key.id()),
            key_stock::sealed.eq(sealed),
            key_stock::public_key_sha256.eq(public_key_sha256.to_vec()),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// Takes the oldest key of this algorithm out of the stock, if there is one: from then on it is nowhere but with the caller. Any number of callers get different ones.
/// One that does not open is thrown away, which the inner error tells: it would be the oldest for ever. Runs without a tenant.
pub async fn take(
    conn: &mut Connection,
    masters: &MasterKeys,
    algorithm: KeyAlgorithm,
) -> Result<Option<Result<Zeroizing<Vec<u8>>, SealError>>, StoreError> {
    #[derive(QueryableByName)]
    struct Taken {
        #[diesel(sql_type = sql_types::Uuid)]
        id: Uuid,
        #[diesel(sql_type = sql_types::Uuid)]
        data_key_id: Uuid,
        #[diesel(sql_type = sql_types::Binary)]
        sealed: Vec<u8>,
    }

    let taken: Option<Taken> = sql_query(
        "DELETE FROM key_stock WHERE id = (SELECT id FROM key_stock WHERE algorithm = $1 ORDER BY created_at LIMIT 1 FOR UPDATE SKIP LOCKED)
         RETURNING id, data_key_id, sealed",
    )
    .bind::<sql_types::Text, _>(algorithm.as_str())
    .get_result(conn)
    .await
    .optional()?;
    let Some(taken) = taken else { return Ok(None) };
    match platform_data_keys::get_platform_data_key(conn, masters, taken.data_key_id).await {
        Ok(data_key) => Ok(Some(data_key.open(&taken.sealed, &binding(taken.id)))),
        Err(StoreError::Seal(error)) => Ok(Some(Err(error))),
        Err(error) => Err(error),
    }
}

pub(crate) fn binding(row: Uuid) -> Binding<'static> {
    Binding { owner: KeyOwner::Platform, table: "key_stock", row, purpose: "private_key" }
}
