//! Certificates and their names.
//!
//! Reading one takes three questions whatever the number of rows: the rows with their current version and live issuance, then all names at
//! once. None of them touches a key.

mod row;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::RunQueryDsl;
use uuid::Uuid;
use zonecert_domain::certificate::CertificateStatus;
use zonecert_domain::id::{AccountId, CertificateId, VersionId, ZoneId};
use zonecert_domain::key::KeyAlgorithm;
use zonecert_domain::name::{DnsName, NameSet};

use crate::issuing::Environment;
use crate::schema::{accounts, certificate_names, certificates};
use crate::{Connection, StoreError};

/// The constraint that lets one certificate at a time hold a domain of an account (requirements S3.50).
pub const DOMAIN_KEY: &str = "certificates_account_id_domain_key";

/// The constraint that keeps names of certificates unique within an account (requirements S0.3).
pub const NAME_KEY: &str = "certificates_account_id_name_key";

/// Whether a renewal brings a new key (requirements X19).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum KeyPolicy {
    /// A new one each time.
    #[default]
    Rotate,
    /// The one that is there.
    Keep,
}

impl KeyPolicy {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Rotate, Self::Keep];

    /// The name in the API and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rotate => "rotate",
            Self::Keep => "keep",
        }
    }

    /// Reads the name that [`Self::as_str`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.as_str() == text)
    }
}

/// A certificate: what stays while its versions come and go.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// Its identifier.
    pub id: CertificateId,
    /// The zone that its names are under; none for one that was uploaded.
    pub zone: Option<ZoneId>,
    /// Unique per account and safe in a URL.
    pub name: String,
    /// Counted per account from 1.
    pub number: i32,
    /// Free text of the customer's.
    pub label: Option<String>,
    /// Its names, the domain first; never empty.
    pub names: Vec<DnsName>,
    /// Which of the CA's directories it is asked from.
    pub environment: Environment,
    /// The algorithm of its next key.
    pub key_algorithm: KeyAlgorithm,
    /// Whether a renewal brings a new key.
    pub key_policy: KeyPolicy,
    /// Whether it is to renew by itself; the plan decides whether it does.
    pub auto_renew: bool,
    /// What people see.
    pub status: CertificateStatus,
    /// The version in use, whether still valid or not.
    pub current_version: Option<VersionId>,
    /// Whether the version in use was not revoked and is not past its end, by the database's clock when this was read.
    pub downloadable: bool,
    /// When the version in use was issued.
    pub issued_at: Option<DateTime<Utc>>,
    /// The end of its validity.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it renews by itself.
    pub next_renewal_at: Option<DateTime<Utc>>,
    /// When the next attempt of the live issuance is due, while no order is under way.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// Why the latest attempt failed, as the worker wrote it; none once one has succeeded.
    pub last_error: Option<serde_json::Value>,
    /// When it was requested.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

impl Certificate {
    /// The primary domain.
    pub fn domain(&self) -> &DnsName {
        &self.names[0]
    }

    /// The names beside the primary domain.
    pub fn sans(&self) -> &[DnsName] {
        &self.names[1..]
    }
}

/// A managed certificate that is to be added.
#[derive(Clone, Copy, Debug)]
pub struct NewCertificate<'a> {
    /// The verified zone that its names are under.
    pub zone: ZoneId,
    /// How it is called.
    pub name: NewName<'a>,
    /// Free text.
    pub label: Option<&'a str>,
    /// Its names, the domain first.
    pub names: &'a NameSet,
    /// Which of the CA's directories it is asked from.
    pub environment: Environment,
    /// The algorithm of its key.
    pub key_algorithm: KeyAlgorithm,
    /// Whether a renewal brings a new key.
    pub key_policy: KeyPolicy,
    /// Whether it is to renew by itself.
    pub auto_renew: bool,
}

/// How a new certificate is called.
#[derive(Clone, Copy, Debug)]
pub enum NewName<'a> {
    /// Exactly so.
    Given(&'a str),
    /// So, or where that is taken with the first of `-2`, `-3`, … behind it that is free. At most 90 characters.
    Derived(&'a str),
}

/// Where a page of certificates begins: behind this one, newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// When it was requested.
    pub created_at: DateTime<Utc>,
    /// Its identifier.
    pub id: CertificateId,
}

/// Which certificates to list; an empty filter is all of them.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// In this state.
    pub status: Option<CertificateStatus>,
    /// Of this zone.
    pub zone: Option<ZoneId>,
    /// Of exactly this name.
    pub name: Option<String>,
}

/// Adds a certificate that is `pending`, with its names and the account's next number. The transaction must be one to write
/// ([`crate::Store::tenant_write`]), which makes a derived name and a count of slots beside it safe.
///
/// Errors with the constraint [`DOMAIN_KEY`] when another certificate holds the domain, and [`NAME_KEY`] when a given name is taken.
pub async fn insert_certificate(conn: &mut Connection, account: AccountId, new: &NewCertificate<'_>) -> Result<CertificateId, StoreError> {
    let id = CertificateId::new();
    let name = match new.name {
        NewName::Given(name) => name.to_owned(),
        NewName::Derived(base) => free_name(conn, account, base).await?,
    };
    let number = diesel::update(accounts::table.filter(accounts::id.eq(account.0)))
        .set(accounts::last_certificate_number.eq(accounts::last_certificate_number + 1))
        .returning(accounts::last_certificate_number)
        .get_result::<i32>(conn)
        .await?;
    diesel::insert_into(certificates::table)
        .values((
            certificates::id.eq(id.0),
            certificates::account_id.eq(account.0),
            certificates::zone_id.eq(new.zone.0),
            certificates::name.eq(name),
            certificates::number.eq(number),
            certificates::label.eq(new.label),
            certificates::domain.eq(new.names.primary().as_str()),
            certificates::environment.eq(new.environment.as_str()),
            certificates::key_algorithm.eq(new.key_algorithm.as_str()),
            certificates::key_policy.eq(new.key_policy.as_str()),
            certificates::auto_renew.eq(new.auto_renew),
        ))
        .execute(conn)
        .await?;
    let names: Vec<_> = (0_i32..)
        .zip(new.names.names())
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
    diesel::insert_into(certificate_names::table).values(names).execute(conn).await?;
    Ok(id)
}

