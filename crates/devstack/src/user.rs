//! The unprivileged user that `PostgreSQL` runs as when we are root (it refuses to run as root).

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use crate::program;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl User {
    /// `postgres` where it exists, else `nobody`; `None` when we are not root and need no other user.
    pub(crate) fn for_postgres() -> Result<Option<Self>> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let passwd = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
        ["postgres", "nobody"]
            .iter()
            .find_map(|name| Self::in_passwd(&passwd, name))
            .context("neither `postgres` nor `nobody` is a user here; PostgreSQL cannot run as root, so run this as an ordinary user")
            .map(Some)
    }

    /// passwd(5): `name:password:uid:gid:…`
    fn in_passwd(passwd: &str, name: &str) -> Option<Self> {
        let mut fields = passwd.lines().map(|line| line.split(':')).find(|fields| fields.clone().next() == Some(name))?.skip(2);
        Some(Self { uid: fields.next()?.parse().ok()?, gid: fields.next()?.parse().ok()? })
    }

    pub(crate) fn setpriv_args(&self) -> [String; 4] {
        [format!("--reuid={}", self.uid), format!("--regid={}", self.gid), "--clear-groups".to_owned(), "--inh-caps=-all".to_owned()]
    }

    /// Whether this user can reach and write `dir`: tried for real, since any parent may forbid it.
    pub(crate) fn can_write(&self, dir: &Path) -> Result<bool> {
        let status = Command::new(program::get("setpriv", "util-linux")?)
            .args(self.setpriv_args())
            .arg("--")
            .arg(program::get("test", "coreutils")?)
            .arg("-w")
            .arg(dir)
            .current_dir("/")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        Ok(status.success())
    }
}

#[cfg(test)]
mod tests {
    use super::User;

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let passwd =
            "root:x:0:0:root:/root:/bin/bash\npostgres-old:x:7:7::/:/bin/sh\npostgres:x:101:104:,,,:/var/lib/postgresql:/bin/bash\n";
        assert_eq!(User::in_passwd(passwd, "postgres"), Some(User { uid: 101, gid: 104 }));
        assert_eq!(User::in_passwd(passwd, "nobody"), None);
    }
}
