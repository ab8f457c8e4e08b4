//! The store on a real PostgreSQL, each role through its own log-in.

mod certificates;
mod connections;
mod database;
mod events;
mod foreign_keys;
mod functions;
mod grants;
mod issuances;
mod keys;
mod migrations;
mod orders;
mod outcome;
mod queue_jobs;
mod row_level_security;
mod schema;
mod sweeping;
mod tables;
mod versions;
mod world;
