-- The data model (docs/data-model.md draws it). Rules that hold throughout:
--   * a tenant's table has account_id, and every foreign key between two of them carries it, since foreign-key checks go round row-level security;
--   * a unique name that deletion must free is a partial index;
--   * a state is text with a CHECK, and names the words of zonecert_domain.

-- Tenants and people ---------------------------------------------------------------------------------------------------------

CREATE TABLE accounts (
    id uuid PRIMARY KEY,
    name text NOT NULL CONSTRAINT accounts_name_check CHECK (length(name) BETWEEN 1 AND 200),
    plan text NOT NULL DEFAULT 'free' CONSTRAINT accounts_plan_check CHECK (plan IN ('free', 'plus', 'pro', 'elite')),
    status text NOT NULL DEFAULT 'active'
        CONSTRAINT accounts_status_check CHECK (status IN ('active', 'suspended_payment', 'suspended_abuse')),
    -- The last number given to an event and to a certificate of this account, raised under the row's lock.
    last_event_number bigint NOT NULL DEFAULT 0,
    last_certificate_number integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz
);

-- Data keys seal an account's secrets and are themselves sealed under a master key that is not in the database.
CREATE TABLE data_keys (
    id uuid PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES accounts (id),
    master_key_id text NOT NULL,
    wrapped bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT data_keys_account_id_id_key UNIQUE (account_id, id)
);

CREATE TABLE users (
    id uuid PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES accounts (id),
    email text NOT NULL,
    password_hash text NOT NULL,
    role text NOT NULL CONSTRAINT users_role_check CHECK (role IN ('owner', 'member', 'viewer')),
    email_verified_at timestamptz,
    last_login_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    CONSTRAINT users_account_id_id_key UNIQUE (account_id, id),
    CONSTRAINT users_email_check CHECK (email = lower(email))
);
CREATE UNIQUE INDEX users_email_key ON users (email) WHERE deleted_at IS NULL;

-- A refresh token is used once; its successor has the same family. A second use of it revokes the family (RFC 9700 §4.14.2).
CREATE TABLE refresh_tokens (
    id uuid PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES accounts (id),
    user_id uuid NOT NULL,
    family_id uuid NOT NULL,
    token_sha256 bytea NOT NULL CONSTRAINT refresh_tokens_token_sha256_key UNIQUE,
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    revoked_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT refresh_tokens_account_id_user_id_fkey FOREIGN KEY (account_id, user_id) REFERENCES users (account_id, id)
);
CREATE INDEX refresh_tokens_family_id_idx ON refresh_tokens (family_id);

CREATE TABLE api_tokens (
    id uuid PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES accounts (id),
    created_by uuid NOT NULL,
    name text NOT NULL CONSTRAINT api_tokens_name_check CHECK (length(name) BETWEEN 1 AND 100),
    prefix text NOT NULL,
    token_sha256 bytea NOT NULL CONSTRAINT api_tokens_token_sha256_key UNIQUE,
    scopes text[] NOT NULL,
    expires_at timestamptz,
    last_used_at timestamptz,
    revoked_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT api_tokens_account_id_created_by_fkey FOREIGN KEY (account_id, created_by) REFERENCES users (account_id, id)
);
CREATE INDEX api_tokens_account_id_idx ON api_tokens (account_id, created_at);

