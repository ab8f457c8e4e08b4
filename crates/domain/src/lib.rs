//! The rules of Zonecert: names, plans, state machines, moments and retries.
//!
//! Everything here is pure. There is no I/O, no async and no clock: a function that depends on time is given the time. What the
//! API accepts, what the worker does next and when a certificate renews is decided here and nowhere else.

pub mod certificate;
pub mod email;
pub mod failure;
pub mod id;
pub mod issuance;
pub mod key;
pub mod name;
pub mod order;
pub mod plan;
pub mod renewal;
pub mod retry;
pub mod scope;
pub mod zone_name;
