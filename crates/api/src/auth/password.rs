//! Passwords: their rules, and argon2id with a bounded number at once.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::phc;
use argon2::password_hash::{self, PasswordHasher, PasswordVerifier};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zeroize::Zeroizing;
use zonecert_store::users::PasswordHash;

use crate::problem::Problem;

/// Fewest characters of a password.
pub const MIN_CHARACTERS: usize = 12;

/// Most characters of a password.
pub const MAX_CHARACTERS: usize = 128;

/// How long a request waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);

/// A secret text of a request. It implements neither `Debug` nor `Display` nor `Serialize`, and is wiped when dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a text over.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl<'de> serde::Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <String as serde::Deserialize>::deserialize(deserializer);
        text.map(Self::new).map_err(|error: D::Error| {
            // What is of another type would be repeated; what is missing has nothing to repeat.
            if error.to_string().starts_with("missing field ") {
                error
            } else {
                serde::de::Error::custom("invalid type: expected a string")
            }
        })
    }
}

/// A password that keeps the rules for new ones.
#[derive(Clone)]
pub struct Password(Secret);

/// Why a text cannot be a new password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// NIST SP 800-63B-4 §3.1.1.2 asks for length rather than for kinds of characters.
    #[error("the password is too short; use at least {MIN_CHARACTERS} characters, for instance four words")]
    TooShort,
    /// Nobody types that many.
    #[error("the password is too long; use at most {MAX_CHARACTERS} characters")]
    TooLong,
}

impl PasswordError {
    /// The stable code in problem documents.
    pub const fn code(self) -> &'static str {
        match self {
            Self::TooShort => "password_too_short",
            Self::TooLong => "password_too_long",
        }
    }
}

impl Password {
    /// Takes a new password as it is, white space included.
    pub fn parse(secret: Secret) -> Result<Self, PasswordError> {
        match secret.reveal().chars().count() {
            ..MIN_CHARACTERS => Err(PasswordError::TooShort),
            MIN_CHARACTERS..=MAX_CHARACTERS => Ok(Self(secret)),
            _ => Err(PasswordError::TooLong),
        }
    }

    /// Hashes the password on a thread for such work.
    pub(crate) async fn hash(&self) -> Result<PasswordHash, HashingError> {
        let password = self.0.clone();
        blocking(move || hash(&password)).await
    }
}

/// Hashing failed for a reason that lies in this machine.
#[derive(Debug, thiserror::Error)]
pub enum HashingError {
    /// argon2 says so.
    #[error("the password could not be hashed: {0}")]
    Argon2(password_hash::Error),
    /// The thread was lost.
    #[error("the thread that hashed a password was lost: {0}")]
    Thread(#[from] tokio::task::JoinError),
}

/// The right to hash. A clone goes into the thread, so that a client that hangs up does not make room before the work is done.
#[derive(Clone)]
pub(crate) struct Turn {
    _permit: Arc<OwnedSemaphorePermit>,
}

/// Hashes and checks passwords, a bounded number at once: each takes 19 MiB.
pub(crate) struct Passwords {
    turns: Arc<Semaphore>,
    patience: Duration,
    /// Of a password that nobody knows: checked when nobody has the address, so that time does not tell which addresses are known.
    nobodys: PasswordHash,
}

impl Passwords {
    /// Hashes one password at once, to have [`Self::nobodys`].
    pub(crate) fn new(at_once: NonZeroUsize) -> Result<Self, HashingError> {
        let mut unknown = Zeroizing::new([0_u8; 32]);
        rand::fill(unknown.as_mut_slice());
        let nobodys = hash(&Secret::new(hex::encode(unknown.as_slice())))?;
        Ok(Self { turns: Arc::new(Semaphore::new(at_once.get())), patience: PATIENCE, nobodys })
    }

    /// Hashes a new password when it is its turn.
    pub(crate) async fn hash(&self, password: &Password) -> Result<PasswordHash, Problem> {
        let turn = self.turn().await?;
        let password = password.0.clone();
        let hashed = blocking(move || {
            let _turn = turn;
            hash(&password)
        });
        hashed.await.map_err(|error| Problem::caused_by(&error))
    }

    /// Whether the password is that of `stored`. Takes as long when there is none, and says no. While the turn is kept, nobody else gets it: what
    /// follows from a wrong password can be written before the next is tried.
    pub(crate) async fn verify(&self, turn: &Turn, password: Secret, stored: Option<PasswordHash>) -> Result<bool, Problem> {
        let turn = turn.clone();
        let known = stored.is_some();
        let stored = stored.unwrap_or_else(|| self.nobodys.clone());
        let verified = blocking(move || {
            let _turn = turn;
            verify(&password, &stored)
        });
        verified.await.map(|good| good && known).map_err(|error| Problem::caused_by(&error))
    }

