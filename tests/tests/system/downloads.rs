//! Files as existing scripts of LeGo CertHub and Cert Warden fetch them: with curl and wget, over a certificate that was really issued.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use zonecert_devstack::product::setting;
use zonecert_devstack::shared;
use zonecert_tests::metrics::Page;
use zonecert_tests::{Account, System};

use super::metrics::monitored;

/// What a download came to.
pub(super) struct Fetched {
    pub(super) status: String,
    pub(super) bytes: Vec<u8>,
}

/// As the scripts call it: no redirect is followed, and whatever is not exactly 200 is an error to them.
pub(super) fn curl(url: &str, header: Option<&str>) -> Result<Fetched> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("file");
    let mut command = Command::new("curl");
    command.args(["--silent", "--path-as-is", "--write-out", "%{http_code}", "--output"]).arg(&file);
    if let Some(header) = header {
        command.args(["-H", header]);
    }
    let output = command.arg(url).output().context("curl cannot be run")?;
    let status = String::from_utf8(output.stdout)?;
    Ok(Fetched { status, bytes: std::fs::read(&file).unwrap_or_default() })
}

fn wget(url: &str, header: Option<&str>) -> Result<Fetched> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("file");
    let mut command = Command::new("wget");
    command.args(["--quiet", "--max-redirect=0", "--tries=1", "--server-response", "--output-document"]).arg(&file);
    if let Some(header) = header {
        command.arg(format!("--header={header}"));
    }
    let output = command.arg(url).output().context("wget cannot be run")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let status = said.split_whitespace().nth(1).unwrap_or_default().to_owned();
    Ok(Fetched { status, bytes: std::fs::read(&file).unwrap_or_default() })
}

pub(super) async fn api_key(account: &Account, resource: &str) -> Result<String> {
    let made = account.client.post(&format!("{resource}/api-keys"), &json!({})).await?.expect(201)?;
    Ok(made["api_key"].as_str().context("api_key")?.to_owned())
}

#[tokio::test]
async fn scripts_of_lego_certhub_and_cert_warden_fetch_what_was_issued_and_no_log_holds_a_key() -> Result<()> {
    let stack = shared().await?;
    let loud = "info,zonecert=trace,zonecert_api=trace,zonecert_store=trace,actix_web=trace,actix_http=trace,actix_server=trace,tokio_postgres=debug";
    let system = System::start_with(&stack, |product| monitored(product).with(setting::LOG, loud)).await?;
    let account = system.account("elite").await?;
    let zone = system.verified_zone(&account).await?;
    let id = account.request(&zone, "app", &["www"]).await?;
    let certificate = account.becomes(&id, "issued").await?;
    let name = certificate["name"].as_str().context("name")?;
    let (of_certificate, of_key) =
        (format!("/certificates/{id}"), format!("/keys/{}", certificate["private_key_id"].as_str().context("private_key_id")?));
    let (certificate_key, private_key) = (api_key(&account, &of_certificate).await?, api_key(&account, &of_key).await?);
    let both = format!("{certificate_key}.{private_key}");
    let download = account.client.get(&format!("{of_certificate}/download")).await?.expect(200)?;
    let part = |field: &str| download[field].as_str().map(str::to_owned).context("a part of the download");
    let (leaf, chain, key) = (part("certificate")?, part("chain")?, part("private_key")?);

    let base = system.api.api_url();
    let expected = [
        ("legocerthub", "privatekeys", &private_key, key.clone()),
        ("legocerthub", "certificates", &certificate_key, format!("{leaf}{chain}")),
        ("legocerthub", "privatecerts", &both, format!("{key}\n{leaf}{chain}")),
        ("legocerthub", "certrootchains", &certificate_key, chain.clone()),
        ("certwarden", "privatekeys", &private_key, key.clone()),
        ("certwarden", "certificates", &certificate_key, format!("{leaf}{chain}")),
        ("certwarden", "privatecerts", &both, format!("{key}\n{leaf}")),
        ("certwarden", "privatecertchains", &both, format!("{key}\n{leaf}{chain}")),
        ("certwarden", "certrootchains", &certificate_key, chain.clone()),
    ];
    for (face, kind, api_key, body) in &expected {
        for header in ["X-API-Key", "apiKey"] {
            let header = format!("{header}: {api_key}");
            for url in [format!("{base}/{face}/api/v1/download/{kind}/{name}"), format!("{base}//{face}/api/v1/download//{kind}/{name}")] {
                for fetched in [curl(&url, Some(&header))?, wget(&url, Some(&header))?, curl(&url, Some(&header))?] {
                    ensure!(fetched.status == "200", "{url}: {}", fetched.status);
                    ensure!(fetched.bytes == body.as_bytes(), "{url}: {}", String::from_utf8_lossy(&fetched.bytes));
                }
            }
        }
        let by_url = format!("{base}/{face}/api/v1/download/{kind}/{name}/{api_key}");
        for fetched in [curl(&by_url, None)?, wget(&by_url, None)?] {
            ensure!(fetched.status == "401", "{face} {kind} in the URL, which nobody has allowed: {}", fetched.status);
        }
    }

    for resource in [&of_certificate, &of_key] {
        let allowed = json!({"api_key_via_url": true});
        account.client.send(reqwest::Method::PATCH, resource, Some(&allowed)).await?.expect(200)?;
    }
    for (face, kind, api_key, body) in &expected {
        let by_url = format!("{base}/{face}/api/v1/download/{kind}/{name}/{api_key}");
        for fetched in [curl(&by_url, None)?, wget(&by_url, None)?] {
            ensure!(fetched.status == "200" && fetched.bytes == body.as_bytes(), "{face} {kind} in the URL: {}", fetched.status);
        }
        let unknown = format!("{base}/{face}/api/v1/download/{kind}/{name}/{api_key}/more");
        ensure!(curl(&unknown, None)?.status == "404");
    }

    let scripted = expected.iter().map(|(face, kind, api_key, body)| {
        let url = format!("{base}/{face}/api/v1/download/{kind}/{name}");
        let nowhere = format!("{base}/{face}/api/v1/download/{kind}/nowhere");
        run_scripts(&url, &nowhere, api_key, body.as_bytes()).with_context(|| url)
    });
    scripted.collect::<Result<()>>()?;

    let pfx = format!("{base}/certwarden/api/v1/download/pfx/{name}");
    let header = format!("X-API-Key: {both}");
    let (first, again) = (curl(&pfx, Some(&header))?, wget(&pfx, Some(&header))?);
    ensure!(first.status == "200" && first.bytes == again.bytes, "the same file each time");
    for (query, cipher) in [("", "AES-256-CBC"), ("?3des", "TripleDES")] {
        let file = curl(&format!("{pfx}{query}"), Some(&header))?;
        let said = pkcs12_info(&file.bytes, &private_key)?;
        ensure!(said.contains(cipher) && said.contains(key.trim()) && said.contains(leaf.trim()), "{said}");
    }

    tell_nobody(&system, &[&certificate_key, &private_key], &certificate).await
}

