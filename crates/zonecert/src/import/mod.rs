//! `zonecert import`: takes over certificates and keys from where other programs keep them, as a client of the public API.

mod account;
mod show;

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use zeroize::Zeroizing;
use zonecert_import::{Action, Format, Found, decide};

use account::Account;

/// Where from, where to, and how.
#[derive(Args)]
#[command(after_help = "Exit codes:
  0  everything is as it should be, or the plan was shown
  1  something was not imported that should have been, or the import could not begin
  2  the command line is wrong")]
pub(crate) struct Import {
    /// /etc/letsencrypt, .lego, ~/.acme.sh, an appdata.db or the directory that it is in, or a folder or file of PEM.
    path: PathBuf,
    /// Whose layout it is. Without this, it is recognised.
    #[arg(long, value_name = "FORMAT", value_parser = format())]
    from: Option<Format>,
    /// Where Zonecert is, as `https://zonecert.your-domain.com`.
    #[arg(long, env = "ZONECERT_API_URL", value_name = "URL")]
    api: String,
    /// A file with an API token that has the scopes certificates:read and certificates:write. It goes before `ZONECERT_TOKEN`.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// That token itself. Better by its variable: everybody on this machine can see a command line.
    #[arg(long, env = "ZONECERT_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    token: Option<String>,
    /// Does it without asking.
    #[arg(long)]
    yes: bool,
    /// Prints JSON. Never asks: without --yes it is the plan alone.
    #[arg(long)]
    json: bool,
}

fn format() -> impl TypedValueParser<Value = Format> {
    PossibleValuesParser::new(Format::ALL.map(Format::as_str))
        .map(|name| Format::ALL.into_iter().find(|format| format.as_str() == name).unwrap_or(Format::Pem))
}

/// What was found, what is to become of it, and what has.
struct Item {
    found: Found,
    action: Action,
    outcome: Option<Result<Imported, String>>,
}

/// A certificate that has it now.
struct Imported {
    id: String,
    warnings: Vec<String>,
}

impl Item {
    fn is_to_do(&self) -> bool {
        matches!(self.action, Action::Upload | Action::NewVersion(_))
    }
}

/// Shows what would be done, asks, and does it.
pub(crate) async fn run(command: Import) -> Result<ExitCode> {
    let base = zonecert_client::base_url(&command.api, "--api")?;
    let token = token(command.token_file.as_deref(), command.token.as_deref())?;
    let account = Account::new(base, &token)?;
    let format = command.from.unwrap_or_else(|| Format::of(&command.path));
    let path = command.path.clone();
    let found = tokio::task::spawn_blocking(move || zonecert_import::read(&path, format, SystemTime::now().into())).await??;
    let mut items = Vec::with_capacity(found.len());
    for found in found {
        let action = plan(&account, &found).await?;
        items.push(Item { found, action, outcome: None });
    }
    if !command.json {
        print(&show::plan(&items, format))?;
    }
    let to_do = items.iter().filter(|item| item.is_to_do()).count();
    if to_do > 0 && may_go_on(&command, to_do)? {
        for item in items.iter_mut().filter(|item| item.is_to_do()) {
            carry_out(&account, item).await;
            if !command.json {
                print(&show::outcome(item))?;
            }
        }
    }
    if command.json {
        print(&show::json(&items, format))?;
    }
    let has_failed = items.iter().any(|item| matches!(item.outcome, Some(Err(_))));
    Ok(if has_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn token(file: Option<&Path>, token: Option<&str>) -> Result<Zeroizing<String>> {
    let text = match (file, token) {
        (Some(file), _) => {
            let read = std::fs::read_to_string(file);
            Zeroizing::new(read.with_context(|| format!("the token cannot be read from {}; correct --token-file", file.display()))?)
        }
        (None, Some(token)) => Zeroizing::new(token.to_owned()),
        (None, None) => bail!("there is no token; name its file by --token-file, or set ZONECERT_TOKEN"),
    };
    let token = Zeroizing::new(text.trim().to_owned());
    ensure!(!token.is_empty(), "the token is empty; give the one that POST /tokens has shown");
    Ok(token)
}

/// Asks only for what may be done.
async fn plan(account: &Account, found: &Found) -> Result<Action> {
    let Some(upload) = found.usable() else {
        return Ok(decide(found, None, None));
    };
    let holder = account.find("fingerprint", upload.chain.sha256_fingerprint_hex()).await?;
    let named = account.find("name", &found.name).await?;
    Ok(decide(found, holder.as_ref(), named.as_ref()))
}

fn may_go_on(command: &Import, to_do: usize) -> Result<bool> {
    if command.yes {
        return Ok(true);
    }
    if command.json {
        return Ok(false);
    }
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        print("Nothing was changed. Run it again with --yes to have this done.\n")?;
        return Ok(false);
    }
    print(&format!("Import {to_do} of them now? [y/N] "))?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    let says_yes = matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes");
    if !says_yes {
        print("Nothing was changed.\n")?;
    }
    Ok(says_yes)
}

async fn carry_out(account: &Account, item: &mut Item) {
    let Some(upload) = item.found.usable() else { return };
    let done = match &item.action {
        Action::Upload => account.upload(None, Some(&item.found.name), upload).await,
        Action::NewVersion(id) => account.upload(Some(id), None, upload).await,
        Action::AlreadyThere(_) | Action::Skip(_) => return,
    };
    item.outcome = Some(done.map_err(|error| format!("{error:#}")));
}

fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}
