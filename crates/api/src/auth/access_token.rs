//! Access tokens: JWTs of 15 minutes, signed by ES256, that say who has signed in and nothing more.

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use uuid::Uuid;
use zeroize::Zeroizing;
use zonecert_domain::id::{AccountId, UserId};

use crate::settings::SettingsError;

/// How long one is good.
pub const LIFETIME: TimeDelta = TimeDelta::minutes(15);

const ALGORITHM: Algorithm = Algorithm::ES256;
const END_OF_KEY: &str = "-----END PRIVATE KEY-----";

/// Signs and verifies access tokens.
pub(crate) struct AccessTokens {
    signer: EncodingKey,
    header: Header,
    verifiers: Vec<Verifier>,
    validation: Validation,
    issuer: String,
}

struct Verifier {
    kid: String,
    key: DecodingKey,
}

/// The one reason for which an access token is not accepted, whatever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotAccepted;

/// Who has signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) account: AccountId,
    pub(crate) user: UserId,
    /// When, to the microsecond by the database's clock: a log-out everywhere of a later moment voids it.
    pub(crate) signed_in_at: DateTime<Utc>,
}

/// RFC 7519 §4.1, and the tenant.
#[derive(serde::Serialize, serde::Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: UserId,
    acct: AccountId,
    iat: i64,
    /// `iat` in microseconds, since a log-out and the sign-in that follows are often of one second.
    iat_us: i64,
    exp: i64,
    jti: Uuid,
}

impl AccessTokens {
    /// Takes private keys in PEM, one after the other; the first signs. A key's `kid` is its thumbprint (RFC 7638), so that nobody has to
    /// name it.
    pub(crate) fn new(pem: &str, issuer: &str) -> Result<Self, SettingsError> {
        let keys = split(pem).map(read_key).collect::<Result<Vec<_>, _>>()?;
        let (signers, verifiers): (Vec<_>, Vec<_>) = keys.into_iter().unzip();
        let signer = signers.into_iter().next().ok_or_else(|| unusable("there is none"))?;
        let mut header = Header::new(ALGORITHM);
        header.kid = verifiers.first().map(|verifier: &Verifier| verifier.kid.clone());
        let mut validation = Validation::new(ALGORITHM);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[issuer]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // `verify` compares it with the time that it is given.
        validation.validate_exp = false;
        Ok(Self { signer, header, verifiers, validation, issuer: issuer.to_owned() })
    }

    /// A token for somebody who has just proven who they are.
    pub(crate) fn sign(&self, subject: Subject) -> Result<Zeroizing<String>, jsonwebtoken::errors::Error> {
        let now = subject.signed_in_at;
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: self.issuer.clone(),
            sub: subject.user,
            acct: subject.account,
            iat: now.timestamp(),
            iat_us: now.timestamp_micros(),
            exp: (now + LIFETIME).timestamp(),
            jti: Uuid::new_v4(),
        };
        jsonwebtoken::encode(&self.header, &claims, &self.signer).map(Zeroizing::new)
    }

    /// Who the bearer is, if the token is ours and has not expired. The algorithm is ours to choose, never the token's (RFC 8725 §3.1).
    pub(crate) fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<Subject, NotAccepted> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| NotAccepted)?;
        let kid = header.kid.ok_or(NotAccepted)?;
        let verifier = self.verifiers.iter().find(|verifier| verifier.kid == kid).ok_or(NotAccepted)?;
        let claims = jsonwebtoken::decode::<Claims>(token, &verifier.key, &self.validation).map_err(|_| NotAccepted)?.claims;
        if claims.exp <= now.timestamp() {
            return Err(NotAccepted);
        }
        let signed_in_at = DateTime::from_timestamp_micros(claims.iat_us).ok_or(NotAccepted)?;
        Ok(Subject { account: claims.acct, user: claims.sub, signed_in_at })
    }
}

/// Each key with the end of its PEM; what follows the last one is an element too, unless it is blank.
fn split(pem: &str) -> impl Iterator<Item = &str> {
    pem.split_inclusive(END_OF_KEY).map(str::trim).filter(|part| !part.is_empty())
}

fn read_key(pem: &str) -> Result<(EncodingKey, Verifier), SettingsError> {
    let signer = EncodingKey::from_ec_pem(pem.as_bytes()).map_err(|_| unusable("one is not an EC key in PKCS#8 PEM"))?;
    let public = Jwk::from_encoding_key(&signer, ALGORITHM).map_err(|_| unusable("one is not of the curve P-256"))?;
    if !matches!(&public.algorithm, AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256) {
        return Err(unusable("one is not of the curve P-256"));
    }
    let key = DecodingKey::from_jwk(&public).map_err(|_| unusable("the public half of one cannot be had"))?;
    let kid = public.thumbprint(ThumbprintHash::SHA256).map_err(|_| unusable("the thumbprint of one cannot be had"))?;
    Ok((signer, Verifier { kid, key }))
}

fn unusable(reason: &str) -> SettingsError {
    SettingsError::TokenKeys(reason.to_owned())
}

#[cfg(test)]
#[path = "access_token_tests.rs"]
mod tests;
