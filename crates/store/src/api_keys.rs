//! API keys, each of one certificate or one private key: what the download API asks for (requirements S1.2). Only their SHA-256 and their first
//! characters are known here. Which files one opens, [`crate::downloads`] tells.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;
use zonecert_domain::id::{AccountId, ApiKeyId, CertificateId, KeyId, UserId};

use crate::schema::{alternates, api_keys, certificates};
use crate::{Connection, StoreError};

/// Most API keys of a certificate or a private key that are valid at a time: the one in use, and the one that is to take its place.
pub const MOST: i64 = 2;

/// The last use is written at most this often.
const USE_GRANULARITY: TimeDelta = TimeDelta::minutes(1);

/// What an API key opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resource {
    /// The certificate's files, without its key.
    Certificate(CertificateId),
    /// The private key.
    PrivateKey(KeyId),
}

impl Resource {
    fn columns(self) -> (Option<Uuid>, Option<Uuid>) {
        match self {
            Self::Certificate(id) => (Some(id.0), None),
            Self::PrivateKey(id) => (None, Some(id.0)),
        }
    }
}

/// An API key that has not been revoked.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// Its identifier.
    pub id: ApiKeyId,
    /// Its first characters, by which people recognise it.
    pub prefix: String,
    /// When it was last used, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// What a new API key is.
pub struct NewApiKey<'a> {
    /// What it opens.
    pub resource: Resource,
    /// Its first characters.
    pub prefix: &'a str,
    /// SHA-256 of all of it.
    pub sha256: &'a [u8; 32],
    /// The person who answers for it.
    pub created_by: UserId,
}

type Row = (Uuid, String, Option<DateTime<Utc>>, DateTime<Utc>);

const COLUMNS: (api_keys::id, api_keys::prefix, api_keys::last_used_at, api_keys::created_at) =
    (api_keys::id, api_keys::prefix, api_keys::last_used_at, api_keys::created_at);

fn from_row((id, prefix, last_used_at, created_at): Row) -> ApiKey {
    ApiKey { id: ApiKeyId(id), prefix, last_used_at, created_at }
}

/// Adds an API key. Whether there is room ([`MOST`]) is for the caller to see, in a transaction to write.
pub async fn insert_api_key(conn: &mut Connection, account: AccountId, new: &NewApiKey<'_>) -> Result<ApiKey, StoreError> {
    let (certificate, private_key) = new.resource.columns();
    let values = (
        api_keys::id.eq(ApiKeyId::new().0),
        api_keys::account_id.eq(account.0),
        api_keys::certificate_id.eq(certificate),
        api_keys::private_key_id.eq(private_key),
        api_keys::created_by.eq(new.created_by.0),
        api_keys::prefix.eq(new.prefix),
        api_keys::key_sha256.eq(&new.sha256[..]),
    );
    Ok(from_row(diesel::insert_into(api_keys::table).values(values).returning(COLUMNS).get_result::<Row>(conn).await?))
}

/// The API keys that have not been revoked, oldest first. At most [`MOST`].
pub async fn list_api_keys(conn: &mut Connection, account: AccountId, resource: Resource) -> Result<Vec<ApiKey>, StoreError> {
    let keys = unrevoked(account, resource).order((api_keys::created_at, api_keys::id)).select(COLUMNS);
    Ok(keys.load::<Row>(conn).await?.into_iter().map(from_row).collect())
}

/// Ends an API key at once.
pub async fn revoke_api_key(
    conn: &mut Connection,
    account: AccountId,
    resource: Resource,
    id: ApiKeyId,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let revoked = diesel::update(unrevoked(account, resource).filter(api_keys::id.eq(id.0)));
    let changed = revoked.set(api_keys::revoked_at.eq(now)).execute(conn).await?;
    if changed == 0 { Err(StoreError::NotFound) } else { Ok(()) }
}

/// The certificates that use this private key keep it from now on: whoever fetches key and certificate apart must not get halves of two pairs
/// (requirements X19). Returns which were to rotate it.
pub async fn keep_key(conn: &mut Connection, account: AccountId, key: KeyId) -> Result<Vec<CertificateId>, StoreError> {
    let with_other_key = alternates::table.filter(alternates::private_key_id.eq(key.0)).select(alternates::certificate_id);
    let rotating = certificates::table
        .filter(certificates::account_id.eq(account.0))
        .filter(certificates::private_key_id.eq(key.0).or(certificates::id.eq_any(with_other_key)))
        .filter(certificates::deleted_at.is_null().and(certificates::key_policy.eq("rotate")));
    let kept = diesel::update(rotating)
        .set((certificates::key_policy.eq("keep"), certificates::updated_at.eq(diesel::dsl::now)))
        .returning(certificates::id);
    Ok(kept.get_results::<Uuid>(conn).await?.into_iter().map(CertificateId).collect())
}

/// Whether a use at this moment is to be noted: [`mark_used`].
pub fn is_use_due(last_used_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
    last_used_at.is_none_or(|at| at <= now - USE_GRANULARITY)
}

/// Notes that these API keys were used, at most once a minute each.
pub async fn mark_used(conn: &mut Connection, account: AccountId, ids: &[ApiKeyId], now: DateTime<Utc>) -> Result<(), StoreError> {
    let before = now - USE_GRANULARITY;
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    diesel::update(api_keys::table.filter(api_keys::account_id.eq(account.0).and(api_keys::id.eq_any(ids))))
        .filter(api_keys::last_used_at.is_null().or(api_keys::last_used_at.le(before)))
        .set(api_keys::last_used_at.eq(now))
        .execute(conn)
        .await?;
    Ok(())
}

#[diesel::dsl::auto_type]
fn unrevoked(account: AccountId, resource: Resource) -> _ {
    let account: Uuid = account.0;
    let (certificate, private_key): (Option<Uuid>, Option<Uuid>) = resource.columns();
    api_keys::table
        .filter(api_keys::account_id.eq(account))
        .filter(api_keys::certificate_id.is_not_distinct_from(certificate))
        .filter(api_keys::private_key_id.is_not_distinct_from(private_key))
        .filter(api_keys::revoked_at.is_null())
}
