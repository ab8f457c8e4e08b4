//! The rules of Zonecert: names, plans, state machines, moments and retries.
//!
//! Everything here is pure. There is no I/O, no async and no clock: a function that depends on time is given the time. What the
//! API accepts, what the worker does next and when a certificate renews is decided here and nowhere else.

pub mod acme_account;
pub mod ca_limits;
pub mod certificate;
pub mod csr_subject;
pub mod delegation;
pub mod deployment;
pub mod email;
pub mod failure;
pub mod id;
pub mod issuance;
pub mod key;
pub mod moment;
pub mod name;
pub mod network;
pub mod order;
pub mod plan;
pub mod plan_change;
pub mod push;
pub mod rate_limit;
pub mod records;
pub mod renewal;
pub mod renewal_info;
pub mod retry;
pub mod revocation;
pub mod scope;
pub mod sign_in;
pub mod webhook;
pub mod zone_check;
pub mod zone_mode;
pub mod zone_name;
