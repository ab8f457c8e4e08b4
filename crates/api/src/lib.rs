//! The REST API of Zonecert (requirements section 7): routes, authentication, plan gates, problems.
//!
//! A handler says who may call by taking an [`auth::caller::Caller`], reads what it was sent by the extractors of [`request`], does its work in
//! one transaction of [`zonecert_store::Store`] and answers JSON or a [`problem::Problem`]. Certificates are issued elsewhere: the API
//! writes down what is wanted, and the workers see to it.

mod accept;
mod account;
mod acme_accounts;
mod api_keys;
pub mod app;
mod audit;
pub mod auth;
mod certificates;
mod clock;
mod downloads;
mod faults;
mod health;
mod idempotency;
mod keys;
mod limits;
mod live;
pub mod monitoring;
pub mod openapi;
pub mod operators;
mod paging;
pub mod people;
mod pfx;
pub mod plans;
pub mod problem;
mod reference;
pub mod request;
pub mod request_id;
pub mod route;
pub mod routes;
pub mod server;
pub mod settings;
mod text;
mod tokens;
mod trace;
pub mod traffic;
mod turn;
mod webhooks;
mod zones;

pub use app::App;
pub use monitoring::{Monitoring, MonitoringServer};
pub use server::Server;
pub use settings::{ApiSettings, SettingsError};
