//! A certificate as its issuance sees it: what is asked for, whether that still stands, and what becomes of its state.

use chrono::{DateTime, Utc};
use diesel::dsl::exists;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::json;
use uuid::Uuid;
use zonecert_domain::certificate::{CertificateFacts, CertificateStatus, LiveIssuance, NewestVersion};
use zonecert_domain::csr_subject::CsrSubject;
use zonecert_domain::id::{AccountId, AcmeAccountId, CertificateId, VersionId, ZoneId};
use zonecert_domain::key::KeyAlgorithm;
use zonecert_domain::moment;
use zonecert_domain::renewal::ZoneStanding;

use crate::accounts::{self, Account};
use crate::certificates::request_fields::{self, RequestFieldColumns};
use crate::certificates::{KeyPolicy, acme_account_column, slot_states, undeleted};
use crate::events::{self, Level, NewEvent};
use crate::issuances::{Issuance, database_now};
use crate::renewal_schedule::reschedule_certificate;
use crate::schema::{alternates, certificate_names, certificates, events as event_rows, issuances, orders, versions, zones};
use crate::statement::PreparedDsl as _;
use crate::versions_in_use::{self, InUse, Usable};
use crate::zones::{ZoneMode, zone_standing};
use crate::{Connection, StoreError, alternates as alternate_versions};

/// The event of a certificate whose version in use has run out.
const EXPIRED: &str = "expired";

/// What an issuance is asked for.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The tenant, with its plan as it is now.
    pub account: Account,
    /// Name of the zone.
    pub zone: String,
    /// The zone.
    pub zone_id: ZoneId,
    /// Where its records live.
    pub zone_mode: ZoneMode,
    /// Whether it is still the account's and proven.
    pub zone_standing: ZoneStanding,
    /// Every name, the domain first.
    pub names: Vec<String>,
    /// `production` or `staging`: which of the CA's directories.
    pub environment: Environment,
    /// The algorithm of a new key.
    pub key_algorithm: KeyAlgorithm,
    /// That of the other key, of a dual certificate.
    pub alternate_key_algorithm: Option<KeyAlgorithm>,
    /// Whether the key is kept from one version to the next.
    pub key_policy: KeyPolicy,
    /// What the request says of its owner.
    pub csr_subject: CsrSubject,
    /// The CA's profile, if one is wished.
    pub profile: Option<String>,
    /// The customer's own ACME account that it is ordered with; none where it is ours.
    pub own_acme_account: Option<AcmeAccountId>,
    /// Whether renewal by itself is wished.
    pub auto_renew: bool,
    /// Whether the certificate was deleted.
    pub deleted: bool,
}

/// Which of a CA's directories (requirements S3.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Environment {
    /// Trusted by everybody.
    Production,
    /// For trying things out.
    Staging,
}

impl Environment {
    /// Every environment.
    pub const ALL: [Self; 2] = [Self::Production, Self::Staging];

    /// The name in the API and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Staging => "staging",
        }
    }

    /// Reads the name that [`Self::as_str`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|environment| environment.as_str() == text)
    }
}

