//! `zonecert`: certificates for the DNS zones that you own, as a service.

mod admin;
mod cli;
mod import;
mod logging;
mod migrate;
mod monitoring;
mod openapi;
mod serve;
mod settings;
mod stop;
mod work;

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;

/// Requests and jobs allocate in short bursts on several threads, for which the C library's allocator waits on locks.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match cli::run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("zonecert: {error:#}");
            ExitCode::FAILURE
        }
    }
}
