//! The plan and what has come of it, for people and for programs.

use serde_json::{Value, json};
use zonecert_import::{Action, Format};
use zonecert_pki::CertificateChain;

use super::Item;
use crate::admin::output::table;

/// More names of a certificate are counted, not listed.
const MAX_NAMES: usize = 3;

pub(super) fn plan(items: &[Item], format: Format) -> String {
    if items.is_empty() {
        return format!("No certificates were found (read as {format}; --from names another layout).\n");
    }
    let heading = ["name", "domains", "expires", "action", "source"].map(str::to_owned);
    let rows = items.iter().map(|Item { found, action, .. }| {
        let expires =
            found.upload.as_ref().map_or_else(|| "-".to_owned(), |upload| upload.chain.not_after().format("%Y-%m-%d").to_string());
        [found.name.clone(), shortened(&found.domains()), expires, described(action), one_line(&found.source.display().to_string())]
    });
    let rows: Vec<[String; 5]> = std::iter::once(heading).chain(rows).collect();
    let to_do = items.iter().filter(|item| item.is_to_do()).count();
    format!("{}{} found as {format}, {to_do} to import.\n", table(&rows), items.len())
}

pub(super) fn outcome(item: &Item) -> String {
    let name = &item.found.name;
    match &item.outcome {
        None => String::new(),
        Some(Ok(imported)) => {
            let done = if item.action == Action::Upload { "is" } else { "has a new version in" };
            let warnings = imported.warnings.iter().fold(String::new(), |text, warning| text + "  " + &one_line(warning) + "\n");
            format!("{name} {done} {}\n{warnings}", imported.id)
        }
        Some(Err(error)) => format!("{name} was not imported: {}\n", one_line(error)),
    }
}

pub(super) fn json(items: &[Item], format: Format) -> String {
    let certificates: Vec<Value> = items.iter().map(item).collect();
    format!("{:#}\n", json!({ "format": format.as_str(), "certificates": certificates }))
}

fn item(Item { found, action, outcome }: &Item) -> Value {
    let chain = found.upload.as_ref().map(|upload| &upload.chain);
    let (word, id, reason) = match action {
        Action::Upload => ("upload", None, None),
        Action::NewVersion(id) => ("new_version", Some(id), None),
        Action::AlreadyThere(id) => ("already_there", Some(id), None),
        Action::Skip(reason) => ("skip", None, Some(reason)),
    };
    let (imported, error) = match outcome {
        Some(Ok(imported)) => (Some(imported), None),
        Some(Err(error)) => (None, Some(error)),
        None => (None, None),
    };
    json!({
        "name": found.name,
        "domains": found.domains(),
        "expires_at": chain.map(CertificateChain::not_after),
        "fingerprint_sha256": chain.map(CertificateChain::sha256_fingerprint_hex),
        "source": found.source.display().to_string(),
        "action": word,
        "reason": reason,
        "certificate_id": imported.map(|imported| &imported.id).or(id),
        "imported": imported.is_some(),
        "warnings": imported.map(|imported| imported.warnings.as_slice()).unwrap_or_default(),
        "error": error,
    })
}

fn shortened(domains: &[String]) -> String {
    match domains {
        [] => "-".to_owned(),
        [first @ .., _] if first.len() >= MAX_NAMES => {
            format!("{} and {} more", domains[..MAX_NAMES].join(", "), domains.len() - MAX_NAMES)
        }
        all => one_line(&all.join(", ")),
    }
}

fn described(action: &Action) -> String {
    match action {
        Action::Upload => "upload".to_owned(),
        Action::NewVersion(id) => format!("new version of {id}"),
        Action::AlreadyThere(id) => format!("already there: {id}"),
        Action::Skip(reason) => one_line(&format!("skipped: {reason}")),
    }
}

/// What others have written moves no cursor and begins no line.
fn one_line(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}
