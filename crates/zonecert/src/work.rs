//! `zonecert work`.

use std::sync::Arc;

use anyhow::Result;
use zonecert_api::Monitoring;
use zonecert_worker::webhook::WebhookSender;
use zonecert_worker::{Worker, worker_name};

use crate::settings::database::DatabaseArgs;
use crate::settings::outside::OutsideArgs;
use crate::settings::secrets::MasterKeyArgs;
use crate::settings::shared::SharedArgs;
use crate::settings::worker::WorkerArgs;
use crate::stop::asked_to_stop;

/// Works until the process is asked to stop.
pub(crate) async fn run(
    database: &DatabaseArgs,
    master_keys: &MasterKeyArgs,
    worker: WorkerArgs,
    SharedArgs { ca, dns, webhooks }: &SharedArgs,
    OutsideArgs { acme, powerdns, mail }: &OutsideArgs,
    monitoring: &Monitoring,
) -> Result<()> {
    let masters = master_keys.read()?;
    let settings = worker.settings(ca, dns)?;
    let store = database.open()?;
    monitoring.add_pool("worker", store.clone());
    let directories = acme.directories(ca, &store, &masters)?;
    let name = worker_name();
    let projector = powerdns.projector(&store, dns, &name)?;
    let mailer = mail.mailer()?;
    let resolver = dns.resolver()?;
    let sender = WebhookSender::new(webhooks.destinations(), &resolver)?;
    let worker = Worker::new(name.clone(), store, masters, directories, projector, resolver, settings)
        .with_mailer(mailer)
        .with_webhooks(sender)
        .with_visibility(dns.propagation_check.clone());
    monitoring.add(worker.metrics().clone())?;
    let worker = Arc::new(worker);
    // The name under which it holds leases and jobs.
    tracing::info!(worker = %name, "the worker takes jobs");
    worker.run(database.url(), asked_to_stop()).await?;
    tracing::info!("the worker has stopped");
    Ok(())
}
