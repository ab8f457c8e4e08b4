//! Passwords, tokens, and who calls.

pub mod access_token;
pub(crate) mod api_token;
pub mod caller;
pub(crate) mod opaque;
pub mod password;
pub(crate) mod refresh_token;
pub(crate) mod session;
