//! The headers that show a receiver who sends a message, which, and when (Standard Webhooks, <https://www.standardwebhooks.com>).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;
use zonecert_pki::{PkiError, hmac_sha256};

/// The value of `webhook-signature`: one signature for each secret, over identifier, seconds since 1970 and body, with dots between them.
pub(super) fn sign(secrets: &[Zeroizing<Vec<u8>>], id: &str, timestamp: i64, body: &str) -> Result<String, PkiError> {
    let signed = format!("{id}.{timestamp}.{body}");
    let signatures = secrets.iter().map(|secret| Ok(format!("v1,{}", STANDARD.encode(hmac_sha256(secret, signed.as_bytes())?))));
    Ok(signatures.collect::<Result<Vec<_>, PkiError>>()?.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's reference libraries.
    #[test]
    fn the_signature_is_that_of_the_specification() {
        let secret = Zeroizing::new(STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap());
        let (id, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", r#"{"test": 2432232314}"#);
        let expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(sign(std::slice::from_ref(&secret), id, 1_614_265_330, body).unwrap(), expected);
        let both = sign(&[Zeroizing::new(vec![7; 32]), secret], id, 1_614_265_330, body).unwrap();
        assert!(both.ends_with(&format!(" {expected}")) && both.matches("v1,").count() == 2, "{both}");
    }
}
