//! Structured logs on standard error: for people on a terminal, as JSON lines otherwise.

use std::io::IsTerminal;

use anyhow::{Context as _, Result, anyhow};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::settings::logs::{LogArgs, LogFormat};

/// Starts logging as it is set.
pub(crate) fn start(args: &LogArgs) -> Result<()> {
    let filter: EnvFilter = args
        .log
        .parse()
        .with_context(|| format!("ZONECERT_LOG: {:?} is no filter; give something like info or info,zonecert_worker=debug", args.log))?;
    let pretty = match args.log_format {
        LogFormat::Pretty => true,
        LogFormat::Json => false,
        LogFormat::Auto => std::io::stderr().is_terminal(),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_span_events(FmtSpan::NONE);
    let started = if pretty {
        builder.try_init()
    } else {
        builder.json().flatten_event(true).with_current_span(false).with_span_list(true).try_init()
    };
    started.map_err(|error| anyhow!("logging could not be started: {error}"))
}