/// What an issuance of this certificate is asked for, now.
pub async fn get_subject(conn: &mut Connection, account: AccountId, certificate: CertificateId) -> Result<Subject, StoreError> {
    type ZoneRow = (Uuid, String, String, String, Option<DateTime<Utc>>);
    type Row = (String, (String, Option<String>), String, RequestFieldColumns, Option<Uuid>, bool, Option<DateTime<Utc>>, ZoneRow);

    let (environment, (key_algorithm, alternate_key_algorithm), key_policy, request_fields, own_acme_account, auto_renew, deleted_at, zone) =
        certificates::table
            .inner_join(zones::table.on(zones::account_id.eq(certificates::account_id).and(zones::id.nullable().eq(certificates::zone_id))))
            .left_join(alternates::table.on(alternates::certificate_id.eq(certificates::id)))
            .filter(certificates::account_id.eq(account.0).and(certificates::id.eq(certificate.0)))
            .select((
                certificates::environment,
                (certificates::key_algorithm, alternates::key_algorithm.nullable()),
                certificates::key_policy,
                request_fields::columns(),
                acme_account_column(),
                certificates::auto_renew,
                certificates::deleted_at,
                (zones::id, zones::name, zones::mode, zones::status, zones::deleted_at),
            ))
            .prepared()
            .get_result::<Row>(conn)
            .await?;
    let (zone_id, zone, zone_mode, zone_status, zone_deleted_at) = zone;
    let (csr_subject, profile) = request_fields::read(request_fields)?;
    let names = certificate_names::table
        .filter(certificate_names::account_id.eq(account.0).and(certificate_names::certificate_id.eq(certificate.0)))
        .order(certificate_names::position)
        .select(certificate_names::name)
        .load(conn)
        .await?;
    Ok(Subject {
        account: accounts::get_account(conn, account).await?,
        zone,
        zone_id: ZoneId(zone_id),
        zone_mode: ZoneMode::parse(&zone_mode).ok_or_else(|| StoreError::corrupt("zones.mode", zone_mode))?,
        zone_standing: zone_standing(&zone_status, zone_deleted_at),
        names,
        environment: Environment::parse(&environment).ok_or_else(|| StoreError::corrupt("certificates.environment", environment))?,
        key_algorithm: KeyAlgorithm::parse(&key_algorithm)
            .ok_or_else(|| StoreError::corrupt("certificates.key_algorithm", key_algorithm))?,
        alternate_key_algorithm: alternate_key_algorithm
            .map(|text| KeyAlgorithm::parse(&text).ok_or_else(|| StoreError::corrupt("alternates.key_algorithm", text)))
            .transpose()?,
        key_policy: KeyPolicy::parse(&key_policy).ok_or_else(|| StoreError::corrupt("certificates.key_policy", key_policy))?,
        csr_subject: csr_subject.unwrap_or_default(),
        profile,
        own_acme_account: own_acme_account.map(AcmeAccountId),
        auto_renew,
        deleted: deleted_at.is_some(),
    })
}

/// What has become of the live issuance of a certificate.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// An order of it is under way.
    Running,
    /// An order for the other key of a dual certificate is: what is in use is as good as before.
    RunningBeside,
    /// An attempt failed; another one will be made. Holds what people are shown.
    Waiting(serde_json::Value),
    /// It failed for good, and has ended on record. Holds what people are shown.
    Failed(serde_json::Value),
    /// It was cancelled, and has ended on record.
    Cancelled,
}

impl Outcome {
    /// An order of this issuance is under way.
    pub fn running(issuance: &Issuance) -> Self {
        if issuance.alternate { Self::RunningBeside } else { Self::Running }
    }
}

/// Stores the state that follows for the certificate, and where its issuance is over, when it renews by itself from then on. One that was
/// deleted stays as it is. Returns whether it was noticed by this that the certificate has expired.
pub async fn record_outcome(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
    outcome: Outcome,
) -> Result<bool, StoreError> {
    let now = database_now(conn).await?;
    let newest = settle_current(conn, account, certificate, now).await?;
    let (issuance, last_issuance_failed, last_error) = match outcome {
        Outcome::Running => (LiveIssuance::Running, false, None),
        Outcome::RunningBeside => (LiveIssuance::Waiting, false, None),
        Outcome::Waiting(error) => (LiveIssuance::Waiting, false, Some(error)),
        Outcome::Failed(error) => (LiveIssuance::None, true, Some(error)),
        Outcome::Cancelled => (LiveIssuance::None, true, None),
    };
    let status = CertificateFacts { issuance, version: newest, last_issuance_failed }.status(now);
    diesel::update(undeleted(account, certificate))
        .set((
            certificates::status.eq(status.as_str()),
            last_error.map(|error| certificates::last_error.eq(error)),
            certificates::updated_at.eq(diesel::dsl::now),
        ))
        .prepared()
        .execute(conn)
        .await?;
    let expired = issuance != LiveIssuance::Running && announce_expiry(conn, account, certificate, newest, now).await?;
    if issuance == LiveIssuance::None {
        reschedule_certificate(conn, account, certificate).await?;
    }
    Ok(expired)
}

