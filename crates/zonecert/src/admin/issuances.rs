//! Issuances that do not come through: which, why, and what the operator can do.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::{Value, json};
use uuid::Uuid;
use zonecert_api::operators::interventions::{self, Retried};
use zonecert_domain::id::{AccountId, CertificateId, IssuanceId};
use zonecert_store::issuances::database_now;
use zonecert_store::troubles::{self, SeenIssuance, Trouble};
use zonecert_store::{Connection, Store, StoreError};

use super::ACTOR;
use super::output::{OutputArgs, Said, ago, table};
use crate::settings::database::DatabaseUrl;

/// Lists issuances.
#[derive(Args)]
pub(crate) struct List {
    #[command(flatten)]
    database: DatabaseUrl,
    #[command(flatten)]
    output: OutputArgs,
    /// Those that have failed for good, the newest first.
    #[arg(long)]
    failed: bool,
    /// Minutes after which an active one is old.
    #[arg(long, default_value = "15", conflicts_with = "failed", value_parser = clap::value_parser!(u64).range(0..=100_000))]
    older_than_minutes: u64,
    /// So many at the most.
    #[arg(long, default_value = "50", value_parser = clap::value_parser!(i32).range(1..=1000))]
    limit: i32,
}

/// An issuance or a certificate.
#[derive(Args)]
pub(crate) struct One {
    #[command(flatten)]
    database: DatabaseUrl,
    #[command(flatten)]
    output: OutputArgs,
    /// The issuance (iss_…) or its certificate (cert_…).
    id: String,
}

pub(super) async fn list(args: &List) -> Result<Said> {
    let store = args.database.open()?;
    let trouble = if args.failed { Trouble::Failed } else { Trouble::Stuck(Duration::from_secs(args.older_than_minutes * 60)) };
    let limit = args.limit;
    let read = async move |conn: &mut Connection| {
        Ok::<_, StoreError>((troubles::list_troubled(conn, trouble, limit).await?, database_now(conn).await?))
    };
    let (troubled, now) = store.platform(read).await?;
    let mut seen = Vec::with_capacity(troubled.len());
    for (account, id) in troubled {
        match store.tenant(account, async |conn| troubles::get_issuance(conn, account, id).await).await {
            Ok(issuance) => seen.push((account, issuance)),
            // Its account has ended meanwhile.
            Err(StoreError::NotFound) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let values: Vec<Value> = seen.iter().map(|(account, issuance)| value(*account, issuance)).collect();
    Ok(Said::either(args.output, &json!({ "issuances": values }), text(&seen, now)))
}

fn text(seen: &[(AccountId, SeenIssuance)], now: DateTime<Utc>) -> String {
    if seen.is_empty() {
        return "none\n".to_owned();
    }
    let mut rows = vec![["issuance", "domain", "why", "for", "attempts", "order", "next", "what failed last"].map(str::to_owned)];
    rows.extend(seen.iter().map(|(_, issuance)| {
        let next = match (issuance.finished_at, issuance.next_wake_at) {
            (Some(at), _) => format!("over {} ago", ago(at, now)),
            (None, Some(at)) if at > now => format!("in {}", ago(now, at)),
            (None, Some(at)) => format!("due {}", ago(at, now)),
            (None, None) => "-".to_owned(),
        };
        let failure = match (issuance.failure_text("code"), issuance.failure_text("detail")) {
            (Some(code), Some(detail)) => format!("{code}: {detail}"),
            (Some(code), None) => code.to_owned(),
            _ => "-".to_owned(),
        };
        [
            IssuanceId(issuance.id).to_string(),
            issuance.domain.clone(),
            issuance.reason.clone(),
            ago(issuance.created_at, now),
            issuance.attempts.to_string(),
            issuance.order_status.clone().unwrap_or_else(|| "-".to_owned()),
            next,
            failure,
        ]
    }));
    table(&rows)
}

fn value(account: AccountId, issuance: &SeenIssuance) -> Value {
    json!({
        "id": IssuanceId(issuance.id), "account_id": account, "certificate_id": CertificateId(issuance.certificate), "domain": issuance.domain,
        "reason": issuance.reason, "status": issuance.status, "attempts": issuance.attempts, "created_at": issuance.created_at,
        "next_wake_at": issuance.next_wake_at, "finished_at": issuance.finished_at, "worker": issuance.lease_owner,
        "order_status": issuance.order_status, "cancel_requested_at": issuance.cancel_requested_at, "failure": issuance.failure,
    })
}

pub(super) async fn retry(args: &One) -> Result<Said> {
    let store = args.database.open()?;
    let (account, certificate) = find(&store, &args.id).await?;
    let retried = interventions::retry(&store, account, certificate, ACTOR).await;
    let (issuance, text) = match retried.with_context(|| format!("{} cannot be tried again", args.id))? {
        Retried::Woken(issuance) => (issuance, format!("{issuance} of {certificate} takes its next step now\n")),
        Retried::Begun(issuance) => (issuance, format!("{issuance} of {certificate} was begun\n")),
    };
    Ok(Said::either(args.output, &json!({ "issuance_id": issuance, "certificate_id": certificate, "account_id": account }), text))
}

pub(super) async fn cancel(args: &One) -> Result<Said> {
    let store = args.database.open()?;
    let (account, certificate) = find(&store, &args.id).await?;
    if !interventions::cancel(&store, account, certificate, ACTOR).await? {
        bail!("{certificate} has no issuance that could be cancelled");
    }
    let text = format!("the issuance of {certificate} is being cancelled: a worker takes its TXT values out and leaves its order\n");
    Ok(Said::either(args.output, &json!({ "certificate_id": certificate, "account_id": account }), text))
}

/// Whose it is, and the certificate.
async fn find(store: &Store, id: &str) -> Result<(AccountId, CertificateId)> {
    let issuance: Option<IssuanceId> = id.parse().ok();
    let certificate: Option<CertificateId> = id.parse().ok();
    let uuid: Uuid = match (issuance, certificate) {
        (Some(issuance), _) => issuance.0,
        (None, Some(certificate)) => certificate.0,
        (None, None) => bail!("{id:?} is neither iss_… nor cert_…"),
    };
    let holder = store.platform(async |conn| troubles::find_holder(conn, uuid).await).await?;
    let account = holder.ok_or_else(|| anyhow!("there is no {id}"))?;
    match issuance {
        None => Ok((account, CertificateId(uuid))),
        Some(issuance) => {
            let seen = store.tenant(account, async |conn| troubles::get_issuance(conn, account, issuance).await).await?;
            Ok((account, CertificateId(seen.certificate)))
        }
    }
}
