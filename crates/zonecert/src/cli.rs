//! The command line. Every setting is a flag with a variable; `--help` lists them all.

use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow};
use clap::{Args, Parser, Subcommand};

use crate::settings::api::ApiArgs;
use crate::settings::database::DatabaseArgs;
use crate::settings::logs::LogArgs;
use crate::settings::monitoring::{API_PORT, MonitoringArgs, WORKER_PORT};
use crate::settings::operators::OperatorArgs;
use crate::settings::outside::OutsideArgs;
use crate::settings::secrets::MasterKeyArgs;
use crate::settings::shared::SharedArgs;
use crate::settings::worker::WorkerArgs;
use crate::{admin, import, logging, migrate, monitoring, openapi, serve, work};

/// Issues, renews, keeps and delivers TLS certificates for the DNS zones of its customers.
///
/// Every setting is a flag and a variable; a flag wins. Start with `migrate`, then run `serve` and `work` as two processes, or `all` as one.
#[derive(Parser)]
#[command(name = "zonecert", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    logs: LogArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the REST API.
    Serve(Box<Serve>),
    /// Runs the worker: issuance, zones in PowerDNS, sweepers. Any number of them share the work.
    Work(Box<Work>),
    /// Runs API and worker in one process.
    All(Box<All>),
    /// Makes the tables or brings them up to date, the queue's too. Safe to run at any time, and twice at once.
    Migrate(migrate::Migrate),
    /// Prints the description of the API: what openapi.yaml holds. Reads no settings.
    Openapi(openapi::Openapi),
    /// Takes certificates over from certbot, lego, acme.sh, Cert Warden or a folder of PEM, through the API of a Zonecert anywhere. Shows what it would do, then asks.
    Import(Box<import::Import>),
    /// The operator's commands. They connect as the database's owner.
    #[command(subcommand)]
    Admin(admin::Admin),
}

#[derive(Args)]
struct Serve {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    master_keys: MasterKeyArgs,
    #[command(flatten)]
    api: ApiArgs,
    #[command(flatten)]
    shared: SharedArgs,
    #[command(flatten)]
    operators: OperatorArgs,
    #[command(flatten)]
    monitoring: MonitoringArgs,
}

#[derive(Args)]
struct Work {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    master_keys: MasterKeyArgs,
    #[command(flatten)]
    worker: WorkerArgs,
    #[command(flatten)]
    shared: SharedArgs,
    #[command(flatten)]
    outside: OutsideArgs,
    #[command(flatten)]
    monitoring: MonitoringArgs,
}

#[derive(Args)]
struct All {
    #[command(flatten)]
    database: DatabaseArgs,
    /// The database as `zonecert_worker`: --database-url is the API's, as `zonecert_api`.
    #[arg(long, env = "ZONECERT_WORKER_DATABASE_URL", hide_env_values = true, value_name = "ZONECERT_WORKER_DATABASE_URL")]
    worker_database_url: String,
    #[command(flatten)]
    master_keys: MasterKeyArgs,
    #[command(flatten)]
    api: ApiArgs,
    #[command(flatten)]
    shared: SharedArgs,
    #[command(flatten)]
    operators: OperatorArgs,
    #[command(flatten)]
    worker: WorkerArgs,
    #[command(flatten)]
    outside: OutsideArgs,
    #[command(flatten)]
    monitoring: MonitoringArgs,
}

/// Runs the command to its end.
pub(crate) fn run(cli: Cli) -> Result<ExitCode> {
    if let Command::Openapi(command) = cli.command {
        return openapi::run(&command).map(|()| ExitCode::SUCCESS);
    }
    logging::start(&cli.logs)?;
    rustls::crypto::aws_lc_rs::default_provider().install_default().map_err(|_| anyhow!("a TLS provider was installed twice"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the async runtime could not be started")?;
    runtime.block_on(async {
        match cli.command {
            Command::Serve(args) => {
                let monitoring = monitoring::start(&args.monitoring, API_PORT, &args.database, &args.shared.ca)?;
                serve::run(&args.database, &args.master_keys, args.api, &args.shared, &args.operators, &monitoring).await
            }
            Command::Work(args) => {
                let monitoring = monitoring::start(&args.monitoring, WORKER_PORT, &args.database, &args.shared.ca)?;
                work::run(&args.database, &args.master_keys, args.worker, &args.shared, &args.outside, &monitoring).await
            }
            Command::All(args) => Box::pin(all(*args)).await,
            Command::Migrate(args) => migrate::run(&args).await,
            Command::Openapi(args) => openapi::run(&args),
            Command::Import(command) => return Box::pin(import::run(*command)).await,
            Command::Admin(command) => return Box::pin(admin::run(command)).await,
        }?;
        Ok(ExitCode::SUCCESS)
    })
}

/// Both end when either of them ends: half a service is worse than one that is started again.
async fn all(args: All) -> Result<()> {
    let worker_database = args.database.with_url(args.worker_database_url);
    let monitoring = monitoring::start(&args.monitoring, API_PORT, &args.database, &args.shared.ca)?;
    tokio::try_join!(
        serve::run(&args.database, &args.master_keys, args.api, &args.shared, &args.operators, &monitoring),
        work::run(&worker_database, &args.master_keys, args.worker, &args.shared, &args.outside, &monitoring),
    )?;
    Ok(())
}
