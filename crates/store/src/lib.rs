//! PostgreSQL: the pool, tenancy, migrations, and one file of functions for each table.
//!
//! The only crate that knows diesel. Every function takes the connection first and returns domain types. Whatever belongs to a tenant is
//! reached through [`Store::tenant`] or [`Store::tenant_write`] alone, which open a transaction and set the account that row-level security
//! then holds it to (`docs/adr/0003-row-level-security.md`).

pub mod accounts;
pub mod acme_accounts;
pub mod api_tokens;
pub mod audit_log;
pub mod certificates;
pub mod challenge_records;
pub mod data_keys;
pub mod error;
pub mod events;
pub mod issuances;
pub mod issuing;
pub mod lookup;
pub mod migrate;
pub mod orders;
pub mod platform_data_keys;
pub mod pool;
pub mod private_keys;
pub mod queue_jobs;
pub mod refresh_tokens;
pub(crate) mod schema;
pub mod users;
pub mod versions;
pub mod zone_projections;
pub mod zones;

pub use diesel_async::AsyncPgConnection as Connection;
pub use error::StoreError;
pub use pool::Store;
