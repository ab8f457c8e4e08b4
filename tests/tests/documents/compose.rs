//! `docker-compose.yml` and the files beside it. No engine is needed.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use serde_json::{Map, Value};

use super::{faults, read, root, schema, yaml};

const FILE: &str = "docker-compose.yml";

#[test]
fn the_compose_file_keeps_the_compose_specification() {
    let validator = jsonschema::options().with_draft(jsonschema::Draft::Draft7).build(&schema("compose-spec.json")).unwrap();
    let faults = faults(&validator, &yaml(FILE));
    assert!(faults.is_empty(), "{FILE}:\n{faults}");
}

/// Where Docker Compose is installed, it has the last word; it asks no engine for that.
#[test]
fn compose_itself_takes_the_file_where_it_is_installed() {
    let Some(compose) = [["docker", "compose"].as_slice(), &["docker-compose"]].into_iter().find(|words| runs(words, &["version"])) else {
        return;
    };
    let settings = std::env::temp_dir().join(format!("zonecert-compose-{}.env", std::process::id()));
    let filled: String =
        read(".env.example").lines().map(|line| if line.ends_with('=') { format!("{line}x\n") } else { format!("{line}\n") }).collect();
    std::fs::write(&settings, filled).unwrap();
    let file = root().join(FILE);
    let arguments = ["--file", file.to_str().unwrap(), "--env-file", settings.to_str().unwrap(), "config", "--quiet"];
    let taken = runs(compose, &arguments);
    std::fs::remove_file(&settings).unwrap();
    assert!(taken, "{compose:?} {arguments:?} fails; run it to see why");
}

fn runs(program: &[&str], arguments: &[&str]) -> bool {
    let mut command = Command::new(program[0]);
    command.args(&program[1..]).args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

#[test]
fn every_setting_in_the_compose_file_is_one_of_its_command() {
    for (name, service) in services() {
        let settings: Vec<String> =
            environment(&service).into_iter().map(|(key, _)| key).filter(|key| key.starts_with("ZONECERT_")).collect();
        if settings.is_empty() {
            continue;
        }
        let command: Vec<&str> = service["command"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
        let help = help(&command);
        for setting in settings {
            // With its value behind a `=`, or without where it is hidden.
            let known = [format!("[env: {setting}="), format!("[env: {setting}]")].iter().any(|line| help.contains(line));
            assert!(known, "{name}: `zonecert {}` has no setting {setting}", command.join(" "));
        }
    }
}

#[test]
fn every_setting_that_a_command_asks_for_is_in_the_compose_file() {
    for (name, service) in services() {
        let Some(command) = service["command"].as_array() else { continue };
        let command: Vec<&str> = command.iter().map(|word| word.as_str().unwrap()).collect();
        // What clap requires stands in the line of usage, under the name of its variable.
        let help = help(&command);
        let usage = help.lines().find(|line| line.starts_with("Usage: ")).unwrap();
        for asked_for in usage.split(['<', '>']).filter(|word| word.starts_with("ZONECERT_")) {
            assert!(environment(&service).contains_key(asked_for), "{name}: {asked_for} is missing");
        }
    }
}

#[test]
fn every_variable_of_the_compose_file_is_in_the_example_and_no_secret_has_a_default() {
    let example = read(".env.example");
    let in_example: BTreeSet<&str> = example
        .lines()
        .filter_map(|line| line.trim_start_matches('#').split_once('='))
        .map(|(name, _)| name)
        .filter(|name| is_variable(name))
        .collect();
    let text = read(FILE);
    let mut used = BTreeSet::new();
    for (position, _) in text.match_indices("${") {
        let inside = &text[position + 2..][..text[position + 2..].find('}').unwrap()];
        let name = inside.split([':', '?', '-']).next().unwrap();
        let is_secret = name.ends_with("_PASSWORD") || name.ends_with("_KEY");
        assert!(!is_secret || inside[name.len()..].starts_with(":?"), "{name} is a secret, and must not be empty: write ${{{name}:?…}}");
        assert!(!is_secret || example.contains(&format!("\n{name}=\n")), "{name} is a secret, and .env.example must not give it a value");
        used.insert(name);
    }
    for name in &used {
        assert!(in_example.contains(name), "{name} is not in .env.example");
    }
    let passed_on: BTreeSet<String> = services()
        .iter()
        .flat_map(|(_, service)| environment(service))
        .filter(|(_, value)| value.is_null())
        .map(|(name, _)| name)
        .collect();
    for name in &in_example {
        let known = used.contains(name) || passed_on.contains(*name) || *name == "COMPOSE_PROFILES";
        assert!(known, "{name} is in .env.example, and nothing in {FILE} reads it");
    }
}

#[test]
fn ports_are_published_on_loopback_unless_somebody_says_otherwise() {
    for (name, service) in services() {
        for port in service["ports"].as_array().into_iter().flatten() {
            let port = port.as_str().unwrap();
            let default = port.split_once(":-").map_or(port, |(_, default)| default);
            assert!(default.starts_with("127.0.0.1:"), "{name}: {port}");
        }
    }
}

#[test]
fn every_file_that_the_compose_file_names_is_there() {
    for (name, service) in services() {
        if let Some(directory) = service["build"].as_str() {
            assert!(root().join(directory).join("Dockerfile").is_file(), "{name}: {directory}/Dockerfile");
        }
        for volume in service["volumes"].as_array().into_iter().flatten() {
            let source = volume.as_str().unwrap().split(':').next().unwrap();
            assert!(!source.starts_with('.') || root().join(source).is_file(), "{name}: {source}");
        }
    }
}

/// The script is what a newcomer runs first.
#[test]
fn the_script_makes_every_secret_and_overwrites_none() {
    let directory = std::env::temp_dir().join(format!("zonecert-secrets-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join(".env.example"), read(".env.example")).unwrap();
    let run =
        || Command::new("sh").arg(root().canonicalize().unwrap().join("docker/new-secrets.sh")).current_dir(&directory).output().unwrap();
    let first = run();
    let made = |file: &str| std::fs::read_to_string(directory.join(file)).unwrap_or_default();
    let (settings, master, jwt) = (made(".env"), made("secrets/master-keys"), made("secrets/jwt-key.pem"));
    let second = run();
    let settings_after = made(".env");
    std::fs::remove_dir_all(&directory).unwrap();

    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    for line in settings.lines().filter(|line| !line.starts_with('#')) {
        assert!(!line.ends_with('='), "{line} is still empty");
    }
    assert!(master.starts_with("main:") && master.trim_end().len() == "main:".len() + 44, "32 bytes in base64");
    assert!(jwt.starts_with("-----BEGIN PRIVATE KEY-----"));
    assert!(!second.status.success());
    assert_eq!(settings, settings_after);
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

fn services() -> Vec<(String, Value)> {
    let services: Map<String, Value> = yaml(FILE)["services"].as_object().unwrap().clone();
    services.into_iter().collect()
}

fn environment(service: &Value) -> Map<String, Value> {
    service["environment"].as_object().cloned().unwrap_or_default()
}

/// What `zonecert <command> --help` says, on lines of any length.
pub(crate) fn help(command: &[&str]) -> String {
    help_of("zonecert", command)
}

/// The same of one of our programs.
pub(crate) fn help_of(program: &str, command: &[&str]) -> String {
    let binary = zonecert_devstack::product::binary().unwrap().with_file_name(program);
    let output = Command::new(binary).args(command).arg("--help").output().unwrap();
    assert!(output.status.success(), "{program} {command:?} --help: {}", output.status);
    String::from_utf8(output.stdout).unwrap()
}
