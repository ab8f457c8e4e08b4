//! Links: what can be done next with what an answer names. They follow from the paths: whoever makes or lists what is under `/zones` is led to
//! everything under `/zones/{id}`.

use utoipa::openapi::link::{Link, LinkBuilder};
use utoipa::openapi::path::Operation;
use utoipa::openapi::{PathItem, Paths, RefOr};

/// An operation that takes one more identifier than another.
struct Next {
    operation_id: String,
    /// Of the path before: whatever they were, they stay.
    same: Vec<String>,
    /// What the answer names.
    named: String,
}

/// Adds them to every answer with which something is made, set or listed.
pub(super) fn add(paths: &mut Paths) {
    let below: Vec<(String, Next)> =
        paths.paths.iter().flat_map(|(path, item)| operations(item).filter_map(|operation| next(path, operation))).collect();
    for (path, item) in &mut paths.paths {
        let there: Vec<&Next> = below.iter().filter(|(parent, _)| parent == path).map(|(_, next)| next).collect();
        let first = format!("/{}/0", path.rsplit('/').next().unwrap_or_default().replace('-', "_"));
        for (operation, place) in [(&mut item.post, ""), (&mut item.put, ""), (&mut item.get, first.as_str())] {
            if let Some(operation) = operation {
                lead(operation, &there, place);
            }
        }
    }
}

/// `place` is where the answer names the thing.
fn lead(operation: &mut Operation, there: &[&Next], place: &str) {
    let answers = operation.responses.responses.iter_mut().filter(|(status, _)| status.starts_with('2'));
    for (_, response) in answers {
        if let RefOr::T(response) = response {
            for next in there {
                response.links.insert(next.operation_id.clone(), RefOr::T(next.link(place)));
            }
        }
    }
}

impl Next {
    fn link(&self, place: &str) -> Link {
        // Plans have no identifiers: they go by their names. Targets are names.
        let field = match self.named.as_str() {
            "plan" => "name",
            "target" => "target",
            _ => "id",
        };
        let expression = format!("$response.body#{place}/{field}");
        let named = LinkBuilder::new().operation_id(self.operation_id.clone()).parameter(self.named.clone(), expression);
        self.same.iter().fold(named, |link, name| link.parameter(name.clone(), format!("$request.path.{name}"))).build()
    }
}

fn operations(item: &PathItem) -> impl Iterator<Item = &Operation> {
    [&item.get, &item.put, &item.post, &item.delete, &item.patch].into_iter().flatten()
}

/// The path that makes or lists what the operation's last parameter names, as in `/zones/{id}/verify` and `/zones`.
fn next(path: &str, operation: &Operation) -> Option<(String, Next)> {
    let (parent, rest) = path.rsplit_once("/{")?;
    let (named, _) = rest.split_once('}')?;
    // What two parameters in a row name is nothing that an answer could tell.
    if parent.ends_with('}') {
        return None;
    }
    let same = parent.split('{').skip(1).filter_map(|part| Some(part.split_once('}')?.0.to_owned())).collect();
    Some((parent.to_owned(), Next { operation_id: operation.operation_id.clone()?, same, named: named.to_owned() }))
}
