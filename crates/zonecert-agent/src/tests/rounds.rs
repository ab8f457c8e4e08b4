//! Whole rounds against an API that answers well, ill, and not at all.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::authority::{Authority, Issued};
use super::fake_api::{Answer, FakeApi};
use super::{ID, wanted};
use crate::config::Wanted;
use crate::directory::Directory;
use crate::round::{self, Outcome};

fn files(issued: &Issued) -> Answer {
    Answer::Files(Box::new(issued.clone()))
}

async fn run(fake: &FakeApi, wanted: &Wanted) -> Outcome {
    // A new process each time.
    let mut directory = Directory::open(wanted).unwrap();
    round::run(&fake.api, wanted, &mut directory).await
}

fn shell(script: &str, directory: &Path) -> Vec<String> {
    ["sh", "-c", script, "reload", &directory.display().to_string()].map(str::to_owned).to_vec()
}

fn installed(wanted: &Wanted) -> String {
    fs::read_to_string(wanted.directory.join("cert.pem")).unwrap_or_default()
}

#[tokio::test]
async fn what_is_new_is_installed_reloaded_and_reported_and_what_is_not_new_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let mut wanted = wanted(&dir.path().join("app"));
    wanted.reload = shell("cat $1/../app/cert.pem >> $1/../reloaded", &wanted.directory);
    let authority = Authority::new();
    let (first, second) = (authority.issue(1), authority.issue(2));
    let fake = FakeApi::start(files(&first));
    let reloaded = || fs::read_to_string(dir.path().join("reloaded")).unwrap();

    let outcome = run(&fake, &wanted).await;
    assert!(outcome.has_changed && outcome.troubles.is_empty(), "{outcome:?}");
    assert_eq!((installed(&wanted), reloaded()), (first.certificate.clone(), first.certificate.clone()));
    let asked = fake.asked();
    let lines: Vec<&str> = asked.iter().map(|asked| asked.line.as_str()).collect();
    let certificate = format!("/api/v1/certificates/{ID}");
    assert_eq!(lines, [format!("GET {certificate}/download"), format!("GET {certificate}"), format!("PUT {certificate}/deployments/web1")]);
    assert_eq!(asked[0].if_none_match, None);
    let report = |issued: &Issued, error: Value| {
        json!({
            "served_sha256": null, "installed_sha256": issued.version.fingerprint_sha256, "installed_version_id": issued.version.id,
            "agent_version": env!("CARGO_PKG_VERSION"), "error": error,
        })
    };
    assert_eq!(asked[2].body, report(&first, Value::Null));

    let outcome = run(&fake, &wanted).await;
    assert!(!outcome.has_changed && outcome.troubles.is_empty(), "{outcome:?}");
    let asked = fake.asked();
    assert_eq!((asked.len(), &asked[0].if_none_match, &asked[1].body), (2, &Some(first.etag()), &report(&first, Value::Null)));

    fake.answers(files(&second));
    let outcome = run(&fake, &wanted).await;
    assert!(outcome.has_changed && outcome.troubles.is_empty(), "{outcome:?}");
    assert_eq!((installed(&wanted), reloaded()), (second.certificate.clone(), format!("{}{}", first.certificate, second.certificate)));
    assert_eq!(fake.reports(), [report(&second, Value::Null)]);
}

#[tokio::test]
async fn a_reload_that_fails_is_reported_and_tried_again_though_nothing_is_new() {
    let dir = tempfile::tempdir().unwrap();
    let mut wanted = wanted(&dir.path().join("app"));
    wanted.reload = shell("echo secret >&2; test -e $1/../ready && touch $1/../reloaded", &wanted.directory);
    let issued = Authority::new().issue(1);
    let fake = FakeApi::start(files(&issued));
    for _ in 0..2 {
        let outcome = run(&fake, &wanted).await;
        assert!(outcome.troubles.len() == 1 && !outcome.is_temporary, "{outcome:?}");
        assert_eq!(installed(&wanted), issued.certificate);
        let [report] = fake.reports().try_into().unwrap();
        let error = report["error"].as_str().unwrap();
        assert!(error.contains("the reload command sh has failed: exit status: 1") && !error.contains("secret"), "{error}");
    }
    fs::write(dir.path().join("ready"), "").unwrap();
    // The service is told whether or not the API answers.
    fake.answers(Answer::Problem { status: 503, code: "database_unavailable", retry_after: None });
    let outcome = run(&fake, &wanted).await;
    assert!(outcome.troubles.len() == 1 && outcome.is_temporary, "{outcome:?}");
    assert!(dir.path().join("reloaded").exists());
    fs::remove_file(dir.path().join("reloaded")).unwrap();
    run(&fake, &wanted).await;
    assert!(!dir.path().join("reloaded").exists(), "it is told once");
}

