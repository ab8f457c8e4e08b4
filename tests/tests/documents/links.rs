//! Links between documents lead somewhere.

use std::path::Path;

use super::{files, read, root};

fn documents() -> Vec<String> {
    let mut documents: Vec<String> = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(str::to_owned).into();
    documents.extend(files("docs", ".md"));
    documents
}

#[test]
fn every_link_to_a_file_or_a_heading_leads_there() {
    let mut checked = 0;
    for document in documents() {
        for target in links(&read(&document)) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            checked += 1;
            let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let directory = root().join(&document).parent().unwrap().to_owned();
            let file = if path.is_empty() { root().join(&document) } else { directory.join(path) };
            assert!(file.exists(), "{document}: {target} leads nowhere");
            if !anchor.is_empty() {
                let text = std::fs::read_to_string(&file).unwrap();
                assert!(headings(&text).any(|heading| heading == anchor), "{document}: {target}: there is no such heading");
            }
        }
    }
    assert!(checked > 20, "only {checked} links were found: are they still looked for in the right way?");
}

#[test]
fn every_decision_is_in_the_contributors_list_of_decisions() {
    let contributing = read("CONTRIBUTING.md");
    let decisions = files("docs/adr", ".md");
    assert!(!decisions.is_empty());
    for decision in decisions {
        assert!(contributing.contains(&decision), "{decision} is not in CONTRIBUTING.md");
    }
}

/// Files that the code's comments name are there.
#[test]
fn every_document_that_the_code_names_is_there() {
    let mut named = 0;
    for file in
        ["crates", "migrations", "tests"].into_iter().flat_map(|directory| [files(directory, ".rs"), files(directory, ".sql")].concat())
    {
        let text = read(&file);
        for (position, _) in text.match_indices("docs/") {
            let rest = &text[position..];
            let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '.' | '_'))).unwrap_or(rest.len());
            let path = rest[..end].trim_end_matches('.');
            if Path::new(path).extension().is_some_and(|extension| extension == "md") {
                named += 1;
                assert!(root().join(path).is_file(), "{file} names {path}, which is not there");
            }
        }
    }
    assert!(named > 3);
}

/// The targets of links, outside of code.
fn links(document: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_code = false;
    for line in document.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for (position, _) in line.match_indices("](") {
            let rest = &line[position + 2..];
            if let Some(end) = rest.find(')') {
                found.push(rest[..end].to_owned());
            }
        }
    }
    found
}

/// The anchors that GitHub makes of headings.
fn headings(document: &str) -> impl Iterator<Item = String> {
    document.lines().filter(|line| line.starts_with('#')).map(|line| {
        let text = line.trim_start_matches('#').trim().to_lowercase();
        text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_')).map(|c| if c == ' ' { '-' } else { c }).collect()
    })
}

#[test]
fn every_table_is_in_the_data_model() {
    let document = read("docs/data-model.md");
    let mut tables = 0;
    for migration in files("migrations", "up.sql") {
        for created in read(&migration).split("CREATE TABLE ").skip(1) {
            let table = created.split([' ', '(']).next().unwrap();
            tables += 1;
            assert!(document.contains(&format!("\n| `{table}` |")), "{table} ({migration}) is not in docs/data-model.md");
        }
    }
    assert!(tables > 20, "only {tables} tables were found");
}
