//! Random passwords of one stack, made once and kept in its directory for the next run.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::layout::{self, Layout};

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Secrets {
    pub(crate) superuser: String,
    pub(crate) owner: String,
    pub(crate) api: String,
    pub(crate) worker: String,
    pub(crate) powerdns_database: String,
    pub(crate) powerdns_api: String,
    pub(crate) customer_dns_api: String,
}

impl Secrets {
    pub(crate) fn load_or_create(layout: &Layout) -> Result<Self> {
        let path = layout.root().join("secrets.json");
        if let Some(kept) = layout::find_json(&path)? {
            return Ok(kept);
        }
        let secrets = Self {
            superuser: random_password(),
            owner: random_password(),
            api: random_password(),
            worker: random_password(),
            powerdns_database: random_password(),
            powerdns_api: random_password(),
            customer_dns_api: random_password(),
        };
        layout::write_json(&path, &secrets)?;
        Ok(secrets)
    }
}

/// 192 random bits as 48 hexadecimal digits.
pub fn random_password() -> String {
    hex::encode(rand::random::<[u8; 24]>())
}
