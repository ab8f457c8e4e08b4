//! The directory of a certificate: all its files change at once, and at every moment what is there belongs together.
//!
//! Each version has a directory of its own, and `..data` is a symbolic link to the one in use. The files that services read are links through it
//! (`privkey.pem -> ..data/privkey.pem`), so that one rename, that of `..data`, changes all of them (docs/adr/0026-agent.md).

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::config::Wanted;
use crate::pair::{Pair, check_key, leaf_of, sha256_hex};

/// The link to the version in use. Names with two dots are ours: no file of a configuration begins with one.
const DATA: &str = "..data";
const STATE: &str = "..state.json";
const LOCK: &str = "..lock";

/// A version that is neither in use nor the one before stays for whoever has just begun to read it.
const OLD_AFTER: Duration = Duration::from_mins(1);

/// A certificate's directory, which nobody else changes.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    state: State,
    _lock: File,
}

/// What is remembered beside the files.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct State {
    /// Of the download that is installed.
    pub(crate) etag: String,
    /// SHA-256 of its leaf, in hexadecimal digits.
    pub(crate) leaf_sha256: String,
    /// Which files there are, and whose: where the configuration says otherwise, they are written anew.
    layout: String,
    /// The directory of the version in use.
    data: String,
    /// The one before, which is kept.
    previous: Option<String>,
    /// The service has not read the files yet.
    pub(crate) reload_pending: bool,
}

/// Another process works on the directory.
#[derive(Debug, thiserror::Error)]
#[error("another zonecert-agent works on {0}; stop it first, or leave the work to it")]
pub(crate) struct Locked(String);

impl State {
    /// What is remembered of a directory, if there is anything that can be read.
    pub(crate) fn read(directory: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(directory.join(STATE)).ok()?).ok()
    }

    /// The version that is installed.
    pub(crate) fn version(&self) -> &str {
        self.etag.trim_matches('"')
    }

    /// Whether all that is wanted is there as it was written.
    pub(crate) fn is_whole(&self, wanted: &Wanted) -> bool {
        let data = fs::read_link(wanted.directory.join(DATA));
        data.is_ok_and(|data| data == Path::new(&self.data)) && self.layout == layout(wanted) && self.files_are_whole(wanted).is_some()
    }

    /// Every file leads through the link; the leaf is the one that is remembered, and the key is the leaf's, in each of them.
    fn files_are_whole(&self, wanted: &Wanted) -> Option<()> {
        let (mut leaf, mut keys) = (None, Vec::new());
        for file in &wanted.files {
            let path = wanted.directory.join(&file.name);
            (fs::read_link(&path).ok()? == through_data(&file.name)).then_some(())?;
            let text = Zeroizing::new(fs::read_to_string(&path).ok()?);
            if file.part.holds_leaf() {
                let found = leaf_of(&text)?;
                (sha256_hex(&found) == self.leaf_sha256).then_some(())?;
                leaf = Some(found);
            }
            if file.part.holds_key() {
                keys.push(text);
            }
        }
        match leaf {
            Some(leaf) => keys.iter().all(|key| check_key(&leaf, key).is_ok()).then_some(()),
            None => Some(()),
        }
    }
}

