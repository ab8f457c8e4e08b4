//! A record set as clients see it.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use zonecert_domain::id::RecordSetId;
use zonecert_store::zone_records::KeptRecordSet;

use crate::openapi::values;

#[derive(Serialize, ToSchema)]
#[schema(as = RecordSet)]
pub(super) struct RecordSetView<'a> {
    #[schema(value_type = values::RecordSetId)]
    id: RecordSetId,
    #[schema(example = "your-domain.com")]
    name: &'a str,
    #[schema(example = "MX")]
    r#type: &'a str,
    /// Seconds.
    #[schema(example = 3600)]
    ttl: u32,
    #[schema(value_type = Vec<String>, example = json!(["10 mail.your-domain.com."]))]
    contents: &'a [String],
    /// It was in our DNS before the zone was verified, and is left as it is until it is set or deleted.
    adopted: bool,
    /// Why our name servers do not show it: it does not go together with another, for one. Null while they do or are about to.
    #[schema(required, example = json!(null))]
    refusal: Option<&'a str>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl<'a> RecordSetView<'a> {
    pub(super) fn new(set: &'a KeptRecordSet) -> Self {
        Self {
            id: set.id(),
            name: &set.name,
            r#type: &set.record_type,
            ttl: set.ttl_seconds(),
            contents: &set.contents,
            adopted: set.adopted,
            refusal: set.refusal.as_deref(),
            created_at: set.created_at,
            updated_at: set.updated_at,
        }
    }
}
