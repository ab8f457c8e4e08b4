//! The worker: takes jobs off the queue and brings certificates about.
//!
//! A job says no more than "look at this": the rows say what is to be done ([`issue`], [`dns`]), [`queue`] carries the jobs, and the
//! [`sweeper`] sends those again that got lost. The outside is reached through two ports, [`acme`] and [`dns`].

pub mod acme;
mod directories;
pub mod dns;
pub mod issue;
pub mod queue;
pub mod settings;
pub mod sweeper;
pub mod wait;
mod worker;

pub use directories::Directories;
pub use settings::WorkerSettings;
pub use worker::{Worker, WorkerError, worker_name};
