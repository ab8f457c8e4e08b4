//! The one table of routes. From it the server is made, and the document that describes it.

use std::collections::BTreeMap;

use actix_web::web::{self, ServiceConfig};

use crate::route::Route;
use crate::{
    account, acme_accounts, api_keys, audit, certificates, downloads, health, keys, limits, live, openapi, operators, people, plans,
    reference, tokens, webhooks, zones,
};

/// Every route, in the order in which they are described.
pub fn all() -> Vec<Route> {
    let parts = [
        people::routes(),
        account::routes(),
        tokens::routes(),
        zones::routes(),
        certificates::routes(),
        acme_accounts::routes(),
        keys::routes(),
        api_keys::routes(),
        downloads::routes(),
        live::stream::routes(),
        webhooks::routes(),
        plans::routes(),
        limits::routes(),
        audit::list::routes(),
        operators::routes(),
        openapi::routes(),
        reference::routes(),
        health::routes(),
    ];
    parts.into_iter().flatten().collect()
}

/// Sorted, since the first resource whose pattern fits is asked: `{` comes after all letters, so that `/certificates/preflight` is tried
/// before `/certificates/{id}`.
pub(crate) fn configure(config: &mut ServiceConfig) {
    let mut by_path: BTreeMap<String, Vec<actix_web::Route>> = BTreeMap::new();
    for route in all() {
        by_path.entry(route.path).or_default().push(route.service);
    }
    for (path, services) in by_path {
        config.service(services.into_iter().fold(web::resource(path), actix_web::Resource::route));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_route_is_there_twice() {
        let mut seen = BTreeSet::new();
        for route in all() {
            assert!(seen.insert(format!("{} {}", route.method, route.path)), "{} {} is there twice", route.method, route.path);
        }
    }

    #[test]
    fn every_path_is_whole() {
        for route in all() {
            let at_root = ["/healthz", "/readyz", "/openapi.json", "/docs"].contains(&route.path.as_str());
            let of_others =
                ["/legocerthub/api/v1/download/", "/certwarden/api/v1/download/"].iter().any(|base| route.path.starts_with(base));
            assert!(at_root || of_others || route.path.starts_with("/api/v1/"), "{}", route.path);
        }
    }
}
