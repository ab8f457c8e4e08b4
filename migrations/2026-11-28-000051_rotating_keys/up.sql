-- Data keys are wrapped anew, and replaced (docs/adr/0022-rotating-keys.md). The commands that do it connect as the owner and step down to a role that may do
-- just that. It never logs in, and the policies of tenants' tables hold for it.
DO $$
DECLARE
    membership text := CASE WHEN current_setting('server_version_num')::integer >= 160000 THEN 'SET' ELSE 'MEMBER' END;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'zonecert_keys') THEN
        BEGIN
            CREATE ROLE zonecert_keys NOLOGIN;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END IF;
    IF NOT pg_has_role(current_user, 'zonecert_keys', membership) THEN
        BEGIN
            EXECUTE format('GRANT zonecert_keys TO %I', current_user);
        EXCEPTION WHEN unique_violation THEN
            NULL;
        END;
    END IF;
END
$$;
GRANT SELECT, INSERT, UPDATE (master_key_id, wrapped, destroyed_at) ON data_keys TO zonecert_keys;
GRANT SELECT (id, account_id, data_key_id, sealed), UPDATE (data_key_id, sealed) ON key_versions, mails TO zonecert_keys;
GRANT SELECT, INSERT, UPDATE (master_key_id, wrapped), DELETE ON platform_data_keys TO zonecert_keys;
GRANT SELECT (id, data_key_id, sealed_credentials), UPDATE (data_key_id, sealed_credentials) ON acme_accounts TO zonecert_keys;
GRANT SELECT (id, data_key_id, sealed), UPDATE (data_key_id, sealed) ON key_stock TO zonecert_keys;
GRANT INSERT ON audit_log TO zonecert_keys;

-- Nothing is ever sealed under a key that is gone. The name sorts behind those of the foreign keys, which have locked the data key's row by then: whoever wants
-- to destroy it waits, and sees what was sealed, or has destroyed it already, and is seen here.
CREATE FUNCTION sealed_under_a_live_key() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM data_keys WHERE id = NEW.data_key_id AND account_id = NEW.account_id AND destroyed_at IS NULL) THEN
        RAISE EXCEPTION 'data key % was destroyed; seal it under the newest one', NEW.data_key_id USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER sealed_under_a_live_key AFTER INSERT OR UPDATE OF data_key_id ON key_versions FOR EACH ROW
    WHEN (NEW.sealed IS NOT NULL) EXECUTE FUNCTION sealed_under_a_live_key();
CREATE TRIGGER sealed_under_a_live_key AFTER INSERT OR UPDATE OF data_key_id ON mails FOR EACH ROW
    WHEN (NEW.sealed IS NOT NULL) EXECUTE FUNCTION sealed_under_a_live_key();

-- What is left to be done, across tenants: identifiers and numbers.
GRANT CREATE ON SCHEMA public TO zonecert_sweep;
GRANT SELECT (id, account_id, master_key_id, created_at, destroyed_at) ON data_keys TO zonecert_sweep;
CREATE POLICY sweep ON data_keys FOR SELECT TO zonecert_sweep USING (current_user = 'zonecert_sweep');
CREATE FUNCTION sweep_data_keys(current_master_key text, after uuid, batch integer) RETURNS TABLE (account_id uuid, id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT data_keys.account_id, data_keys.id FROM data_keys
    WHERE destroyed_at IS NULL AND master_key_id <> current_master_key AND (after IS NULL OR data_keys.id > after)
    ORDER BY data_keys.id LIMIT batch
$$;
CREATE FUNCTION sweep_master_keys() RETURNS TABLE (master_key_id text, data_keys bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT data_keys.master_key_id, count(*) FROM data_keys WHERE destroyed_at IS NULL GROUP BY data_keys.master_key_id
$$;
-- Accounts with a data key that was made before, whether its successor is there or not.
CREATE FUNCTION sweep_old_data_keys(before timestamptz, after uuid, batch integer) RETURNS TABLE (account_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT DISTINCT data_keys.account_id FROM data_keys
    WHERE destroyed_at IS NULL AND created_at < before AND (after IS NULL OR data_keys.account_id > after)
    ORDER BY data_keys.account_id LIMIT batch
$$;
CREATE INDEX data_keys_account_id_live_idx ON data_keys (account_id) WHERE destroyed_at IS NULL;
ALTER FUNCTION sweep_data_keys(text, uuid, integer) OWNER TO zonecert_sweep;
ALTER FUNCTION sweep_master_keys() OWNER TO zonecert_sweep;
ALTER FUNCTION sweep_old_data_keys(timestamptz, uuid, integer) OWNER TO zonecert_sweep;
REVOKE CREATE ON SCHEMA public FROM zonecert_sweep;
REVOKE ALL ON FUNCTION sweep_data_keys(text, uuid, integer), sweep_master_keys(), sweep_old_data_keys(timestamptz, uuid, integer), sealed_under_a_live_key()
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sweep_data_keys(text, uuid, integer), sweep_master_keys(), sweep_old_data_keys(timestamptz, uuid, integer) TO zonecert_keys;
