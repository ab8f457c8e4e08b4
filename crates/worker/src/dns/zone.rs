//! Zones and record sets in the words of `PowerDNS`' API.

use serde::{Deserialize, Serialize};

/// Stands in the field `account` of the zones that we make, so that one is not mistaken for somebody else's.
pub(super) const MARK: &str = "zonecert";

/// A zone with all its record sets.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Zone {
    /// Whose it is, in whatever words: see [`MARK`].
    #[serde(default)]
    pub(super) account: String,
    pub(super) rrsets: Vec<RrSet>,
}

impl Zone {
    /// The record set of this name and type.
    pub(super) fn find(&self, name: &str, record_type: &str) -> Option<&RrSet> {
        self.rrsets.iter().find(|rrset| rrset.record_type == record_type && rrset.name.eq_ignore_ascii_case(name))
    }
}

/// The records of one name and type.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct RrSet {
    /// With its final dot.
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) record_type: String,
    /// Seconds. 0 where there are only comments.
    pub(super) ttl: u32,
    #[serde(default)]
    pub(super) records: Vec<Record>,
    #[serde(default)]
    pub(super) comments: Vec<Comment>,
}

/// One record of a set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Record {
    /// In presentation form.
    pub(super) content: String,
    /// Kept, but not answered.
    #[serde(default)]
    pub(super) disabled: bool,
}

/// A note that somebody left at a record set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Comment {
    pub(super) content: String,
    #[serde(default)]
    pub(super) account: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) modified_at: Option<i64>,
}

/// A record set as it shall be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct RrSetChange {
    /// With its final dot.
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) record_type: String,
    pub(super) changetype: ChangeType,
    /// Seconds.
    pub(super) ttl: u32,
    /// All of them; empty for [`ChangeType::Delete`].
    pub(super) records: Vec<Record>,
    /// `None` keeps those that are there, as long as there is a record left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) comments: Option<Vec<Comment>>,
}

/// What a change does with what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum ChangeType {
    Replace,
    Delete,
}

/// A name as `PowerDNS` writes it: lower case, with its final dot.
pub(super) fn fqdn(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    if name.ends_with('.') { name } else { format!("{name}.") }
}
