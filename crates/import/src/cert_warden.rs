//! `appdata.db` of Cert Warden, which was `LeGo CertHub`: an `SQLite` database.
//!
//! Its tables are made by `pkg/storage/sqlite/setup_common.go` and `setup_migrate_v*.go` of <https://github.com/gregtwallace/certwarden-backend>. Of the columns
//! that are read here, all have been the same from its first version (`user_version` 0) to 12: `certificates` (`id`, `name`, `private_key_id`), `private_keys` (`id`, `pem`),
//! `acme_orders` (`certificate_id`, `status`, `known_revoked`, `finalized_key_id`, `pem`, `valid_to`). A certificate is what its order with the latest end has brought,
//! as `GetAllValidCurrentOrders` in `orders_get.go` has it, with the key that the order was finalized with.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, Utc};
use rusqlite::{Connection, OpenFlags};
use zeroize::Zeroizing;

use crate::{Found, MAX_FOUND};

/// What each `SQLite` database begins with.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Of a group's rows, `SQLite` gives the one that has the greatest `valid_to`.
const QUERY: &str = "SELECT certificates.name, acme_orders.pem, coalesce(finalized.pem, own.pem), max(acme_orders.valid_to)
    FROM certificates
    LEFT JOIN acme_orders ON acme_orders.certificate_id = certificates.id AND acme_orders.status = 'valid' AND acme_orders.known_revoked = 0
        AND acme_orders.pem IS NOT NULL
    LEFT JOIN private_keys AS finalized ON finalized.id = acme_orders.finalized_key_id
    LEFT JOIN private_keys AS own ON own.id = certificates.private_key_id
    GROUP BY certificates.id LIMIT ?1";

/// The database at a path: itself, or in a directory that the program works in or keeps its data in.
pub(crate) fn database(path: &Path) -> Option<PathBuf> {
    let places = ["appdata.db", "data/appdata.db", "data/app/appdata.db"];
    std::iter::once(path.to_owned()).chain(places.map(|place| path.join(place))).find(|file| is_sqlite(file))
}

fn is_sqlite(file: &Path) -> bool {
    let mut start = [0; MAGIC.len()];
    file.is_file() && File::open(file).and_then(|mut file| file.read_exact(&mut start)).is_ok() && start == *MAGIC
}

pub(crate) fn read(path: &Path, now: DateTime<Utc>) -> Result<Vec<Found>> {
    let file = database(path).context("there is no appdata.db of SQLite in it that may be read")?;
    // Read only: what the program writes meanwhile is seen or not, as a whole, and it is not held up.
    let database = Connection::open_with_flags(&file, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    let mut statement = database.prepare(QUERY).context("it has not the tables of Cert Warden or LeGo CertHub")?;
    let limit = i64::try_from(MAX_FOUND + 1)?;
    let rows = statement.query_map([limit], |row| {
        let (name, pem, key): (String, Option<String>, Option<String>) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok((name, pem.map(Zeroizing::new), key.map(Zeroizing::new)))
    })?;
    let mut found = Vec::new();
    for row in rows {
        let (name, pem, key) = row?;
        let pem = pem.ok_or_else(|| "no order for it has brought a certificate that is not revoked".to_owned());
        let key = key.ok_or_else(|| "its private key is no longer there".to_owned());
        found.push(Found::new(&name, &file, pem, None, key, now));
    }
    ensure!(found.len() <= MAX_FOUND, "there are more than {MAX_FOUND} certificates");
    Ok(found)
}
