//! The command line.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::config::Config;
use crate::{check, work};

#[derive(Parser)]
#[command(
    name = "zonecert-agent",
    version,
    about = "Keep the files of certificates on this server up to date",
    long_about = "Keep the files of certificates on this server up to date.

Without a command it goes on until it is stopped by SIGTERM, and asks the API once an hour for each certificate in its configuration. What is new is \
checked, put in place at once, and made known to the service by the reload command; what the service then shows is reported to the API.",
    after_help = "Exit codes:
  0  every certificate is up to date, or the program was stopped
  1  something needs you: the log says what, and what to do
  2  the command line or the configuration is wrong
  3  another zonecert-agent works on the same directory
  4  the API could not be asked for now; try again later"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    settings: Settings,
    /// Look at every certificate once, then end: for cron and for scripts
    #[arg(long)]
    once: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Args)]
struct Settings {
    /// The configuration, in TOML
    #[arg(
        long,
        global = true,
        env = "ZONECERT_AGENT_CONFIG",
        value_name = "FILE",
        default_value = "/etc/zonecert-agent/zonecert-agent.toml"
    )]
    config: PathBuf,
    /// An API token with the scopes certificates:read, keys:read and deployments:write. Better kept in a file: `token_file` in the configuration
    #[arg(long, global = true, env = "ZONECERT_AGENT_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// What is logged, to standard error: error, warn, info or debug
    #[arg(long, global = true, env = "ZONECERT_AGENT_LOG", value_name = "LEVEL", default_value = "info")]
    log: String,
}

#[derive(Subcommand)]
enum Command {
    /// Check the configuration, ask the API, and say what would be done. Changes nothing
    Check,
}

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All is well.
    Well,
    /// Something needs somebody.
    Trouble,
    /// Command line or configuration are wrong.
    Usage,
    /// Another one is running.
    Locked,
    /// It may go better later.
    Later,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Well => 0,
            Exit::Trouble => 1,
            Exit::Usage => 2,
            Exit::Locked => 3,
            Exit::Later => 4,
        })
    }
}

pub(crate) fn run(cli: Cli) -> Result<Exit, (Exit, anyhow::Error)> {
    let Settings { config, token, log } = cli.settings;
    let filter = EnvFilter::try_new(format!("zonecert_agent={log}")).map_err(|error| (Exit::Usage, error.into()))?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_target(false).with_writer(std::io::stderr);
    subscriber.with_ansi(std::io::stderr().is_terminal()).compact().init();
    let config = Config::read(&config, token).map_err(|error| (Exit::Usage, error))?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| (Exit::Trouble, anyhow::Error::from(error)))?;
    match (cli.command, cli.once) {
        (Some(Command::Check), _) => runtime.block_on(check::run(&config)).map_err(|error| (Exit::Trouble, error)),
        (None, true) => runtime.block_on(work::once(&config)),
        (None, false) => runtime.block_on(work::go_on(&config)),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound_and_every_argument_is_explained() {
        let command = Cli::command();
        command.clone().debug_assert();
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some() || argument.get_long() == Some("help"), "{argument}");
        }
    }
}
