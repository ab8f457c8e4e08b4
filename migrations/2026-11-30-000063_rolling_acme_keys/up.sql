-- Our account at a CA gets another key (docs/adr/0023-acme-account-keys.md). The key that is to come is stored before the CA hears of it; it is sealed under a
-- data key of its own column, so that a program that does not know of it can neither move the one without the other nor delete what it is sealed under.
ALTER TABLE acme_accounts
    ADD COLUMN next_data_key_id uuid REFERENCES platform_data_keys (id),
    ADD COLUMN sealed_next_credentials bytea,
    -- When the key was changed last. Whoever has loaded the account before has an old one.
    ADD COLUMN key_changed_at timestamptz,
    ADD CONSTRAINT acme_accounts_sealed_next_credentials_check CHECK ((sealed_next_credentials IS NULL) = (next_data_key_id IS NULL));
GRANT SELECT (next_data_key_id, sealed_next_credentials), UPDATE (next_data_key_id, sealed_next_credentials) ON acme_accounts TO zonecert_keys;

-- TXT values are made of the account's key: while it changes, no new ones are written down (`key_change`).
ALTER TABLE ca_pauses
    DROP CONSTRAINT ca_pauses_kind_check,
    ADD CONSTRAINT ca_pauses_kind_check
        CHECK (kind IN ('order', 'registered_domain', 'exact_names', 'failed_authorization', 'service', 'outage', 'key_change'));

GRANT CREATE ON SCHEMA public TO zonecert_sweep;
GRANT SELECT (acme_account_id, status, finished_at) ON orders TO zonecert_sweep;
CREATE POLICY sweep ON orders FOR SELECT TO zonecert_sweep USING (current_user = 'zonecert_sweep');
-- How many orders from an account of ours have TXT values on record that the CA has not validated yet. A number, and never whose.
CREATE FUNCTION sweep_orders_being_proven(wanted uuid) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT count(*) FROM orders WHERE acme_account_id = wanted AND finished_at IS NULL AND status IN ('presenting', 'propagating', 'validating')
$$;
ALTER FUNCTION sweep_orders_being_proven(uuid) OWNER TO zonecert_sweep;
REVOKE CREATE ON SCHEMA public FROM zonecert_sweep;
REVOKE ALL ON FUNCTION sweep_orders_being_proven(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sweep_orders_being_proven(uuid) TO CURRENT_USER;