/// Scripts as customers have them fetch the file, find nothing new the next time, and leave it as it is where their key opens nothing.
fn run_scripts(url: &str, nowhere: &str, api_key: &str, body: &[u8]) -> Result<()> {
    let nonsense = format!("zck_{}", "A".repeat(43));
    for script in ["curl.sh", "wget.sh"] {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(script);
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("file");
        let run = |url: &str, header: Option<String>| -> Result<(Option<i32>, String)> {
            let output = Command::new("sh").arg(&script).arg(url).arg(&file).args(header).output().context("sh cannot be run")?;
            Ok((output.status.code(), String::from_utf8(output.stdout)?.trim().to_owned()))
        };
        for header in ["X-API-Key", "apiKey"] {
            let right = || Some(format!("{header}: {api_key}"));
            ensure!(run(url, right())? == (Some(0), String::new()), "{}: {header}", script.display());
            ensure!(std::fs::read(&file)? == body, "{}", script.display());
            ensure!(run(url, right())? == (Some(3), String::new()), "the same bytes in each run");
            let refused = (Some(1), "401".to_owned());
            for _ in 0..2 {
                for header in [None, Some(format!("{header}: {nonsense}")), Some(format!("{header}: {api_key}.{nonsense}"))] {
                    ensure!(run(url, header.clone())? == refused, "{header:?}");
                }
                ensure!(run(nowhere, right())? == refused, "a name that nothing has");
            }
            ensure!(std::fs::read(&file)? == body, "what is refused changes nothing");
            ensure!(std::fs::read_dir(dir.path())?.count() == 1, "nothing is left beside it");
            // By URL, with the key in it: allowed by now.
            ensure!(run(&format!("{url}/{api_key}"), None)? == (Some(3), String::new()), "the same by URL");
            ensure!(run(&format!("{url}/{nonsense}"), None)? == refused);
            std::fs::remove_file(&file)?;
        }
    }
    Ok(())
}

fn pkcs12_info(file: &[u8], password: &str) -> Result<String> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("file.pfx");
    std::fs::write(&path, file)?;
    info_of(&path, password)
}

fn info_of(path: &Path, password: &str) -> Result<String> {
    let output =
        Command::new("openssl").args(["pkcs12", "-info", "-noenc", "-passin", &format!("pass:{password}"), "-in"]).arg(path).output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");
    Ok(said)
}

/// Neither log nor metrics hold an API key, though each stood in many an URL.
async fn tell_nobody(system: &System, keys: &[&str], certificate: &Value) -> Result<()> {
    let log = system.api.log()?;
    ensure!(log.contains("/certwarden/api/v1/download/{kind}/{name}/{api_key}"), "the API logs its requests, by their routes");
    ensure!(log.contains("TRACE") || log.contains("DEBUG"), "the log is a loud one");
    let page = Page::of(&system.api).await?;
    let metrics = page.series().keys().copied().collect::<Vec<_>>().join("\n");
    ensure!(metrics.contains("/legocerthub/api/v1/download/{kind}/{name}"), "the metrics count the requests, by their routes");
    for key in keys {
        // Neither the whole nor its secret half.
        for part in [*key, &key[key.len() - 30..]] {
            ensure!(!log.contains(part), "the log holds an API key");
            ensure!(!metrics.contains(part), "the metrics hold an API key");
        }
    }
    ensure!(!metrics.contains(certificate["name"].as_str().context("name")?), "the metrics name a certificate");
    Ok(())
}
