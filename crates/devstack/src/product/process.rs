//! One process of the product.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use crate::process::{Process, Spec};
use crate::{http_client, layout};

const READY_WITHIN: Duration = Duration::from_secs(30);

/// `zonecert serve` or `zonecert work`. Dropping it ends it in an orderly way.
pub struct ProductProcess {
    spec: Spec,
    /// Where `serve` writes its address; `None` for `work`.
    address_file: Option<PathBuf>,
    api_url: String,
    process: Option<Process>,
}

impl ProductProcess {
    pub(super) async fn start_new(spec: Spec, address_file: Option<PathBuf>) -> Result<Self> {
        // A log speaks of one run; restarts within it go on in the same file.
        layout::remove_file(&spec.log)?;
        let mut this = Self { spec, address_file, api_url: String::new(), process: None };
        this.start().await?;
        Ok(this)
    }

    /// Starts the process, and waits until the API is ready where it has one. Fine when it runs.
    pub async fn start(&mut self) -> Result<()> {
        if self.process.is_some() {
            return Ok(());
        }
        if let Some(file) = &self.address_file {
            layout::remove_file(file)?;
        }
        if let Some(file) = self.spec.env.get(super::setting::METRICS_ADDRESS_FILE) {
            layout::remove_file(file.as_ref())?;
        }
        let mut process = Process::spawn(self.spec.clone()).await?;
        if let Some(file) = &self.address_file {
            let ready = process.ready(READY_WITHIN, || async move {
                let address = fs::read_to_string(file).context("it has not written its address yet")?;
                let api_url = format!("http://{}", address.trim());
                let ready = http_client::plain()?.get(format!("{api_url}/readyz")).send().await?.status();
                ensure!(ready.is_success(), "/readyz answers {ready}");
                Ok(api_url)
            });
            self.api_url = ready.await?;
        }
        self.process = Some(process);
        Ok(())
    }

    /// `kill -9`. Fine when it does not run.
    pub async fn kill(&mut self) -> Result<()> {
        match self.process.take() {
            Some(process) => tokio::task::spawn_blocking(move || process.kill()).await?,
            None => Ok(()),
        }
    }

    /// SIGSTOP: the process stands still, as one does whose host is busy or asleep. Fine when it does not run.
    pub fn freeze(&self) -> Result<()> {
        self.process.as_ref().map_or(Ok(()), |process| process.signal(Signal::STOP))
    }

    /// SIGCONT, after [`Self::freeze`].
    pub fn thaw(&self) -> Result<()> {
        self.process.as_ref().map_or(Ok(()), |process| process.signal(Signal::CONT))
    }

    /// SIGTERM, and waits for the end. Fine when it does not run.
    pub async fn stop(&mut self) -> Result<()> {
        match self.process.take() {
            Some(process) => process.end().await,
            None => Ok(()),
        }
    }

    /// Stop and start. `serve` may answer at another address afterwards.
    pub async fn restart(&mut self) -> Result<()> {
        self.stop().await?;
        self.start().await
    }

    /// An error with the last log lines, when the process has ended by itself.
    pub fn check(&mut self) -> Result<()> {
        self.process.as_mut().map_or(Ok(()), Process::check)
    }

    /// Process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// `http://127.0.0.1:<port>` of `serve`, without a path; empty for `work`.
    pub fn api_url(&self) -> &str {
        &self.api_url
    }

    /// `http://127.0.0.1:<port>` of its metrics, once it has them, where [`super::setting::METRICS_LISTEN`] asks for them.
    pub fn metrics_url(&self) -> Option<String> {
        let file = self.spec.env.get(super::setting::METRICS_ADDRESS_FILE)?;
        Some(format!("http://{}", fs::read_to_string(file).ok()?.trim()))
    }

    /// All it has logged, restarts included.
    pub fn log(&self) -> Result<String> {
        fs::read_to_string(&self.spec.log).with_context(|| format!("cannot read {}", self.spec.log.display()))
    }

    /// The last lines of its log, for an error message.
    pub fn log_tail(&self, lines: usize) -> String {
        layout::tail(&self.spec.log, lines)
    }
}