impl Directory {
    /// Makes the directory where it is missing, and locks it for as long as the value lives. Errors with [`Locked`] where somebody else has.
    pub(crate) fn open(wanted: &Wanted) -> Result<Self> {
        let path = wanted.directory.clone();
        let shown = path.display();
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&path)
            .with_context(|| format!("{shown} cannot be made; make it, or let the agent write there"))?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path.join(LOCK)).with_context(|| {
            format!("nothing can be written in {shown}; let the agent write there (in systemd's unit by ReadWritePaths)")
        })?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Locked(shown.to_string()).into()),
            Err(TryLockError::Error(error)) => return Err(error).with_context(|| format!("{shown} cannot be locked")),
        }
        let state = State::read(&path).unwrap_or_default();
        Ok(Self { path, state, _lock: lock })
    }

    /// What is remembered.
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// The `ETag` to ask with: none where something is missing or damaged, so that it is written anew.
    pub(crate) fn known(&self, wanted: &Wanted) -> Option<&str> {
        self.state.is_whole(wanted).then_some(self.state.etag.as_str())
    }

    /// Puts a checked pair in place of what is there. Whatever ends this in between, what was there before stays, or the new is there as a whole; and whoever
    /// comes next finds that the service has still to read it.
    pub(crate) fn install(&mut self, wanted: &Wanted, etag: &str, pair: &Pair) -> Result<()> {
        self.check_names(wanted)?;
        let name = format!("..{}.{}", clean(etag), nanoseconds());
        self.write_version(&name, wanted, pair).with_context(|| format!("the files cannot be written below {}", self.path.display()))?;
        let previous = fs::read_link(self.path.join(DATA)).ok().and_then(|link| link.to_str().map(str::to_owned));
        self.put_link(DATA, Path::new(&name))?;
        for file in &wanted.files {
            if fs::read_link(self.path.join(&file.name)).ok() != Some(through_data(&file.name)) {
                self.put_link(&file.name, &through_data(&file.name))?;
            }
        }
        self.sync()?;
        self.state = State {
            etag: etag.to_owned(),
            leaf_sha256: pair.leaf_sha256().unwrap_or_default(),
            layout: layout(wanted),
            data: name,
            previous,
            reload_pending: !wanted.reload.is_empty(),
        };
        self.save()?;
        self.remove_old(wanted)
    }

    /// The service has read what is there.
    pub(crate) fn reloaded(&mut self) -> Result<()> {
        self.state.reload_pending = false;
        self.save()
    }

    /// What is somebody else's is not touched.
    fn check_names(&self, wanted: &Wanted) -> Result<()> {
        for name in wanted.files.iter().map(|file| &file.name).chain([&DATA.to_owned()]) {
            let path = self.path.join(name);
            match fs::symlink_metadata(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Ok(found) if found.is_symlink() => {
                    let link = fs::read_link(&path)?;
                    let is_ours = name == DATA || link == through_data(name);
                    ensure!(
                        is_ours,
                        "{} is a link that the agent has not made; move it away, or give the file another name",
                        path.display()
                    );
                }
                Ok(_) => bail!("{} is a file that the agent has not made; move it away, or give the file another name", path.display()),
                Err(error) => return Err(error).with_context(|| path.display().to_string()),
            }
        }
        Ok(())
    }

    /// Nobody else can enter the new directory until all its files are there, with mode and owner, and on the disk.
    fn write_version(&self, name: &str, wanted: &Wanted, pair: &Pair) -> Result<()> {
        let directory = self.path.join(name);
        DirBuilder::new().mode(0o700).create(&directory)?;
        for file in &wanted.files {
            let mut written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(directory.join(&file.name))?;
            written.write_all(pair.part(file.part).as_bytes())?;
            if wanted.owner.is_some() || wanted.group.is_some() {
                fchown(&written, wanted.owner, wanted.group).with_context(|| {
                    format!("{} cannot be given to its owner; run the agent as root, or leave owner and group out", file.name)
                })?;
            }
            written.set_permissions(Permissions::from_mode(file.mode))?;
            written.sync_all()?;
        }
        let opened = File::open(&directory)?;
        opened.set_permissions(Permissions::from_mode(0o755))?;
        opened.sync_all()?;
        Ok(())
    }

    /// In one step, whether there was one or not.
    fn put_link(&self, name: &str, to: &Path) -> Result<()> {
        let (path, new) = (self.path.join(name), self.path.join("..link"));
        remove_if_there(&new)?;
        symlink(to, &new).and_then(|()| fs::rename(&new, &path)).with_context(|| format!("{} cannot be linked", path.display()))
    }

    fn save(&self) -> Result<()> {
        let (path, new) = (self.path.join(STATE), self.path.join("..state.new"));
        let save = || -> Result<()> {
            remove_if_there(&new)?;
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
            file.write_all(&serde_json::to_vec_pretty(&self.state)?)?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            self.sync()
        };
        save().with_context(|| format!("{} cannot be written", path.display()))
    }

    fn sync(&self) -> Result<()> {
        Ok(File::open(&self.path)?.sync_all()?)
    }

    /// Versions that nobody needs any more, half-written ones included, and links that are no longer wanted.
    fn remove_old(&self, wanted: &Wanted) -> Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let (name, kind) = (entry.file_name(), entry.file_type()?);
            let Some(name) = name.to_str() else { continue };
            if kind.is_dir() && name.starts_with("..") && name != self.state.data && self.state.previous.as_deref() != Some(name) {
                let age = entry.metadata()?.modified().ok().and_then(|at| SystemTime::now().duration_since(at).ok());
                if age.is_some_and(|age| age > OLD_AFTER) {
                    fs::remove_dir_all(entry.path())?;
                }
            } else if kind.is_symlink()
                && wanted.files.iter().all(|file| file.name != name)
                && fs::read_link(entry.path())? == through_data(name)
            {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

fn through_data(name: &str) -> PathBuf {
    Path::new(DATA).join(name)
}

/// Which files with which modes, and whose.
fn layout(wanted: &Wanted) -> String {
    let files = wanted.files.iter().map(|file| format!("{}={}:{:o}", file.part.as_str(), file.name, file.mode));
    let owner = |id: Option<u32>| id.map_or_else(|| "-".to_owned(), |id| id.to_string());
    format!("{} {}:{}", files.collect::<Vec<_>>().join(" "), owner(wanted.owner), owner(wanted.group))
}

/// Of an `ETag`, what can stand in the name of a directory.
fn clean(etag: &str) -> String {
    etag.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(64).collect()
}

/// Tells directories of one version apart.
fn nanoseconds() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
