//! The command that has a service read its files again.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Command;

/// Why the service has not read its files again. Without what the command has printed: it may hold what is not for others.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReloadError {
    #[error("the reload command {command} cannot be run: {source}; give the path of a program and its arguments, each by itself")]
    NotRun { command: String, source: std::io::Error },
    #[error("the reload command {command} has not ended within {seconds} s and was killed; see why, or raise reload_timeout_seconds")]
    TimedOut { command: String, seconds: u64 },
    #[error("the reload command {command} has failed: {status}; run it by hand to see why")]
    Failed { command: String, status: std::process::ExitStatus },
}

/// Runs the command, without a shell, in a process group of its own, and waits for its end. What it prints goes where our own log goes.
pub(crate) async fn run(argv: &[String], within: Duration) -> Result<(), ReloadError> {
    let Some((program, arguments)) = argv.split_first() else { return Ok(()) };
    let command = program.clone();
    let mut child = Command::new(program)
        .args(arguments)
        .env_remove("ZONECERT_AGENT_TOKEN")
        .stdin(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| ReloadError::NotRun { command: command.clone(), source })?;
    match tokio::time::timeout(within, child.wait()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(ReloadError::Failed { command, status }),
        Ok(Err(source)) => Err(ReloadError::NotRun { command, source }),
        Err(_) => {
            let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
            if let Some(group) = group {
                let _ = kill_process_group(group, Signal::KILL);
            }
            let _ = child.wait().await;
            Err(ReloadError::TimedOut { command, seconds: within.as_secs() })
        }
    }
}
