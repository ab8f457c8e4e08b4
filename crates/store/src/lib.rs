//! PostgreSQL: the pool, tenancy, migrations, and one file of functions for each table.
//!
//! The only crate that knows diesel. Every function takes the connection first and returns domain types. Whatever belongs to a tenant is
//! reached through [`Store::tenant`] or [`Store::tenant_write`] alone, which open a transaction and set the account that row-level security
//! then holds it to (`docs/adr/0003-row-level-security.md`).

pub mod accounts;
pub mod acme_accounts;
pub mod api_keys;
pub mod api_tokens;
pub mod audit_log;
pub mod ca_budget;
pub mod ca_pauses;
pub mod certificates;
pub mod challenge_records;
pub mod checks;
pub mod data_keys;
pub mod deployments;
pub mod downloads;
pub mod email_tokens;
pub mod ended_accounts;
pub mod error;
pub mod events;
pub mod expiry_notices;
pub mod failures;
pub mod hosted_zones;
pub mod housekeeping;
pub mod idempotency_keys;
pub mod invitations;
pub mod issuances;
pub mod issuing;
pub mod key_resources;
pub mod key_stock;
pub mod live_events;
pub mod lookup;
pub mod mails;
pub mod master_keys;
pub mod migrate;
pub mod order_history;
pub mod orders;
pub mod pfx_files;
pub mod plan_changes;
pub mod platform_data_keys;
pub mod platform_state;
pub mod pool;
pub mod private_keys;
pub mod queue_jobs;
pub mod re_seal;
pub mod refresh_tokens;
pub mod renewal_info;
pub mod renewal_schedule;
pub mod renewals;
pub mod renewals_by_hand;
pub mod revocations;
pub(crate) mod schema;
mod shared_connections;
pub mod sign_in_failures;
mod statement;
mod tenant_query;
pub mod troubles;
pub mod uploads;
pub mod users;
pub mod version_history;
pub mod versions;
pub mod versions_in_use;
pub mod webhook_deliveries;
pub mod webhooks;
pub mod workers;
pub mod zone_checks;
pub mod zone_overviews;
pub mod zone_projections;
pub mod zone_records;
pub mod zones;

pub use diesel_async::AsyncPgConnection as Connection;
pub use error::StoreError;
pub use pool::{PoolState, Store};
