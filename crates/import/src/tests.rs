//! Each layout as its program makes it, with certificates of a CA of our own.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{Connection, params};
use tempfile::TempDir;
use zonecert_devstack::authority;
use zonecert_pki::upload::read_key;

use super::{Action, Existing, Format, Found, decide, read, safe_name};

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).unwrap()
}

/// Issues what is then found.
struct Authority(authority::Authority);

struct Issued {
    leaf: String,
    chain: String,
    key: String,
}

impl Issued {
    fn full(&self) -> String {
        format!("{}{}", self.leaf, self.chain)
    }
}

impl Authority {
    fn new() -> Self {
        Self(authority::Authority::new().unwrap())
    }

    fn issue(&self, names: &[&str]) -> Issued {
        self.issue_for(names, 60)
    }

    /// Valid for 30 days before `days` from now.
    fn issue_for(&self, names: &[&str], days: i64) -> Issued {
        let end = now() + TimeDelta::days(days);
        let issued = self.0.issue(names, (end - TimeDelta::days(90)).into(), end.into()).unwrap();
        Issued { leaf: issued.certificate, chain: issued.chain, key: issued.key }
    }
}

fn write(dir: &TempDir, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

/// Read as what it is recognised as, which is this.
fn read_as(path: &Path, format: Format) -> Vec<Found> {
    assert_eq!(Format::of(path), format);
    read(path, format, now()).unwrap()
}

/// The pair that is uploaded is the one that was written there.
#[track_caller]
fn assert_is(found: &Found, name: &str, issued: &Issued) {
    assert_eq!((found.name.as_str(), found.fault.as_deref()), (name, None));
    let upload = found.usable().unwrap();
    let normal = |pem: &str| pem.replace("\r\n", "\n");
    assert_eq!(upload.chain.full_pem(), normal(&issued.full()));
    assert!(upload.key.public_key_sha256() == read_key(&issued.key).unwrap().public_key_sha256());
}

#[track_caller]
fn assert_faulty(found: &Found, name: &str, fault: &str) {
    assert_eq!(found.name, name);
    let said = found.fault.as_deref().unwrap();
    assert!(said.contains(fault) && found.usable().is_none(), "{said}");
}

fn names(found: &[Found]) -> Vec<&str> {
    found.iter().map(|one| one.name.as_str()).collect()
}

#[test]
fn certbots_links_lead_to_the_newest_version() {
    let (dir, authority) = (TempDir::new().unwrap(), Authority::new());
    let (old, new) = (authority.issue_for(&["a.test"], 10), authority.issue(&["a.test", "*.a.test"]));
    write(
        &dir,
        &[
            ("archive/a.test/fullchain1.pem", &old.full()),
            ("archive/a.test/privkey1.pem", &old.key),
            ("archive/a.test/fullchain2.pem", &new.full()),
            ("archive/a.test/privkey2.pem", &new.key),
            ("live/README", "not a lineage"),
            ("live/a.test/README", "not a certificate"),
            ("live/b.test/fullchain.pem", &old.full()),
        ],
    );
    for part in ["fullchain", "privkey"] {
        symlink(format!("../../archive/a.test/{part}2.pem"), dir.path().join(format!("live/a.test/{part}.pem"))).unwrap();
    }
    let found = read_as(dir.path(), Format::Certbot);
    assert_eq!(names(&found), ["a.test", "b.test"]);
    assert_is(&found[0], "a.test", &new);
    assert_eq!(found[0].domains(), ["a.test", "*.a.test"]);
    assert_faulty(&found[1], "b.test", "there is no");
}

#[test]
fn lego_keeps_the_chain_in_the_certificates_file_or_beside_it() {
    let (dir, authority) = (TempDir::new().unwrap(), Authority::new());
    let (one, two) = (authority.issue(&["one.test"]), authority.issue(&["*.two.test"]));
    write(
        &dir,
        &[
            ("accounts/a/keys/me@example.test.key", &authority.issue(&["me.test"]).key),
            ("certificates/one.test.crt", &one.full()),
            ("certificates/one.test.issuer.crt", &one.chain),
            ("certificates/one.test.key", &one.key),
            ("certificates/one.test.json", "{}"),
            ("certificates/_.two.test.crt", &two.leaf),
            ("certificates/_.two.test.issuer.crt", &two.chain),
            ("certificates/_.two.test.key", &two.key),
            ("certificates/_.two.test.json", "{}"),
        ],
    );
    let found = read_as(dir.path(), Format::Lego);
    assert_eq!(names(&found), ["one.test", "wildcard.two.test"]);
    assert_is(&found[0], "one.test", &one);
    assert_is(&found[1], "wildcard.two.test", &two);
}

#[test]
fn acme_sh_has_a_directory_for_each_kind_of_key() {
    let (dir, authority) = (TempDir::new().unwrap(), Authority::new());
    let (one, other) = (authority.issue(&["a.test"]), authority.issue(&["a.test"]));
    write(
        &dir,
        &[
            ("account.conf", "LOG_FILE=''"),
            ("ca/acme.example.test/directory/account.key", &authority.issue(&["me.test"]).key),
            ("a.test/a.test.conf", "Le_Domain='a.test'"),
            ("a.test/a.test.key", &one.key),
            ("a.test/a.test.cer", &one.leaf),
            ("a.test/ca.cer", &one.chain),
            ("a.test/fullchain.cer", &one.full()),
            ("a.test_ecc/a.test.conf", "Le_Domain='a.test'"),
            ("a.test_ecc/a.test.key", &other.key),
            ("a.test_ecc/fullchain.cer", &other.full()),
            ("b.test/b.test.conf", "Le_Domain='b.test'"),
            ("b.test/b.test.key", &other.key),
        ],
    );
    let found = read_as(dir.path(), Format::AcmeSh);
    assert_eq!(names(&found), ["a.test", "a.test_ecc", "b.test"]);
    assert_is(&found[0], "a.test", &one);
    assert_is(&found[1], "a.test_ecc", &other);
    assert_faulty(&found[2], "b.test", "there is no");
}

/// The tables that are read, with all of their columns, as version 11 of the database has them.
const TABLES: &str = "
    PRAGMA user_version = 11;
    CREATE TABLE private_keys (id integer PRIMARY KEY, name text NOT NULL UNIQUE, description text NOT NULL, algorithm text NOT NULL,
        pem text NOT NULL UNIQUE, api_key text NOT NULL, api_key_new text NOT NULL DEFAULT '', api_key_disabled integer NOT NULL DEFAULT 0,
        api_key_via_url integer NOT NULL DEFAULT 0, last_access integer NOT NULL DEFAULT 0, created_at integer NOT NULL, updated_at integer NOT NULL);
    CREATE TABLE certificates (id integer PRIMARY KEY, private_key_id integer NOT NULL UNIQUE REFERENCES private_keys (id),
        acme_account_id integer NOT NULL, name text NOT NULL UNIQUE, description text NOT NULL, subject text NOT NULL, subject_alts text NOT NULL,
        csr_org text NOT NULL, csr_ou text NOT NULL, csr_country text NOT NULL, csr_state text NOT NULL, csr_city text NOT NULL,
        csr_extra_extensions text NOT NULL DEFAULT '[]', preferred_root_cn text NOT NULL DEFAULT '', api_key text NOT NULL,
        api_key_new text NOT NULL DEFAULT '', api_key_via_url integer NOT NULL DEFAULT 0, last_access integer NOT NULL DEFAULT 0,
        created_at integer NOT NULL, updated_at integer NOT NULL, post_processing_command text NOT NULL DEFAULT '',
        post_processing_environment text NOT NULL DEFAULT '[]', post_processing_client_address text NOT NULL DEFAULT '',
        post_processing_client_key text NOT NULL DEFAULT '', profile text NOT NULL DEFAULT '');
    CREATE TABLE acme_orders (id integer PRIMARY KEY, acme_account_id integer NOT NULL, certificate_id integer NOT NULL REFERENCES certificates (id),
        acme_location text NOT NULL UNIQUE, status text NOT NULL, known_revoked integer NOT NULL DEFAULT 0, error text, expires integer,
        dns_identifiers text NOT NULL, authorizations text NOT NULL, finalize text NOT NULL,
        finalized_key_id integer REFERENCES private_keys (id) ON DELETE SET NULL, certificate_url text, pem text, valid_from integer,
        valid_to integer, chain_root_cn text, created_at integer NOT NULL, updated_at integer NOT NULL, profile text, renewal_info text);";

fn insert_key(database: &Connection, id: i64, pem: &str) {
    let sql = "INSERT INTO private_keys (id, name, description, algorithm, pem, api_key, created_at, updated_at)
        VALUES (?1, 'key' || ?1, '', 'ecdsap256', ?2, 'api key', 0, 0)";
    database.execute(sql, params![id, pem]).unwrap();
}

fn insert_certificate(database: &Connection, id: i64, key: i64, name: &str) {
    let sql = "INSERT INTO certificates (id, private_key_id, acme_account_id, name, description, subject, subject_alts, csr_org, csr_ou, csr_country,
            csr_state, csr_city, api_key, created_at, updated_at)
        VALUES (?1, ?2, 1, ?3, '', ?3, '', '', '', '', '', '', 'api key', 0, 0)";
    database.execute(sql, params![id, key, name]).unwrap();
}