/// A certificate that was not deleted.
pub async fn get_certificate(conn: &mut Connection, account: AccountId, id: CertificateId) -> Result<Certificate, StoreError> {
    let rows = row::query(account.0).filter(certificates::id.eq(id.0)).load::<row::Row>(conn).await?;
    with_names(conn, account, rows).await?.pop().ok_or(StoreError::NotFound)
}

/// The certificates of an account that were not deleted, newest first, those behind `after`, at most `limit`.
pub async fn list_certificates(
    conn: &mut Connection,
    account: AccountId,
    filter: &Filter,
    after: Option<Position>,
    limit: i64,
) -> Result<Vec<Certificate>, StoreError> {
    let mut query = row::query(account.0).order((certificates::created_at.desc(), certificates::id.desc())).limit(limit).into_boxed();
    if let Some(after) = after {
        // Said twice, so that the index gives a range.
        query = query
            .filter(certificates::created_at.le(after.created_at))
            .filter(certificates::created_at.lt(after.created_at).or(certificates::id.lt(after.id.0)));
    }
    if let Some(status) = filter.status {
        query = query.filter(certificates::status.eq(status.as_str()));
    }
    if let Some(zone) = filter.zone {
        query = query.filter(certificates::zone_id.eq(zone.0));
    }
    if let Some(name) = &filter.name {
        query = query.filter(certificates::name.eq(name.clone()));
    }
    let rows = query.load::<row::Row>(conn).await?;
    with_names(conn, account, rows).await
}

/// How many managed certificates of the account hold a slot of its plan (requirements X13). To take one, count in a transaction to write.
pub async fn count_slots(conn: &mut Connection, account: AccountId) -> Result<i64, StoreError> {
    let count = certificates::table.filter(certificates::account_id.eq(account.0).and(row::holds_slot())).count().get_result(conn).await?;
    Ok(count)
}

/// How many certificates under the zone hold a slot and so keep it from being deleted.
pub async fn count_in_zone(conn: &mut Connection, account: AccountId, zone: ZoneId) -> Result<i64, StoreError> {
    let count = certificates::table
        .filter(certificates::account_id.eq(account.0).and(certificates::zone_id.eq(zone.0)).and(row::holds_slot()))
        .count()
        .get_result(conn)
        .await?;
    Ok(count)
}

/// Reads the names of all these rows at once.
async fn with_names(conn: &mut Connection, account: AccountId, rows: Vec<row::Row>) -> Result<Vec<Certificate>, StoreError> {
    let ids: Vec<Uuid> = rows.iter().map(row::Row::id).collect();
    let names = certificate_names::table
        .filter(certificate_names::account_id.eq(account.0).and(certificate_names::certificate_id.eq_any(ids)))
        .order((certificate_names::certificate_id, certificate_names::position))
        .select((certificate_names::certificate_id, certificate_names::name))
        .load::<(Uuid, String)>(conn)
        .await?;
    let mut by_certificate = std::collections::HashMap::<Uuid, Vec<DnsName>>::new();
    for (certificate, name) in names {
        let name = DnsName::from_stored(&name).map_err(|_| StoreError::corrupt("certificate_names.name", name))?;
        by_certificate.entry(certificate).or_default().push(name);
    }
    rows.into_iter()
        .map(|row| {
            let names = by_certificate.remove(&row.id()).ok_or_else(|| StoreError::corrupt("certificate_names.name", "no row"))?;
            row.into_certificate(names)
        })
        .collect()
}

/// The first of `base`, `base-2`, `base-3`, … that no certificate of the account has. With one candidate more than there are names, one is free.
async fn free_name(conn: &mut Connection, account: AccountId, base: &str) -> Result<String, StoreError> {
    #[derive(QueryableByName)]
    struct Free {
        #[diesel(sql_type = sql_types::Text)]
        name: String,
    }

    let free = diesel::sql_query(
        "SELECT candidate AS name
         FROM generate_series(1, (SELECT count(*) + 1 FROM certificates WHERE account_id = $2 AND deleted_at IS NULL)) AS n,
             LATERAL (SELECT CASE n WHEN 1 THEN $1 ELSE $1 || '-' || n END AS candidate) AS candidates
         WHERE NOT EXISTS (SELECT FROM certificates WHERE account_id = $2 AND deleted_at IS NULL AND name = candidate)
         ORDER BY n LIMIT 1",
    )
    .bind::<sql_types::Text, _>(base)
    .bind::<sql_types::Uuid, _>(account.0)
    .get_result::<Free>(conn)
    .await?;
    Ok(free.name)
}
