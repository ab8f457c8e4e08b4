//! The keys that an operator would provide: one master key and one key that signs access tokens.

use std::path::{Path, PathBuf};

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::KeyPair;

use crate::layout;

/// Files of one database of the product: sealed rows can be opened with these keys only.
pub(super) struct Keys {
    pub(super) master_keys_file: PathBuf,
    pub(super) jwt_key_file: PathBuf,
}

impl Keys {
    pub(super) fn load_or_create(dir: &Path) -> Result<Self> {
        let keys = Self { master_keys_file: dir.join("master-keys"), jwt_key_file: dir.join("jwt-key.pem") };
        if !keys.master_keys_file.exists() {
            let key = STANDARD.encode(rand::random::<[u8; 32]>());
            layout::write_private(&keys.master_keys_file, &format!("devstack:{key}\n"))?;
        }
        if !keys.jwt_key_file.exists() {
            // P-256 in PKCS#8, for ES256 (RFC 7518 §3.4).
            layout::write_private(&keys.jwt_key_file, &KeyPair::generate()?.serialize_pem())?;
        }
        Ok(keys)
    }
}
