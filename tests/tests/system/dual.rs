//! Dual certificates: RSA beside ECDSA for the same names, ordered one after the other.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use zonecert_devstack::{shared, wait};
use zonecert_tests::{Account, PATIENCE, System, Zone, check_download};

async fn request(account: &Account, zone: &Zone) -> Result<String> {
    let (domain, more) = (format!("app.{}", zone.name), format!("www.{}", zone.name));
    let wish = json!({"zone_id": zone.id, "domain": domain, "sans": [more], "alternate_key_algorithm": "ecdsa_p256"});
    let certificate = account.client.post("/certificates", &wish).await?.expect(202)?;
    Ok(certificate["id"].as_str().context("id")?.to_owned())
}

/// Waits until the certificate has so many versions and nothing more to come, and reads it.
async fn has_versions(account: &Account, id: &str, count: usize) -> Result<Value> {
    wait::until("both versions are there", PATIENCE, async || {
        let versions = account.client.get(&format!("/certificates/{id}/versions")).await?.expect(200)?;
        Ok((versions["versions"].as_array().context("versions")?.len() == count).then_some(()))
    })
    .await?;
    account.becomes(id, "issued").await
}

/// Downloads what is in use with either key, which is what the certificate says, and returns the two serial numbers.
async fn check_both(account: &Account, id: &str, zone: &Zone, root: &str) -> Result<[String; 2]> {
    let certificate = account.certificate(id).await?;
    let mut serials = Vec::new();
    for (key_type, algorithm, version) in
        [("rsa", "rsa2048", &certificate["current_version"]), ("ecdsa", "ecdsa_p256", &certificate["alternate"]["version"])]
    {
        let version_id = version["id"].as_str().context("version")?;
        let files = account.client.get(&format!("/certificates/{id}/download?key_type={key_type}")).await?.expect(200)?;
        assert_eq!(check_download(&files, root)?, ["app", "www"].map(|label| format!("{label}.{}", zone.name)));
        let there = account.client.get(&format!("/certificates/{id}/versions/{version_id}")).await?.expect(200)?;
        assert_eq!((&there["key"]["algorithm"], &there["is_current"]), (&json!(algorithm), &json!(true)));
        let by_version = account.client.get(&format!("/certificates/{id}/versions/{version_id}/download")).await?.expect(200)?;
        assert_eq!(files, by_version);
        serials.push(version["serial"].as_str().context("serial")?.to_owned());
    }
    let first = account.client.get(&format!("/certificates/{id}/download")).await?.expect(200)?;
    assert_eq!(first, account.client.get(&format!("/certificates/{id}/download?key_type=rsa")).await?.expect(200)?);
    serials.try_into().map_err(|_| anyhow::anyhow!("two serial numbers"))
}

#[tokio::test]
async fn a_dual_certificate_is_issued_renewed_and_revoked_with_both_keys() -> Result<()> {
    let stack = shared().await?;
    let system = System::start(&stack).await?;
    let account = system.account("pro").await?;
    let zone = system.verified_zone(&account).await?;
    let root = stack.pebble.root_certificate_pem().await?;
    let id = request(&account, &zone).await?;
    let issued = has_versions(&account, &id, 2).await?;
    ensure!(issued["last_error"].is_null() && issued["alternate"]["downloadable"] == true, "{issued}");
    let before = check_both(&account, &id, &zone, &root).await?;
    let limits = account.client.get("/certificates").await?.expect(200)?;
    assert_eq!(limits["limits"]["current_count"], 1, "one slot");

    account.client.post(&format!("/certificates/{id}/renew"), &json!({})).await?.expect(202)?;
    has_versions(&account, &id, 4).await?;
    let after = check_both(&account, &id, &zone, &root).await?;
    ensure!(before.iter().all(|serial| !after.contains(serial)), "both were renewed: {before:?}, {after:?}");
    ensure!(stack.pebble.seen().await?.orders_for(&format!("app.{}", zone.name)).len() == 4, "an order for each");

    account.client.post(&format!("/certificates/{id}/revoke"), &json!({"reason": "superseded"})).await?.expect(202)?;
    account.becomes(&id, "revoked").await?;
    for serial in &after {
        wait::until("the CA has revoked it", PATIENCE, async || {
            Ok((stack.pebble.certificate_status(serial).await?["Status"] == "Revoked").then_some(()))
        })
        .await?;
    }
    for key_type in ["rsa", "ecdsa"] {
        wait::until("nothing is given out any more", PATIENCE, async || {
            let refused = account.client.get(&format!("/certificates/{id}/download?key_type={key_type}")).await?;
            Ok((refused.status == 409).then_some(()))
        })
        .await?;
    }
    system.challenges_are_gone(&zone.name).await
}

#[tokio::test]
async fn where_the_other_key_gets_no_certificate_the_first_is_served() -> Result<()> {
    let stack = shared().await?;
    let system = System::start(&stack).await?;
    let account = system.account("pro").await?;
    let zone = system.verified_zone(&account).await?;
    // The zone is lost as soon as the first version is there: before the order for the other key.
    let lose = "CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE zones SET status = 'lost'; RETURN NEW; END $$;
                CREATE TRIGGER lose AFTER INSERT ON versions FOR EACH ROW EXECUTE FUNCTION lose()";
    system.database().await?.batch_execute(lose).await?;
    let id = request(&account, &zone).await?;
    account.logs(&id, "issuance_failed").await?;

    let certificate = account.certificate(&id).await?;
    assert_eq!((&certificate["status"], &certificate["downloadable"]), (&json!("issued"), &json!(true)));
    assert_eq!(certificate["last_error"]["code"], "zone_lost");
    let alternate = &certificate["alternate"];
    assert_eq!((&alternate["downloadable"], &alternate["version"]), (&json!(false), &Value::Null));
    let files = account.client.get(&format!("/certificates/{id}/download?key_type=rsa")).await?.expect(200)?;
    check_download(&files, &stack.pebble.root_certificate_pem().await?)?;
    let refused = account.client.get(&format!("/certificates/{id}/download?key_type=ecdsa")).await?;
    assert_eq!((refused.status.as_u16(), &refused.json()?["code"]), (409, &json!("no_version_of_key_type")));
    Ok(())
}
