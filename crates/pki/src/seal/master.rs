//! Master keys: they wrap data keys and nothing else.

use base64::alphabet;
use base64::engine::{DecodePaddingMode, Engine as _, GeneralPurpose, GeneralPurposeConfig};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::envelope::{self, AssociatedData, KEY_BYTES, SecretKey};
use super::{DataKey, KeyOwner, SealError};

/// Longest id of a master key. Shorter than the base64 of a key, so that a key in the place of an id is refused.
const MAX_ID_BYTES: usize = 32;

/// Standard base64, padded or not.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// The configured master keys: the first wraps, all unwrap. It implements neither `Debug` nor `Display` and is wiped when dropped.
pub struct MasterKeys {
    current: MasterKey,
    retired: Vec<MasterKey>,
}

struct MasterKey {
    id: String,
    key: SecretKey,
}

/// A data key as it is stored. Useless without the master key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedDataKey {
    /// Id of the data key.
    pub data_key_id: Uuid,
    /// Id of the master key that it is wrapped with.
    pub master_key_id: String,
    /// The sealed data key.
    pub bytes: Vec<u8>,
}

impl MasterKeys {
    /// Reads `<id>:<base64 of 32 bytes>`, several separated by commas, the current one first; blanks and line ends around the entries
    /// are ignored.
    ///
    /// Ids are 1 to 32 letters, digits, `-` and `_`. Fails if there is none, if an id or a key comes twice, or if a key has another
    /// length. No error shows any of the text.
    pub fn parse(text: &str) -> Result<Self, SealError> {
        if text.trim().is_empty() {
            return Err(SealError::NoMasterKey);
        }
        let mut keys: Vec<MasterKey> = Vec::new();
        for (index, entry) in text.split(',').enumerate() {
            let bad = |reason| SealError::BadMasterKey { position: index + 1, reason };
            let key = MasterKey::parse(entry.trim()).map_err(bad)?;
            if keys.iter().any(|other| other.id == key.id) {
                return Err(bad("its id is taken by an earlier one"));
            }
            if keys.iter().any(|other| other.key.bytes() == key.key.bytes()) {
                return Err(bad("it is the same key as an earlier one"));
            }
            keys.push(key);
        }
        let current = keys.remove(0);
        Ok(Self { current, retired: keys })
    }

    /// Id of the master key that wraps. A data key that is wrapped with another is due to be wrapped again.
    pub fn current_id(&self) -> &str {
        &self.current.id
    }

    /// Ids of the others, which only unwrap.
    pub fn retired_ids(&self) -> impl Iterator<Item = &str> {
        self.retired.iter().map(|key| key.id.as_str())
    }

    /// Wraps a data key for its owner with the current master key.
    pub fn wrap(&self, data_key: &DataKey, owner: KeyOwner) -> Result<WrappedDataKey, SealError> {
        let associated = associated_data(owner, &self.current.id, data_key.id);
        Ok(WrappedDataKey {
            data_key_id: data_key.id,
            master_key_id: self.current.id.clone(),
            bytes: envelope::seal(&self.current.key, &associated, data_key.key.bytes())?,
        })
    }

    /// Unwraps what [`Self::wrap`] made for the same owner, with whichever master key it names.
    pub fn unwrap(&self, wrapped: &WrappedDataKey, owner: KeyOwner) -> Result<DataKey, SealError> {
        let master = std::iter::once(&self.current)
            .chain(&self.retired)
            .find(|master| master.id == wrapped.master_key_id)
            .ok_or_else(|| SealError::UnknownMasterKey { id: wrapped.master_key_id.clone() })?;
        let associated = associated_data(owner, &master.id, wrapped.data_key_id);
        let bytes = envelope::open(&master.key, &associated, &wrapped.bytes)?;
        let key = SecretKey::from_bytes(&bytes).ok_or(SealError::Truncated)?;
        Ok(DataKey { id: wrapped.data_key_id, key })
    }
}

fn associated_data(owner: KeyOwner, master_key_id: &str, data_key_id: Uuid) -> AssociatedData {
    AssociatedData::new("zonecert data key").owner(owner).field(master_key_id.as_bytes()).field(data_key_id.as_bytes())
}

impl MasterKey {
    fn parse(entry: &str) -> Result<Self, &'static str> {
        let (id, base64) = entry.split_once(':').ok_or("there is no colon between id and key")?;
        let is_id =
            (1..=MAX_ID_BYTES).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        if !is_id {
            return Err("its id is not 1 to 32 letters, digits, hyphens and underscores");
        }
        let wrong_length = "its key does not have 32 bytes";
        // With room for more than a key, so that a longer one is told from a malformed one without a copy on the heap.
        let mut bytes = Zeroizing::new([0; 2 * KEY_BYTES]);
        let count = BASE64.decode_slice(base64.trim(), bytes.as_mut_slice()).map_err(|error| match error {
            base64::DecodeSliceError::DecodeError(_) => "its key is not base64",
            base64::DecodeSliceError::OutputSliceTooSmall => wrong_length,
        })?;
        let key = SecretKey::from_bytes(&bytes[..count]).ok_or(wrong_length)?;
        Ok(Self { id: id.to_owned(), key })
    }
}