/// Adds to what people are shown of a failure what was found out about it since. Returns whether it is still what they are shown: of another attempt it
/// would say nothing.
pub async fn add_findings(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
    last_error: &serde_json::Value,
    findings: &serde_json::Value,
) -> Result<bool, StoreError> {
    let mut with_findings = last_error.clone();
    with_findings["findings"] = findings.clone();
    let updated = diesel::update(undeleted(account, certificate).filter(certificates::last_error.eq(last_error)))
        .set((certificates::last_error.eq(with_findings), certificates::updated_at.eq(diesel::dsl::now)))
        .prepared()
        .execute(conn)
        .await?;
    Ok(updated == 1)
}

/// Stores what follows for a certificate when one of its versions was revoked. One that was deleted stays as it is.
pub async fn record_revoked(conn: &mut Connection, account: AccountId, certificate: CertificateId) -> Result<(), StoreError> {
    let now = database_now(conn).await?;
    alternate_versions::settle(conn, account, certificate, now).await?;
    let version = settle_current(conn, account, certificate, now).await?;
    record_facts(conn, account, certificate, version).await
}

/// Stores what follows for a certificate when somebody has put another version in use.
pub(crate) async fn record_put_in_use(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
    version: NewestVersion,
) -> Result<(), StoreError> {
    record_facts(conn, account, certificate, Some(version)).await
}

/// Stores that the version in use is past its end, if it is and no other is valid. A certificate with an order under way stays `validating` until that
/// is over. Returns whether it has expired.
pub async fn record_expired(conn: &mut Connection, account: AccountId, certificate: CertificateId) -> Result<bool, StoreError> {
    let issued = certificates::status.eq(CertificateStatus::Issued.as_str());
    let is_issued: bool = diesel::select(exists(undeleted(account, certificate).filter(issued))).get_result(conn).await?;
    let version = find_current(conn, account, certificate).await?;
    let now = database_now(conn).await?;
    if !version.is_some_and(|version| is_issued && version.not_after < now) {
        return Ok(false);
    }
    let version = settle_current(conn, account, certificate, now).await?;
    record_facts(conn, account, certificate, version).await?;
    announce_expiry(conn, account, certificate, version, now).await?;
    Ok(version.is_some_and(|version| version.not_after < now))
}

/// The version in use. Where that is over, and the certificate holds its slot, the newest of the others that is of use takes its place first: what is
/// retrieved is the newest valid one (requirements S0.2).
async fn settle_current(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
    now: DateTime<Utc>,
) -> Result<Option<NewestVersion>, StoreError> {
    let current = find_current(conn, account, certificate).await?;
    let Some(over) = current.filter(|version| version.revoked || version.not_after < now) else { return Ok(current) };
    let holding = undeleted(account, certificate).filter(certificates::status.eq_any(slot_states()));
    if !diesel::select(exists(holding)).get_result::<bool>(conn).await? {
        return Ok(current);
    }
    let Some(next) = versions_in_use::find_newest_usable(conn, account, certificate, false, now).await? else { return Ok(current) };
    versions_in_use::put_in_use(conn, account, certificate, next, None, now).await?;
    reschedule_certificate(conn, account, certificate).await?;
    let (reason, why) = if over.revoked { ("revoked", "was revoked") } else { ("expired", "has run out") };
    let until = moment::shown(next.not_after);
    let event = NewEvent {
        level: Level::Warning,
        certificate: Some(certificate),
        details: json!({ "version_id": next.id, "reason": reason, "expires_at": next.not_after }),
        ..NewEvent::info("version_fallen_back", format!("the version in use {why}; another one, valid until {until}, takes its place"))
    };
    events::record(conn, account, event).await?;
    Ok(Some(NewestVersion { not_after: next.not_after, revoked: false }))
}

/// Tells people, once, that the version in use has run out and that there is nothing valid. Returns whether it was told now.
async fn announce_expiry(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
    version: Option<NewestVersion>,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let Some(over) = version.filter(|version| !version.revoked && version.not_after < now) else { return Ok(false) };
    let told = event_rows::table
        .filter(event_rows::account_id.eq(account.0).and(event_rows::certificate_id.eq(certificate.0)))
        .filter(event_rows::event.eq(EXPIRED).and(event_rows::at.ge(over.not_after)));
    let is_there: bool = diesel::select(exists(undeleted(account, certificate))).get_result(conn).await?;
    if !is_there || diesel::select(exists(told)).get_result(conn).await? {
        return Ok(false);
    }
    let event = NewEvent {
        level: Level::Warning,
        certificate: Some(certificate),
        details: json!({ "expires_at": over.not_after }),
        ..NewEvent::info(EXPIRED, format!("the certificate was valid until {}", moment::shown(over.not_after)))
    };
    events::record(conn, account, event).await?;
    Ok(true)
}

