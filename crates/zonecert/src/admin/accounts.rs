//! Accounts: made, put on another plan, suspended and taken back.

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use serde_json::json;
use zeroize::Zeroizing;
use zonecert_api::auth::password::{Password, Secret};
use zonecert_api::operators::actions;
use zonecert_api::people::{AccountName, NewAccount, create_account};
use zonecert_api::plans::PlanChangeView;
use zonecert_domain::email::Email;
use zonecert_domain::id::AccountId;
use zonecert_domain::plan::Plan;
use zonecert_store::accounts::AccountStatus;
use zonecert_store::{Store, StoreError, lookup};

use super::ACTOR;
use crate::settings::database::DatabaseUrl;
use crate::settings::secrets::MasterKeyArgs;

/// Who did it, in the audit log.
const OPERATOR: &str = "operator";

/// Makes an account and the person who owns it.
#[derive(Args)]
pub(crate) struct CreateAccount {
    #[command(flatten)]
    database: DatabaseUrl,
    #[command(flatten)]
    master_keys: MasterKeyArgs,
    /// With which the owner signs in.
    #[arg(long, value_parser = email)]
    email: Email,
    /// The owner's password. Give it by the variable: a flag can be read in the list of processes. Without it one is made and printed.
    #[arg(long, env = "ZONECERT_NEW_PASSWORD", hide_env_values = true, value_name = "ZONECERT_NEW_PASSWORD")]
    password: Option<String>,
    /// What the account calls itself. Without it the e-mail address.
    #[arg(long)]
    name: Option<String>,
    /// free, plus, pro or elite.
    #[arg(long, default_value = "free", value_parser = plan)]
    plan: Plan,
}

/// An account.
#[derive(Args)]
pub(crate) struct OneAccount {
    #[command(flatten)]
    database: DatabaseUrl,
    /// The account, as acct_… or by the e-mail address of somebody in it.
    account: String,
}

/// Suspends an account.
#[derive(Args)]
pub(crate) struct Suspend {
    #[command(flatten)]
    account: OneAccount,
    /// payment or abuse.
    #[arg(long, value_parser = suspension)]
    reason: AccountStatus,
    /// What you want to remember about it. The customer does not see it.
    #[arg(long)]
    note: Option<String>,
}

/// Puts an account on another plan, or shows what that would touch.
#[derive(Args)]
pub(crate) struct SetPlan {
    #[command(flatten)]
    account: OneAccount,
    /// free, plus, pro or elite.
    #[arg(value_parser = plan)]
    plan: Plan,
}

pub(super) async fn create(args: CreateAccount) -> Result<serde_json::Value> {
    let masters = args.master_keys.read()?;
    let made = args.password.is_none();
    let password = Zeroizing::new(args.password.unwrap_or_else(|| format!("{}-{}", uuid::Uuid::new_v4(), uuid::Uuid::new_v4())));
    let new = NewAccount {
        name: AccountName::parse(args.name.as_deref().unwrap_or(args.email.as_str()))
            .map_err(|error| anyhow!("--name: {}", error.detail))?,
        email: args.email,
        password: Password::parse(Secret::new(password.to_string())).context("ZONECERT_NEW_PASSWORD")?,
        plan: args.plan,
    };
    let store = args.database.open()?;
    let (account, user) = create_account(&store, &masters, new, OPERATOR).await?;
    let mut answer = json!({
        "account": { "id": account.id, "name": account.name, "plan": account.plan },
        "user": { "id": user.id, "email": user.email, "role": user.role.as_str() },
    });
    if made {
        answer["user"]["password"] = json!(password.as_str());
    }
    Ok(answer)
}

pub(super) async fn set_plan(args: SetPlan) -> Result<serde_json::Value> {
    let store = args.account.database.open()?;
    let id = find_account(&store, &args.account.account).await?;
    let (before, after) = actions::change_plan(&store, id, args.plan, ACTOR).await.map_err(|error| unknown(error, id))?;
    Ok(json!({ "account": { "id": after.id, "name": after.name, "plan": after.plan }, "previous_plan": before.plan }))
}

pub(super) async fn preview_plan(args: SetPlan) -> Result<serde_json::Value> {
    let store = args.account.database.open()?;
    let id = find_account(&store, &args.account.account).await?;
    let read = store.tenant(id, async |conn| PlanChangeView::read(conn, id, args.plan).await).await;
    Ok(serde_json::to_value(read.map_err(|error| unknown(error, id))?)?)
}

pub(super) async fn suspend(args: Suspend) -> Result<serde_json::Value> {
    set_status(&args.account, args.reason, args.note.as_deref()).await
}

pub(super) async fn resume(args: OneAccount) -> Result<serde_json::Value> {
    set_status(&args, AccountStatus::Active, None).await
}

async fn set_status(args: &OneAccount, status: AccountStatus, note: Option<&str>) -> Result<serde_json::Value> {
    let store = args.database.open()?;
    let id = find_account(&store, &args.account).await?;
    let (before, after) = actions::set_status(&store, id, status, note, ACTOR).await.map_err(|error| unknown(error, id))?;
    Ok(json!({
        "account": { "id": after.id, "name": after.name, "status": after.status.as_str(), "suspended_at": after.suspended_at },
        "previous_status": before.status.as_str(),
    }))
}

fn unknown(error: StoreError, id: AccountId) -> anyhow::Error {
    match error {
        StoreError::NotFound => anyhow!("there is no account {id}"),
        other => anyhow!(other),
    }
}

/// The account of this identifier, or of the person who signs in with this address.
pub(super) async fn find_account(store: &Store, account: &str) -> Result<AccountId> {
    if let Ok(id) = account.parse() {
        return Ok(id);
    }
    let email = Email::parse(account).map_err(|_| anyhow!("{account:?} is neither acct_… nor an e-mail address"))?;
    match store.platform(async |conn| lookup::find_user(conn, &email).await).await? {
        Some((account, _)) => Ok(account),
        None => bail!("nobody signs in with {}", email.as_str()),
    }
}

fn email(text: &str) -> Result<Email, String> {
    Email::parse(text).map_err(|error| error.detail().clone())
}

fn suspension(text: &str) -> Result<AccountStatus, String> {
    match text {
        "payment" => Ok(AccountStatus::SuspendedPayment),
        "abuse" => Ok(AccountStatus::SuspendedAbuse),
        _ => Err("give payment or abuse".to_owned()),
    }
}

fn plan(text: &str) -> Result<Plan, String> {
    Plan::parse(text).ok_or_else(|| "give free, plus, pro or elite".to_owned())
}
