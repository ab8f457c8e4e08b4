//! The built `zonecert` binary, run against a stack: [`Product`] is one database with its settings, [`ProductProcess`] one process on it.

mod binary;
mod keys;
mod process;
pub mod setting;
mod template;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use crate::layout::Layout;
use crate::postgres::DatabaseProxy;
use crate::process::Spec;
use crate::shared::unique_label;
use crate::stack::{StackHandle, temporary_dir};
pub use binary::find as binary;
use keys::Keys;
pub use process::ProductProcess;

/// Above the patience with which the product ends what it has begun (25 s by default).
const END_WITHIN: Duration = Duration::from_secs(30);
const COMMAND_WITHIN: Duration = Duration::from_mins(1);

/// Whom a command of the product talks to the database as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// [`crate::OWNER_ROLE`]: `migrate` and `admin`.
    Owner,
    /// [`crate::API_ROLE`]: `serve`.
    Api,
    /// [`crate::WORKER_ROLE`]: `work`.
    Worker,
    /// [`crate::ADMIN_ROLE`]: the operator's part of `serve`.
    Admin,
}

/// One database of the product with all its settings. Start processes on it with [`Product::serve`] and [`Product::work`].
pub struct Product {
    stack: StackHandle,
    layout: Layout,
    database: String,
    binary: PathBuf,
    keys: Keys,
    overrides: BTreeMap<String, String>,
    /// Where processes reach the database, if not at the server itself.
    database_port: Option<u16>,
    /// How many processes of each command were started.
    started: Mutex<BTreeMap<&'static str, usize>>,
    /// Holds the directory of a database that is for one test only.
    scratch: Option<TempDir>,
}

impl Product {
    /// A new, migrated database with keys of its own: copied from a template that is migrated once per stack and binary.
    pub async fn fresh(stack: &StackHandle) -> Result<Self> {
        let scratch = temporary_dir()?;
        let database = format!("product_{}", unique_label());
        let mut product = Self::new(binary::find()?, stack, scratch.path(), database)?;
        product.scratch = Some(scratch);
        let template = template::ensure(&product).await?;
        stack.postgres.create_database_from_template(&product.database, &template).await?;
        Ok(product)
    }

    /// The database `database` with keys in `dir`: both made where they are missing, then migrated.
    pub async fn kept_in(stack: &StackHandle, dir: &Path, database: &str) -> Result<Self> {
        Self::kept_by(binary::find()?, stack, dir, database).await
    }

    /// The same by this binary, instead of the one beside the running executable.
    pub async fn kept_by(binary: PathBuf, stack: &StackHandle, dir: &Path, database: &str) -> Result<Self> {
        let product = Self::new(binary, stack, dir, database.to_owned())?;
        stack.postgres.ensure_database(database, crate::OWNER_ROLE).await?;
        product.migrate(database).await?;
        Ok(product)
    }

    fn new(binary: PathBuf, stack: &StackHandle, dir: &Path, database: String) -> Result<Self> {
        let layout = Layout::create(dir)?;
        let keys = Keys::load_or_create(&layout.part("product")?)?;
        Ok(Self {
            stack: stack.clone(),
            layout,
            database,
            binary,
            keys,
            overrides: BTreeMap::new(),
            database_port: None,
            started: Mutex::default(),
            scratch: None,
        })
    }

    /// Sets `setting` (one of [`setting`]) for every process started from now on.
    #[must_use]
    pub fn with(mut self, setting: &str, value: impl Into<String>) -> Self {
        self.overrides.insert(setting.to_owned(), value.into());
        self
    }

    /// Has every process started from now on order from the CA of this ACME directory, whose HTTPS has its PEM root in `ca_file`.
    #[must_use]
    pub fn at_ca(self, directory_url: impl Into<String>, ca_file: &Path) -> Self {
        self.with(setting::ACME_DIRECTORY, directory_url).with(setting::ACME_CA_FILE, ca_file.display().to_string())
    }

    /// Has every process started from now on reach the database through a proxy on this port. What the tests themselves ask goes past it.
    #[must_use]
    pub fn behind(self, proxy: &DatabaseProxy) -> Self {
        Self { database_port: Some(proxy.port()), ..self }
    }

    /// The name of the database.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Where the aliases of delegated zones lead. One for each database: whoever has the lease of a zone writes to it alone, and leases are in the database.
    pub fn challenge_zone(&self) -> String {
        format!("{}.challenges.zonecert.test", self.database.replace('_', "-"))
    }

    /// The stack it runs on.
    pub fn stack(&self) -> &StackHandle {
        &self.stack
    }

    /// URL of the database as `role`.
    pub fn database_url(&self, role: Role) -> String {
        self.url_of(&self.database, role)
    }

    fn url_of(&self, database: &str, role: Role) -> String {
        match role {
            Role::Owner => self.stack.postgres.owner_url(database),
            Role::Api => self.stack.postgres.api_url(database),
            Role::Worker => self.stack.postgres.worker_url(database),
            Role::Admin => self.stack.postgres.operator_url(database),
        }
    }

    fn process_url(&self, database: &str, role: Role) -> String {
        let url = self.url_of(database, role);
        match self.database_port {
            Some(port) => url.replace(&format!(":{}/", self.stack.postgres.port()), &format!(":{port}/")),
            None => url,
        }
    }

    /// All settings of a process that talks to the database as `role`.
    pub fn environment(&self, role: Role) -> BTreeMap<String, String> {
        self.environment_for(&self.database, role)
    }

