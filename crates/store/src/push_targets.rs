//! Push targets: Cert Warden clients to which the version in use of a certificate is pushed (`docs/adr/0030-push.md`).
//!
//! A push target is a webhook of one certificate: its deliveries are those of [`crate::webhook_deliveries`], written by the same trigger.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::RunQueryDsl;
use serde_json::json;
use uuid::Uuid;
use zeroize::Zeroizing;
use zonecert_domain::id::{AccountId, CertificateId, PushTargetId, VersionId, WebhookId};
use zonecert_pki::MasterKeys;

use crate::schema::{certificates, versions, webhook_secrets, webhooks};
use crate::statement::sql_query;
use crate::webhooks::DisabledReason;
use crate::{Connection, StoreError, private_keys};

/// A client to which a certificate is pushed. Its key is never read but to push.
#[derive(Clone, Debug)]
pub struct PushTarget {
    /// Its identifier.
    pub id: PushTargetId,
    /// Where it takes certificates.
    pub url: String,
    /// Whether anything is pushed to it.
    pub enabled: bool,
    /// Since when each attempt has failed.
    pub failing_since: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

impl PushTarget {
    /// The webhook that it is to those who send.
    pub fn webhook(id: PushTargetId) -> WebhookId {
        WebhookId(id.0)
    }
}

/// What is to change. `None` leaves a thing as it is.
#[derive(Default)]
pub struct PushTargetChange<'a> {
    /// Where it takes certificates.
    pub url: Option<&'a str>,
    /// The key that what is pushed is sealed under from now on.
    pub key: Option<&'a [u8]>,
    /// Whether anything is pushed to it.
    pub enabled: Option<bool>,
}

/// What is pushed.
pub struct Content {
    /// The version in use.
    pub version: VersionId,
    /// Leaf and chain, PEM.
    pub chain_pem: String,
    /// Its private key: PKCS#8 in DER.
    pub key_der: Zeroizing<Vec<u8>>,
}

type Row = (Uuid, String, Option<DateTime<Utc>>, Option<DateTime<Utc>>, DateTime<Utc>);

const COLUMNS: (webhooks::id, webhooks::url, webhooks::disabled_at, webhooks::failing_since, webhooks::created_at) =
    (webhooks::id, webhooks::url, webhooks::disabled_at, webhooks::failing_since, webhooks::created_at);

fn from_row((id, url, disabled_at, failing_since, created_at): Row) -> PushTarget {
    PushTarget { id: PushTargetId(id), url, enabled: disabled_at.is_none(), failing_since, created_at }
}

/// Adds a target with its key, which is sealed under the account's data key.
pub async fn insert_push_target(
    conn: &mut Connection,
    masters: &MasterKeys,
    account: AccountId,
    certificate: CertificateId,
    url: &str,
    key: &[u8],
) -> Result<PushTarget, StoreError> {
    let id = PushTargetId::new();
    let values = (
        webhooks::id.eq(id.0),
        webhooks::account_id.eq(account.0),
        webhooks::certificate_id.eq(certificate.0),
        webhooks::url.eq(url),
        webhooks::events.eq(Vec::<String>::new()),
    );
    diesel::insert_into(webhooks::table).values(values).execute(conn).await?;
    crate::webhooks::insert_secret(conn, masters, account, PushTarget::webhook(id), key).await?;
    get_push_target(conn, account, certificate, id).await
}

/// The targets of a certificate, oldest first.
pub async fn list_push_targets(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
) -> Result<Vec<PushTarget>, StoreError> {
    let rows = all(account, certificate).order((webhooks::created_at, webhooks::id)).select(COLUMNS).load::<Row>(conn).await?;
    Ok(rows.into_iter().map(from_row).collect())
}

/// A target of a certificate.
pub async fn get_push_target(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
    id: PushTargetId,
) -> Result<PushTarget, StoreError> {
    Ok(from_row(all(account, certificate).filter(webhooks::id.eq(id.0)).select(COLUMNS).first::<Row>(conn).await?))
}

