//! Logs.

use clap::{Args, ValueEnum};

/// How logs look.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LogFormat {
    /// Pretty on a terminal, JSON otherwise.
    Auto,
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// What is logged, and how.
#[derive(Args)]
#[command(next_help_heading = "Logs")]
pub(crate) struct LogArgs {
    /// What is logged: a level, or a list such as `info,zonecert_worker=debug`.
    #[arg(long, env = "ZONECERT_LOG", default_value = "info", value_name = "ZONECERT_LOG", global = true)]
    pub(crate) log: String,
    /// How logs look.
    #[arg(long, env = "ZONECERT_LOG_FORMAT", default_value = "auto", value_name = "ZONECERT_LOG_FORMAT", global = true)]
    pub(crate) log_format: LogFormat,
}
