//! Files and directories of somebody else: of any size, kind and owner.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use zeroize::Zeroizing;
use zonecert_pki::chain::MAX_PEM_BYTES;

use crate::{MAX_FOUND, Text};

/// The text of a file that may hold a key. Links are followed; what is no file, or longer than any PEM is, is not read.
pub(crate) fn read(path: &Path) -> Text {
    let fault = |error: &io::Error| match error.kind() {
        io::ErrorKind::NotFound => format!("there is no {}", path.display()),
        io::ErrorKind::PermissionDenied => format!("{} may not be read; run this as root", path.display()),
        io::ErrorKind::InvalidData => format!("{} is no text", path.display()),
        _ => format!("{} cannot be read: {error}", path.display()),
    };
    let metadata = fs::metadata(path).map_err(|error| fault(&error))?;
    let length = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
    if !metadata.is_file() || length > MAX_PEM_BYTES {
        return Err(format!("{} is no file of PEM", path.display()));
    }
    // As large as the file from the start: growing would leave copies of a key behind.
    let mut text = Zeroizing::new(String::with_capacity(length + 1));
    let file = File::open(path).map_err(|error| fault(&error))?;
    file.take(metadata.len()).read_to_string(&mut text).map_err(|error| fault(&error))?;
    Ok(text)
}

/// What stands in a directory, in the order of the names. Names that are no UTF-8 are left out.
pub(crate) fn entries(directory: &Path) -> Result<Vec<(String, PathBuf)>> {
    let cannot = || format!("{} may not be read; run this as root", directory.display());
    let mut entries = Vec::new();
    for entry in fs::read_dir(directory).with_context(cannot)? {
        ensure!(entries.len() < MAX_FOUND, "{} holds more than {MAX_FOUND} files", directory.display());
        let entry = entry.with_context(cannot)?;
        if let Ok(name) = entry.file_name().into_string() {
            entries.push((name, entry.path()));
        }
    }
    entries.sort();
    Ok(entries)
}
