//! Processes that a killed run left behind: recognised by process id *and* command line, never by either alone.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use crate::process::ORDERLY_END;
use crate::{layout, wait};

/// What is kept on disk about a process while it runs.
#[derive(Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) pid: u32,
    pub(crate) argv: Vec<String>,
    pub(crate) end_signal: i32,
}

impl Record {
    /// Whether the process with our id is the one we started. It may still be `setpriv … -- <argv>`, which becomes `<argv>` by exec.
    fn is_running(&self) -> bool {
        let Ok(running) = fs::read(format!("/proc/{}/cmdline", self.pid)) else { return false };
        let mut ours = self.argv.join("\0").into_bytes();
        ours.push(0);
        // A zombie has an empty command line and needs no ending.
        running == ours || (running.ends_with(&ours) && running[..running.len() - ours.len()].ends_with(b"--\0"))
    }
}

/// Ends the process recorded in `file`, if it still runs, and deletes the record. True when there was one to end.
pub(crate) fn end(file: &Path) -> Result<bool> {
    let Some(record) = layout::find_json::<Record>(file)? else { return Ok(false) };
    let running = record.is_running();
    if running {
        let pid = i32::try_from(record.pid).ok().and_then(Pid::from_raw).context("a process id out of range")?;
        let orderly = Signal::from_named_raw(record.end_signal).unwrap_or(Signal::TERM);
        for (signal, within) in [(orderly, ORDERLY_END), (Signal::KILL, Duration::from_secs(5))] {
            // Fails when the process has just ended (then the look below sees it) or is another user's.
            let sent = kill_process(pid, signal);
            if wait::blocking_until(within, || !record.is_running()) {
                break;
            }
            if signal == Signal::KILL {
                sent.with_context(|| format!("cannot end process {}", record.pid))?;
                bail!("process {} ({}) of an earlier run does not end", record.pid, record.argv.join(" "));
            }
        }
    }
    layout::remove_file(file)?;
    Ok(running)
}

/// Ends every process recorded in `run_dir`, the product's before the parts it stands on. Answers their names.
pub(crate) fn end_all(run_dir: &Path) -> Result<Vec<String>> {
    let mut files: Vec<_> = fs::read_dir(run_dir)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    // PostgreSQL last: the others are its clients, and its fast shutdown would cut them off in mid-sentence.
    files.sort_by_key(|file| (file.file_stem().is_some_and(|name| name == "postgres"), file.clone()));
    let mut ended = Vec::new();
    for file in files {
        if end(&file)? {
            ended.push(file.file_stem().unwrap_or_default().to_string_lossy().into_owned());
        }
    }
    Ok(ended)
}
