//! PKCS#12 files (RFC 7292), opened: the certificates and keys that are in them.
//!
//! The MAC is not looked at. It protects a file on its way, and this one came by TLS from whoever is signed in; that key and certificate belong together is
//! checked afterwards.

use openssl::pkey::PKey;

use super::encrypted::Purse;
use super::{Found, MAX_KEYS, UploadError};
use crate::chain::MAX_CERTIFICATES;
use crate::der::{Elements, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE, context, context_primitive};

const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1];
const ENCRYPTED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 6];
/// The kinds of bags, but for the last byte.
const BAGS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 0x0c, 0x0a, 1];
const KEY_BAG: u8 = 1;
const SHROUDED_KEY_BAG: u8 = 2;
const CERTIFICATE_BAG: u8 = 3;

pub(super) fn read(der: &[u8], purse: &mut Purse<'_>, found: &mut Found) -> Result<(), UploadError> {
    let parts = safe_contents(der).ok_or(UploadError::PfxMalformed)?;
    for part in parts {
        let mut part = Elements::new(part.content);
        match part.value(OBJECT_IDENTIFIER) {
            Some(DATA) => {
                let bags = part.enter(context(0)).and_then(|mut data| data.value(OCTET_STRING)).ok_or(UploadError::PfxMalformed)?;
                read_bags(bags, purse, found, &UploadError::PfxMalformed)?;
            }
            Some(ENCRYPTED_DATA) => {
                let (algorithm, data) = encrypted_content(part).ok_or(UploadError::PfxMalformed)?;
                let bags = purse.decrypt(algorithm, data)?;
                read_bags(&bags, purse, found, &UploadError::PassphraseWrong)?;
            }
            _ => return Err(UploadError::EncryptionUnsupported),
        }
    }
    Ok(())
}

/// The parts of the file, each a `ContentInfo`.
fn safe_contents(der: &[u8]) -> Option<Elements<'_>> {
    let mut file = Elements::new(der).enter(SEQUENCE)?;
    (file.number()? == 3).then_some(())?;
    let mut content = file.enter(SEQUENCE)?;
    (content.value(OBJECT_IDENTIFIER)? == DATA).then_some(())?;
    Elements::new(content.enter(context(0))?.value(OCTET_STRING)?).enter(SEQUENCE)
}

/// Of `EncryptedData` (RFC 5652 §8).
fn encrypted_content(mut part: Elements<'_>) -> Option<(Elements<'_>, &[u8])> {
    let mut data = part.enter(context(0))?.enter(SEQUENCE)?;
    data.number()?;
    let mut content = data.enter(SEQUENCE)?;
    (content.value(OBJECT_IDENTIFIER)? == DATA).then_some(())?;
    let algorithm = content.enter(SEQUENCE)?;
    Some((algorithm, content.value(context_primitive(0))?))
}

/// `malformed` is what it means that this is not what it should be: behind a passphrase, that this is not the right one.
fn read_bags(bags: &[u8], purse: &mut Purse<'_>, found: &mut Found, malformed: &UploadError) -> Result<(), UploadError> {
    for bag in Elements::new(bags).enter(SEQUENCE).ok_or(malformed.clone())? {
        let mut bag = Elements::new(bag.content);
        let kind = bag.value(OBJECT_IDENTIFIER).ok_or(malformed.clone())?;
        let mut value = bag.enter(context(0)).ok_or(malformed.clone())?;
        match kind.strip_prefix(BAGS) {
            Some([CERTIFICATE_BAG]) => {
                let certificate = certificate(value).ok_or(malformed.clone())?;
                if found.certificates.len() == MAX_CERTIFICATES {
                    return Err(UploadError::TooManyCertificates);
                }
                found.add_certificate(certificate).map_err(|_| UploadError::PfxMalformed)?;
            }
            Some([KEY_BAG]) => {
                let key = PKey::private_key_from_pkcs8(value.rest()).map_err(|_| malformed.clone())?;
                found.add_key(key)?;
            }
            Some([SHROUDED_KEY_BAG]) => {
                // Counted first: each costs rounds.
                if found.keys.len() == MAX_KEYS {
                    return Err(UploadError::SeveralKeys);
                }
                let mut shrouded = value.enter(SEQUENCE).ok_or(malformed.clone())?;
                let algorithm = shrouded.enter(SEQUENCE).ok_or(malformed.clone())?;
                let data = shrouded.value(OCTET_STRING).ok_or(malformed.clone())?;
                let key = purse.decrypt(algorithm, data)?;
                found.add_key(PKey::private_key_from_pkcs8(&key).map_err(|_| UploadError::PassphraseWrong)?)?;
            }
            // Secrets, lists of revoked certificates and bags within bags.
            _ => {}
        }
    }
    Ok(())
}

fn certificate(mut value: Elements<'_>) -> Option<&[u8]> {
    let mut bag = value.enter(SEQUENCE)?;
    bag.value(OBJECT_IDENTIFIER)?;
    bag.enter(context(0))?.value(OCTET_STRING)
}
