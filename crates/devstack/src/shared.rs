//! One stack for all tests of a run.

use anyhow::Result;
use tokio::sync::OnceCell;

use crate::environment::{self, STACK_VARIABLE};
use crate::pebble::PebbleOptions;
use crate::stack::{Stack, StackHandle};

/// The stack that `cargo xtask test` has started; without one (a test run by hand) a temporary one, started once per process.
///
/// Tests share it: use names, zones and databases of your own (see [`crate::unique_label`]), and break nothing.
///
/// # Errors
/// When the stack that the environment names has ended, or none can be started.
pub async fn shared() -> Result<StackHandle> {
    static OWN: OnceCell<Stack> = OnceCell::const_new();
    if let Some(file) = environment::path(STACK_VARIABLE) {
        return StackHandle::read(&file);
    }
    // Never dropped: the kernel ends its processes with ours, and its directory is swept by the next temporary stack.
    let stack = OWN.get_or_try_init(|| Stack::temporary(PebbleOptions::default())).await?;
    Ok(stack.handle())
}

/// A DNS label (or, with a letter before it, the end of a database name) that no other test uses.
pub fn unique_label() -> String {
    format!("t{}", hex::encode(rand::random::<[u8; 8]>()))
}
