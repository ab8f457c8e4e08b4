//! `zonecert serve`.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use zonecert_api::{App, Monitoring, Server};

use crate::settings::api::ApiArgs;
use crate::settings::database::DatabaseArgs;
use crate::settings::operators::OperatorArgs;
use crate::settings::secrets::MasterKeyArgs;
use crate::settings::shared::SharedArgs;
use crate::stop::asked_to_stop;

/// Answers requests until the process is asked to stop.
pub(crate) async fn run(
    database: &DatabaseArgs,
    master_keys: &MasterKeyArgs,
    api: ApiArgs,
    shared: &SharedArgs,
    operators: &OperatorArgs,
    monitoring: &Monitoring,
) -> Result<()> {
    let masters = master_keys.read()?;
    let settings = api.settings(&shared.ca, &shared.dns, &shared.webhooks)?;
    let store = database.open()?;
    monitoring.add_pool("api", store.clone());
    let mut app = App::new(store, masters, settings).context("ZONECERT_JWT_KEY_FILE or ZONECERT_RESOLVER")?;
    if let Some(access) = operators.access()? {
        monitoring.add_pool("operator", access.store.clone());
        app = app.with_operators(access);
    }
    monitoring.add(app.metrics().clone())?;
    let app = Arc::new(app);
    let listener = TcpListener::bind(api.listen).with_context(|| format!("ZONECERT_LISTEN: cannot listen on {}", api.listen))?;
    let mut server = Server::start(app, listener).context("the API could not be started")?;
    tracing::info!(address = %server.address(), "the API listens");
    if let Some(file) = &api.address_file {
        write_address(file, server.address()).context("ZONECERT_ADDRESS_FILE")?;
    }
    tokio::select! {
        ended = server.ended() => {
            ended.context("the API has ended")?;
            bail!("the API has ended without being asked to");
        }
        () = asked_to_stop() => {}
    }
    tracing::info!("the API stops: running requests are answered, no new ones are taken");
    server.stop().await.context("the API could not be stopped")?;
    Ok(())
}

/// Writes the file in one piece: whoever waits for it never reads half an address.
pub(crate) fn write_address(file: &Path, address: SocketAddr) -> Result<()> {
    let unfinished = file.with_extension("new");
    std::fs::write(&unfinished, address.to_string())
        .and_then(|()| std::fs::rename(&unfinished, file))
        .with_context(|| format!("{} cannot be written", file.display()))
}
