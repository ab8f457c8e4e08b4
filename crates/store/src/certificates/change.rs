//! What customers change of a certificate, and its end.

use diesel::prelude::*;
use diesel::sql_types::Timestamptz;
use diesel_async::RunQueryDsl;
use uuid::Uuid;
use zonecert_domain::certificate::CertificateStatus;
use zonecert_domain::csr_subject::CsrSubject;
use zonecert_domain::failure::Failure;
use zonecert_domain::id::{AccountId, CertificateId};
use zonecert_domain::key::KeyAlgorithm;
use zonecert_domain::name::DnsName;

use super::{KeyPolicy, request_fields, row};
use crate::schema::{certificate_names, certificates, private_keys};
use crate::statement::PreparedDsl as _;
use crate::{Connection, StoreError, failures};

/// What is to change; what is none stays.
#[derive(Clone, Copy, Debug, Default)]
pub struct Change<'a> {
    /// Whether it is to renew by itself. Whoever changes it calls [`crate::renewal_schedule::reschedule_certificate`].
    pub auto_renew: Option<bool>,
    /// How it is called.
    pub name: Option<&'a str>,
    /// Free text, or none.
    pub label: Option<Option<&'a str>>,
    /// The algorithm of its next key.
    pub key_algorithm: Option<KeyAlgorithm>,
    /// Whether a renewal brings a new key.
    pub key_policy: Option<KeyPolicy>,
    /// Whether its API keys may stand in the URL.
    pub api_key_via_url: Option<bool>,
    /// What its requests say of their owner, or nothing.
    pub csr_subject: Option<Option<&'a CsrSubject>>,
    /// The CA's profile, or none.
    pub profile: Option<Option<&'a str>>,
    /// The names beside the domain, which the next order asks for.
    pub sans: Option<&'a [DnsName]>,
}

/// Stores why a certificate is not issued, for good. One that was deleted stays as it is.
pub async fn record_failure(conn: &mut Connection, account: AccountId, id: CertificateId, failure: &Failure) -> Result<(), StoreError> {
    diesel::update(undeleted(account, id))
        .set((certificates::last_error.eq(failures::shown(failure, None)), certificates::updated_at.eq(diesel::dsl::now)))
        .prepared()
        .execute(conn)
        .await?;
    Ok(())
}

/// Changes a certificate that was not deleted. The transaction must be one to write ([`crate::Store::tenant_write`]).
///
/// Errors with the constraint [`super::NAME_KEY`] when another certificate has the name.
pub async fn change_certificate(
    conn: &mut Connection,
    account: AccountId,
    id: CertificateId,
    change: &Change<'_>,
) -> Result<(), StoreError> {
    let changed = diesel::update(undeleted(account, id))
        .set((
            change.auto_renew.map(|auto_renew| certificates::auto_renew.eq(auto_renew)),
            change.name.map(|name| certificates::name.eq(name)),
            change.label.map(|label| certificates::label.eq(label)),
            change.key_algorithm.map(|algorithm| certificates::key_algorithm.eq(algorithm.as_str())),
            change.key_policy.map(|policy| certificates::key_policy.eq(policy.as_str())),
            change.api_key_via_url.map(|allowed| certificates::api_key_via_url.eq(allowed)),
            certificates::updated_at.eq(diesel::dsl::now),
        ))
        .prepared()
        .execute(conn)
        .await?;
    if changed == 0 {
        return Err(StoreError::NotFound);
    }
    if let Some(subject) = change.csr_subject {
        request_fields::write_subject(conn, account, id, subject).await?;
    }
    if let Some(profile) = change.profile {
        request_fields::write_profile(conn, account, id, profile).await?;
    }
    if let Some(algorithm) = change.key_algorithm {
        let key = undeleted(account, id)
            .select(certificates::private_key_id.assume_not_null())
            .filter(certificates::private_key_id.is_not_null());
        diesel::update(private_keys::table.filter(private_keys::account_id.eq(account.0).and(private_keys::id.eq_any(key))))
            .set(private_keys::algorithm.eq(algorithm.as_str()))
            .prepared()
            .execute(conn)
            .await?;
    }
    if let Some(sans) = change.sans {
        replace_sans(conn, account, id, sans).await?;
    }
    Ok(())
}

async fn replace_sans(conn: &mut Connection, account: AccountId, id: CertificateId, sans: &[DnsName]) -> Result<(), StoreError> {
    let names =
        certificate_names::table.filter(certificate_names::account_id.eq(account.0).and(certificate_names::certificate_id.eq(id.0)));
    diesel::delete(names.filter(certificate_names::position.gt(0))).execute(conn).await?;
    insert_names_from(conn, account, id, 1, sans).await
}

/// The names of a new certificate, the domain first.
pub(crate) async fn insert_names(
    conn: &mut Connection,
    account: AccountId,
    id: CertificateId,
    names: &[DnsName],
) -> Result<(), StoreError> {
    insert_names_from(conn, account, id, 0, names).await
}

async fn insert_names_from(
    conn: &mut Connection,
    account: AccountId,
    id: CertificateId,
    first: i32,
    names: &[DnsName],
) -> Result<(), StoreError> {
    let rows: Vec<_> = (first..)
        .zip(names)
        .map(|(position, name)| {
            (
                certificate_names::account_id.eq(account.0),
                certificate_names::certificate_id.eq(id.0),
                certificate_names::position.eq(position),
                certificate_names::name.eq(name.as_str()),
                certificate_names::reversed_name.eq(name.reversed()),
            )
        })
        .collect();
    diesel::insert_into(certificate_names::table).values(rows).execute(conn).await?;
    Ok(())
}

/// Takes slot and domain again for a certificate that holds neither: it is `pending` from then on. Does nothing to one that holds them. Returns
/// whether a slot was taken, which is counted from then on. The transaction must be one to write.
///
/// Errors with the constraint [`super::DOMAIN_KEY`] when another certificate holds the domain.
pub async fn take_slot(conn: &mut Connection, account: AccountId, id: CertificateId) -> Result<bool, StoreError> {
    let taken = diesel::update(undeleted(account, id).filter(certificates::status.ne_all(row::slot_states())))
        .set((certificates::status.eq(CertificateStatus::Pending.as_str()), certificates::updated_at.eq(diesel::dsl::now)))
        .prepared()
        .execute(conn)
        .await?;
    Ok(taken == 1)
}

/// Deletes a certificate softly: from then on nobody sees it, and slot, domain and name are free. What it had is kept for its log.
pub async fn mark_deleted(conn: &mut Connection, account: AccountId, id: CertificateId) -> Result<(), StoreError> {
    let deleted = diesel::update(undeleted(account, id))
        .set((
            certificates::deleted_at.eq(diesel::dsl::now.into_sql::<Timestamptz>().nullable()),
            certificates::updated_at.eq(diesel::dsl::now),
        ))
        .prepared()
        .execute(conn)
        .await?;
    if deleted == 0 { Err(StoreError::NotFound) } else { Ok(()) }
}

/// The row, unless the certificate was deleted.
#[diesel::dsl::auto_type]
pub(crate) fn undeleted(account: AccountId, id: CertificateId) -> _ {
    let (account, id): (Uuid, Uuid) = (account.0, id.0);
    certificates::table
        .filter(certificates::account_id.eq(account))
        .filter(certificates::id.eq(id))
        .filter(certificates::deleted_at.is_null())
}