    /// Waits for a turn to hash.
    pub(crate) async fn turn(&self) -> Result<Turn, Problem> {
        match tokio::time::timeout(self.patience, Arc::clone(&self.turns).acquire_owned()).await {
            Ok(Ok(turn)) => Ok(Turn { _permit: Arc::new(turn) }),
            Ok(Err(_)) | Err(_) => {
                Err(Problem::unavailable("sign_in_busy", "Very many people sign in at this moment; try again in a few seconds", 5))
            }
        }
    }
}

async fn blocking<R: Send + 'static>(work: impl FnOnce() -> Result<R, HashingError> + Send + 'static) -> Result<R, HashingError> {
    tokio::task::spawn_blocking(work).await?
}

/// argon2id with 19 MiB, two passes and one lane, as RFC 9106 §4 orders its choices and OWASP's cheat sheet sizes them.
fn hash(password: &Secret) -> Result<PasswordHash, HashingError> {
    let phc: phc::PasswordHash = Argon2::default().hash_password(password.reveal().as_bytes()).map_err(HashingError::Argon2)?;
    Ok(PasswordHash::new(phc.to_string()))
}

fn verify(password: &Secret, stored: &PasswordHash) -> Result<bool, HashingError> {
    let phc = phc::PasswordHash::new(stored.as_str()).map_err(|error| HashingError::Argon2(error.into()))?;
    match Argon2::default().verify_password(password.reveal().as_bytes(), &phc) {
        Ok(()) => Ok(true),
        Err(password_hash::Error::PasswordInvalid) => Ok(false),
        Err(error) => Err(HashingError::Argon2(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    fn passwords(at_once: usize, patience: Duration) -> Passwords {
        Passwords { patience, ..Passwords::new(NonZeroUsize::new(at_once).unwrap()).unwrap() }
    }

    #[test]
    fn a_password_has_12_to_128_characters_of_any_kind() {
        let parse = |text: &str| Password::parse(secret(text)).map(drop);
        assert_eq!(parse(&"x".repeat(11)), Err(PasswordError::TooShort));
        assert_eq!(parse(&"é".repeat(11)), Err(PasswordError::TooShort));
        assert_eq!(parse(&"é".repeat(12)), Ok(()));
        assert_eq!(parse(&" ".repeat(12)), Ok(()));
        assert_eq!(parse(&"𝄞".repeat(128)), Ok(()));
        assert_eq!(parse(&"x".repeat(129)), Err(PasswordError::TooLong));
    }

    #[tokio::test]
    async fn only_the_same_password_is_right() {
        let passwords = passwords(1, PATIENCE);
        let right = "correct horse battery staple ";
        let stored = passwords.hash(&Password::parse(secret(right)).unwrap()).await.unwrap_or_else(|_| panic!("hashing failed"));
        assert!(stored.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        let turn = passwords.turn().await.unwrap();
        assert!(passwords.verify(&turn, secret(right), Some(stored.clone())).await.unwrap());
        for wrong in ["", right.trim(), "Correct horse battery staple "] {
            assert!(!passwords.verify(&turn, secret(wrong), Some(stored.clone())).await.unwrap());
        }
    }

    #[tokio::test]
    async fn nobodys_password_is_never_right_and_costs_the_same_work() {
        let passwords = passwords(1, PATIENCE);
        let turn = passwords.turn().await.unwrap();
        assert!(!passwords.verify(&turn, secret("correct horse battery staple"), None).await.unwrap());
        assert!(passwords.nobodys.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
    }

    #[tokio::test]
    async fn a_damaged_hash_is_our_fault_and_not_the_clients() {
        let passwords = passwords(1, PATIENCE);
        let turn = passwords.turn().await.unwrap();
        let problem =
            passwords.verify(&turn, secret("whatever it is"), Some(PasswordHash::new("$argon2id$v=19$".to_owned()))).await.unwrap_err();
        assert_eq!(problem.code(), "internal_error");
    }

    #[tokio::test]
    async fn whoever_waits_too_long_for_a_turn_is_sent_away() {
        let passwords = passwords(1, Duration::ZERO);
        let turn = passwords.turn().await.unwrap();
        let problem = passwords.turn().await.map(drop).unwrap_err();
        assert_eq!(problem.code(), "sign_in_busy");
        drop(turn);
        assert!(passwords.turn().await.is_ok());
    }

    #[test]
    fn an_error_about_a_secret_does_not_repeat_it() {
        let error = serde_json::from_str::<Secret>("[\"hunter2 hunter2\"]").map(drop).unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
        let error = serde_json::from_str::<Secret>("123456789012").map(drop).unwrap_err();
        assert!(!error.to_string().contains("1234"), "{error}");
    }
}
