//! Live events: clients are told what happens as it happens, so that nobody needs to poll (`docs/adr/0009-live-events.md`).

pub(crate) mod hub;
pub(crate) mod listen;
pub(crate) mod stream;
mod view;

pub(crate) use view::schemas;
