//! A second opinion on what was downloaded: the `openssl` command, which shares no code with the product.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// Checks the JSON of a download against the CA's root: the chain is accepted, the key is the leaf's. Returns the leaf's names.
pub fn check_download(download: &Value, root_pem: &str) -> Result<Vec<String>> {
    let dir = tempfile::tempdir()?;
    let write = |name: &str, text: &str| -> Result<String> {
        let path = dir.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path.display().to_string())
    };
    let field = |name: &str| download[name].as_str().with_context(|| format!("the download has no {name}"));
    let (leaf, chain) = (write("leaf.pem", field("certificate")?)?, write("chain.pem", field("chain")?)?);
    let (key, root) = (write("key.pem", field("private_key")?)?, write("root.pem", root_pem)?);
    run(dir.path(), &["verify", "-CAfile", &root, "-untrusted", &chain, &leaf])?;
    let of_leaf = run(dir.path(), &["x509", "-in", &leaf, "-noout", "-pubkey"])?;
    let of_key = run(dir.path(), &["pkey", "-in", &key, "-pubout"])?;
    ensure!(of_leaf == of_key, "the key is not that of the certificate");
    names_of(field("certificate")?)
}

/// The DNS names in a certificate, sorted.
pub fn names_of(leaf_pem: &str) -> Result<Vec<String>> {
    let dir = tempfile::tempdir()?;
    let leaf = dir.path().join("leaf.pem");
    std::fs::write(&leaf, leaf_pem)?;
    let text = run(dir.path(), &["x509", "-in", &leaf.display().to_string(), "-noout", "-ext", "subjectAltName"])?;
    let mut names: Vec<String> = text.split(['\n', ',']).filter_map(|part| part.trim().strip_prefix("DNS:")).map(str::to_owned).collect();
    names.sort();
    Ok(names)
}

/// The subject of a certificate request in DER, as openssl writes it: `C=CH,O=Example AG,CN=example.test`, first to last.
pub fn subject_of_request(der: &[u8]) -> Result<String> {
    let dir = tempfile::tempdir()?;
    std::fs::write(dir.path().join("request.der"), der)?;
    let args = ["req", "-inform", "DER", "-in", "request.der", "-noout", "-subject", "-nameopt", "utf8,sname,sep_comma_plus"];
    let text = run(dir.path(), &args)?;
    Ok(text.trim().trim_start_matches("subject=").to_owned())
}

fn run(dir: &Path, args: &[&str]) -> Result<String> {
    let output = Command::new("openssl").args(args).current_dir(dir).output().context("openssl cannot be run")?;
    ensure!(
        output.status.success(),
        "openssl {} failed: {}{}",
        args[0],
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}