struct Order<'a> {
    certificate: i64,
    key: Option<i64>,
    status: &'a str,
    is_revoked: bool,
    pem: Option<String>,
    valid_to: i64,
}

fn insert_order(database: &Connection, order: &Order<'_>) {
    let sql = "INSERT INTO acme_orders (acme_account_id, certificate_id, acme_location, status, known_revoked, dns_identifiers, authorizations, finalize,
            finalized_key_id, pem, valid_to, created_at, updated_at)
        VALUES (1, ?1, hex(randomblob(16)), ?2, ?3, '', '', '', ?4, ?5, ?6, 0, 0)";
    let Order { certificate, key, status, is_revoked, pem, valid_to } = order;
    database.execute(sql, params![certificate, status, is_revoked, key, pem, valid_to]).unwrap();
}

#[test]
fn cert_wardens_newest_order_that_is_not_revoked_has_the_certificate_and_its_key() {
    let (dir, authority) = (TempDir::new().unwrap(), Authority::new());
    let (old, new, revoked) = (authority.issue_for(&["a.test"], 5), authority.issue(&["a.test"]), authority.issue(&["a.test"]));
    let lost = authority.issue(&["lost.test"]);
    write(&dir, &[("data/README", "")]);
    let database = Connection::open(dir.path().join("data/appdata.db")).unwrap();
    database.execute_batch("PRAGMA journal_mode = WAL").unwrap();
    database.execute_batch(TABLES).unwrap();
    for (id, issued) in [(1, &old), (2, &new), (3, &revoked)] {
        insert_key(&database, id, &issued.key);
    }
    for id in 4..=5 {
        insert_key(&database, id, &authority.issue(&["other.test"]).key);
    }
    // Its key was changed since: the order knows the one that it was finalized with.
    insert_certificate(&database, 1, 3, "a.test");
    insert_certificate(&database, 2, 4, "empty");
    insert_certificate(&database, 3, 5, "lost");
    let order = |certificate, key, issued: &Issued, valid_to| {
        let pem = Some(issued.full());
        Order { certificate, key, status: "valid", is_revoked: false, pem, valid_to }
    };
    insert_order(&database, &order(1, Some(2), &new, 2_000));
    insert_order(&database, &order(1, Some(1), &old, 1_000));
    insert_order(&database, &Order { is_revoked: true, ..order(1, Some(3), &revoked, 3_000) });
    insert_order(&database, &Order { status: "pending", pem: None, ..order(1, None, &new, 4_000) });
    insert_order(&database, &Order { status: "invalid", pem: None, ..order(2, None, &new, 1_000) });
    insert_order(&database, &order(3, None, &lost, 1_000));

    // Open there, and written to a moment ago: what still stands in the write-ahead log is read as well.
    let found = read_as(dir.path(), Format::CertWarden);
    assert_eq!(names(&found), ["a.test", "empty", "lost"]);
    assert_is(&found[0], "a.test", &new);
    assert_faulty(&found[1], "empty", "no order for it");
    assert_faulty(&found[2], "lost", "belongs to none of the certificates");
    assert_eq!(Format::of(&dir.path().join("data/appdata.db")), Format::CertWarden);

    let foreign = dir.path().join("foreign.db");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE certificates (id integer)").unwrap();
    let error = read(&foreign, Format::CertWarden, now()).err().unwrap();
    assert!(format!("{error:#}").contains("not the tables of Cert Warden"), "{error:#}");
}

