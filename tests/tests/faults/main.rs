//! The fault bench: what is around the product breaks by a plan that a seed has drawn, and nothing may be lost (docs/adr/0018-faults.md).
//!
//! Short here; `cargo xtask faults` plays as many rounds as it is told, and the drills at full size.

mod incident;
mod invariants;
mod outage;
mod plan;
mod rest;
mod round;
mod rounds;
mod shared_names;
mod storm;
mod watch;
mod world;
