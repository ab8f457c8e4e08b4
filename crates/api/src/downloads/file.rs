//! The file itself, once it is known that it may be had and that the client does not have it.

use actix_web::web::Bytes;
use serde_json::json;
use zeroize::Zeroizing;
use zonecert_domain::id::{AccountId, ApiKeyId, KeyVersionId, VersionId};
use zonecert_pki::pfx::Encryption;
use zonecert_pki::{CertificateChain, PkiError, PrivateKey};
use zonecert_store::api_keys::Resource;
use zonecert_store::{Connection, private_keys, versions};

use super::face::Kind;
use crate::app::App;
use crate::audit;
use crate::certificates::download::PEM;
use crate::pfx::{self, Wish};
use crate::problem::Problem;
use crate::request_id::RequestId;

/// What is to be sent.
pub(super) enum What {
    /// A private key.
    PrivateKey(KeyVersionId),
    /// Something of a version.
    OfVersion { kind: Kind, version: VersionId, key_version: KeyVersionId },
    /// A version in PKCS#12, encrypted with an API key of its private key.
    Pfx { version: VersionId, api_key: ApiKeyId, password: Zeroizing<String>, encryption: Encryption },
}

impl What {
    pub(super) fn of(
        kind: Kind,
        version: VersionId,
        key_version: KeyVersionId,
        of_key: Option<(ApiKeyId, Zeroizing<String>)>,
        encryption: Encryption,
    ) -> Self {
        match (kind, of_key) {
            (Kind::Pfx, Some((api_key, password))) => Self::Pfx { version, api_key, password, encryption },
            _ => Self::OfVersion { kind, version, key_version },
        }
    }

    /// Names the bytes at this path: they are others as soon as this is another, and never before (requirements S1.4). Found out without opening a key.
    pub(super) fn tag(&self) -> String {
        match self {
            Self::PrivateKey(key_version) => key_version.to_string(),
            Self::OfVersion { version, .. } => version.to_string(),
            Self::Pfx { version, api_key, encryption, .. } => format!("{version}.{api_key}.{}", encryption.as_str()),
        }
    }

    pub(super) fn media_type(&self) -> &'static str {
        match self {
            Self::Pfx { .. } => pfx::MEDIA_TYPE,
            _ => PEM,
        }
    }

    /// How the name of the file ends, behind the name of certificate or key.
    pub(super) fn file_ending(&self) -> &'static str {
        match self {
            Self::PrivateKey(_) => ".key.pem",
            Self::Pfx { .. } => ".pfx",
            Self::OfVersion { kind, .. } => match kind {
                Kind::LeafAndChain => ".cert.pem",
                Kind::KeyAndLeaf => ".certkey.pem",
                Kind::KeyLeafAndChain(ending) => ending,
                Kind::Chain => ".chain.pem",
                Kind::PrivateKey | Kind::Pfx => "",
            },
        }
    }

    /// The bytes. That a key was downloaded is noted in the audit log.
    pub(super) async fn read(
        &self,
        app: &App,
        account: AccountId,
        resource: Resource,
        used: &[ApiKeyId],
        name: &str,
        request_id: &RequestId,
    ) -> Result<Bytes, Problem> {
        let note = Note { account, resource, used, request_id };
        match self {
            Self::PrivateKey(id) => {
                let read = async move |conn: &mut Connection| {
                    note.write(conn, json!({"key_version_id": id})).await?;
                    Ok(private_keys::open_key_version(conn, &app.masters, account, *id).await?)
                };
                let der: Zeroizing<Vec<u8>> = app.store.tenant::<_, Problem, _>(account, read).await?;
                Ok(Bytes::from_owner(key_pem(&der).map_err(|error| Problem::caused_by(&error))?))
            }
            Self::OfVersion { kind, version, key_version } => {
                let read = async move |conn: &mut Connection| {
                    let version = versions::get_version(conn, account, *version).await?;
                    if !kind.holds_key() {
                        return Ok((version, None));
                    }
                    note.write(conn, json!({"version_id": version.id})).await?;
                    Ok((version, Some(private_keys::open_key_version(conn, &app.masters, account, *key_version).await?)))
                };
                let (version, der) = app.store.tenant::<_, Problem, _>(account, read).await?;
                parts(*kind, &version.chain_pem, der.as_ref().map(|der| der.as_slice())).map_err(|error| Problem::caused_by(&error))
            }
            Self::Pfx { version, password, encryption, .. } => {
                let wish = Wish { account, version: *version, name, encryption: *encryption, password };
                let file = pfx::get_or_make(app, wish).await?;
                let write = async move |conn: &mut Connection| note.write(conn, json!({"version_id": version, "form": "pfx"})).await;
                app.store.tenant::<_, Problem, _>(account, write).await?;
                Ok(Bytes::from_owner(file.der))
            }
        }
    }
}

/// As the originals put the parts together: an empty line between key and certificate.
fn parts(kind: Kind, chain_pem: &str, key_der: Option<&[u8]>) -> Result<Bytes, PkiError> {
    let chain = CertificateChain::parse_pem(chain_pem)?;
    let certificates = match kind {
        Kind::KeyAndLeaf => chain.leaf_pem().to_owned(),
        Kind::Chain => chain.issuers_pem().to_owned(),
        _ => chain.full_pem(),
    };
    let Some(der) = key_der else { return Ok(Bytes::from(certificates)) };
    let key = key_pem(der)?;
    // Large enough from the start to leave no copy of the key behind by growing.
    let mut whole = Zeroizing::new(String::with_capacity(key.len() + 1 + certificates.len()));
    whole.push_str(&key);
    whole.push('\n');
    whole.push_str(&certificates);
    Ok(Bytes::from_owner(whole))
}

fn key_pem(der: &[u8]) -> Result<Zeroizing<String>, PkiError> {
    PrivateKey::from_pkcs8_der(der)?.to_pkcs8_pem()
}

/// Who has downloaded a key.
#[derive(Clone, Copy)]
struct Note<'a> {
    account: AccountId,
    resource: Resource,
    used: &'a [ApiKeyId],
    request_id: &'a RequestId,
}

impl Note<'_> {
    /// The API key of the private key is who has done it.
    async fn write(self, conn: &mut Connection, details: serde_json::Value) -> Result<(), Problem> {
        let subject = match self.resource {
            Resource::Certificate(id) => id.to_string(),
            Resource::PrivateKey(id) => id.to_string(),
        };
        let Some(&key) = self.used.last() else { return Ok(()) };
        Ok(audit::record_api_key(conn, self.account, key, "key.downloaded", &subject, self.request_id, details).await?)
    }
}