#[test]
fn keys_and_certificates_in_a_folder_find_each_other_whatever_they_are_called() {
    let (dir, authority) = (TempDir::new().unwrap(), Authority::new());
    let [apart, whole, both, alone] = ["apart.test", "whole.test", "both.test", "alone.test"].map(|name| authority.issue(&[name]));
    let expired = authority.issue_for(&["expired.test"], -1);
    write(
        &dir,
        &[
            ("apart/1.txt", &apart.key),
            ("apart/2.txt", &apart.leaf),
            ("issuers/intermediate.pem", &authority.0.intermediate_pem()),
            ("issuers/root.pem", &authority.0.root_pem()),
            // One certificate in two files: the one with its chain counts.
            ("whole/cert.pem", &whole.leaf),
            ("whole/fullchain.pem", &format!("remarks\n{}", whole.full().replace('\n', "\r\n"))),
            ("whole/key.pem", &whole.key),
            ("both.pem", &format!("{}{}", both.key, both.full())),
            ("alone.crt", &alone.leaf),
            ("expired.crt", &expired.full()),
            ("expired.key", &expired.key),
            ("damaged.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            ("ssh.key", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"),
            ("notes.txt", "nothing of that kind\n-----BEGIN CERTIFICATE-----\n"),
            ("1/2/3/4/5/6/7/8/9/deep.pem", &format!("{}{}", both.key, authority.issue(&["deep.test"]).leaf)),
        ],
    );
    fs::write(dir.path().join("image.png"), [0xff, 0x00, 0xfe]).unwrap();
    symlink(dir.path(), dir.path().join("circle")).unwrap();
    let found = read_as(dir.path(), Format::Pem);
    assert_eq!(names(&found), ["alone", "apart-2", "both", "damaged", "expired", "whole-fullchain"]);
    assert_faulty(&found[0], "alone", "there is no private key for it");
    assert_is(&found[1], "apart-2", &apart);
    assert_is(&found[2], "both", &both);
    assert_faulty(&found[3], "damaged", "X.509");
    assert_faulty(&found[4], "expired", "it has expired");
    assert_is(&found[5], "whole-fullchain", &whole);

    let one = read_as(&dir.path().join("both.pem"), Format::Pem);
    assert_is(&one[0], "both", &both);
}

