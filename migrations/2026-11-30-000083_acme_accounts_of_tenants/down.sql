DROP FUNCTION sweep_own_acme_accounts(interval, integer), sweep_ended_accounts(interval, integer);
GRANT CREATE ON SCHEMA public TO zonecert_sweep;
CREATE FUNCTION sweep_ended_accounts(patience interval, batch integer) RETURNS TABLE (id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT accounts.id FROM accounts
    WHERE deletion_requested_at <= now() - patience AND deleted_at IS NULL
        AND (destroyed_at IS NULL
            OR NOT EXISTS (SELECT FROM issuances WHERE issuances.account_id = accounts.id AND issuances.status = 'active')
                AND NOT EXISTS (SELECT FROM revocations WHERE revocations.account_id = accounts.id AND revocations.status = 'active'))
    ORDER BY deletion_requested_at LIMIT batch
$$;
ALTER FUNCTION sweep_ended_accounts(interval, integer) OWNER TO zonecert_sweep;
REVOKE CREATE ON SCHEMA public FROM zonecert_sweep;
REVOKE ALL ON FUNCTION sweep_ended_accounts(interval, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sweep_ended_accounts(interval, integer) TO zonecert_worker;
-- Orders stay, and what they brought is revoked by the certificate's own key from then on. The owner of the tables sees all rows for these statements.
ALTER TABLE orders NO FORCE ROW LEVEL SECURITY, DROP COLUMN own_acme_account_id;
UPDATE orders SET acme_account_id = NULL WHERE acme_account_id IN (SELECT id FROM acme_accounts WHERE is_own);
ALTER TABLE orders FORCE ROW LEVEL SECURITY;
ALTER TABLE certificates DROP COLUMN acme_account_id;
DELETE FROM acme_accounts WHERE is_own;
DROP INDEX acme_accounts_directory_url_key;
ALTER TABLE acme_accounts
    DROP CONSTRAINT acme_accounts_is_own_check,
    DROP CONSTRAINT acme_accounts_sealed_credentials_check,
    DROP COLUMN is_own,
    ALTER COLUMN account_url SET NOT NULL,
    ALTER COLUMN data_key_id SET NOT NULL,
    ALTER COLUMN sealed_credentials SET NOT NULL;
CREATE UNIQUE INDEX acme_accounts_directory_url_key ON acme_accounts (directory_url) WHERE lost_at IS NULL;
DROP TABLE own_acme_accounts;
