//! What each role may do to each table: the table below against the catalogue.

use std::collections::BTreeMap;

use crate::database::{Database, Role};

/// All of a table.
const ALL: &str = "SELECT INSERT UPDATE DELETE";

/// Table, and what the API and the worker may do to it. A list in parentheses names the only columns.
const GRANTS: [(&str, &str, &str); 42] = [
    ("__diesel_schema_migrations", "SELECT", "SELECT"),
    (
        "accounts",
        "SELECT INSERT(created_at,id,name) UPDATE(deleted_at,deletion_requested_at,last_certificate_number,last_event_number,name)",
        "SELECT UPDATE(deleted_at,destroyed_at,last_event_number)",
    ),
    ("acme_accounts", "", ALL),
    ("alternates", "SELECT INSERT UPDATE(version_id)", "SELECT UPDATE(version_id)"),
    ("api_keys", "SELECT INSERT UPDATE", "SELECT(account_id,revoked_at) UPDATE(revoked_at)"),
    ("api_tokens", "SELECT INSERT UPDATE", "SELECT(account_id,revoked_at) UPDATE(revoked_at)"),
    ("audit_log", "SELECT INSERT", "INSERT"),
    ("authorizations", "SELECT", "SELECT INSERT UPDATE"),
    ("ca_budget", "", ALL),
    ("ca_pauses", "", ALL),
    ("ca_profiles", "SELECT", ALL),
    ("certificate_entries", "SELECT INSERT UPDATE", "SELECT"),
    ("certificate_names", "SELECT INSERT DELETE", "SELECT"),
    ("certificates", "SELECT INSERT UPDATE", "SELECT UPDATE"),
    ("challenge_records", "SELECT", "SELECT INSERT UPDATE"),
    ("data_keys", "SELECT INSERT", "SELECT INSERT UPDATE(destroyed_at,wrapped)"),
    ("deployments", ALL, "DELETE SELECT(account_id)"),
    ("email_tokens", "SELECT INSERT UPDATE", "SELECT(account_id,used_at) UPDATE(email,used_at)"),
    ("events", "SELECT INSERT", "SELECT INSERT"),
    ("idempotency_keys", "SELECT INSERT", ""),
    ("invitations", "SELECT INSERT UPDATE", "SELECT(accepted_at,account_id,revoked_at) UPDATE(email,revoked_at)"),
    ("issuances", "SELECT INSERT UPDATE", "SELECT INSERT UPDATE"),
    ("key_stock", "", ALL),
    ("key_versions", "SELECT INSERT UPDATE(destroyed_at,sealed)", "SELECT INSERT UPDATE"),
    ("mails", "INSERT", "SELECT INSERT UPDATE"),
    ("orders", "SELECT", "SELECT INSERT UPDATE"),
    (
        "own_acme_accounts",
        "INSERT UPDATE SELECT(account_id,attempts,claimed_until,contact,created_at,deleted_at,directory_url,eab_kid,id,last_error,name,next_attempt_at,registered_contact,status,work_since)",
        "SELECT UPDATE",
    ),
    ("pfx_files", "SELECT INSERT DELETE", "DELETE SELECT(account_id,key_version_id)"),
    ("platform_data_keys", "", ALL),
    ("private_keys", "SELECT INSERT UPDATE", "SELECT INSERT UPDATE"),
    ("refresh_tokens", "SELECT INSERT UPDATE", "SELECT(account_id,revoked_at) UPDATE(revoked_at)"),
    ("revocations", "SELECT INSERT", "SELECT INSERT UPDATE"),
    ("sign_in_failures", ALL, "SELECT DELETE"),
    ("users", "SELECT INSERT UPDATE", "SELECT(account_id,deleted_at,email,role) UPDATE(deleted_at,email,name,password_hash)"),
    ("versions", "SELECT INSERT", "SELECT INSERT UPDATE"),
    ("webhook_deliveries", "SELECT INSERT UPDATE", "SELECT INSERT UPDATE"),
    ("webhook_secrets", "INSERT DELETE SELECT(account_id,created_at,expires_at,id,webhook_id) UPDATE(expires_at)", "SELECT"),
    ("webhooks", ALL, "SELECT DELETE UPDATE(disabled_at,disabled_reason,failing_since)"),
    ("workers", "", ALL),
    ("zone_projections", "", ALL),
    ("zone_records", ALL, "SELECT INSERT UPDATE(refusal,refused_at)"),
    ("zones", "SELECT INSERT UPDATE", "SELECT UPDATE"),
];