    fn environment_for(&self, database: &str, role: Role) -> BTreeMap<String, String> {
        let mut environment = setting::for_stack(&self.stack, &self.keys);
        environment.insert(setting::DATABASE_URL.to_owned(), self.process_url(database, role));
        environment.insert(setting::CHALLENGE_ZONE.to_owned(), self.challenge_zone());
        environment.extend(self.overrides.clone());
        environment
    }

    /// Starts `zonecert serve` and waits until it is ready.
    pub async fn serve(&self) -> Result<ProductProcess> {
        self.start_api("serve", &[]).await
    }

    /// One more `zonecert serve`, with these settings beside those of the product.
    pub async fn serve_with(&self, settings: &[(&str, &str)]) -> Result<ProductProcess> {
        self.start_api("serve", settings).await
    }

    /// Starts `zonecert work`. Any number of them may run at a time.
    pub async fn work(&self) -> Result<ProductProcess> {
        let name = self.next_name("work");
        ProductProcess::start_new(self.spec(&name, "work", Role::Worker), None).await
    }

    /// Starts `zonecert all`, API and worker in one process, and waits until the API is ready.
    pub async fn all(&self) -> Result<ProductProcess> {
        self.start_api("all", &[]).await
    }

    async fn start_api(&self, command: &'static str, settings: &[(&str, &str)]) -> Result<ProductProcess> {
        let name = self.next_name(command);
        let address_file = self.layout.root().join("product").join(format!("{name}.address"));
        let mut spec = self.spec(&name, command, Role::Api);
        spec.env.insert(setting::ADDRESS_FILE.to_owned(), address_file.display().to_string());
        spec.env.insert(setting::WORKER_DATABASE_URL.to_owned(), self.process_url(&self.database, Role::Worker));
        spec.env.insert(setting::ADMIN_DATABASE_URL.to_owned(), self.process_url(&self.database, Role::Admin));
        spec.env.extend(settings.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())));
        ProductProcess::start_new(spec, Some(address_file)).await
    }

    /// `admin create-account`: an account on `plan` (`free`, `plus`, `pro`, `elite`) whose owner signs in with `email` and `password`.
    /// Answers what the command printed: `{"account": {"id", …}, "user": {"id", …}}`.
    pub async fn create_account(&self, email: &str, password: &str, plan: &str) -> Result<serde_json::Value> {
        let args = ["admin", "create-account", "--email", email, "--plan", plan];
        let printed = self.run_on(&self.database, Role::Owner, &args, &[(setting::NEW_PASSWORD, password)]).await?;
        serde_json::from_str(&printed).context("`zonecert admin create-account` printed no JSON")
    }

    /// Runs a command that ends by itself, such as `admin set-plan …`, and answers what it printed.
    ///
    /// # Errors
    /// When it fails, with what it wrote to standard error.
    pub async fn run(&self, role: Role, args: &[&str]) -> Result<String> {
        self.run_on(&self.database, role, args, &[]).await
    }

    /// The same for a command that may end with an error all the same.
    pub async fn run_anyway(&self, role: Role, args: &[&str]) -> Result<String> {
        String::from_utf8(self.output_of(&self.database, role, args, &[]).await?.stdout).context("something other than UTF-8 was printed")
    }

    async fn migrate(&self, database: &str) -> Result<()> {
        self.run_on(database, Role::Owner, &["migrate"], &[]).await.map(drop)
    }

    async fn run_on(&self, database: &str, role: Role, args: &[&str], settings: &[(&str, &str)]) -> Result<String> {
        let shown = format!("zonecert {}", args.join(" "));
        let output = self.output_of(database, role, args, settings).await?;
        if !output.status.success() {
            let said = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat();
            bail!("`{shown}` failed ({}):\n{}", output.status, said.trim_end());
        }
        String::from_utf8(output.stdout).with_context(|| format!("`{shown}` printed something other than UTF-8"))
    }

    async fn output_of(&self, database: &str, role: Role, args: &[&str], settings: &[(&str, &str)]) -> Result<std::process::Output> {
        let mut command = tokio::process::Command::new(&self.binary);
        command.args(args).env_clear().envs(self.environment_for(database, role)).envs(settings.iter().copied());
        command.stdin(Stdio::null()).kill_on_drop(true);
        let shown = format!("zonecert {}", args.join(" "));
        let output = tokio::time::timeout(COMMAND_WITHIN, command.output()).await;
        let output = output.with_context(|| format!("`{shown}` did not end within {} s", COMMAND_WITHIN.as_secs()))?;
        output.with_context(|| format!("cannot run {}", self.binary.display()))
    }

    /// `serve`, then `serve-2` and so on: the same names in each run, so that a leftover of the last one is found by its record.
    fn next_name(&self, command: &'static str) -> String {
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        let count = started.entry(command).or_default();
        *count += 1;
        if *count == 1 { command.to_owned() } else { format!("{command}-{count}") }
    }

    fn spec(&self, name: &str, command: &str, role: Role) -> Spec {
        let mut spec = Spec::new(&self.layout, name, self.binary.clone(), self.layout.root().to_path_buf()).args([command]);
        spec.env = self.environment(role);
        if spec.env.get(setting::METRICS_LISTEN).is_some_and(|listen| listen != "off") {
            let file = self.layout.root().join("product").join(format!("{name}.metrics"));
            spec.env.insert(setting::METRICS_ADDRESS_FILE.to_owned(), file.display().to_string());
        }
        spec.end_within = END_WITHIN;
        spec
    }
}