-- Who did what. `details` never holds a secret.
CREATE TABLE audit_log (
    id uuid PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES accounts (id),
    at timestamptz NOT NULL DEFAULT now(),
    actor text NOT NULL,
    action text NOT NULL,
    subject text,
    request_id text,
    details jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_log_account_id_at_idx ON audit_log (account_id, at);

-- Zones ----------------------------------------------------------------------------------------------------------------------

CREATE TABLE zones (
    id uuid PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES accounts (id),
    name text NOT NULL,
    mode text NOT NULL DEFAULT 'hosted' CONSTRAINT zones_mode_check CHECK (mode IN ('hosted', 'delegated')),
    status text NOT NULL DEFAULT 'pending' CONSTRAINT zones_status_check CHECK (status IN ('pending', 'verified', 'lost')),
    -- The value that the customer sets as TXT to prove control. Public by nature.
    verification_value text NOT NULL,
    verified_at timestamptz,
    last_checked_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    CONSTRAINT zones_account_id_id_key UNIQUE (account_id, id),
    CONSTRAINT zones_verified_at_check CHECK (status <> 'verified' OR verified_at IS NOT NULL)
);
CREATE UNIQUE INDEX zones_account_id_name_key ON zones (account_id, name) WHERE deleted_at IS NULL;
-- Two accounts may both be about to prove a zone; one at a time holds it. An index sees all tenants, whatever the policies hide.
CREATE UNIQUE INDEX zones_verified_name_key ON zones (name) WHERE status = 'verified' AND deleted_at IS NULL;

-- Keys -----------------------------------------------------------------------------------------------------------------------

CREATE TABLE private_keys (
    id uuid PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES accounts (id),
    name text NOT NULL,
    algorithm text NOT NULL CONSTRAINT private_keys_algorithm_check
        CHECK (algorithm IN ('rsa2048', 'rsa3072', 'rsa4096', 'ecdsa_p256', 'ecdsa_p384')),
    created_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    CONSTRAINT private_keys_account_id_id_key UNIQUE (account_id, id)
);
CREATE UNIQUE INDEX private_keys_account_id_name_key ON private_keys (account_id, name) WHERE deleted_at IS NULL;

-- One generation of a key's material: PKCS#8, sealed under the account's data key. Destroyed when no undeleted version needs it.
CREATE TABLE key_versions (
    id uuid PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES accounts (id),
    private_key_id uuid NOT NULL,
    data_key_id uuid NOT NULL,
    sealed bytea,
    public_key_sha256 bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    destroyed_at timestamptz,
    CONSTRAINT key_versions_account_id_id_key UNIQUE (account_id, id),
    CONSTRAINT key_versions_account_id_private_key_id_fkey FOREIGN KEY (account_id, private_key_id) REFERENCES private_keys (account_id, id),
    CONSTRAINT key_versions_account_id_data_key_id_fkey FOREIGN KEY (account_id, data_key_id) REFERENCES data_keys (account_id, id),
    CONSTRAINT key_versions_destroyed_at_check CHECK ((sealed IS NULL) = (destroyed_at IS NOT NULL))
);
CREATE INDEX key_versions_private_key_id_idx ON key_versions (private_key_id);

-- Certificates ---------------------------------------------------------------------------------------------------------------

-- Four identifiers: id, name (safe in a URL), number (counted per account), label (free text). A fifth, the client's own, is in certificate_entries.
CREATE TABLE certificates (
    id uuid PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES accounts (id),
    source text NOT NULL DEFAULT 'managed' CONSTRAINT certificates_source_check CHECK (source IN ('managed', 'upload')),
    zone_id uuid,
    private_key_id uuid,
    name text NOT NULL CONSTRAINT certificates_name_check CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$'),
    number integer NOT NULL,
    label text,
    domain text NOT NULL,
    environment text NOT NULL DEFAULT 'production' CONSTRAINT certificates_environment_check CHECK (environment IN ('production', 'staging')),
    key_algorithm text NOT NULL,
    key_policy text NOT NULL DEFAULT 'rotate' CONSTRAINT certificates_key_policy_check CHECK (key_policy IN ('rotate', 'keep')),
    auto_renew boolean NOT NULL,
    status text NOT NULL DEFAULT 'pending' CONSTRAINT certificates_status_check
        CHECK (status IN ('pending', 'validating', 'issued', 'failed', 'expired', 'revoked')),
    current_version_id uuid,
    issued_at timestamptz,
    expires_at timestamptz,
    -- What people see, and what the scan reads: NULL while an issuance is live or the plan forbids.
    next_renewal_at timestamptz,
    renewal_due_at timestamptz,
    last_error jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    CONSTRAINT certificates_account_id_id_key UNIQUE (account_id, id),
    CONSTRAINT certificates_account_id_number_key UNIQUE (account_id, number),
    CONSTRAINT certificates_account_id_zone_id_fkey FOREIGN KEY (account_id, zone_id) REFERENCES zones (account_id, id),
    CONSTRAINT certificates_account_id_private_key_id_fkey FOREIGN KEY (account_id, private_key_id) REFERENCES private_keys (account_id, id),
    CONSTRAINT certificates_zone_id_check CHECK (source <> 'managed' OR zone_id IS NOT NULL)
);
CREATE UNIQUE INDEX certificates_account_id_name_key ON certificates (account_id, name) WHERE deleted_at IS NULL;
-- One active managed certificate per domain and account (requirements S3.50, X13): these three states hold slot and domain.
CREATE UNIQUE INDEX certificates_account_id_domain_key ON certificates (account_id, domain)
    WHERE source = 'managed' AND deleted_at IS NULL AND status IN ('pending', 'validating', 'issued');
CREATE INDEX certificates_account_id_created_at_idx ON certificates (account_id, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX certificates_renewal_due_at_idx ON certificates (renewal_due_at) WHERE renewal_due_at IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX certificates_expires_at_idx ON certificates (expires_at) WHERE status IN ('issued', 'validating') AND deleted_at IS NULL;
CREATE INDEX certificates_zone_id_idx ON certificates (zone_id) WHERE deleted_at IS NULL;

-- Every name of a certificate, the domain first. Reversed labels make a search by suffix a range of a b-tree, which row-level security lets through.
CREATE TABLE certificate_names (
    account_id uuid NOT NULL REFERENCES accounts (id),
    certificate_id uuid NOT NULL,
    position integer NOT NULL,
    name text NOT NULL,
    reversed_name text COLLATE "C" NOT NULL,
    PRIMARY KEY (certificate_id, position),
    CONSTRAINT certificate_names_certificate_id_name_key UNIQUE (certificate_id, name),
    CONSTRAINT certificate_names_account_id_certificate_id_fkey
        FOREIGN KEY (account_id, certificate_id) REFERENCES certificates (account_id, id)
);
CREATE INDEX certificate_names_account_id_reversed_name_idx ON certificate_names (account_id, reversed_name);

-- A client's own identifier for a certificate within a named configuration.
CREATE TABLE certificate_entries (
    account_id uuid NOT NULL REFERENCES accounts (id),
    configuration text NOT NULL,
    entry_id text NOT NULL,
    certificate_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, configuration, entry_id),
    CONSTRAINT certificate_entries_account_id_certificate_id_fkey
        FOREIGN KEY (account_id, certificate_id) REFERENCES certificates (account_id, id)
);
CREATE INDEX certificate_entries_certificate_id_idx ON certificate_entries (certificate_id);

-- One wish for a new version, with its retries. The row is the truth; a queue job only says "look at it".
CREATE TABLE issuances (
    id uuid PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES accounts (id),
    certificate_id uuid NOT NULL,
    reason text NOT NULL CONSTRAINT issuances_reason_check CHECK (reason IN ('first', 'renewal', 'by_hand', 'replacement')),
    status text NOT NULL DEFAULT 'active'
        CONSTRAINT issuances_status_check CHECK (status IN ('active', 'succeeded', 'failed', 'cancelled')),
    -- Orders that failed and may heal, and failures in a row of the step that is next (docs/state-machines.md).
    attempts integer NOT NULL DEFAULT 0,
    step_failures integer NOT NULL DEFAULT 0,
    give_up_at timestamptz NOT NULL,
    -- No step is taken before next_wake_at. A job with the number wake_seq is due at woken_at; if nobody has come by long after, the sweeper sends another.
    next_wake_at timestamptz,
    wake_seq bigint NOT NULL DEFAULT 0,
    woken_at timestamptz NOT NULL DEFAULT now(),
    -- Who works on it, until when by this database's clock, and the fence that every write of theirs checks.
    lease_owner text,
    lease_expires_at timestamptz,
    fence bigint NOT NULL DEFAULT 0,
    failure jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    CONSTRAINT issuances_account_id_id_key UNIQUE (account_id, id),
    CONSTRAINT issuances_account_id_certificate_id_fkey FOREIGN KEY (account_id, certificate_id) REFERENCES certificates (account_id, id),
    -- An active issuance always has a next moment; one that has ended has none.
    CONSTRAINT issuances_next_wake_at_check CHECK ((status = 'active') = (next_wake_at IS NOT NULL)),
    CONSTRAINT issuances_finished_at_check CHECK ((status = 'active') = (finished_at IS NULL))
);
CREATE UNIQUE INDEX issuances_certificate_id_active_key ON issuances (certificate_id) WHERE status = 'active';
CREATE INDEX issuances_certificate_id_idx ON issuances (certificate_id, created_at);
CREATE INDEX issuances_next_wake_at_idx ON issuances (next_wake_at) WHERE status = 'active';

-- Platform: the accounts that we have at certificate authorities. Credentials are sealed under a platform data key.
CREATE TABLE platform_data_keys (
    id uuid PRIMARY KEY,
    master_key_id text NOT NULL,
    wrapped bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE acme_accounts (
    id uuid PRIMARY KEY,
    directory_url text NOT NULL,
    account_url text NOT NULL,
    data_key_id uuid NOT NULL REFERENCES platform_data_keys (id),
    sealed_credentials bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- Set when the CA says that it does not know the account.
    lost_at timestamptz
);
CREATE UNIQUE INDEX acme_accounts_directory_url_key ON acme_accounts (directory_url) WHERE lost_at IS NULL;

-- Exactly one ACME order each. `url` is the CA's; it is NULL only before the CA has answered newOrder.
CREATE TABLE orders (
    id uuid PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES accounts (id),
    issuance_id uuid NOT NULL,
    certificate_id uuid NOT NULL,
    directory_url text NOT NULL,
    acme_account_id uuid REFERENCES acme_accounts (id),
    status text NOT NULL DEFAULT 'intended' CONSTRAINT orders_status_check CHECK (status IN
        ('intended', 'placed', 'presenting', 'propagating', 'validating', 'authorized', 'finalizing', 'issued', 'failed', 'abandoned')),
    url text,
    -- The names that were asked for, in order: those of the certificate when the order was made.
    names text[] NOT NULL,
    key_version_id uuid,
    csr bytea,
    presented_at timestamptz,
    polls integer NOT NULL DEFAULT 0,
    next_poll_at timestamptz,
    failure jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    CONSTRAINT orders_account_id_id_key UNIQUE (account_id, id),
    CONSTRAINT orders_account_id_issuance_id_fkey FOREIGN KEY (account_id, issuance_id) REFERENCES issuances (account_id, id),
    CONSTRAINT orders_account_id_certificate_id_fkey FOREIGN KEY (account_id, certificate_id) REFERENCES certificates (account_id, id),
    CONSTRAINT orders_account_id_key_version_id_fkey FOREIGN KEY (account_id, key_version_id) REFERENCES key_versions (account_id, id),
    CONSTRAINT orders_url_check CHECK (status IN ('intended', 'failed', 'abandoned') OR (url IS NOT NULL AND acme_account_id IS NOT NULL)),
    CONSTRAINT orders_presented_at_check CHECK (status <> 'propagating' OR presented_at IS NOT NULL),
    -- Key and request are stored together, and before the CA is asked to sign.
    CONSTRAINT orders_csr_check CHECK ((csr IS NULL) = (key_version_id IS NULL)),
    CONSTRAINT orders_finalizing_check CHECK (status NOT IN ('finalizing', 'issued') OR csr IS NOT NULL),
    CONSTRAINT orders_finished_at_check CHECK ((status IN ('issued', 'failed', 'abandoned')) = (finished_at IS NOT NULL))
);
CREATE UNIQUE INDEX orders_issuance_id_live_key ON orders (issuance_id) WHERE finished_at IS NULL;
CREATE UNIQUE INDEX orders_directory_url_url_key ON orders (directory_url, url);
CREATE INDEX orders_certificate_id_idx ON orders (certificate_id, created_at);
CREATE INDEX orders_key_version_id_idx ON orders (key_version_id);

CREATE FUNCTION orders_keep_request() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'the key and the request of order % are final', OLD.id USING ERRCODE = 'integrity_constraint_violation';
END
$$;
CREATE TRIGGER orders_keep_request BEFORE UPDATE OF csr, key_version_id ON orders FOR EACH ROW
    WHEN (OLD.csr IS NOT NULL AND (NEW.csr IS DISTINCT FROM OLD.csr OR NEW.key_version_id IS DISTINCT FROM OLD.key_version_id))
    EXECUTE FUNCTION orders_keep_request();

CREATE TABLE authorizations (
    id uuid PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES accounts (id),
    order_id uuid NOT NULL,
    url text NOT NULL,
    -- The identifier without `*.`; `wildcard` says that it stood there.
    identifier text NOT NULL,
    wildcard boolean NOT NULL,
    status text NOT NULL CONSTRAINT authorizations_status_check CHECK (status IN ('pending', 'valid', 'failed')),
    polls integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT authorizations_account_id_id_key UNIQUE (account_id, id),
    CONSTRAINT authorizations_order_id_url_key UNIQUE (order_id, url),
    CONSTRAINT authorizations_account_id_order_id_fkey FOREIGN KEY (account_id, order_id) REFERENCES orders (account_id, id)
);

-- The TXT values that orders want at names of a zone in PowerDNS. Rows are the truth, PowerDNS their projection: a row is written before
-- its value appears there, marked when it is to go, and deleted once it has been seen to be gone.
CREATE TABLE challenge_records (
    id uuid PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES accounts (id),
    order_id uuid NOT NULL,
    authorization_id uuid NOT NULL,
    dns_zone text NOT NULL,
    name text NOT NULL,
    value text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    unwanted_at timestamptz,
    CONSTRAINT challenge_records_account_id_order_id_fkey FOREIGN KEY (account_id, order_id) REFERENCES orders (account_id, id),
    CONSTRAINT challenge_records_account_id_authorization_id_fkey
        FOREIGN KEY (account_id, authorization_id) REFERENCES authorizations (account_id, id),
    CONSTRAINT challenge_records_authorization_id_key UNIQUE (authorization_id)
);
CREATE INDEX challenge_records_dns_zone_idx ON challenge_records (dns_zone);
CREATE INDEX challenge_records_order_id_idx ON challenge_records (order_id);

-- Immutable but for revocation. A version of an upload has no order.
CREATE TABLE versions (
    id uuid PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES accounts (id),
    certificate_id uuid NOT NULL,
    number integer NOT NULL,
    source text NOT NULL CONSTRAINT versions_source_check CHECK (source IN ('acme', 'upload')),
    order_id uuid,
    key_version_id uuid NOT NULL,
    chain_pem text NOT NULL,
    names text[] NOT NULL,
    serial text NOT NULL,
    fingerprint_sha256 text NOT NULL,
    issuer text NOT NULL,
    subject text NOT NULL,
    not_before timestamptz NOT NULL,
    not_after timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz,
    revocation_reason integer,
    CONSTRAINT versions_account_id_id_key UNIQUE (account_id, id),
    CONSTRAINT versions_certificate_id_number_key UNIQUE (certificate_id, number),
    CONSTRAINT versions_order_id_key UNIQUE (order_id),
    CONSTRAINT versions_account_id_certificate_id_fkey FOREIGN KEY (account_id, certificate_id) REFERENCES certificates (account_id, id),
    CONSTRAINT versions_account_id_order_id_fkey FOREIGN KEY (account_id, order_id) REFERENCES orders (account_id, id),
    CONSTRAINT versions_account_id_key_version_id_fkey FOREIGN KEY (account_id, key_version_id) REFERENCES key_versions (account_id, id),
    CONSTRAINT versions_order_id_check CHECK ((source = 'acme') = (order_id IS NOT NULL))
);
CREATE INDEX versions_key_version_id_idx ON versions (key_version_id);
ALTER TABLE certificates ADD CONSTRAINT certificates_account_id_current_version_id_fkey
    FOREIGN KEY (account_id, current_version_id) REFERENCES versions (account_id, id);

CREATE FUNCTION versions_immutable() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF to_jsonb(NEW) - 'revoked_at' - 'revocation_reason' IS DISTINCT FROM to_jsonb(OLD) - 'revoked_at' - 'revocation_reason' THEN
        RAISE EXCEPTION 'version % is immutable but for its revocation', OLD.id USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER versions_immutable BEFORE UPDATE ON versions FOR EACH ROW EXECUTE FUNCTION versions_immutable();

-- What happened, per account in the order of its numbers: the log of a certificate, and what live listeners are sent.
CREATE TABLE events (
    account_id uuid NOT NULL REFERENCES accounts (id),
    number bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    level text NOT NULL CONSTRAINT events_level_check CHECK (level IN ('info', 'warning', 'error')),
    event text NOT NULL,
    message text NOT NULL,
    certificate_id uuid,
    issuance_id uuid,
    order_id uuid,
    details jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (account_id, number)
);
CREATE INDEX events_certificate_id_idx ON events (account_id, certificate_id, number) WHERE certificate_id IS NOT NULL;

-- Platform -------------------------------------------------------------------------------------------------------------------

-- A zone in PowerDNS, by name: one writer at a time, whoever's records it holds. The generation is raised by whoever changes what
-- should be there; the projection is through when it has caught up.
CREATE TABLE zone_projections (
    dns_zone text PRIMARY KEY,
    generation bigint NOT NULL DEFAULT 0,
    projected_generation bigint NOT NULL DEFAULT 0,
    -- True when we made the zone in PowerDNS; one that was there before is adopted, and never deleted.
    created_by_us boolean NOT NULL DEFAULT false,
    lease_owner text,
    lease_expires_at timestamptz,
    fence bigint NOT NULL DEFAULT 0,
    failures integer NOT NULL DEFAULT 0,
    next_wake_at timestamptz NOT NULL DEFAULT now(),
    wake_seq bigint NOT NULL DEFAULT 0,
    woken_at timestamptz NOT NULL DEFAULT now(),
    last_error text,
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX zone_projections_next_wake_at_idx ON zone_projections (next_wake_at) WHERE projected_generation < generation;

-- Private keys that belong to nobody yet, sealed under a platform data key.
CREATE TABLE key_stock (
    id uuid PRIMARY KEY,
    algorithm text NOT NULL,
    data_key_id uuid NOT NULL REFERENCES platform_data_keys (id),
    sealed bytea NOT NULL,
    public_key_sha256 bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX key_stock_algorithm_idx ON key_stock (algorithm, created_at);

-- What was spent at a CA, to stay below its limits: one row for each use, `subject` being the registered domain, set of names or host name.
CREATE TABLE ca_budget (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    directory_url text NOT NULL,
    kind text NOT NULL CONSTRAINT ca_budget_kind_check
        CHECK (kind IN ('order', 'registered_domain', 'exact_names', 'failed_authorization')),
    subject text NOT NULL,
    account_id uuid NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ca_budget_directory_url_kind_subject_at_idx ON ca_budget (directory_url, kind, subject, at);