/// What the owners of the functions may see and do, who have no log-in.
const FUNCTION_OWNERS: [(&str, &str, &str); 30] = [
    ("zonecert_lookup", "api_keys", "SELECT(account_id,id,key_sha256)"),
    ("zonecert_lookup", "api_tokens", "SELECT(account_id,id,token_sha256)"),
    ("zonecert_lookup", "ca_budget", "SELECT(account_id,at,directory_url,kind,subject)"),
    ("zonecert_lookup", "ca_pauses", "SELECT(directory_url,kind,subject,until)"),
    ("zonecert_lookup", "email_tokens", "SELECT(account_id,id,token_sha256)"),
    ("zonecert_lookup", "invitations", "SELECT(account_id,id,token_sha256)"),
    ("zonecert_lookup", "refresh_tokens", "SELECT(account_id,id,token_sha256)"),
    ("zonecert_lookup", "users", "SELECT(account_id,deleted_at,email,id)"),
    ("zonecert_lookup", "zone_projections", "SELECT(dns_zone,failures,generation,last_error,projected_generation)"),
    ("zonecert_lookup", "zones", "SELECT(deleted_at,mode,name,status)"),
    ("zonecert_sweep", "accounts", "SELECT(created_at,deleted_at,deletion_requested_at,destroyed_at,id,name,plan,status)"),
    (
        "zonecert_sweep",
        "certificates",
        "SELECT(account_id,deleted_at,expires_at,expiry_notice_due_at,id,last_error,next_renewal_at,renewal_due_at,renewal_info_due_at,status) UPDATE(expiry_notice_due_at,renewal_due_at,renewal_info_due_at)",
    ),
    ("zonecert_sweep", "challenge_records", "DELETE SELECT(dns_zone,id,name,unwanted_at,value)"),
    ("zonecert_sweep", "data_keys", "SELECT(account_id,created_at,destroyed_at,id,master_key_id)"),
    ("zonecert_sweep", "email_tokens", "DELETE SELECT(expires_at,id)"),
    ("zonecert_sweep", "idempotency_keys", "DELETE SELECT(account_id,caller,created_at,key)"),
    ("zonecert_sweep", "issuances", "SELECT(account_id,attempts,created_at,finished_at,id,lease_expires_at,next_wake_at,status,woken_at)"),
    ("zonecert_sweep", "key_stock", "SELECT(algorithm)"),
    ("zonecert_sweep", "mails", "DELETE SELECT(account_id,created_at,id,next_attempt_at)"),
    ("zonecert_sweep", "orders", "SELECT(acme_account_id,finished_at,status)"),
    (
        "zonecert_sweep",
        "own_acme_accounts",
        "SELECT(account_id,attempts,claimed_until,id,next_attempt_at) UPDATE(attempts,claimed_until,next_attempt_at)",
    ),
    ("zonecert_sweep", "refresh_tokens", "DELETE SELECT(expires_at,id)"),
    ("zonecert_sweep", "revocations", "SELECT(account_id,id,next_attempt_at,status)"),
    ("zonecert_sweep", "versions", "SELECT(account_id,details,id)"),
    (
        "zonecert_sweep",
        "webhook_deliveries",
        "DELETE SELECT(account_id,claimed_until,created_at,finished_at,id,next_attempt_at,status,webhook_id)",
    ),
    ("zonecert_sweep", "webhook_secrets", "DELETE SELECT(expires_at,id)"),
    ("zonecert_sweep", "workers", "SELECT(drain_requested_at,seen_at)"),
    ("zonecert_sweep", "zone_projections", "SELECT(dns_zone,generation,lease_expires_at,next_wake_at,projected_generation)"),
    ("zonecert_sweep", "zone_records", "SELECT DELETE"),
    (
        "zonecert_sweep",
        "zones",
        "SELECT(account_id,adopted_at,deleted_at,id,lost_at,mode,name,next_check_at,status,verification_value,verified_at) UPDATE(next_check_at)",
    ),
];

