//! `cargo xtask up`.

use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use zonecert_devstack::product::setting;
use zonecert_devstack::{Product, ProductProcess, Stack, StackOptions, wait};

use crate::api::Api;
use crate::interrupt::{Interrupt, Interrupted};
use crate::report::say;
use crate::{cargo, dashboard, demo, packages, workspace};

const DATABASE: &str = "zonecert";
const LOG_LINES: usize = 15;

#[derive(Args)]
#[command(
    about = "Bring up Zonecert on a private PostgreSQL, PowerDNS and ACME CA, and get a real certificate",
    long_about = "Bring up Zonecert on a private PostgreSQL, PowerDNS and ACME CA, and get a real certificate.

Installs what is missing through apt, without starting any service. Starts private instances of PostgreSQL, PowerDNS (two) and \
the ACME CA Pebble on free loopback ports, with all their data under .dev/, and the product on them. Creates an account with the \
zone example.test, verifies the zone by a TXT look-up, and gets a certificate for app.example.test and www.example.test over the \
REST API. Stays up until Ctrl-C.

A second run goes on from .dev/ with the next name. Logs are in .dev/up/log, the certificate in .dev/demo, mail to people in .dev/mail."
)]
pub(crate) struct Up {
    /// End after the certificate, with status 0 if all is well
    #[arg(long)]
    exit: bool,
    /// First delete what earlier runs have stored under .dev/up, .dev/demo and .dev/mail
    #[arg(long)]
    fresh: bool,
    /// Install nothing: list the packages that are missing and end with an error, or go on if there are none
    #[arg(long)]
    no_install: bool,
}

/// All that runs; ended in the order of the fields.
struct Running {
    parts: Parts,
    product: Product,
}

/// What may end by itself.
struct Parts {
    worker: ProductProcess,
    api: ProductProcess,
    stack: Stack,
}

impl Up {
    pub(crate) async fn run(self) -> Result<()> {
        packages::prepare(self.no_install).await?;
        let mut interrupt = Interrupt::listen()?;
        let mut running = interrupt.unless(self.start()).await?;
        let outcome = running.use_it(self.exit, &mut interrupt).await.map_err(|error| running.explain(error));
        say("stopping all that was started");
        running.stop().await?;
        outcome?;
        say("stopped");
        Ok(())
    }

    async fn start(&self) -> Result<Running> {
        dashboard::build(self.no_install).await?;
        say("building zonecert");
        cargo::run(&["build", "--workspace", "--bins"]).await?;
        say("starting PostgreSQL, PowerDNS and Pebble");
        let dir = workspace::dev("up")?;
        let options = StackOptions { fresh: self.fresh, progress: say, ..StackOptions::new(&dir) };
        let stack = Stack::start(options).await?;
        for kept in [workspace::dev("demo")?, workspace::dev("mail")?] {
            if self.fresh && kept.exists() {
                std::fs::remove_dir_all(&kept).with_context(|| format!("cannot delete {}", kept.display()))?;
            }
        }
        let product = Product::kept_in(&stack.handle(), &dir, DATABASE).await?;
        say(&format!("database {DATABASE} migrated"));
        let listen = format!("127.0.0.1:{}", stack.port_for("api")?);
        let mail = workspace::dev("mail")?;
        let product = product
            .with(setting::PUBLIC_URL, format!("http://{listen}"))
            .with(setting::LISTEN, listen)
            .with(setting::MAIL_DIR, mail.display().to_string())
            .with(setting::WEBHOOK_NETWORKS, "127.0.0.1")
            .with(setting::LOG_FORMAT, "pretty");
        let api = product.serve().await?;
        say(&format!("API: {}", api.api_url()));
        let worker = product.work().await?;
        say("worker started");
        Ok(Running { parts: Parts { worker, api, stack }, product })
    }
}

impl Running {
    /// The demonstration; then, unless `exit`, waits for Ctrl-C.
    async fn use_it(&mut self, exit: bool, interrupt: &mut Interrupt) -> Result<()> {
        let account_file = self.parts.stack.dir().join("product").join("demo-account.json");
        let api_url = self.parts.api.api_url().to_owned();
        let api = Api::new(&api_url)?;
        let demo = tokio::select! {
            demo = interrupt.unless(demo::run(&self.product, &api, &account_file)) => demo?,
            error = self.parts.until_one_ends() => return Err(error),
        };
        demo.print(&api_url);
        if exit {
            return Ok(());
        }
        let (logs, mail) = (self.parts.stack.dir().join("log"), workspace::dev("mail")?);
        say(&format!("up; logs are in {}, mail in {}; Ctrl-C stops everything", logs.display(), mail.display()));
        tokio::select! {
            () = interrupt.wait() => Ok(()),
            error = self.parts.until_one_ends() => Err(error),
        }
    }

    /// Adds what API and worker said last, unless `error` says enough: an interruption, or a part that has ended with its last log lines.
    fn explain(&mut self, error: anyhow::Error) -> anyhow::Error {
        if error.is::<Interrupted>() || self.parts.check().is_err() {
            return error;
        }
        let Parts { worker, api, .. } = &self.parts;
        anyhow::anyhow!("{error:#}\n\nworker: {}\n\nAPI: {}", worker.log_tail(LOG_LINES), api.log_tail(LOG_LINES))
    }

    async fn stop(self) -> Result<()> {
        let Self { parts: Parts { mut worker, mut api, stack }, product } = self;
        worker.stop().await?;
        api.stop().await?;
        drop(product);
        stack.stop().await
    }
}

impl Parts {
    /// An error that names the part which has ended by itself, with its last log lines.
    fn check(&mut self) -> Result<()> {
        self.stack.check()?;
        self.api.check()?;
        self.worker.check()
    }

    async fn until_one_ends(&mut self) -> anyhow::Error {
        loop {
            if let Err(error) = self.check() {
                return error;
            }
            wait::pause(Duration::from_millis(250)).await;
        }
    }
}
