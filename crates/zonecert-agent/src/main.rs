//! `zonecert-agent`: keeps the files of certificates on a server up to date (docs/adr/0026-agent.md).
//!
//! Asks the API whether there is another version, checks what it is given, puts all files of a certificate in place at once, has the service reload, and
//! tells the API what the service then shows.

mod api;
mod check;
mod cli;
mod config;
mod directory;
mod pair;
mod probe;
mod reload;
mod round;
mod schedule;
#[cfg(test)]
mod tests;
mod wait;
mod work;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match cli::run(cli) {
        Ok(exit) => exit.into(),
        Err((exit, error)) => {
            eprintln!("zonecert-agent: {error:#}");
            exit.into()
        }
    }
}
