//! What a person sees: one line a step, with the time since the start.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Time since the first call.
pub(crate) fn elapsed() -> Duration {
    static BEGUN: OnceLock<Instant> = OnceLock::new();
    BEGUN.get_or_init(Instant::now).elapsed()
}

/// One line, with the time since the start before it.
pub(crate) fn say(text: &str) {
    println!("{:>7.1} s  {}", elapsed().as_secs_f64(), text);
}
