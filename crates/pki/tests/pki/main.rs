//! Tests of `zonecert-pki` through its public interface, against certificates made by openssl and checked by its command line.

mod authority;
mod chain;
mod chain_check;
mod csr;
mod jws;
mod key;
mod openssl_command;
mod pfx;
mod seal;
mod upload;
