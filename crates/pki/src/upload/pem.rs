//! PEM as people have it: certificates and keys in any order, with remarks between them (RFC 7468 §2).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::ec::EcKey;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use zeroize::Zeroizing;

use super::encrypted::Purse;
use super::{Found, Part, UploadError};
use crate::chain::MAX_PEM_BYTES;
use crate::der::{Elements, OCTET_STRING, SEQUENCE};

/// What stands between `BEGIN` and `END`, still in base64.
pub(super) struct Block {
    part: Part,
    /// Line of `BEGIN`, counted from 1.
    line: usize,
    label: String,
    /// With `BEGIN` and `END`, as it was sent.
    whole: Zeroizing<String>,
    body: Zeroizing<String>,
    /// Whether there are headers, as the older encrypted form has (RFC 1421 §4.6).
    has_headers: bool,
}

/// Adds the blocks of a text.
pub(super) fn read(part: Part, text: &str, blocks: &mut Vec<Block>) -> Result<(), UploadError> {
    if text.len() > MAX_PEM_BYTES {
        return Err(UploadError::TooLarge(part));
    }
    let mut open: Option<Block> = None;
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let malformed = |reason| Err(UploadError::PemMalformed { part, line: number, reason });
        // openssl and we would see different lines where there are others than at the ends of lines.
        if line.trim_end_matches('\r').contains(|character: char| character.is_control() && character != '\t') {
            return malformed("there is a control character");
        }
        let line = line.trim();
        let label = |word: &str| line.strip_prefix("-----")?.strip_prefix(word)?.strip_suffix("-----").map(str::to_owned);
        match (label("BEGIN "), label("END "), open.as_mut()) {
            (Some(_), _, Some(_)) => return malformed("a block begins inside another"),
            (Some(label), _, None) => {
                let whole = Zeroizing::new(format!("{line}\n"));
                open = Some(Block { part, line: number, label, whole, body: Zeroizing::default(), has_headers: false });
            }
            (None, Some(_), None) => return malformed("a block ends that has not begun"),
            (None, Some(label), Some(block)) => {
                if label != block.label {
                    return malformed("a block ends with another name than it begins with");
                }
                block.whole.push_str(line);
                block.whole.push('\n');
                blocks.extend(open.take());
            }
            // openssl, which cuts long lines, could take the rest of one for a block of its own.
            (None, None, Some(_)) if line.contains("-----") => return malformed("there are dashes inside a block"),
            (None, None, Some(block)) => {
                block.has_headers |= line.contains(':');
                block.whole.push_str(line);
                block.whole.push('\n');
                block.body.push_str(line);
            }
            // Remarks between blocks, as `openssl pkcs12` writes them.
            (None, None, None) => {}
        }
    }
    match open {
        Some(block) => Err(block.malformed("this block has no end")),
        None => Ok(()),
    }
}

impl Block {
    pub(super) fn is_certificate(&self) -> bool {
        matches!(self.label.as_str(), "CERTIFICATE" | "X509 CERTIFICATE")
    }

    pub(super) fn is_key(&self) -> bool {
        self.label.ends_with("PRIVATE KEY")
    }

    /// Certificates and keys; what is neither is left alone.
    pub(super) fn open(&self, purse: &mut Purse<'_>, found: &mut Found) -> Result<(), UploadError> {
        if self.is_certificate() {
            return found.add_certificate(&self.decode()?).map_err(|reason| self.malformed(reason));
        }
        let unreadable = |_| UploadError::KeyMalformed(self.part);
        let key = match self.label.as_str() {
            "PRIVATE KEY" => PKey::private_key_from_pkcs8(&self.decode()?).map_err(unreadable)?,
            "ENCRYPTED PRIVATE KEY" => {
                let der = self.decode()?;
                let mut parts = Elements::new(&der).enter(SEQUENCE).ok_or(UploadError::KeyMalformed(self.part))?;
                let algorithm = parts.enter(SEQUENCE).ok_or(UploadError::KeyMalformed(self.part))?;
                let data = parts.value(OCTET_STRING).ok_or(UploadError::KeyMalformed(self.part))?;
                let plain = purse.decrypt(algorithm, data)?;
                PKey::private_key_from_pkcs8(&plain).map_err(|_| UploadError::PassphraseWrong)?
            }
            // One round of MD5.
            "RSA PRIVATE KEY" | "EC PRIVATE KEY" if self.has_headers => {
                let passphrase = purse.passphrase()?;
                PKey::private_key_from_pem_passphrase(self.whole.as_bytes(), passphrase.as_bytes())
                    .map_err(|_| UploadError::PassphraseWrong)?
            }
            "RSA PRIVATE KEY" => Rsa::private_key_from_der(&self.decode()?).and_then(PKey::from_rsa).map_err(unreadable)?,
            "EC PRIVATE KEY" => EcKey::private_key_from_der(&self.decode()?).and_then(PKey::from_ec_key).map_err(unreadable)?,
            _ if self.is_key() => return Err(UploadError::KeyUnsupported(self.part)),
            _ => return Ok(()),
        };
        found.add_key(key)
    }

    fn decode(&self) -> Result<Zeroizing<Vec<u8>>, UploadError> {
        STANDARD.decode(self.body.as_bytes()).map(Zeroizing::new).map_err(|_| self.malformed("this block is not in base64"))
    }

    fn malformed(&self, reason: &'static str) -> UploadError {
        UploadError::PemMalformed { part: self.part, line: self.line, reason }
    }
}
