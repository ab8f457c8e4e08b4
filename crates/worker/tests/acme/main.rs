//! The port to the CA: against Pebble, which validates for real against our `PowerDNS`, and against a CA with answers of our choice.

mod account;
mod answers;
mod canned_ca;
mod database;
mod issuance;
