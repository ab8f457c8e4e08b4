//! Pages of certificates.

use chrono::{DateTime, Utc};
use diesel::dsl::{exists, sql};
use diesel::prelude::*;
use diesel::sql_types::{Bool, Text};
use diesel_async::RunQueryDsl;
use zonecert_domain::certificate::CertificateStatus;
use zonecert_domain::id::{AccountId, CertificateId, ZoneId};
use zonecert_domain::key::KeyAlgorithm;
use zonecert_pki::chain::Side;

use super::{Certificate, Kind, row};
use crate::schema::{certificate_names, certificates};
use crate::{Connection, StoreError};

/// Where a page of certificates begins: behind this one, newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// When it was requested.
    pub created_at: DateTime<Utc>,
    /// Its identifier.
    pub id: CertificateId,
}

/// The hash of a leaf in DER, in lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fingerprint {
    /// By SHA-1: what many programs call the thumbprint.
    Sha1(String),
    /// By SHA-256.
    Sha256(String),
}

/// Which certificates to list: those that all of this holds for. An empty filter is all of them.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// In one of these states; in any where there are none.
    pub statuses: Vec<CertificateStatus>,
    /// Of this zone.
    pub zone: Option<ZoneId>,
    /// Of exactly this name.
    pub name: Option<String>,
    /// With a domain or SAN that holds this text.
    pub text: Option<String>,
    /// Managed, or uploaded.
    pub kind: Option<Kind>,
    /// Whose version in use has this text in the name of its issuer, in any case.
    pub issuer: Option<String>,
    /// With a version of this serial number, in use or not.
    pub serial: Option<String>,
    /// Whose version in use has this text in its subject, in any case.
    pub subject: Option<String>,
    /// Whose next key is of one of these algorithms, or that of an upload in use; of any where there are none.
    pub key_algorithms: Vec<KeyAlgorithm>,
    /// Whose version in use is for these.
    pub side: Option<Side>,
    /// With a version of this fingerprint, in use or not.
    pub fingerprint: Option<Fingerprint>,
    /// With a domain or SAN at this name or below it, wildcards included.
    pub under: Option<String>,
    /// In use, and at its end before this moment.
    pub expiring_before: Option<DateTime<Utc>>,
}

/// The certificates of an account that were not deleted, newest first, those behind `after`, at most `limit`.
///
/// The account's index bounds what is read. What text a name holds is looked at row by row behind that: no index is of use to such a condition
/// under row-level security, and an account has few certificates.
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
    if !filter.statuses.is_empty() {
        query = query.filter(certificates::status.eq_any(words(&filter.statuses)));
    }
    if let Some(zone) = filter.zone {
        query = query.filter(certificates::zone_id.eq(zone.0));
    }
    if let Some(name) = &filter.name {
        query = query.filter(certificates::name.eq(name.clone()));
    }
    if let Some(text) = &filter.text {
        let holds = sql::<Bool>("position(").bind::<Text, _>(text.clone()).sql(" IN certificate_names.name) > 0");
        let names = certificate_names::table.filter(certificate_names::account_id.eq(account.0));
        query = query.filter(exists(names.filter(certificate_names::certificate_id.eq(certificates::id)).filter(holds)));
    }
    if let Some(kind) = filter.kind {
        query = query.filter(certificates::source.eq(kind.stored()));
    }
    for (column, text) in [("issuer", &filter.issuer), ("subject", &filter.subject)] {
        if let Some(text) = text {
            query = query
                .filter(sql::<Bool>("position(lower(").bind::<Text, _>(text.clone()).sql(&format!(") IN lower(versions.{column})) > 0")));
        }
    }
    if !filter.key_algorithms.is_empty() {
        let algorithms: Vec<&'static str> = filter.key_algorithms.iter().map(|algorithm| algorithm.as_str()).collect();
        query = query.filter(certificates::key_algorithm.eq_any(algorithms));
    }
    if let Some(side) = filter.side {
        // Said twice, so that the index of the versions leads to the certificates.
        let of_version = sql::<Bool>("versions.certificate_id = certificates.id AND versions.side = ");
        query = query.filter(of_version.bind::<Text, _>(side.as_str()));
    }
    let (sha1, sha256) = match &filter.fingerprint {
        Some(Fingerprint::Sha1(digits)) => (Some(digits), None),
        Some(Fingerprint::Sha256(digits)) => (None, Some(digits)),
        None => (None, None),
    };
    for (column, value) in [("serial", filter.serial.as_ref()), ("fingerprint_sha1", sha1), ("fingerprint_sha256", sha256)] {
        if let Some(value) = value {
            // The table has another name here than the version in use.
            let start = "EXISTS (SELECT FROM versions AS every WHERE every.account_id = certificates.account_id
                AND every.certificate_id = certificates.id AND every.";
            query = query.filter(sql::<Bool>(&format!("{start}{column} = ")).bind::<Text, _>(value.clone()).sql(")"));
        }
    }
    if let Some(name) = &filter.under {
        // What lies below a name is a range of the reversed ones: `/` is the character behind `.`.
        let reversed = name.rsplit('.').collect::<Vec<_>>().join(".");
        let (from, to) = (format!("{reversed}."), format!("{reversed}/"));
        let is_under = certificate_names::reversed_name
            .eq(reversed)
            .or(certificate_names::reversed_name.ge(from).and(certificate_names::reversed_name.lt(to)));
        let names = certificate_names::table.filter(certificate_names::account_id.eq(account.0));
        query = query.filter(exists(names.filter(certificate_names::certificate_id.eq(certificates::id)).filter(is_under)));
    }
    if let Some(moment) = filter.expiring_before {
        let in_use = words(&[CertificateStatus::Issued, CertificateStatus::Validating]);
        query = query.filter(certificates::expires_at.lt(moment)).filter(certificates::status.eq_any(in_use));
    }
    query.load::<row::Row>(conn).await?.into_iter().map(row::Row::into_certificate).collect()
}

fn words(statuses: &[CertificateStatus]) -> Vec<&'static str> {
    statuses.iter().map(|status| status.as_str()).collect()
}
