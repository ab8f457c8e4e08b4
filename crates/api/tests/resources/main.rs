//! The API over HTTP, against a real `PostgreSQL` as the role `zonecert_api`, and a real DNS server where proofs are looked up.

mod callers;
mod certificates;
mod certificates_create;
mod certificates_parallel;
mod download;
mod logs;
mod lookups;
mod protocol;
mod sign_in;
mod support;
mod tenants;
mod tokens;
mod zones;
mod zones_verify;
