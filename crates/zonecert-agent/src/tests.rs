//! The parts together, with an API and a CA of the tests' own.

mod authority;
mod downloads;
mod fake_api;
mod replacing;
mod rounds;

use std::path::Path;
use std::time::Duration;

use crate::config::{Wanted, WantedFile};
use crate::pair::Part;

/// The certificate in these tests.
const ID: &str = "cert_0198c5f47e5b7c2a9d4e1c2b3a4d5e6f";

/// All five files in this directory, and no reload command.
fn wanted(directory: &Path) -> Wanted {
    let file = |part: Part| WantedFile { name: format!("{}.pem", part.as_str()), part, mode: if part.holds_key() { 0o600 } else { 0o644 } };
    Wanted {
        id: ID.to_owned(),
        target: "web1".to_owned(),
        directory: directory.to_owned(),
        files: [Part::Fullchain, Part::Cert, Part::Chain, Part::Key, Part::Combined].map(file).to_vec(),
        owner: None,
        group: None,
        reload: Vec::new(),
        reload_within: Duration::from_secs(10),
        probe: None,
    }
}
