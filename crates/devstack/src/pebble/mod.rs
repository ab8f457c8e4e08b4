//! Pebble, a small ACME CA for tests: [`Pebble`] is how to reach it, [`PebbleServer`] the process and our proxy before it,
//! [`RenewalInfoDirectory`] a directory before that one which offers what Pebble does not.

mod client;
mod proxy;
mod renewal_info;
mod seen;
mod server;
mod tls;

pub use client::Pebble;
pub use renewal_info::{RenewalInfoAnswer, RenewalInfoDirectory};
pub use seen::{FinalizeSeen, OrderSeen, Seen};
pub use server::{PebbleOptions, PebbleServer};
