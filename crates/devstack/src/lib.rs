//! Private `PostgreSQL`, `PowerDNS` (two) and Pebble on free loopback ports, for development, tests and benches.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! // In a test: the stack that `cargo xtask test` started, or one of this process.
//! let stack = zonecert_devstack::shared().await?;
//! let product = zonecert_devstack::Product::fresh(&stack).await?;
//! let api = product.serve().await?;
//! let mut worker = product.work().await?;
//! println!("{} is up", api.api_url());
//! worker.kill().await?; // SIGKILL; `stop` is SIGTERM
//! # Ok(())
//! # }
//! ```
//!
//! Every process is recorded with its id and command line, dies with the process that started it, and is recognised and replaced if it
//! does not.

mod answer;
pub mod authority;
mod dns;
mod environment;
mod fault;
mod http_client;
mod interference;
mod keeper;
mod layout;
mod leftover;
pub mod packages;
mod pebble;
mod ports;
mod postgres;
mod powerdns;
mod process;
pub mod product;
mod program;
mod resolver;
mod secrets;
mod shared;
mod stack;
mod user;
pub mod wait;

pub use environment::{BINARY_VARIABLE, OUTAGE_VARIABLE, ROUNDS_VARIABLE, SEED_VARIABLE, STACK_VARIABLE, STORM_VARIABLE, number};
pub use fault::Fault;
pub use interference::{Hold, Refusal};
pub use layout::write_private;
pub use pebble::{FinalizeSeen, OrderSeen, Pebble, PebbleOptions, PebbleServer, RenewalInfoAnswer, RenewalInfoDirectory, Seen};
pub use postgres::{ADMIN_ROLE, API_ROLE, DatabaseProxy, OWNER_ROLE, Postgres, PostgresServer, Traffic, WORKER_ROLE};
pub use powerdns::{PowerDns, PowerDnsProxy, PowerDnsServer, RrSet, Zone};
pub use product::{Product, ProductProcess};
pub use secrets::random_password;
pub use shared::{shared, unique_label};
pub use stack::{Stack, StackHandle, StackOptions};