#[tokio::test]
async fn a_reload_that_hangs_is_killed_with_all_that_it_has_started() {
    let dir = tempfile::tempdir().unwrap();
    let mut wanted = wanted(&dir.path().join("app"));
    wanted.reload = shell("sleep 60 & echo $! > $1/../pid; wait", &wanted.directory);
    wanted.reload_within = Duration::from_secs(1);
    let fake = FakeApi::start(files(&Authority::new().issue(1)));
    let begun = Instant::now();
    let outcome = run(&fake, &wanted).await;
    assert!(outcome.troubles[0].contains("has not ended within 1 s"), "{outcome:?}");
    assert!(begun.elapsed() < Duration::from_secs(30));
    let pid = fs::read_to_string(dir.path().join("pid")).unwrap();
    // The kernel ends a killed process when it runs next, which nobody but its parent can wait for.
    while begun.elapsed() < Duration::from_secs(30) && is_running(pid.trim()) {
        crate::wait::pause(Duration::from_millis(10)).await;
    }
    assert!(!is_running(pid.trim()), "{pid}");
    wanted.reload = vec!["/no/such/program".to_owned()];
    let outcome = run(&fake, &wanted).await;
    assert!(outcome.troubles[0].contains("cannot be run"), "{outcome:?}");
}

#[tokio::test]
async fn a_damaged_download_changes_nothing_and_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let mut wanted = wanted(&dir.path().join("app"));
    wanted.reload = shell("touch $1/../reloaded", &wanted.directory);
    let authority = Authority::new();
    let (first, second) = (authority.issue(1), authority.issue(2));
    let fake = FakeApi::start(files(&first));
    run(&fake, &wanted).await;
    fs::remove_file(dir.path().join("reloaded")).unwrap();
    fake.asked();
    let damaged = |field: &str, value: String| {
        let mut download = second.download();
        download[field] = json!(value);
        Answer::Damaged { shown: Box::new(second.clone()), download }
    };
    let half = |text: &str| text[..text.len() / 2].to_owned();
    for answer in [
        damaged("certificate", half(&second.certificate)),
        damaged("certificate", first.certificate.clone()),
        damaged("chain", authority.root_pem()),
        damaged("private_key", first.key.clone()),
        damaged("private_key", half(&second.key)),
    ] {
        fake.answers(answer);
        let outcome = run(&fake, &wanted).await;
        assert!(!outcome.has_changed && outcome.troubles.len() == 1 && !outcome.is_temporary, "{outcome:?}");
        assert_eq!(installed(&wanted), first.certificate);
        let [report] = fake.reports().try_into().unwrap();
        assert_eq!((&report["installed_version_id"], report["error"].is_string()), (&json!(first.version.id), true), "{report}");
        assert!(!report.to_string().contains("PRIVATE KEY"));
    }
    // What cannot even be read.
    let mut download = second.download();
    download["private_key"] = json!(1);
    fake.answers(Answer::Damaged { shown: Box::new(second.clone()), download });
    let outcome = run(&fake, &wanted).await;
    assert!(outcome.troubles[0].contains("files that cannot be read"), "{outcome:?}");
    assert!(!dir.path().join("reloaded").exists());
    fake.answers(files(&second));
    assert!(run(&fake, &wanted).await.has_changed);
}

#[tokio::test]
async fn what_the_api_refuses_is_told_with_what_to_do_and_nothing_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    let wanted = wanted(&dir.path().join("app"));
    let issued = Authority::new().issue(1);
    let fake = FakeApi::start(files(&issued));
    run(&fake, &wanted).await;
    fake.asked();
    for (status, code, retry_after, is_temporary, is_told) in [
        (401, "credential_invalid", None, false, false),
        (403, "scope_missing", None, false, true),
        (404, "not_found", None, false, true),
        (409, "certificate_not_ready", None, true, true),
        (429, "rate_limited", Some(7), true, false),
        (500, "internal_error", None, true, false),
        (503, "database_unavailable", Some(5), true, false),
    ] {
        fake.answers(Answer::Problem { status, code, retry_after });
        let outcome = run(&fake, &wanted).await;
        assert_eq!(outcome.is_temporary, is_temporary, "{outcome:?}");
        assert_eq!(outcome.retry_after, retry_after.map(Duration::from_secs), "{outcome:?}");
        let [trouble] = outcome.troubles.as_slice() else { panic!("{outcome:?}") };
        assert!(trouble.contains(&format!("the API has answered {status}: {code}: What is wrong")), "{trouble}");
        assert_eq!(fake.reports().len(), usize::from(is_told), "{status}");
        assert_eq!(installed(&wanted), issued.certificate);
    }
}

#[tokio::test]
async fn an_api_that_does_not_answer_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let wanted = wanted(&dir.path().join("app"));
    // A port that was free a moment ago.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let api = crate::api::Api::new(crate::api::base_url(&format!("http://{address}")).unwrap(), "zc_token").unwrap();
    let mut directory = Directory::open(&wanted).unwrap();
    let outcome = round::run(&api, &wanted, &mut directory).await;
    assert!(outcome.is_temporary && outcome.troubles[0].contains("does not answer"), "{outcome:?}");
}

/// Whether the process is there and has not ended (a zombie has).
fn is_running(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|status| !status.contains(") Z "))
}
