//! The keys that wrap all others.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use zeroize::Zeroizing;
use zonecert_pki::MasterKeys;

/// Master keys, in the environment or in a file.
#[derive(Args)]
#[command(next_help_heading = "Master keys")]
pub(crate) struct MasterKeyArgs {
    /// ID:KEY, comma separated, each key 32 bytes in base64 (`openssl rand -base64 32`). The first wraps, all unwrap.
    #[arg(long, env = "ZONECERT_MASTER_KEYS", hide_env_values = true, value_name = "ZONECERT_MASTER_KEYS")]
    master_keys: Option<String>,
    /// The same in a file, which should be readable for this service alone.
    #[arg(long, env = "ZONECERT_MASTER_KEYS_FILE", value_name = "ZONECERT_MASTER_KEYS_FILE", conflicts_with = "master_keys")]
    master_keys_file: Option<PathBuf>,
}

impl MasterKeyArgs {
    /// Reads them.
    pub(crate) fn read(&self) -> Result<Arc<MasterKeys>> {
        let (text, variable) = match (&self.master_keys, &self.master_keys_file) {
            (Some(keys), _) => (Zeroizing::new(keys.clone()), "ZONECERT_MASTER_KEYS"),
            (None, Some(file)) => {
                let text = std::fs::read_to_string(file)
                    .with_context(|| format!("ZONECERT_MASTER_KEYS_FILE: {} cannot be read", file.display()))?;
                (Zeroizing::new(text), "ZONECERT_MASTER_KEYS_FILE")
            }
            (None, None) => bail!(
                "no master key: set ZONECERT_MASTER_KEYS or ZONECERT_MASTER_KEYS_FILE to main:KEY, with a KEY made by `openssl rand -base64 32`"
            ),
        };
        Ok(Arc::new(MasterKeys::parse(&text).context(variable)?))
    }
}