/// The role of the admin API: plans and suspensions, and what follows from them.
const OPERATOR: [(&str, &str); 11] = [
    ("accounts", "SELECT UPDATE(last_event_number,plan,status,suspended_at,suspension_note)"),
    ("alternates", "SELECT"),
    ("audit_log", "SELECT INSERT"),
    ("certificate_names", "SELECT"),
    ("certificates", "SELECT UPDATE(next_renewal_at,renewal_blocked_by,renewal_due_at,updated_at)"),
    ("events", "SELECT INSERT"),
    ("issuances", "SELECT UPDATE(next_wake_at,wake_seq,woken_at)"),
    ("orders", "SELECT"),
    ("users", "SELECT(account_id,created_at,deleted_at,email,email_verified_at,id,last_login_at,name,role)"),
    ("versions", "SELECT"),
    ("zones", "SELECT"),
];

/// What the operator's commands step down to that change keys (docs/adr/0022-rotating-keys.md).
const KEYS: [(&str, &str); 10] = [
    (
        "acme_accounts",
        "SELECT(data_key_id,id,next_data_key_id,sealed_credentials,sealed_next_credentials) UPDATE(data_key_id,next_data_key_id,sealed_credentials,sealed_next_credentials)",
    ),
    ("audit_log", "INSERT"),
    ("data_keys", "SELECT INSERT UPDATE(destroyed_at,master_key_id,wrapped)"),
    ("key_stock", "SELECT(data_key_id,id,sealed) UPDATE(data_key_id,sealed)"),
    ("key_versions", "SELECT(account_id,data_key_id,id,sealed) UPDATE(data_key_id,sealed)"),
    ("mails", "SELECT(account_id,data_key_id,id,sealed) UPDATE(data_key_id,sealed)"),
    ("own_acme_accounts", "SELECT(account_id,data_key_id,id,sealed_eab) UPDATE(data_key_id,sealed_eab)"),
    ("pfx_files", "SELECT(account_id,data_key_id,id,sealed) UPDATE(data_key_id,sealed)"),
    ("platform_data_keys", "SELECT INSERT DELETE UPDATE(master_key_id,wrapped)"),
    ("webhook_secrets", "SELECT(account_id,data_key_id,id,sealed) UPDATE(data_key_id,sealed)"),
];

