//! Which crate may know what (`docs/adr`, README): told by cargo itself.

use std::process::Command;

use super::root;

/// Every crate that `package` is built with, itself included, without what only tests and build scripts need.
fn dependencies(package: &str) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--package", package, "--edges", "normal", "--prefix", "none", "--format", "{lib}"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut names: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(|line| line.trim().to_owned()).collect();
    names.sort();
    names.dedup();
    names
}

#[track_caller]
fn assert_without(package: &str, forbidden: &[&str]) {
    let found: Vec<String> =
        dependencies(package).into_iter().filter(|name| forbidden.iter().any(|start| name.starts_with(start))).collect();
    assert!(found.is_empty(), "{package} is built with {found:?}");
}

#[test]
fn the_domain_knows_no_database_no_runtime_no_web_and_no_cryptography() {
    assert_without("zonecert-domain", &["diesel", "tokio", "actix", "sqlx", "hyper", "reqwest", "openssl", "rustls", "futures"]);
}

#[test]
fn only_the_worker_brings_sqlx() {
    for package in ["zonecert-domain", "zonecert-pki", "zonecert-store", "zonecert-api"] {
        assert_without(package, &["sqlx", "apalis"]);
    }
    assert!(dependencies("zonecert-worker").iter().any(|name| name.starts_with("sqlx")));
}

#[test]
fn api_and_worker_never_see_each_other() {
    assert_without("zonecert-api", &["zonecert_worker", "instant_acme"]);
    assert_without("zonecert-worker", &["zonecert_api", "actix"]);
}

/// `openssl` makes keys and certificates (ADR 0002); nothing uses it for TLS, and there is one provider for rustls.
#[test]
fn the_binary_has_one_tls_stack_with_one_provider() {
    let all = dependencies("zonecert");
    assert_without("zonecert", &["native_tls", "tokio_native_tls", "tokio_openssl", "ring", "boring", "s2n", "acme_lib", "rsa"]);
    assert!(all.iter().any(|name| name == "rustls") && all.iter().any(|name| name == "aws_lc_rs"));
    assert_without("zonecert-store", &["actix"]);
}

/// What runs on customers' servers needs no library of theirs, and nothing of the service.
#[test]
fn the_agent_is_small_and_has_the_same_tls_stack() {
    let ours = ["zonecert_api", "zonecert_domain", "zonecert_pki", "zonecert_store", "zonecert_worker", "diesel", "actix", "sqlx"];
    assert_without("zonecert-agent", &ours);
    assert_without("zonecert-agent", &["openssl_sys", "native_tls", "tokio_native_tls", "tokio_openssl", "ring", "boring", "s2n"]);
    assert!(dependencies("zonecert-agent").iter().any(|name| name == "aws_lc_rs"));
}

/// A bare machine builds the project's own commands before it has the headers of OpenSSL.
#[test]
fn the_projects_commands_are_built_without_openssl() {
    assert_without("xtask", &["openssl_sys", "zonecert_pki", "zonecert_store"]);
}
