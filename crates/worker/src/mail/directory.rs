//! Mail as files, for development: what any program for mail opens.

use std::io;
use std::path::Path;

use tokio::fs::{self, OpenOptions};
use tokio::io::AsyncWriteExt as _;
use zonecert_store::mails::MailId;

use super::SendError;

/// Writes `<id>.eml`, in one piece: whoever watches the directory never reads half a mail. Readable for its owner alone, since it may hold a secret.
pub(super) async fn write(directory: &Path, id: MailId, message: &[u8]) -> Result<(), SendError> {
    try_to_write(directory, id, message).await.map_err(|error| SendError::Later(format!("{}: {error}", directory.display())))
}

async fn try_to_write(directory: &Path, id: MailId, message: &[u8]) -> io::Result<()> {
    fs::create_dir_all(directory).await?;
    let unfinished = directory.join(format!(".{}.new", id.0.simple()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished).await?;
    file.write_all(message).await?;
    file.flush().await?;
    fs::rename(&unfinished, directory.join(format!("{}.eml", id.0.simple()))).await
}