#[test]
fn several_certificates_of_one_file_are_called_by_their_domains() {
    let (dir, authority) = (TempDir::new().unwrap(), Authority::new());
    let (one, two) = (authority.issue(&["one.test"]), authority.issue(&["two.test"]));
    write(&dir, &[("all.pem", &format!("{}{}{}{}{}", one.leaf, two.leaf, one.chain, one.key, two.key))]);
    let found = read_as(dir.path(), Format::Pem);
    assert_is(&found[0], "one.test", &one);
    assert_is(&found[1], "two.test", &two);
}

#[test]
fn what_is_there_twice_is_imported_once() {
    let (dir, authority) = (TempDir::new().unwrap(), Authority::new());
    let [one, two, three] = ["a.test"; 3].map(|name| authority.issue(&[name]));
    write(
        &dir,
        &[
            ("live/a/fullchain.pem", &one.full()),
            ("live/a/privkey.pem", &one.key),
            ("live/b/fullchain.pem", &one.full()),
            ("live/b/privkey.pem", &one.key),
            ("live/a b/fullchain.pem", &two.full()),
            ("live/a b/privkey.pem", &two.key),
            ("live/a-b/fullchain.pem", &three.full()),
            ("live/a-b/privkey.pem", &three.key),
        ],
    );
    let found = read_as(dir.path(), Format::Certbot);
    assert_is(&found[0], "a", &one);
    assert_is(&found[1], "a-b", &two);
    assert_faulty(&found[2], "a-b", "it has the name of");
    assert_faulty(&found[3], "b", "it is the same as");
}

