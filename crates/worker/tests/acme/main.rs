//! The port to the CA: against Pebble, which validates for real against our `PowerDNS`, and against a CA with answers of our choice. And the way that
//! mail takes, against a server of our own.

mod account;
mod answers;
mod canned_ca;
mod database;
mod issuance;
mod key_change;
mod mail;
mod renewal_info;
mod revocation;
mod self_signed;
mod smtp_server;
