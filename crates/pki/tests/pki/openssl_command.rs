//! The `openssl` command line, as a second opinion.

use std::ffi::OsStr;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// Runs `openssl` with `input` on its standard input; its output on success, its complaint otherwise.
pub(crate) fn openssl(arguments: &[impl AsRef<OsStr>], input: &[u8]) -> Result<String, String> {
    let mut child = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command `openssl` is needed: install the package openssl");
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout) + &text(&output.stderr))
    } else {
        Err(text(&output.stdout) + &text(&output.stderr))
    }
}