/// Stores the state that follows from the version in use and from the live issuance as it stands, and when the certificate renews.
async fn record_facts(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
    version: Option<NewestVersion>,
) -> Result<(), StoreError> {
    let active = issuances::table
        .filter(issuances::account_id.eq(account.0).and(issuances::certificate_id.eq(certificate.0)))
        .filter(issuances::status.eq("active"));
    let order_is_live: Option<bool> = active
        .select(
            exists(orders::table.filter(orders::issuance_id.eq(issuances::id).and(orders::finished_at.is_null())))
                .and(issuances::alternate.eq(false)),
        )
        .first(conn)
        .await
        .optional()?;
    let issuance = match order_is_live {
        None => LiveIssuance::None,
        Some(false) => LiveIssuance::Waiting,
        Some(true) => LiveIssuance::Running,
    };
    let status = CertificateFacts { issuance, version, last_issuance_failed: false }.status(database_now(conn).await?);
    diesel::update(undeleted(account, certificate))
        .set((certificates::status.eq(status.as_str()), certificates::updated_at.eq(diesel::dsl::now)))
        .prepared()
        .execute(conn)
        .await?;
    reschedule_certificate(conn, account, certificate).await
}

/// A version that has just been stored becomes the certificate's current one, and its issuance is over.
#[derive(Clone, Copy, Debug)]
pub struct Issued {
    /// The version.
    pub version: VersionId,
    /// The end of its validity.
    pub not_after: DateTime<Utc>,
}

/// Stores the state of a certificate that has been issued and whose issuance has ended on record, and when it renews by itself. What the CA said
/// of the version before holds no more; it is asked about the new one at once (RFC 9773 §4.3). Of a dual certificate, the version with the other key is
/// asked for next.
pub async fn record_issued(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
    issued: Issued,
) -> Result<(), StoreError> {
    let now = database_now(conn).await?;
    let wish = alternate_versions::find_wish(conn, account, issued.version).await?;
    if wish.is_some_and(|wish| wish.alternate) {
        alternate_versions::put_in_use(conn, account, certificate, issued.version).await?;
        diesel::update(undeleted(account, certificate))
            .set(certificates::last_error.eq(None::<serde_json::Value>))
            .prepared()
            .execute(conn)
            .await?;
        let version = settle_current(conn, account, certificate, now).await?;
        return record_facts(conn, account, certificate, version).await;
    }
    let version = Some(NewestVersion { not_after: issued.not_after, revoked: false });
    let status = CertificateFacts { issuance: LiveIssuance::None, version, last_issuance_failed: false }.status(now);
    diesel::update(certificates::table.filter(certificates::account_id.eq(account.0).and(certificates::id.eq(certificate.0))))
        .set((
            certificates::status.eq(status.as_str()),
            certificates::last_error.eq(None::<serde_json::Value>),
            InUse::new(Usable { id: issued.version, issued_at: now, not_after: issued.not_after, alternate: false }, None, now),
        ))
        .prepared()
        .execute(conn)
        .await?;
    if let Some(wish) = wish {
        alternate_versions::begin_after(conn, account, certificate, wish.reason).await?;
    }
    reschedule_certificate(conn, account, certificate).await
}

async fn find_current(conn: &mut Connection, account: AccountId, certificate: CertificateId) -> Result<Option<NewestVersion>, StoreError> {
    let current: Option<(DateTime<Utc>, Option<DateTime<Utc>>)> = certificates::table
        .left_join(versions::table.on(certificates::current_version_id.eq(versions::id.nullable())))
        .filter(certificates::account_id.eq(account.0).and(certificates::id.eq(certificate.0)))
        .select((versions::not_after, versions::revoked_at).nullable())
        .first(conn)
        .await?;
    Ok(current.map(|(not_after, revoked_at)| NewestVersion { not_after, revoked: revoked_at.is_some() }))
}
