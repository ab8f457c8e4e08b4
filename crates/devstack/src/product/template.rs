//! The migrated database that every fresh one is copied from: made once per stack, migrations and binary.

use std::fs;
use std::path::Path;
use std::time::UNIX_EPOCH;

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use super::Product;

const MIGRATIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations");
/// Key of the advisory lock that lets one process make the template while the others wait. Any number would do.
const LOCK: i64 = 0x7a63_7465_6d70;

/// Answers the template's name.
pub(super) async fn ensure(product: &Product) -> Result<String> {
    let name = name_for(&product.binary)?;
    let postgres = &product.stack.postgres;
    // Held until this connection closes, at the end of this function.
    let turn = postgres.connect_as_admin("postgres").await?;
    turn.execute("SELECT pg_advisory_lock($1)", &[&LOCK]).await?;
    if !postgres.has_database(&name).await? {
        let draft = format!("{name}_draft");
        postgres.drop_database(&draft).await?;
        postgres.create_database(&draft).await?;
        product.migrate(&draft).await?;
        postgres.publish_template(&draft, &name).await?;
    }
    Ok(name)
}

fn name_for(binary: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    let built = fs::metadata(binary)?.modified()?.duration_since(UNIX_EPOCH)?;
    hash.update(built.as_nanos().to_le_bytes());
    hash_dir(Path::new(MIGRATIONS), &mut hash).with_context(|| format!("cannot read {MIGRATIONS}"))?;
    Ok(format!("template_{}", hex::encode(&hash.finalize()[..8])))
}

fn hash_dir(dir: &Path, hash: &mut Sha256) -> Result<()> {
    let mut entries = fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    entries.sort();
    for path in entries {
        hash.update(path.as_os_str().as_encoded_bytes());
        if path.is_dir() {
            hash_dir(&path, hash)?;
        } else {
            hash.update(fs::read(&path)?);
        }
    }
    Ok(())
}
