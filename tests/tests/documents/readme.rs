//! What the README says that can be checked.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use super::{read, root, yaml};

const FILE: &str = "README.md";

#[test]
fn every_dependency_is_in_the_readme_with_its_reason() {
    let readme = read(FILE);
    let manifest = read("Cargo.toml");
    let section = manifest.split("[workspace.dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    let names: Vec<&str> =
        section.lines().filter(|line| !line.starts_with('#')).filter_map(|line| Some(line.split_once(" = ")?.0)).collect();
    assert!(names.len() > 40, "dependencies are no longer found in Cargo.toml");
    for name in names {
        assert!(name.starts_with("zonecert-") || readme.contains(&format!("`{name}`")), "{name}: say in {FILE} what it is for");
    }
}

/// Blocks of commands are shell, and a slip in one is what a newcomer meets first.
#[test]
fn every_block_of_commands_is_shell() {
    let mut checked = 0;
    for document in [FILE, "CONTRIBUTING.md"] {
        for block in read(document).split("\n```sh\n").skip(1) {
            let commands = block.split("\n```").next().unwrap();
            let mut shell = Command::new("bash").args(["-n", "-c", commands]).stderr(Stdio::piped()).spawn().unwrap();
            assert!(shell.wait().unwrap().success(), "{document}: no shell:\n{commands}");
            checked += 1;
        }
    }
    assert!(checked > 5);
}

/// Paths that the first calls use are described, and so exist.
#[test]
fn every_path_of_a_call_in_the_readme_is_described() {
    let unnamed = |path: &String| {
        let parts: Vec<&str> = path.split('/').map(|part| if part.starts_with('{') { "{id}" } else { part }).collect();
        parts.join("/")
    };
    let described: BTreeSet<String> = yaml("openapi.yaml")["paths"].as_object().unwrap().keys().map(unnamed).collect();
    let mut paths = BTreeSet::new();
    for (position, _) in read(FILE).match_indices("$API/") {
        let text = &read(FILE)[position + "$API".len()..];
        let end = text.find([' ', ')', '"', '\n', '?', '`']).unwrap();
        let path: Vec<&str> = text[..end].split('/').map(|part| if part.starts_with('$') { "{id}" } else { part }).collect();
        paths.insert(path.join("/"));
    }
    assert!(paths.len() > 5, "{paths:?}");
    for path in paths {
        assert!(described.contains(&format!("/api/v1{path}")), "{FILE} calls {path}, which is not in openapi.yaml");
    }
}

#[test]
fn every_setting_of_every_command_is_in_the_readme_and_no_other() {
    let commands = [["serve"].as_slice(), &["work"], &["all"], &["migrate"], &["admin", "create-account"], &["import"]];
    let helps = commands.into_iter().map(super::compose::help).chain([super::compose::help_of("zonecert-agent", &[])]);
    let known: BTreeSet<String> = helps
        .flat_map(|help| {
            let names = help.split("[env: ").skip(1).map(|rest| rest.split(['=', ']']).next().unwrap().to_owned());
            names.collect::<Vec<_>>()
        })
        .filter(|name| name.starts_with("ZONECERT_"))
        .collect();
    assert!(known.len() > 40, "settings are no longer found in --help: {known:?}");
    let readme = read(FILE);
    let written: BTreeSet<String> = readme
        .split(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'))
        .filter(|word| word.starts_with("ZONECERT_"))
        .map(str::to_owned)
        .collect();
    assert_eq!(known.symmetric_difference(&written).collect::<Vec<_>>(), Vec::<&String>::new(), "--help and {FILE} differ");
}

#[test]
fn the_licence_is_the_whole_one() {
    let licence = read("LICENSE");
    assert!(licence.contains("Apache License") && licence.contains("Version 2.0, January 2004"));
    assert!(licence.contains("END OF TERMS AND CONDITIONS") && licence.lines().count() > 190);
    assert!(root().join(FILE).is_file());
}