/// Role, table and what the role may do in the end, whatever it owes to PUBLIC or to other roles; nothing where it may do nothing.
const EFFECTIVE: &str = "
    WITH roles (role) AS (VALUES ('public'), ('zonecert_api'), ('zonecert_worker'), ('zonecert_admin'), ('zonecert_lookup'), ('zonecert_sweep'), ('zonecert_keys')),
    privileges (place, privilege) AS (
        VALUES (1, 'SELECT'), (2, 'INSERT'), (3, 'UPDATE'), (4, 'DELETE'), (5, 'TRUNCATE'), (6, 'REFERENCES'), (7, 'TRIGGER')),
    tables AS (SELECT oid, relname::text AS name FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm') AND relnamespace = $1::text::regnamespace),
    granted AS (
        SELECT role, name, place, privilege FROM roles, tables, privileges WHERE has_table_privilege(role, oid, privilege)
        UNION ALL
        SELECT role, name, 10 + place, privilege || '(' || string_agg(attname, ',' ORDER BY attname) || ')'
        FROM roles, tables, privileges, pg_attribute
        WHERE attrelid = oid AND attnum > 0 AND NOT attisdropped AND privilege IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES')
            AND NOT has_table_privilege(role, oid, privilege) AND has_column_privilege(role, oid, attnum, privilege)
        GROUP BY role, name, place, privilege)
    SELECT role, name, string_agg(privilege, ' ' ORDER BY place) FROM granted GROUP BY role, name";

type Grants = BTreeMap<(String, String), String>;

async fn effective(database: &Database, schema: &str) -> Grants {
    let rows = database.admin.query(EFFECTIVE, &[&schema]).await.unwrap();
    rows.iter().map(|row| ((row.get(0), row.get(1)), row.get(2))).collect()
}

#[tokio::test]
async fn each_role_may_do_to_each_table_what_is_listed_and_nothing_else() {
    let database = Database::migrated().await;
    let logins = GRANTS.iter().flat_map(|&(table, api, worker)| [("zonecert_api", table, api), ("zonecert_worker", table, worker)]);
    let expected: Grants = logins
        .chain(FUNCTION_OWNERS)
        .chain(OPERATOR.map(|(table, privileges)| ("zonecert_admin", table, privileges)))
        .chain(KEYS.map(|(table, privileges)| ("zonecert_keys", table, privileges)))
        .filter(|(_, _, privileges)| !privileges.is_empty())
        .map(|(role, table, privileges)| ((role.to_owned(), table.to_owned()), privileges.to_owned()))
        .collect();
    assert_eq!(effective(&database, "public").await, expected);
}

#[tokio::test]
async fn only_the_worker_reaches_the_tables_of_the_queue() {
    let database = Database::migrated().await;
    let granted = effective(&database, "apalis").await;
    assert!(
        granted.len() >= 2 && granted.iter().all(|((role, _), privileges)| role == "zonecert_worker" && privileges == ALL),
        "{granted:?}"
    );
    let jobs = "SELECT count(*) FROM apalis.jobs";
    assert!(database.connect(Role::Worker).await.query_one(jobs, &[]).await.is_ok());
    assert!(database.connect(Role::Api).await.query_one(jobs, &[]).await.is_err());
}

#[tokio::test]
async fn no_role_is_above_row_level_security_or_can_become_one_that_sees_more() {
    let database = Database::migrated().await;
    let mighty = "SELECT rolname::text FROM pg_roles WHERE rolname LIKE 'zonecert\\_%' AND rolname <> 'zonecert_devstack'
                  AND (rolsuper OR rolbypassrls OR rolreplication OR rolcreatedb)";
    assert_eq!(database.column::<String>(mighty).await, [""; 0]);
    let may_make_roles =
        "SELECT rolname::text FROM pg_roles WHERE rolname LIKE 'zonecert\\_%' AND rolname <> 'zonecert_devstack' AND rolcreaterole";
    assert_eq!(database.column::<String>(may_make_roles).await, ["zonecert_owner"]);

    let logins = "SELECT rolname::text FROM pg_roles WHERE rolname IN ('zonecert_api', 'zonecert_worker', 'zonecert_admin', 'zonecert_lookup', 'zonecert_sweep', 'zonecert_keys') AND rolcanlogin ORDER BY 1";
    assert_eq!(database.column::<String>(logins).await, ["zonecert_admin", "zonecert_api", "zonecert_worker"]);
    let postgres = &database.stack.postgres;
    for role in ["zonecert_lookup", "zonecert_sweep"] {
        let url = postgres.url(role, postgres.worker_password(), &database.name);
        assert!(tokio_postgres::connect(&url, tokio_postgres::NoTls).await.is_err(), "{role}");
    }

    let members = "SELECT pg_get_userbyid(member)::text || ' in ' || pg_get_userbyid(roleid) FROM pg_auth_members
                   WHERE pg_get_userbyid(member) IN ('zonecert_api', 'zonecert_worker', 'zonecert_admin', 'zonecert_lookup', 'zonecert_sweep', 'zonecert_keys')";
    assert_eq!(database.column::<String>(members).await, [""; 0]);
    for role in [Role::Api, Role::Worker] {
        let client = database.connect(role).await;
        for other in ["zonecert_owner", "zonecert_lookup", "zonecert_sweep", "zonecert_keys"] {
            assert!(client.batch_execute(&format!("SET ROLE {other}")).await.is_err(), "{role:?} became {other}");
        }
        for statement in [
            "CREATE TABLE public.t ()",
            "CREATE SCHEMA s",
            "ALTER TABLE zones DISABLE ROW LEVEL SECURITY",
            "SET row_security = off; TABLE zones",
        ] {
            assert!(client.batch_execute(statement).await.is_err(), "{role:?}: {statement}");
        }
    }
}
