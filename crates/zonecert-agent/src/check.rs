//! `zonecert-agent check`: what would be done. Changes nothing, and asks for no key.

use std::path::Path;

use anyhow::Result;

use crate::api::{Api, ApiError};
use crate::cli::Exit;
use crate::config::{Config, Wanted};
use crate::directory::State;
use crate::probe;

/// Prints a paragraph for each certificate.
pub(crate) async fn run(config: &Config) -> Result<Exit> {
    let api = config.api()?;
    let complain = |text: &str| println!("  ! {text}");
    let mut exit = Exit::Well;
    if config.token_is_open() {
        complain("everybody on this server may read the file of the token; chmod 600 it");
        exit = Exit::Trouble;
    }
    for wanted in &config.certificates {
        println!("{} as {}", wanted.id, wanted.target);
        for fault in look(&api, wanted).await {
            exit = match (exit, fault.is_temporary) {
                (Exit::Well | Exit::Later, true) => Exit::Later,
                _ => Exit::Trouble,
            };
            complain(&fault.text);
        }
    }
    Ok(exit)
}

struct Fault {
    text: String,
    is_temporary: bool,
}

impl Fault {
    fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_temporary: false }
    }
}

impl From<ApiError> for Fault {
    fn from(error: ApiError) -> Self {
        Self { text: error.to_string(), is_temporary: error.is_temporary }
    }
}

async fn look(api: &Api, wanted: &Wanted) -> Vec<Fault> {
    let mut faults = Vec::new();
    let installed = State::read(&wanted.directory);
    match api.certificate(&wanted.id).await {
        Ok(certificate) => {
            println!("  {}", certificate.domain);
            match certificate.current_version.filter(|_| certificate.downloadable) {
                None => faults.push(Fault::new("there is nothing to download; renew the certificate, or see its log")),
                Some(version) => {
                    println!("  version in use: {}, until {}", version.id, version.not_after.to_rfc3339());
                    let is_there = installed.as_ref().filter(|state| state.version() == version.id && state.is_whole(wanted));
                    if is_there.is_some() {
                        println!("  it is installed in {}", wanted.directory.display());
                    } else {
                        say_what_would_be_done(wanted);
                    }
                }
            }
        }
        Err(error) => faults.push(error.into()),
    }
    if installed.as_ref().is_some_and(|state| state.reload_pending) {
        println!("  would run {}, which has still to be done", wanted.reload.join(" "));
    }
    if let Some(program) = wanted.reload.first()
        && !is_program(program)
    {
        faults.push(Fault::new(format!("there is no program {program}; correct reload")));
    }
    if let Some(existing) = wanted.directory.ancestors().find(|directory| directory.exists())
        && rustix::fs::access(existing, rustix::fs::Access::WRITE_OK).is_err()
    {
        faults.push(Fault::new(format!("nothing can be written in {}; let the agent write there", existing.display())));
    }
    if let Some(target) = &wanted.probe {
        match probe::served(target).await {
            Ok(served) if installed.is_some_and(|state| state.leaf_sha256 == served) => {
                println!("  {} shows what is installed", target.address);
            }
            Ok(served) => println!("  {} shows another certificate, with the SHA-256 {served}", target.address),
            Err(error) => faults.push(Fault::new(format!("{error:#}"))),
        }
    }
    faults
}

fn say_what_would_be_done(wanted: &Wanted) {
    println!("  would write to {}:", wanted.directory.display());
    for file in &wanted.files {
        println!("    {} ({}), mode {:04o}", file.name, file.part.as_str(), file.mode);
    }
    if !wanted.reload.is_empty() {
        println!("  would run {}", wanted.reload.join(" "));
    }
}

/// A path, or a name that is found where programs are.
fn is_program(name: &str) -> bool {
    let is_executable = |path: &Path| path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok();
    if name.contains('/') {
        return is_executable(Path::new(name));
    }
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|directory| is_executable(&directory.join(name))))
}
