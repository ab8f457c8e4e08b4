//! What is pushed to a Cert Warden client (`docs/adr/0030-push.md`): the version in use when it is sent, and its key, sealed under the key of the client.

use serde::Serialize;
use zeroize::Zeroizing;
use zonecert_domain::id::{AccountId, CertificateId, VersionId};
use zonecert_pki::seal::ClientKey;
use zonecert_pki::{MasterKeys, PrivateKey};
use zonecert_store::push_targets::{self, Content};
use zonecert_store::{Connection, StoreError};

/// The body of a push, and what is in it.
pub(super) struct Envelope {
    pub(super) version: VersionId,
    pub(super) body: String,
}

/// What the client finds when it has opened the envelope.
#[derive(Serialize)]
struct Inner<'a> {
    key_pem: &'a str,
    cert_pem: &'a str,
}

#[derive(Serialize)]
struct Outer {
    payload: String,
}

/// Puts what is in use now into an envelope. The error says why there is nothing to push.
pub(super) async fn envelope(
    conn: &mut Connection,
    masters: &MasterKeys,
    account: AccountId,
    certificate: CertificateId,
    keys: &[Zeroizing<Vec<u8>>],
) -> Result<Result<Envelope, String>, StoreError> {
    let Some(content) = push_targets::find_content(conn, masters, account, certificate).await? else {
        return Ok(Err("the certificate has no valid version with a key; the next one is pushed".to_owned()));
    };
    let Some(key) = keys.first().and_then(|key| ClientKey::from_bytes(key)) else {
        return Ok(Err("the target has no key; give it one by PATCH".to_owned()));
    };
    Ok(seal(&key, &content).map(|body| Envelope { version: content.version, body }))
}

fn seal(key: &ClientKey, content: &Content) -> Result<String, String> {
    let key_pem = PrivateKey::from_pkcs8_der(&content.key_der).and_then(|key| key.to_pkcs8_pem()).map_err(|error| error.to_string())?;
    write(key, &key_pem, &content.chain_pem)
}

fn write(key: &ClientKey, key_pem: &str, cert_pem: &str) -> Result<String, String> {
    // Escaped newlines are all that JSON adds; nothing is left behind by growing.
    let mut inner = Zeroizing::new(Vec::with_capacity(2 * (key_pem.len() + cert_pem.len()) + 256));
    serde_json::to_writer(&mut *inner, &Inner { key_pem, cert_pem }).map_err(|error| error.to_string())?;
    let payload = key.seal_to_text(&inner).map_err(|error| error.to_string())?;
    serde_json::to_string(&Outer { payload }).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// Opens an envelope as the client does, in another language, with another library.
    const CLIENT: &str = r#"
import base64, json, sys
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
raw = lambda text: base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
outer = json.load(sys.stdin)
assert list(outer) == ["payload"] and "=" not in outer["payload"]
sealed = raw(outer["payload"])
sys.stdout.write(AESGCM(raw(sys.argv[1])).decrypt(sealed[:12], sealed[12:], None).decode())
"#;

    fn open(key: &str, body: &str) -> String {
        use std::io::Write as _;
        let mut python = Command::new("/usr/bin/python3");
        python.args(["-c", CLIENT, key]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut python = python.spawn().expect("Debian's Python, with the package python3-cryptography");
        python.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
        let output = python.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn an_envelope_is_opened_by_who_knows_nothing_of_us_but_the_key() {
        let key = ClientKey::generate().unwrap();
        let body = write(&key, "-----BEGIN PRIVATE KEY-----\nMIIE\n", "-----BEGIN CERTIFICATE-----\nMIID\n").unwrap();
        assert!(!body.contains("BEGIN"), "{body}");
        let inner = r#"{"key_pem":"-----BEGIN PRIVATE KEY-----\nMIIE\n","cert_pem":"-----BEGIN CERTIFICATE-----\nMIID\n"}"#;
        assert_eq!(open(&key.reveal(), &body), inner);
    }
}
