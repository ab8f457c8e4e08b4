//! Where certificates are in use: the last report of each target (`docs/adr/0026-agent.md`).

use chrono::{DateTime, TimeDelta, Utc};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Double, Timestamptz};
use diesel_async::RunQueryDsl;
use uuid::Uuid;
use zonecert_domain::deployment::{DeploymentState, Observed};
use zonecert_domain::id::{AccountId, CertificateId, VersionId};

use crate::schema::{deployments, versions};
use crate::{Connection, StoreError};

/// The last report of a target.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// What the server calls itself.
    pub target: String,
    /// SHA-256 of the leaf that was seen in a TLS handshake.
    pub served_sha256: Option<String>,
    /// The same of the one in the files.
    pub installed_sha256: Option<String>,
    /// The version that is installed.
    pub installed_version: Option<VersionId>,
    /// Of the program that reports.
    pub agent_version: Option<String>,
    /// What went wrong there.
    pub error: Option<String>,
    /// What followed from it when it came.
    pub state_then: DeploymentState,
    /// When the target reported first.
    pub created_at: DateTime<Utc>,
    /// When it reported last.
    pub reported_at: DateTime<Utc>,
    /// How long ago that is, by the database's clock.
    pub age: TimeDelta,
}

impl Deployment {
    /// What it says of the certificate.
    pub fn observed(&self) -> Observed<'_> {
        Observed {
            served_sha256: self.served_sha256.as_deref(),
            installed_sha256: self.installed_sha256.as_deref(),
            failed: self.error.is_some(),
        }
    }

    /// What follows from it now. `current` is the fingerprint of the version in use.
    pub fn state(&self, current: Option<&str>) -> DeploymentState {
        DeploymentState::of(self.observed(), current, self.age)
    }
}

/// A report that has come.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// What the server calls itself.
    pub target: &'a str,
    /// What it says of the certificate.
    pub observed: Observed<'a>,
    /// The version that is installed; one of this certificate.
    pub installed_version: Option<VersionId>,
    /// Of the program that reports.
    pub agent_version: Option<&'a str>,
    /// What went wrong there.
    pub error: Option<&'a str>,
    /// What follows from it.
    pub state: DeploymentState,
}

/// Keeps a report in place of the one before. The transaction must be one to write ([`crate::Store::tenant_write`]), which makes a count of targets
/// beside it safe.
pub async fn record_report(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
    report: &Report<'_>,
) -> Result<Deployment, StoreError> {
    let changes = (
        deployments::served_sha256.eq(report.observed.served_sha256),
        deployments::installed_sha256.eq(report.observed.installed_sha256),
        deployments::installed_version_id.eq(report.installed_version.map(|version| version.0)),
        deployments::agent_version.eq(report.agent_version),
        deployments::error.eq(report.error),
        deployments::state.eq(report.state.as_str()),
        deployments::reported_at.eq(diesel::dsl::now.into_sql::<Timestamptz>()),
    );
    diesel::insert_into(deployments::table)
        .values((
            deployments::account_id.eq(account.0),
            deployments::certificate_id.eq(certificate.0),
            deployments::target.eq(report.target),
            changes,
        ))
        .on_conflict((deployments::account_id, deployments::certificate_id, deployments::target))
        .do_update()
        .set(changes)
        .execute(conn)
        .await?;
    find_deployment(conn, account, certificate, report.target).await?.ok_or(StoreError::NotFound)
}

/// The targets of a certificate, by name.
pub async fn list_deployments(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
) -> Result<Vec<Deployment>, StoreError> {
    let rows = of(account, certificate).order(deployments::target).select(columns()).load::<Row>(conn).await?;
    rows.into_iter().map(from_row).collect()
}

/// The last report of a target, if there was one.
pub async fn find_deployment(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
    target: &str,
) -> Result<Option<Deployment>, StoreError> {
    let query = of(account, certificate).filter(deployments::target.eq(target)).select(columns());
    query.first::<Row>(conn).await.optional()?.map(from_row).transpose()
}

/// How many targets a certificate has.
pub async fn count_deployments(conn: &mut Connection, account: AccountId, certificate: CertificateId) -> Result<i64, StoreError> {
    Ok(of(account, certificate).count().get_result(conn).await?)
}

/// Forgets a target. Errors with [`StoreError::NotFound`] where there is none.
pub async fn delete_deployment(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
    target: &str,
) -> Result<(), StoreError> {
    let deleted = diesel::delete(of(account, certificate).filter(deployments::target.eq(target))).execute(conn).await?;
    if deleted == 0 { Err(StoreError::NotFound) } else { Ok(()) }
}

/// Forgets every target of a certificate.
pub async fn delete_deployments(conn: &mut Connection, account: AccountId, certificate: CertificateId) -> Result<(), StoreError> {
    diesel::delete(of(account, certificate)).execute(conn).await?;
    Ok(())
}

/// Whether this is a version of the certificate.
pub async fn has_version(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
    version: VersionId,
) -> Result<bool, StoreError> {
    let there = versions::table
        .filter(versions::account_id.eq(account.0).and(versions::certificate_id.eq(certificate.0)).and(versions::id.eq(version.0)));
    Ok(diesel::select(diesel::dsl::exists(there)).get_result(conn).await?)
}

#[diesel::dsl::auto_type]
fn of(account: AccountId, certificate: CertificateId) -> _ {
    let (account, certificate): (Uuid, Uuid) = (account.0, certificate.0);
    deployments::table.filter(deployments::account_id.eq(account)).filter(deployments::certificate_id.eq(certificate))
}

/// The columns of a table's row, and its age in seconds.
type Row =
    (String, Option<String>, Option<String>, Option<Uuid>, Option<String>, Option<String>, String, DateTime<Utc>, DateTime<Utc>, f64);

#[diesel::dsl::auto_type]
fn columns() -> _ {
    let age: diesel::expression::SqlLiteral<Double> = sql("extract(epoch FROM now() - deployments.reported_at)::float8");
    (
        deployments::target,
        deployments::served_sha256,
        deployments::installed_sha256,
        deployments::installed_version_id,
        deployments::agent_version,
        deployments::error,
        deployments::state,
        deployments::created_at,
        deployments::reported_at,
        age,
    )
}

fn from_row(row: Row) -> Result<Deployment, StoreError> {
    let (target, served_sha256, installed_sha256, version, agent_version, error, state, created_at, reported_at, age) = row;
    Ok(Deployment {
        target,
        served_sha256,
        installed_sha256,
        installed_version: version.map(VersionId),
        agent_version,
        error,
        state_then: DeploymentState::parse(&state).ok_or_else(|| StoreError::corrupt("deployments.state", state))?,
        created_at,
        reported_at,
        age: seconds(age),
    })
}

/// Whole milliseconds of a time in seconds.
#[expect(clippy::cast_possible_truncation, reason = "milliseconds of any time that a row can have are far within i64; floats saturate")]
pub(crate) fn seconds(seconds: f64) -> TimeDelta {
    TimeDelta::milliseconds((seconds * 1000.0) as i64)
}
