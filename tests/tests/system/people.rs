//! People and their mail, from the request to the file that a worker writes.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use zonecert_devstack::product::setting;
use zonecert_devstack::{shared, unique_label, wait};
use zonecert_tests::{Client, PATIENCE, System, read_mail};

const PASSWORD: &str = "four words are enough";

fn text(value: &Value) -> Result<&str> {
    value.as_str().context("a text")
}

#[tokio::test]
async fn people_confirm_invite_and_set_passwords_by_what_arrives_in_their_mail() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let mail = scratch.path().join("mail");
    let stack = shared().await?;
    let system = System::start_with(&stack, |product| {
        product.with(setting::MAIL_DIR, mail.display().to_string()).with(setting::DASHBOARD_URL, "https://app.zonecert.test/")
    })
    .await?;
    let anonymous = Client::new(system.api.api_url(), None)?;
    let (ada, grace) = (format!("{}@customers.test", unique_label()), format!("{}@customers.test", unique_label()));

    let person = json!({ "email": ada, "password": PASSWORD, "account_name": "Ada" });
    let registered = anonymous.post("/auth/register", &person).await?.expect(201)?;
    let owner = Client::new(system.api.api_url(), Some(text(&registered["access_token"])?))?;
    let guest = json!({ "email": grace, "role": "member" });
    ensure!(owner.post("/invitations", &guest).await?.expect(403)?["code"] == "email_not_verified", "not before she has confirmed");
    let token = read_mail(&mail, &ada, "Confirm your e-mail address").await?;
    anonymous.post("/auth/verify-email", &json!({ "token": token })).await?.expect(204)?;
    ensure!(owner.get("/me").await?.expect(200)?["user"]["email_verified"] == true, "confirmed");

    owner.post("/invitations", &guest).await?.expect(201)?;
    let token = read_mail(&mail, &grace, "Join \"Ada\" on Zonecert").await?;
    let joined = json!({ "token": token, "password": PASSWORD, "name": "Grace" });
    let joined = anonymous.post("/auth/accept-invitation", &joined).await?.expect(201)?;
    ensure!(joined["account"]["id"] == registered["account"]["id"], "the same account");

    anonymous.post("/auth/forgot-password", &json!({ "email": grace })).await?.expect(202)?;
    let token = read_mail(&mail, &grace, "Set a new password").await?;
    let new = json!({ "token": token, "new_password": "four other words suffice" });
    anonymous.post("/auth/reset-password", &new).await?.expect(204)?;
    read_mail(&mail, &grace, "Your password was changed").await?;
    anonymous.post("/auth/login", &json!({ "email": grace, "password": PASSWORD })).await?.expect(401)?;
    anonymous.post("/auth/login", &json!({ "email": grace, "password": "four other words suffice" })).await?.expect(200)?;

    // What is sent is wiped, and no log holds a link.
    let database = system.database().await?;
    wait::until("all mail is sent and wiped", PATIENCE, async || {
        let left = database.query_one("SELECT count(*) FROM mails WHERE sealed IS NOT NULL OR sent_at IS NULL", &[]).await?;
        Ok((left.get::<_, i64>(0) == 0).then_some(()))
    })
    .await?;
    for log in [system.api.log()?, system.worker.log()?] {
        ensure!(!log.contains(&token) && !log.contains("zce_") && !log.contains("zci_"), "a link was logged");
    }
    Ok(())
}
