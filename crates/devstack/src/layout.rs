//! What lies where in a stack's directory, and who may read it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The directory of one stack.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Makes the directory where it is missing.
    pub(crate) fn create(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let root = dir.canonicalize().with_context(|| format!("cannot find {}", dir.display()))?;
        let layout = Self { root };
        for sub in ["run", "log"] {
            fs::create_dir_all(layout.root.join(sub)).with_context(|| format!("cannot write in {}", layout.root.display()))?;
        }
        Ok(layout)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where process ids and command lines are kept, one file a process.
    pub(crate) fn run_dir(&self) -> PathBuf {
        self.root.join("run")
    }

    pub(crate) fn log(&self, part: &str) -> PathBuf {
        self.root.join("log").join(format!("{part}.log"))
    }

    pub(crate) fn pid_file(&self, part: &str) -> PathBuf {
        self.run_dir().join(format!("{part}.json"))
    }

    /// The directory of one part, readable by its owner only.
    pub(crate) fn part(&self, part: &str) -> Result<PathBuf> {
        let path = self.root.join(part);
        private_dir(&path)?;
        Ok(path)
    }

    pub(crate) fn description(&self) -> PathBuf {
        self.root.join("stack.json")
    }

    /// Takes the directory for this process: the lock ends with the process, however it ends.
    ///
    /// # Errors
    /// When a live process holds it.
    pub(crate) fn lock(&self) -> Result<File> {
        let path = self.root.join("lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
        match lock.try_lock() {
            Ok(()) => Ok(lock),
            Err(TryLockError::WouldBlock) => {
                bail!("{} is in use by another run; stop that one first (Ctrl-C in its terminal)", self.root.display())
            }
            Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
        }
    }

    /// Deletes all that a stack and the product running on it have stored here, and nothing else.
    pub(crate) fn remove_data(&self) -> Result<()> {
        crate::postgres::home::remove(self)?;
        for entry in ["powerdns", "customer-dns", "pebble", "product"] {
            remove_dir(&self.root.join(entry))?;
        }
        for entry in ["stack.json", "secrets.json", "ports.json"] {
            remove_file(&self.root.join(entry))?;
        }
        Ok(())
    }

    /// Logs speak of one run.
    pub(crate) fn begin_logs(&self) -> Result<()> {
        let logs = self.root.join("log");
        remove_dir(&logs)?;
        private_dir(&logs)
    }
}

pub(crate) fn private_dir(path: &Path) -> Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).with_context(|| format!("cannot make {}", path.display()))
}

/// Writes a file that only its owner can read.
pub fn write_private(path: &Path, content: &str) -> Result<()> {
    remove_file(path)?;
    let file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(content.as_bytes())).with_context(|| format!("cannot write {}", path.display()))
}

pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    write_private(path, &serde_json::to_string_pretty(value)?)
}

/// `None` when there is no such file.
pub(crate) fn find_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match fs::read_to_string(path) {
        Ok(text) => serde_json::from_str(&text).map(Some).with_context(|| format!("{} is damaged; delete it", path.display())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

pub(crate) fn remove_file(path: &Path) -> Result<()> {
    gone(fs::remove_file(path), path)
}

pub(crate) fn remove_dir(path: &Path) -> Result<()> {
    gone(fs::remove_dir_all(path), path)
}

fn gone(result: std::io::Result<()>, path: &Path) -> Result<()> {
    match result {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error).with_context(|| format!("cannot delete {}", path.display())),
        _ => Ok(()),
    }
}

/// The last `lines` lines of a log, indented, for an error message.
pub(crate) fn tail(log: &Path, lines: usize) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    let last = &all[all.len().saturating_sub(lines)..];
    if last.is_empty() {
        return format!("{} is empty", log.display());
    }
    format!("last lines of {}:\n    {}", log.display(), last.join("\n    "))
}
