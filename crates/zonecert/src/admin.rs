//! `zonecert admin`: what only the operator may do.

use anyhow::{Context as _, Result, anyhow, bail};
use clap::{Args, Subcommand};
use serde_json::json;
use zeroize::Zeroizing;
use zonecert_api::auth::password::{Password, Secret};
use zonecert_api::people::{AccountName, NewAccount, create_account};
use zonecert_domain::email::Email;
use zonecert_domain::id::AccountId;
use zonecert_domain::plan::Plan;
use zonecert_store::{Store, accounts, lookup};

use crate::settings::database::DatabaseUrl;
use crate::settings::secrets::MasterKeyArgs;

/// Who did it, in the audit log.
const OPERATOR: &str = "operator";

/// What only the operator may do.
#[derive(Subcommand)]
pub(crate) enum Admin {
    /// Makes an account and the person who owns it.
    CreateAccount(CreateAccount),
    /// Puts an account on another plan, at once.
    SetPlan(SetPlan),
}

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

/// Puts an account on another plan, at once.
#[derive(Args)]
pub(crate) struct SetPlan {
    #[command(flatten)]
    database: DatabaseUrl,
    /// The account, as acct_… or by the e-mail address of somebody in it.
    account: String,
    /// free, plus, pro or elite.
    #[arg(value_parser = plan)]
    plan: Plan,
}

/// Runs the command; what it did is printed as JSON.
pub(crate) async fn run(command: Admin) -> Result<()> {
    let answer = match command {
        Admin::CreateAccount(args) => create(args).await?,
        Admin::SetPlan(args) => set_plan(args).await?,
    };
    println!("{}", serde_json::to_string_pretty(&answer)?);
    Ok(())
}

async fn create(args: CreateAccount) -> Result<serde_json::Value> {
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

async fn set_plan(args: SetPlan) -> Result<serde_json::Value> {
    let store = args.database.open()?;
    let id = find_account(&store, &args.account).await?;
    let (before, after) = store
        .tenant_write(id, async |conn| {
            let before = accounts::get_account(conn, id).await?;
            accounts::set_plan(conn, id, args.plan).await?;
            let entry = zonecert_store::audit_log::Entry {
                actor: OPERATOR,
                action: "account.plan_changed",
                subject: Some(&id.to_string()),
                request_id: None,
                details: json!({ "from": before.plan, "to": args.plan }),
            };
            zonecert_store::audit_log::insert_entry(conn, id, &entry).await?;
            Ok::<_, zonecert_store::StoreError>((before, accounts::get_account(conn, id).await?))
        })
        .await
        .map_err(|error| match error {
            zonecert_store::StoreError::NotFound => anyhow!("there is no account {id}"),
            other => anyhow!(other),
        })?;
    Ok(json!({ "account": { "id": after.id, "name": after.name, "plan": after.plan }, "previous_plan": before.plan }))
}

/// The account of this identifier, or of the person who signs in with this address.
async fn find_account(store: &Store, account: &str) -> Result<AccountId> {
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

fn plan(text: &str) -> Result<Plan, String> {
    Plan::parse(text).ok_or_else(|| "give free, plus, pro or elite".to_owned())
}
