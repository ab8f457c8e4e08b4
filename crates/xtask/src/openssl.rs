//! Checks what was issued with the `openssl` program: independent of the code that made it.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

/// Files of one certificate.
pub(crate) struct Files<'a> {
    pub(crate) root: &'a Path,
    pub(crate) chain: &'a Path,
    pub(crate) certificate: &'a Path,
    pub(crate) key: &'a Path,
}

/// What a certificate says of itself.
pub(crate) struct Summary {
    pub(crate) subject: String,
    pub(crate) names: String,
    pub(crate) issuer: String,
    pub(crate) expires: String,
}

/// That the chain leads to the root, the certificate is a server's, each of `names` is in it, and the key is its key.
pub(crate) fn verify(files: &Files<'_>, names: &[&str]) -> Result<()> {
    for name in names {
        openssl(&[
            "verify".as_ref(),
            "-purpose".as_ref(),
            "sslserver".as_ref(),
            "-verify_hostname".as_ref(),
            name.as_ref(),
            "-CAfile".as_ref(),
            files.root,
            "-untrusted".as_ref(),
            files.chain,
            files.certificate,
        ])?;
    }
    let of_certificate = openssl(&["x509".as_ref(), "-in".as_ref(), files.certificate, "-noout".as_ref(), "-pubkey".as_ref()])?;
    let of_key = openssl(&["pkey".as_ref(), "-in".as_ref(), files.key, "-pubout".as_ref()])?;
    ensure!(of_certificate == of_key, "{} is not the key of {}", files.key.display(), files.certificate.display());
    Ok(())
}

pub(crate) fn summarise(certificate: &Path) -> Result<Summary> {
    let ask = |question: &[&str]| -> Result<String> {
        let mut args: Vec<&Path> = vec!["x509".as_ref(), "-in".as_ref(), certificate, "-noout".as_ref()];
        args.extend(question.iter().map(|word| Path::new(*word)));
        openssl(&args)
    };
    let value = |line: String| line.trim().split_once('=').map(|(_, value)| value.trim().to_owned()).unwrap_or(line);
    let names = ask(&["-ext", "subjectAltName"])?;
    Ok(Summary {
        subject: value(ask(&["-subject"])?),
        names: names.lines().last().unwrap_or_default().trim().replace("DNS:", ""),
        issuer: value(ask(&["-issuer"])?),
        expires: value(ask(&["-enddate", "-dateopt", "iso_8601"])?),
    })
}

fn openssl(args: &[&Path]) -> Result<String> {
    let output = Command::new("openssl").args(args).stdin(Stdio::null()).output().context("cannot run openssl")?;
    if !output.status.success() {
        let shown: Vec<_> = args.iter().map(|arg| arg.to_string_lossy()).collect();
        bail!("`openssl {}` refuses: {}", shown.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}
