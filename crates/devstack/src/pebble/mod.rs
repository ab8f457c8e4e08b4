//! Pebble, a small ACME CA for tests: [`Pebble`] is how to reach it, [`PebbleServer`] the process and our proxy before it.

mod client;
mod proxy;
mod seen;
mod server;
mod tls;

pub use client::Pebble;
pub use seen::{FinalizeSeen, OrderSeen, Seen};
pub use server::{PebbleOptions, PebbleServer};
