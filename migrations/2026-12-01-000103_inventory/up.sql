-- What stands in a version beside names and validity (docs/adr/0032-inventory.md), for lists and searches: the whole of it, and what is searched for. Written
-- with the version; of those that were there before, by the sweeper. NULL is not looked at yet, and `null` cannot be read.
ALTER TABLE versions
    ADD COLUMN details jsonb,
    ADD COLUMN fingerprint_sha1 text,
    ADD COLUMN side text;
CREATE INDEX versions_account_id_fingerprint_sha1_idx ON versions (account_id, fingerprint_sha1);
CREATE INDEX versions_account_id_side_idx ON versions (account_id, side);
CREATE INDEX versions_undescribed_idx ON versions (id) WHERE details IS NULL;
CREATE INDEX certificates_account_id_key_algorithm_idx ON certificates (account_id, key_algorithm, created_at, id) WHERE deleted_at IS NULL;

-- Counts of managed certificates that hold a slot, and of uploads.
CREATE INDEX certificates_account_id_source_status_idx ON certificates (account_id, source, status) WHERE deleted_at IS NULL;

-- The same as before, and what stands in a version can be added once.
CREATE OR REPLACE FUNCTION versions_immutable() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    mutable text[] := '{revoked_at,revocation_reason}';
BEGIN
    IF OLD.details IS NULL THEN
        mutable := mutable || '{details,fingerprint_sha1,side}'::text[];
    END IF;
    IF to_jsonb(NEW) - mutable IS DISTINCT FROM to_jsonb(OLD) - mutable THEN
        RAISE EXCEPTION 'version % is immutable but for its revocation', OLD.id USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
$$;

GRANT CREATE ON SCHEMA public TO zonecert_sweep;
GRANT SELECT (id, account_id, details) ON versions TO zonecert_sweep;
CREATE POLICY sweep ON versions FOR SELECT TO zonecert_sweep USING (current_user = 'zonecert_sweep' AND details IS NULL);
-- Versions that were stored without what stands in them.
CREATE FUNCTION sweep_undescribed_versions(batch integer) RETURNS TABLE (account_id uuid, id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT versions.account_id, versions.id FROM versions WHERE versions.details IS NULL ORDER BY versions.id LIMIT batch
$$;
ALTER FUNCTION sweep_undescribed_versions(integer) OWNER TO zonecert_sweep;
REVOKE CREATE ON SCHEMA public FROM zonecert_sweep;
REVOKE ALL ON FUNCTION sweep_undescribed_versions(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sweep_undescribed_versions(integer) TO zonecert_worker;
