//! Records that customers keep in the zones that we host (requirements S3.71): what they may set, in which form it is kept, and zone files.
//!
//! What is kept is what `PowerDNS` takes and gives back: presentation format (RFC 1035 §5.1), names complete, in lower case and with a dot at the end, texts
//! quoted and in pieces of at most 255 octets, addresses and parameters in their shortest form.

mod content;
mod error;
mod master_file;
mod name;
mod record_set;
mod record_type;
mod service;
mod zone_file;

pub use content::{parse_content, quote_text};
pub use error::{RecordError, TextError};
pub use name::RecordName;
pub use record_set::{RecordSet, check_place, parse_ttl, stand_together};
pub use record_type::RecordType;
pub use zone_file::{LeftOut, LeftOutReason, ZoneFile, ZoneFileError, ZoneFileFault, read_zone_file};

/// Record sets of one zone, so many at the most (requirements S3.71).
pub const MAX_RECORD_SETS: usize = 500;

/// Records of one name and type.
pub const MAX_CONTENTS: usize = 100;

/// Characters of all records of one name and type, so that an answer of 64 KiB holds them (RFC 1035 §4.2.2).
pub const MAX_SET_CHARACTERS: usize = 32 * 1024;

/// The shortest time for which resolvers are told to remember a record.
pub const MIN_TTL_SECONDS: u32 = 60;

/// The longest time for which resolvers are told to remember a record.
pub const MAX_TTL_SECONDS: u32 = 86_400;

/// What a record gets of which nothing else was said.
pub const DEFAULT_TTL_SECONDS: u32 = 300;

#[cfg(test)]
mod tests;
