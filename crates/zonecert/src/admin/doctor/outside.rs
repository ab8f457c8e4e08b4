//! What we call: the CA, `PowerDNS`, the resolver, our name servers, the mail relay.

use std::time::Duration;

use zonecert_pki::MasterKeys;
use zonecert_store::Store;
use zonecert_worker::acme::AcmeDirectory;
use zonecert_worker::mail::Mailer;

use super::{Check, Doctor};

/// Each is waited for so long.
const PATIENCE: Duration = Duration::from_secs(15);

pub(super) async fn check(store: &Store, args: &Doctor) -> Vec<Check> {
    let (mut directories, powerdns, (resolver, nameservers), mail) =
        tokio::join!(directories(store, args), powerdns(store, args), dns(args), mail(args));
    directories.extend([powerdns, resolver, nameservers, mail]);
    directories
}

async fn directories(store: &Store, args: &Doctor) -> Vec<Check> {
    // A directory is asked without an account, so that any master key will do.
    let masters =
        args.master_keys.read().or_else(|_| MasterKeys::parse(NO_MASTER_KEY).map(std::sync::Arc::new).map_err(anyhow::Error::from));
    let directories = masters.and_then(|masters| args.outside.acme.directories(&args.shared.ca, store, &masters));
    let directories = match directories {
        Ok(directories) => directories,
        Err(error) => return vec![Check::wrong("CA", format!("{error:#}"), "Mend the setting.")],
    };
    let mut checks = Vec::new();
    for authority in &directories.production {
        checks.push(directory("CA", &authority.directory).await);
    }
    for authority in &directories.staging {
        checks.push(directory("CA for staging", &authority.directory).await);
    }
    checks
}

/// Opens nothing.
const NO_MASTER_KEY: &str = "none:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

async fn directory(name: &'static str, directory: &AcmeDirectory) -> Check {
    let url = directory.directory_url();
    match tokio::time::timeout(PATIENCE, directory.offers_renewal_info()).await {
        Ok(Ok(offers)) => {
            let says_when = if offers { "and says when to renew" } else { "without renewal information" };
            Check::well(name, format!("{url} answers, {says_when}"))
        }
        Ok(Err(failure)) => Check::wrong(name, format!("{url}: {failure}"), CA_REMEDY),
        Err(_) => Check::wrong(name, format!("{url} does not answer within {} s", PATIENCE.as_secs()), CA_REMEDY),
    }
}

const CA_REMEDY: &str =
    "Check the directory's URL, the way out of here, ZONECERT_ACME_CA_FILE where the CA is a private one, and the CA's status page.";

async fn powerdns(store: &Store, args: &Doctor) -> Check {
    const NAME: &str = "PowerDNS";
    const REMEDY: &str = "Check ZONECERT_POWERDNS_URL and ZONECERT_POWERDNS_API_KEY, that it runs with api=yes, and webserver-allow-from.";
    let projector = match args.outside.powerdns.projector(store, &args.shared.dns, "doctor") {
        Ok(projector) => projector,
        Err(error) => return Check::wrong(NAME, format!("{error:#}"), REMEDY),
    };
    match tokio::time::timeout(PATIENCE, projector.powerdns().version()).await {
        Ok(Ok(version)) => Check::well(NAME, format!("version {version} answers")),
        Ok(Err(error)) => Check::wrong(NAME, error.to_string(), REMEDY),
        Err(_) => Check::wrong(NAME, format!("no answer within {} s", PATIENCE.as_secs()), REMEDY),
    }
}

async fn dns(args: &Doctor) -> (Check, Check) {
    const RESOLVER: &str = "resolver";
    const SERVERS: &str = "name servers";
    let dns = &args.shared.dns;
    let resolver = match dns.resolver() {
        Ok(resolver) => resolver,
        Err(error) => {
            let wrong = Check::wrong(RESOLVER, format!("{error:#}"), "Set ZONECERT_RESOLVER to ADDRESS:PORT of a resolver.");
            return (wrong, Check::unknown(SERVERS, "there is no resolver"));
        }
    };
    let alive = if resolver.is_alive().await {
        Check::well(RESOLVER, format!("{} answers", resolver.servers()))
    } else {
        let found = format!("{} does not answer", resolver.servers());
        Check::wrong(RESOLVER, found, "Check ZONECERT_RESOLVER and the way to it: proofs of control, aliases and CAA are looked up there.")
    };
    let names: Vec<String> = dns.nameservers.iter().map(|name| name.as_str().to_owned()).collect();
    let servers = match dns.propagation_check.answering(&resolver, &names).await {
        Ok(None) => Check::doubtful(
            SERVERS,
            "ZONECERT_PROPAGATION_CHECK is off: nobody is asked",
            "Let them be asked, so that the CA is told when they show a value and not before.",
        ),
        Ok(Some((answering, silent))) if silent.is_empty() => Check::well(SERVERS, format!("{} answer", answering.join(", "))),
        Ok(Some((answering, silent))) => {
            let found = format!("{} of {} do not answer: {}", silent.len(), silent.len() + answering.len(), silent.join(", "));
            Check::wrong(SERVERS, found, "Start them, or let this machine reach their port 53 by UDP and TCP.")
        }
        Err(failure) => Check::wrong(
            SERVERS,
            failure.to_string(),
            "Give ZONECERT_NAMESERVERS addresses in the DNS, or name ADDRESS:PORT in ZONECERT_PROPAGATION_CHECK.",
        ),
    };
    (alive, servers)
}

async fn mail(args: &Doctor) -> Check {
    const NAME: &str = "mail";
    let mailer: Mailer = match args.outside.mail.mailer() {
        Ok(Some(mailer)) => mailer,
        Ok(None) => {
            return Check::doubtful(
                NAME,
                "no way is set",
                "Set ZONECERT_SMTP_URL and ZONECERT_MAIL_FROM; until then mail waits, and is given up after a day.",
            );
        }
        Err(error) => return Check::wrong(NAME, format!("{error:#}"), "Mend the setting."),
    };
    match mailer.check().await {
        Ok(found) => Check::well(NAME, found),
        Err(error) => Check::wrong(NAME, error, "Check ZONECERT_SMTP_URL, user and password, and the way to the relay."),
    }
}
