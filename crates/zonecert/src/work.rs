//! `zonecert work`.

use std::sync::Arc;

use anyhow::Result;
use zonecert_worker::{Worker, worker_name};

use crate::settings::acme::AcmeArgs;
use crate::settings::database::DatabaseArgs;
use crate::settings::powerdns::PowerDnsArgs;
use crate::settings::secrets::MasterKeyArgs;
use crate::settings::worker::WorkerArgs;
use crate::stop::asked_to_stop;

/// Works until the process is asked to stop.
pub(crate) async fn run(
    database: &DatabaseArgs,
    master_keys: &MasterKeyArgs,
    worker: WorkerArgs,
    acme: AcmeArgs,
    powerdns: PowerDnsArgs,
) -> Result<()> {
    let masters = master_keys.read()?;
    let settings = worker.settings();
    let store = database.open()?;
    let directories = acme.directories(&store, &masters)?;
    let name = worker_name();
    let projector = powerdns.projector(&store, &name)?;
    let worker = Arc::new(Worker::new(name, store, masters, directories, projector, settings));
    tracing::info!("the worker takes jobs");
    worker.run(database.url(), asked_to_stop()).await?;
    tracing::info!("the worker has stopped");
    Ok(())
}
