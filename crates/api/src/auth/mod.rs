//! Passwords, tokens, and who calls.

pub mod access_token;
pub(crate) mod api_key;
pub(crate) mod api_token;
pub(crate) mod attempt;
pub mod caller;
pub(crate) mod cookie;
pub(crate) mod email_token;
pub(crate) mod opaque;
pub mod password;
pub(crate) mod recognised;
pub(crate) mod refresh_token;
pub(crate) mod session;