/// Changes a target. What is on its way goes to the new address, sealed under the new key; what waits for one that is disabled ends. One that is enabled again
/// begins anew: what has failed before counts no more.
pub async fn change_push_target(
    conn: &mut Connection,
    masters: &MasterKeys,
    account: AccountId,
    certificate: CertificateId,
    id: PushTargetId,
    change: &PushTargetChange<'_>,
) -> Result<PushTarget, StoreError> {
    // Locked before its deliveries, and its key, are touched.
    all(account, certificate).filter(webhooks::id.eq(id.0)).select(webhooks::id).for_no_key_update().first::<Uuid>(conn).await?;
    let this = || all(account, certificate).filter(webhooks::id.eq(id.0));
    if let Some(url) = change.url {
        diesel::update(this()).set(webhooks::url.eq(url)).execute(conn).await?;
    }
    if let Some(key) = change.key {
        let old = webhook_secrets::table.filter(webhook_secrets::account_id.eq(account.0).and(webhook_secrets::webhook_id.eq(id.0)));
        diesel::delete(old).execute(conn).await?;
        crate::webhooks::insert_secret(conn, masters, account, PushTarget::webhook(id), key).await?;
    }
    match change.enabled {
        Some(false) => drop(crate::webhooks::disable(conn, account, PushTarget::webhook(id), DisabledReason::ByHand).await?),
        Some(true) => {
            let enabled = (
                webhooks::disabled_at.eq(None::<DateTime<Utc>>),
                webhooks::disabled_reason.eq(None::<String>),
                webhooks::failing_since.eq(None::<DateTime<Utc>>),
            );
            diesel::update(this().filter(webhooks::disabled_at.is_not_null())).set(enabled).execute(conn).await?;
        }
        None => {}
    }
    get_push_target(conn, account, certificate, id).await
}

/// Deletes a target, its key, and all that was pushed to it.
pub async fn delete_push_target(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
    id: PushTargetId,
) -> Result<(), StoreError> {
    let deleted = diesel::delete(all(account, certificate).filter(webhooks::id.eq(id.0))).execute(conn).await?;
    if deleted == 0 { Err(StoreError::NotFound) } else { Ok(()) }
}

/// Deletes every target of a certificate.
pub async fn delete_push_targets(conn: &mut Connection, account: AccountId, certificate: CertificateId) -> Result<(), StoreError> {
    diesel::delete(all(account, certificate)).execute(conn).await?;
    Ok(())
}

/// Has the version in use told to the account's webhooks, and pushed to the certificate's targets, as when it came into use. The trigger `certificates_announce`
/// writes the messages.
pub async fn tell_again(conn: &mut Connection, account: AccountId, certificate: CertificateId) -> Result<(), StoreError> {
    let told = sql_query("UPDATE certificates SET announced = announced || $3 WHERE account_id = $1 AND id = $2 AND deleted_at IS NULL")
        .bind::<sql_types::Uuid, _>(account.0)
        .bind::<sql_types::Uuid, _>(certificate.0)
        .bind::<sql_types::Jsonb, _>(json!({ "again": Uuid::now_v7() }))
        .execute(conn)
        .await?;
    if told == 0 { Err(StoreError::NotFound) } else { Ok(()) }
}

/// What is to be pushed of a certificate now: the version in use, with its key. `None` where it has none that is valid, or the key was destroyed.
pub async fn find_content(
    conn: &mut Connection,
    masters: &MasterKeys,
    account: AccountId,
    certificate: CertificateId,
) -> Result<Option<Content>, StoreError> {
    let in_use = certificates::table
        .inner_join(
            versions::table
                .on(versions::account_id.eq(certificates::account_id).and(certificates::current_version_id.eq(versions::id.nullable()))),
        )
        .filter(certificates::account_id.eq(account.0).and(certificates::id.eq(certificate.0)).and(certificates::deleted_at.is_null()))
        .filter(versions::revoked_at.is_null().and(versions::not_after.gt(diesel::dsl::now)))
        .select(versions::id)
        .first::<Uuid>(conn)
        .await
        .optional()?;
    let Some(version) = in_use else { return Ok(None) };
    let version = crate::versions::get_version(conn, account, VersionId(version)).await?;
    match private_keys::open_key_version(conn, masters, account, version.key_version).await {
        Ok(key_der) => Ok(Some(Content { version: version.id, chain_pem: version.chain_pem, key_der })),
        Err(StoreError::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

#[diesel::dsl::auto_type]
fn all(account: AccountId, certificate: CertificateId) -> _ {
    let (account, certificate): (Uuid, Uuid) = (account.0, certificate.0);
    webhooks::table.filter(webhooks::account_id.eq(account)).filter(webhooks::certificate_id.eq(certificate))
}
