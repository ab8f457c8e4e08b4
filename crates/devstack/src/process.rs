//! A child process that is recorded on disk, dies with its parent, and ends in an orderly way.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::layout::{self, Layout};
use crate::leftover::Record;
use crate::user::User;
use crate::{keeper, leftover, program, wait};

/// How long the servers may take to end.
pub(crate) const ORDERLY_END: Duration = Duration::from_secs(10);
const LOG_LINES_IN_ERRORS: usize = 15;
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// What to run.
#[derive(Clone)]
pub(crate) struct Spec {
    pub(crate) name: String,
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    /// The whole environment, beside `PATH` and `LANG`: nothing of the caller's leaks in.
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) cwd: PathBuf,
    /// Whom to run as, when we are root.
    pub(crate) user: Option<User>,
    /// Asks for an orderly end.
    pub(crate) end_signal: Signal,
    /// How long it may take to end before SIGKILL follows.
    pub(crate) end_within: Duration,
    /// Sent by the kernel when our process dies, however it dies; a name that setpriv(1) knows.
    pub(crate) death_signal: &'static str,
    pub(crate) log: PathBuf,
    pub(crate) pid_file: PathBuf,
}

impl Spec {
    /// A process that ends on SIGTERM.
    pub(crate) fn new(layout: &Layout, name: &str, program: PathBuf, cwd: PathBuf) -> Self {
        Self {
            name: name.to_owned(),
            program,
            args: Vec::new(),
            env: BTreeMap::new(),
            cwd,
            user: None,
            end_signal: Signal::TERM,
            end_within: ORDERLY_END,
            death_signal: "KILL",
            log: layout.log(name),
            pid_file: layout.pid_file(name),
        }
    }

    pub(crate) fn args(mut self, args: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    fn command(&self) -> Result<Command> {
        let mut command = Command::new(program::get("setpriv", "util-linux")?);
        command.args(["--pdeathsig", self.death_signal]);
        if let Some(user) = &self.user {
            command.args(user.setpriv_args());
        }
        command.arg("--").arg(&self.program).args(&self.args);
        let log = OpenOptions::new().create(true).append(true).open(&self.log);
        let log = log.with_context(|| format!("cannot write {}", self.log.display()))?;
        command
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LANG", "C.UTF-8")
            // Logs go to files (no-color.org).
            .env("NO_COLOR", "1")
            .envs(&self.env)
            .current_dir(&self.cwd)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C in a terminal goes to the foreground group: we end our children ourselves, in order.
            .process_group(0);
        Ok(command)
    }
}

/// A running process. Dropping it ends it in an orderly way.
pub(crate) struct Process {
    spec: Spec,
    child: Child,
}

impl Process {
    /// Starts the process; one that a killed run left behind under the same record is ended first.
    pub(crate) async fn spawn(spec: Spec) -> Result<Self> {
        leftover::end(&spec.pid_file)?;
        let mut command = spec.command()?;
        let child = keeper::run(async move { command.spawn() }).await?;
        let child = child.with_context(|| format!("cannot start {}", spec.program.display()))?;
        let process = Self { spec, child };
        let mut argv = vec![process.spec.program.to_string_lossy().into_owned()];
        argv.extend(process.spec.args.iter().cloned());
        layout::write_json(
            &process.spec.pid_file,
            &Record { pid: process.child.id(), argv, end_signal: process.spec.end_signal.as_raw() },
        )?;
        Ok(process)
    }

    /// Runs a process that ends by itself, such as `initdb`.
    ///
    /// # Errors
    /// When it fails or takes longer than `within`, with its last log lines.
    pub(crate) async fn run_to_end(spec: Spec, within: Duration) -> Result<()> {
        let mut process = Self::spawn(spec).await?;
        let deadline = Instant::now() + within;
        loop {
            match process.exited() {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("{} failed ({status}); {}", process.spec.name, process.log_tail()),
                None if Instant::now() >= deadline => {
                    bail!("{} does not end within {} s; {}", process.spec.name, within.as_secs(), process.log_tail())
                }
                None => wait::pause(BETWEEN_LOOKS).await,
            }
        }
    }

    /// Waits until `probe` succeeds, for at most `within`, and answers what it answered.
    ///
    /// # Errors
    /// When the process ends or does not answer in time, with its last log lines.
    pub(crate) async fn ready<T, F>(&mut self, within: Duration, probe: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let deadline = Instant::now() + within;
        loop {
            self.check()?;
            match probe().await {
                Ok(answer) => return Ok(answer),
                Err(error) if Instant::now() >= deadline => {
                    let name = &self.spec.name;
                    return Err(anyhow!("{name} does not answer after {} s: {error:#}; {}", within.as_secs(), self.log_tail()));
                }
                Err(_) => wait::pause(BETWEEN_LOOKS).await,
            }
        }
    }

    /// An error with the last log lines, when the process has ended by itself.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.exited() {
            Some(status) => bail!("{} has ended ({status}); {}", self.spec.name, self.log_tail()),
            None => Ok(()),
        }
    }

    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(Pid::from_child(&self.child), signal).with_context(|| format!("{} cannot be sent a signal", self.spec.name))
    }

    pub(crate) fn log_tail(&self) -> String {
        layout::tail(&self.spec.log, LOG_LINES_IN_ERRORS)
    }

    /// `kill -9`, and waits until the process is gone.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Ends the process in an orderly way: its signal, some patience, SIGKILL.
    pub(crate) async fn end(self) -> Result<()> {
        tokio::task::spawn_blocking(move || drop(self)).await.context("the end of a process was not awaited")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.exited().is_none() {
            let asked = kill_process(Pid::from_child(&self.child), self.spec.end_signal).is_ok();
            if !asked || !wait::blocking_until(self.spec.end_within, || self.exited().is_some()) {
                // Both fail only when the process is gone already.
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
        }
        // A record that cannot be deleted names a process that is gone: the next start sees that.
        let _ = layout::remove_file(&self.spec.pid_file);
    }
}
