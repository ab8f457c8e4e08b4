//! The worker: takes jobs off the queue and brings certificates about.
//!
//! A job says no more than "look at this": the rows say what is to be done ([`issue`], [`revoke`], [`dns`], [`scan`], [`webhook`]), [`queue`] carries the jobs,
//! and the [`sweeper`] sends those again that got lost. The outside is reached through four ports, [`acme`], [`dns`], [`mail`] and [`webhook`].

pub mod acme;
mod directories;
pub mod dns;
mod expiry;
mod expiry_notices;
pub mod issue;
pub mod key_stock;
pub mod mail;
pub mod metrics;
mod own_acme_accounts;
mod presence;
mod profiles;
pub mod queue;
mod renewal_info;
mod renewals;
pub mod revoke;
pub mod scan;
pub mod settings;
pub mod sweeper;
pub mod wait;
pub mod webhook;
mod worker;
pub mod zone_check;

pub use directories::{Authority, Directories};
pub use settings::{KeyStockSettings, WorkerSettings};
pub use worker::{Worker, WorkerError, worker_name};
