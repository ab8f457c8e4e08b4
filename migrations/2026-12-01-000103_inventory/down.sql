DROP FUNCTION sweep_undescribed_versions(integer);
DROP POLICY sweep ON versions;
REVOKE SELECT (id, account_id, details) ON versions FROM zonecert_sweep;
CREATE OR REPLACE FUNCTION versions_immutable() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF to_jsonb(NEW) - 'revoked_at' - 'revocation_reason' IS DISTINCT FROM to_jsonb(OLD) - 'revoked_at' - 'revocation_reason' THEN
        RAISE EXCEPTION 'version % is immutable but for its revocation', OLD.id USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
$$;
DROP INDEX certificates_account_id_source_status_idx;
DROP INDEX certificates_account_id_key_algorithm_idx;
DROP INDEX versions_undescribed_idx;
DROP INDEX versions_account_id_side_idx;
DROP INDEX versions_account_id_fingerprint_sha1_idx;
ALTER TABLE versions
    DROP COLUMN side,
    DROP COLUMN fingerprint_sha1,
    DROP COLUMN details;
