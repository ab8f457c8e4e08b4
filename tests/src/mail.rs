//! The mail that people get, as the worker writes it into a directory.

use std::path::Path;

use anyhow::Result;
use zonecert_devstack::wait;

use crate::PATIENCE;

/// Waits for a mail to this address with this subject, and answers the token of its link, or all of it where there is none.
pub async fn read_mail(directory: &Path, recipient: &str, subject: &str) -> Result<String> {
    let (to, about) = (format!("To: {recipient}"), format!("Subject: {subject}"));
    let mail = wait::until(&format!("mail to {recipient}: {subject}"), PATIENCE, async || {
        let Ok(files) = std::fs::read_dir(directory) else { return Ok(None) };
        for file in files {
            let path = file?.path();
            if path.extension().is_some_and(|extension| extension == "eml") {
                let mail = std::fs::read_to_string(&path)?;
                if mail.lines().any(|line| line == to) && mail.lines().any(|line| line == about) {
                    return Ok(Some(mail));
                }
            }
        }
        Ok(None)
    })
    .await?;
    Ok(mail.lines().find_map(|line| Some(line.split_once("?token=")?.1.to_owned())).unwrap_or(mail))
}
