//! The port to the CA: against Pebble, which validates for real against our `PowerDNS`, and against a CA with answers of our choice. And the ways
//! that mail and messages to webhooks take, against servers of our own.

mod account;
mod answers;
mod canned_ca;
mod database;
mod issuance;
mod key_change;
mod mail;
mod receiver;
mod renewal_info;
mod revocation;
mod self_signed;
mod smtp_server;
mod webhook;
