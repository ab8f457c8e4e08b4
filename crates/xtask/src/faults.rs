//! `cargo xtask faults`.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};
use zonecert_devstack::{OUTAGE_VARIABLE, ROUNDS_VARIABLE, SEED_VARIABLE, STORM_VARIABLE, Stack, StackOptions};

use crate::interrupt::Interrupt;
use crate::report::say;
use crate::{cargo, packages, workspace};

#[derive(Args)]
#[command(
    about = "Break what is around the product, by a seeded plan, and see that nothing is lost",
    long_about = "Play rounds of the fault bench (tests/tests/faults) on a stack of its own under .dev/faults. In each, CA, DNS server and database \
break as the round's seed says, and workers are killed or stand still; then everything has to come to rest, and the same invariants hold.

Each round prints its seed: `--rounds 1 --seed S` plays that round again. Rounds have the seeds S, S + 1 and so on. `outage` and `storm` are drills of one \
fault at full size."
)]
pub(crate) struct Faults {
    /// How many rounds
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    rounds: u64,
    /// Seed of the first round; made up and printed where it is not given
    #[arg(long)]
    seed: Option<u64>,
    /// Install nothing: list the packages that are missing and end with an error, or go on if there are none
    #[arg(long, global = true)]
    no_install: bool,
    #[command(subcommand)]
    drill: Option<Drill>,
}

#[derive(Subcommand)]
enum Drill {
    /// PostgreSQL is restarted, and then stopped, in the middle of 50 issuances
    Outage {
        /// For how long it is stopped
        #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=600))]
        seconds: u64,
    },
    /// Renewals are due at once, and of two workers one is killed every 5 s
    Storm {
        /// How many
        #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(2..=2_000))]
        renewals: u64,
    },
}

impl Faults {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        packages::prepare(self.no_install).await?;
        Interrupt::listen()?.unless(self.play()).await
    }

    async fn play(&self) -> Result<ExitCode> {
        say("building zonecert");
        cargo::run(&["build", "--workspace", "--bins"]).await?;
        let (test, settings) = match self.drill {
            None => {
                let seed = self.seed.unwrap_or_else(|| u64::from(std::process::id()) * 1_000);
                say(&format!("{} rounds, seeds from {seed}", self.rounds));
                ("rounds::nothing_is_lost_whatever_breaks", vec![(ROUNDS_VARIABLE, self.rounds), (SEED_VARIABLE, seed)])
            }
            Some(Drill::Outage { seconds }) => {
                ("outage::a_database_that_restarts_and_stops_costs_time_and_nothing_else", vec![(OUTAGE_VARIABLE, seconds)])
            }
            Some(Drill::Storm { renewals }) => {
                ("storm::renewals_that_are_due_at_once_are_each_done_once_while_workers_die", vec![(STORM_VARIABLE, renewals)])
            }
        };
        let options = StackOptions { fresh: true, durable: false, progress: say, ..StackOptions::new(workspace::dev("faults")?) };
        let stack = Stack::start(options).await?;
        let args = ["test", "--quiet", "--workspace", "--test", "faults", "--", "--nocapture", "--include-ignored", "--exact", test];
        let code = cargo::run_on_stack_with(&args, &stack.description_file(), &settings).await?;
        stack.stop().await?;
        Ok(ExitCode::from(code))
    }
}
