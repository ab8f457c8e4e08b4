//! What RSA-2048 keys cost on this machine when `openssl` makes them: the measure of everything else.

use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;
use tokio::task::JoinSet;

use super::usage::ended_children_seconds;

/// Keys per second on all cores, and CPU seconds for one.
#[derive(Clone, Copy)]
pub(super) struct OpenSsl {
    pub(super) keys_per_second: f64,
    pub(super) cpu_seconds_per_key: f64,
}

/// Has `openssl` make so many keys, as many at the same time as there are cores.
pub(super) async fn measure(keys: u32) -> Result<OpenSsl> {
    let cores = std::thread::available_parallelism()?.get();
    let before = ended_children_seconds()?;
    let begun = Instant::now();
    let mut running = JoinSet::new();
    for started in 0..keys {
        if started as usize >= cores {
            running.join_next().await.context("nothing runs")???;
        }
        running.spawn(make());
    }
    while let Some(made) = running.join_next().await {
        made??;
    }
    let keys = f64::from(keys);
    let (seconds, cpu) = (begun.elapsed().as_secs_f64(), ended_children_seconds()? - before);
    Ok(OpenSsl { keys_per_second: keys / seconds, cpu_seconds_per_key: cpu / keys })
}

async fn make() -> Result<()> {
    let mut openssl = Command::new("openssl");
    openssl.args(["genrsa", "-out", "/dev/null", "2048"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status = openssl.kill_on_drop(true).status().await.context("cannot run openssl")?;
    ensure!(status.success(), "openssl genrsa failed ({status})");
    Ok(())
}
