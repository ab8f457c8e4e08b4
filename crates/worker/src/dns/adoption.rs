//! What stood in a zone before us is read in once, so that its holder sees it (requirements S3.71).

use serde_json::json;
use zonecert_domain::records::{MAX_CONTENTS, MAX_RECORD_SETS};
use zonecert_store::StoreError;
use zonecert_store::events::{self, Level, NewEvent};
use zonecert_store::hosted_zones;
use zonecert_store::zone_projections;

use super::holder::{Holder, LEASE, Rows, Trouble};
use super::records::Records;
use super::zone::Zone;

impl Holder<'_> {
    /// Reads in what stands in the zone beside what we know of, unless that has been done. The zone is as it was read after everything was written.
    pub(super) async fn adopt(&self, rows: &Rows, records: &Records<'_>, zone: &Zone) -> Result<(), Trouble> {
        let (lease, dns_zone) = (self.lease, &self.lease.dns_zone);
        let Some(holder) = rows.holder.filter(|holder| !holder.adopted) else { return Ok(()) };
        let (found, unfit) = records.foreign(dns_zone, zone);
        let adopted = self.store.tenant_write(holder.account, async |conn| {
            zone_projections::renew_lease(conn, lease, LEASE).await?;
            let room = hosted_zones::count_room(conn, &holder).await?.min(found.len());
            let read_in = match hosted_zones::adopt(conn, &holder, &found[..room]).await {
                // The zone has passed on since its rows were read, and with that a change of its own is on its way.
                Err(StoreError::Stale) => return Ok(()),
                read_in => read_in?,
            };
            let left_out = found.len() - room + unfit;
            if read_in + left_out > 0 {
                tracing::info!(dns_zone, read_in, left_out, "the records of a zone that was there before were read in");
                events::record(conn, holder.account, adopted(dns_zone, read_in, left_out)).await?;
            }
            Ok::<_, StoreError>(())
        });
        match adopted.await {
            Err(StoreError::NotFound) => Ok(()),
            adopted => Ok(adopted?),
        }
    }
}

fn adopted(dns_zone: &str, read_in: usize, left_out: usize) -> NewEvent {
    let details = json!({ "zone": dns_zone, "record_sets": read_in, "left_out": left_out });
    let message = format!("The zone {dns_zone} was in our DNS already: {read_in} record sets were read in and stay as they are");
    if left_out == 0 {
        return NewEvent { details, ..NewEvent::info("zone_adopted", message) };
    }
    let message = format!(
        "{message}; {left_out} more are served too and not listed, since a zone lists {MAX_RECORD_SETS} of up to {MAX_CONTENTS} records each"
    );
    NewEvent { level: Level::Warning, details, ..NewEvent::info("zone_adopted", message) }
}
