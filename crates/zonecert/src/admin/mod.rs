//! `zonecert admin`: what only the operator may do. One file for each group of commands.

mod accounts;
mod acme_keys;
mod doctor;
mod issuances;
mod keys;
pub(crate) mod output;
mod queue;
mod workers;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;
use serde_json::json;
use zonecert_api::operators::OperatorToken;
use zonecert_api::operators::actions::Actor;

use output::Said;

/// At a command line there is no request.
const ACTOR: Actor<'static> = Actor { request_id: None };

/// What only the operator may do.
#[derive(Subcommand)]
pub(crate) enum Admin {
    /// Makes an account and the person who owns it.
    CreateAccount(accounts::CreateAccount),
    /// Shows what another plan would touch. Changes nothing.
    PreviewPlan(accounts::SetPlan),
    /// Puts an account on another plan, at once.
    SetPlan(accounts::SetPlan),
    /// Suspends an account: for payment it becomes read-only, and renewals go on for 14 days; for abuse nothing of it answers.
    Suspend(accounts::Suspend),
    /// Takes a suspended account back, as it was.
    Resume(accounts::OneAccount),
    /// Makes a token for the operator's part of the API, and the SHA-256 that the setting `ZONECERT_ADMIN_TOKEN_SHA256` is to hold.
    NewToken,
    /// Wraps every data key anew under the first master key. Repeat it at any time, while everything runs.
    RotateKeys(keys::RotateKeys),
    /// Gives an account, or all of them and the platform, new data keys, seals everything anew, and destroys the old ones. Repeat it at any time, while everything runs.
    ReSeal(keys::ReSeal),
    /// Has the CA know our account by another key (RFC 8555 §7.3.5), at one CA or at all of them, while everything runs. Repeat it where it was cut off.
    RollAcmeKey(Box<acme_keys::RollAcmeKey>),
    /// Shows what waits to be done, since when, and who works.
    Queue(queue::Queue),
    /// Lists issuances that do not come through: active ones that have failed before or are old, or with --failed those that have failed for good.
    Issuances(issuances::List),
    /// Has an issuance take its next step now; for a certificate whose last one is over, begins another.
    Retry(issuances::One),
    /// Ends an issuance: its TXT values go, and what the CA has made of it all the same is revoked. A renewal by itself begins again.
    Cancel(issuances::One),
    /// Lists the workers that run.
    Workers(workers::List),
    /// Has a worker finish what it has and take nothing new, until it is stopped or taken back with --off.
    Drain(workers::Drain),
    /// Checks everything that the service rests on, and says what to do where something is wrong. Ends with 1 then.
    Doctor(Box<doctor::Doctor>),
}

/// Runs the command, and prints what it did.
pub(crate) async fn run(command: Admin) -> Result<ExitCode> {
    let said = match command {
        Admin::CreateAccount(args) => Said::json(&accounts::create(args).await?),
        Admin::PreviewPlan(args) => Said::json(&accounts::preview_plan(args).await?),
        Admin::SetPlan(args) => Said::json(&accounts::set_plan(args).await?),
        Admin::Suspend(args) => Said::json(&accounts::suspend(args).await?),
        Admin::Resume(args) => Said::json(&accounts::resume(args).await?),
        Admin::NewToken => {
            let (token, stored) = OperatorToken::generate();
            Said::json(&json!({ "token": token, "sha256": stored.to_hex() }))
        }
        Admin::RotateKeys(args) => return keys::rotate(&args).await.map(|()| ExitCode::SUCCESS),
        Admin::ReSeal(args) => return keys::re_seal(args).await.map(|()| ExitCode::SUCCESS),
        Admin::RollAcmeKey(args) => Box::pin(acme_keys::roll(&args)).await?,
        Admin::Queue(args) => queue::run(&args).await?,
        Admin::Issuances(args) => issuances::list(&args).await?,
        Admin::Retry(args) => issuances::retry(&args).await?,
        Admin::Cancel(args) => issuances::cancel(&args).await?,
        Admin::Workers(args) => workers::list(&args).await?,
        Admin::Drain(args) => workers::drain(&args).await?,
        Admin::Doctor(args) => Box::pin(doctor::run(*args)).await?,
    };
    said.print()
}
