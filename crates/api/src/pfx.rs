//! PKCS#12 files, made once for each version, encryption and password, and the same bytes ever after (requirements S1.4).

use actix_web::web;
use zonecert_domain::id::{AccountId, KeyVersionId, VersionId};
use zonecert_pki::pfx::{Encryption, PfxFile};
use zonecert_pki::{CertificateChain, PrivateKey};
use zonecert_store::pfx_files::{self, KeptPfxFile};
use zonecert_store::{Connection, StoreError, private_keys, versions};

use crate::app::App;
use crate::problem::Problem;

/// The media type (RFC 7292 names none; this is what Cert Warden says).
pub(crate) const MEDIA_TYPE: &str = "application/x-pkcs12";

/// A file in PKCS#12 (RFC 7292).
#[derive(utoipa::ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "describes bytes that are sent as they are")]
pub(crate) struct Pfx(Vec<u8>);

/// Which file is wanted.
#[derive(Clone, Copy)]
pub(crate) struct Wish<'a> {
    pub(crate) account: AccountId,
    pub(crate) version: VersionId,
    /// How key stores show it, if the file is made now.
    pub(crate) name: &'a str,
    pub(crate) encryption: Encryption,
    pub(crate) password: &'a str,
}

/// The file that was made before, or a new one. The private key is opened for a new one alone.
pub(crate) async fn get_or_make(app: &App, wish: Wish<'_>) -> Result<KeptPfxFile, Problem> {
    let find = async |conn: &mut Connection| find_kept(app, conn, wish).await;
    if let Some(kept) = app.store.tenant(wish.account, find).await? {
        return Ok(kept);
    }
    let (key_version, file) = make(app, wish).await?;
    // Somebody else may have made it meanwhile: the first one stays.
    let keep = async move |conn: &mut Connection| {
        if let Some(kept) = find_kept(app, conn, wish).await? {
            return Ok(kept);
        }
        let id = pfx_files::insert_pfx_file(conn, &app.masters, wish.account, wish.version, key_version, &file).await?;
        Ok(KeptPfxFile { id, der: file.der().to_vec().into() })
    };
    Ok(app.store.tenant_write::<_, StoreError, _>(wish.account, keep).await?)
}

async fn find_kept(app: &App, conn: &mut Connection, wish: Wish<'_>) -> Result<Option<KeptPfxFile>, StoreError> {
    pfx_files::find_pfx_file(conn, &app.masters, wish.account, wish.version, wish.encryption, wish.password).await
}

/// Burns some CPU, on a thread of its own and outside of any transaction.
async fn make(app: &App, wish: Wish<'_>) -> Result<(KeyVersionId, PfxFile), Problem> {
    let Wish { account, version, .. } = wish;
    let read = async move |conn: &mut Connection| {
        let version = versions::get_version(conn, account, version).await?;
        let der = private_keys::open_key_version(conn, &app.masters, account, version.key_version).await?;
        Ok::<_, StoreError>((version, der))
    };
    let (version, der) = app.store.tenant(account, read).await?;
    let key_version = version.key_version;
    let (name, password, encryption) = (wish.name.to_owned(), zeroize::Zeroizing::new(wish.password.to_owned()), wish.encryption);
    let made = web::block(move || {
        let chain = CertificateChain::parse_pem(&version.chain_pem)?;
        let key = PrivateKey::from_pkcs8_der(&der)?;
        PfxFile::make(&chain, &key, &name, &password, encryption)
    });
    let made = made.await.map_err(|error| Problem::caused_by(&error))?;
    Ok((key_version, made.map_err(|error| Problem::caused_by(&error))?))
}
