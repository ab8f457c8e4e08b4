//! Project commands: `cargo xtask up`, `cargo xtask test`, `cargo xtask bench`, `cargo xtask faults`, `cargo xtask openapi`, `cargo xtask schemathesis`,
//! `cargo xtask dashboard`.

mod account;
mod api;
mod bench;
mod cargo;
mod certificate;
mod dashboard;
mod demo;
mod faults;
mod interrupt;
mod openapi;
mod openssl;
mod packages;
mod report;
mod schemathesis;
mod test;
mod up;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    bin_name = "cargo xtask",
    about = "Everything a developer of Zonecert runs, on Debian 12 with a Rust toolchain",
    max_term_width = 110
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Up(up::Up),
    Test(test::Test),
    Bench(bench::Bench),
    Faults(faults::Faults),
    #[command(about = "Write openapi.yaml from the code")]
    Openapi,
    Schemathesis(schemathesis::Schemathesis),
    Dashboard(dashboard::Dashboard),
}

#[tokio::main]
async fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Up(up) => up.run().await.map(|()| ExitCode::SUCCESS),
        Command::Test(test) => test.run().await,
        Command::Bench(bench) => Box::pin(bench.run()).await.map(|()| ExitCode::SUCCESS),
        Command::Faults(faults) => faults.run().await,
        Command::Schemathesis(schemathesis) => schemathesis.run().await.map(|()| ExitCode::SUCCESS),
        Command::Dashboard(dashboard) => dashboard.run().await.map(|()| ExitCode::SUCCESS),
        Command::Openapi => openapi::run().await.map(|()| ExitCode::SUCCESS),
    };
    result.unwrap_or_else(|error| {
        eprintln!("\nerror: {error:#}");
        ExitCode::FAILURE
    })
}