#[test]
fn nothing_to_read_is_told_with_what_to_do() {
    let dir = TempDir::new().unwrap();
    assert!(read_as(dir.path(), Format::Pem).is_empty());
    for (path, format, said) in [
        (dir.path().join("nowhere"), Format::Pem, "correct the path"),
        (dir.path().to_owned(), Format::Certbot, "cannot be read as certbot"),
        (dir.path().to_owned(), Format::CertWarden, "there is no appdata.db"),
    ] {
        let error = read(&path, format, now()).err().unwrap();
        assert!(format!("{error:#}").contains(said), "{error:#}");
    }
}

#[test]
fn names_are_such_as_the_api_takes() {
    for (name, safe) in [
        ("app.example.test", "app.example.test"),
        ("*.example.test", "wildcard.example.test"),
        ("_.example.test", "wildcard.example.test"),
        ("my shop/é", "my-shop--"),
        ("..a", "a"),
        ("é", "imported"),
        ("", "imported"),
    ] {
        assert_eq!(safe_name(name), safe, "{name}");
    }
    assert_eq!(safe_name(&"x".repeat(200)).len(), 100);
}

#[test]
fn what_is_done_follows_from_what_the_account_has() {
    let (dir, authority) = (TempDir::new().unwrap(), Authority::new());
    let issued = authority.issue(&["a.test"]);
    write(&dir, &[("a.pem", &format!("{}{}", issued.full(), issued.key)), ("b.pem", &authority.issue(&["b.test"]).leaf)]);
    let found = read_as(dir.path(), Format::Pem);
    let end = found[0].usable().unwrap().chain.not_after();
    let existing = |is_uploaded, expires_at| Some(Existing { id: "cert_1".to_owned(), is_uploaded, expires_at });
    let holder = existing(true, Some(end));
    let (same, longer) = (existing(true, Some(end)), existing(true, Some(end + TimeDelta::seconds(1))));
    let (managed, empty) = (existing(false, None), existing(true, None));
    let decided = |named: &Option<Existing>| decide(&found[0], None, named.as_ref());
    assert_eq!(decided(&None), Action::Upload);
    assert_eq!(decided(&same), Action::NewVersion("cert_1".to_owned()));
    assert_eq!(decided(&empty), Action::NewVersion("cert_1".to_owned()));
    assert!(matches!(decided(&longer), Action::Skip(reason) if reason.contains("valid longer")));
    assert!(matches!(decided(&managed), Action::Skip(reason) if reason.contains("issued by Zonecert")));
    assert_eq!(decide(&found[0], holder.as_ref(), same.as_ref()), Action::AlreadyThere("cert_1".to_owned()));
    assert!(matches!(decide(&found[1], None, None), Action::Skip(reason) if reason.contains("no private key")));
}
