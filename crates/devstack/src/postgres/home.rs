//! Where the data of the private `PostgreSQL` lies.
//!
//! As root the server runs as an unprivileged user, who may not be able to reach the stack's directory (`/root/zonecert`, or a temporary
//! directory of mode 0700). Then the data goes to `/var/tmp/zonecert-<hash of the stack's directory>` and a symbolic link says so.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

use crate::layout::{self, Layout};
use crate::user::User;

/// The directory for the server's files, owned by `user` where there is one.
pub(crate) fn prepare(layout: &Layout, user: Option<&User>) -> Result<PathBuf> {
    let inside = layout.root().join("postgres");
    let Some(user) = user else {
        layout::private_dir(&inside)?;
        return Ok(inside);
    };
    if inside.is_symlink() {
        return outside_dir(layout, user);
    }
    layout::private_dir(&inside)?;
    chown(&inside, Some(user.uid), Some(user.gid))?;
    if user.can_write(&inside)? {
        return Ok(inside);
    }
    fs::remove_dir(&inside).with_context(|| format!("{} holds data that its owner can no longer reach", inside.display()))?;
    let outside = outside_dir(layout, user)?;
    symlink(&outside, &inside)?;
    Ok(outside)
}

/// Deletes the data, wherever it lies.
pub(crate) fn remove(layout: &Layout) -> Result<()> {
    let inside = layout.root().join("postgres");
    if inside.is_symlink() {
        // Never follow the link: only the one place that we would have chosen is ours.
        layout::remove_dir(&outside_path(layout))?;
        return layout::remove_file(&inside);
    }
    layout::remove_dir(&inside)
}

fn outside_path(layout: &Layout) -> PathBuf {
    let digest = Sha256::digest(layout.root().as_os_str().as_encoded_bytes());
    Path::new("/var/tmp").join(format!("zonecert-{}", hex::encode(&digest[..8])))
}

/// `/var/tmp` is open to everybody, so a directory that stands there already must be the user's own and closed to others.
fn outside_dir(layout: &Layout, user: &User) -> Result<PathBuf> {
    let path = outside_path(layout);
    match fs::create_dir(&path) {
        Ok(()) => {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
            let note = format!("PostgreSQL data of {}, whose path the server's user cannot reach.\n", layout.root().display());
            fs::write(path.join("README"), note)?;
            chown(&path, Some(user.uid), Some(user.gid))?;
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let found = fs::symlink_metadata(&path)?;
            if !found.is_dir() || found.uid() != user.uid || found.mode() & 0o077 != 0 {
                bail!("{} was made by somebody else; look at it and delete it", path.display());
            }
        }
        Err(error) => return Err(error).with_context(|| format!("cannot make {}", path.display())),
    }
    Ok(path)
}
