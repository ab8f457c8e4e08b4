//! What the CAs offer: read by everybody, kept by workers.

use zonecert_store::ca_profiles::{self, Profile};
use zonecert_store::issuing::Environment;

use crate::world::World;

async fn record(world: &World, environment: Environment, directory: &str, offered: &[(&str, &str)]) {
    let offered: Vec<_> = offered.iter().map(|(name, description)| ((*name).to_owned(), (*description).to_owned())).collect();
    let recorded = world.worker.platform(async |conn| ca_profiles::record_profiles(conn, environment, directory, &offered).await);
    recorded.await.unwrap();
}

async fn listed(world: &World) -> Vec<(String, String, String)> {
    let by_api = world.api.platform(async |conn| ca_profiles::list_profiles(conn).await).await.unwrap();
    let read =
        |profile: Profile| (format!("{} {}", profile.environment.as_str(), profile.directory_url), profile.name, profile.description);
    by_api.into_iter().map(read).collect()
}

fn expected(rows: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
    rows.iter().map(|(place, name, description)| ((*place).to_owned(), (*name).to_owned(), (*description).to_owned())).collect()
}

#[tokio::test]
async fn a_directory_offers_what_it_said_last_and_one_that_is_gone_nothing() {
    let world = World::new().await;
    record(&world, Environment::Production, "a", &[("tlsserver", "old"), ("shortlived", "")]).await;
    record(&world, Environment::Production, "b", &[("shortlived", "six days")]).await;
    record(&world, Environment::Staging, "a", &[("classic", "")]).await;
    record(&world, Environment::Production, "a", &[("tlsserver", "new")]).await;
    let all = [("production b", "shortlived", "six days"), ("production a", "tlsserver", "new"), ("staging a", "classic", "")];
    assert_eq!(listed(&world).await, expected(&all));

    world.worker.platform(async |conn| ca_profiles::forget_others(conn, Environment::Production, &["b"]).await).await.unwrap();
    assert_eq!(listed(&world).await, expected(&[("production b", "shortlived", "six days"), ("staging a", "classic", "")]));
    record(&world, Environment::Production, "b", &[]).await;
    world.worker.platform(async |conn| ca_profiles::forget_others(conn, Environment::Staging, &[]).await).await.unwrap();
    assert_eq!(listed(&world).await, []);
}
