DROP FUNCTION sweep_accounts(uuid, integer), sweep_ended_accounts(interval, integer);
DROP POLICY sweep ON accounts;
REVOKE ALL ON accounts FROM zonecert_sweep;
REVOKE ALL ON accounts, zones, certificates, certificate_names, issuances, orders, versions, events, audit_log, users FROM zonecert_admin;
REVOKE ALL ON FUNCTION lookup_user(text), enqueue_job(text, jsonb, text, timestamptz), wake_issuance(uuid, timestamptz), request_projection(text) FROM zonecert_admin;
REVOKE UPDATE (wrapped, destroyed_at) ON data_keys FROM zonecert_worker;
REVOKE SELECT (account_id, deleted_at), UPDATE (deleted_at) ON users FROM zonecert_worker;
REVOKE SELECT (account_id, revoked_at), UPDATE (revoked_at) ON api_tokens, refresh_tokens FROM zonecert_worker;
REVOKE SELECT (account_id, revoked_at, accepted_at), UPDATE (revoked_at) ON invitations FROM zonecert_worker;
REVOKE SELECT (account_id, used_at), UPDATE (used_at) ON email_tokens FROM zonecert_worker;
REVOKE INSERT (id, name, created_at) ON accounts FROM zonecert_api;
GRANT INSERT ON accounts TO zonecert_api;
-- Row-level security hides destroyed keys from an UPDATE of the owner's, not from a change of the column.
ALTER TABLE data_keys DROP COLUMN destroyed_at;
ALTER TABLE data_keys ALTER COLUMN wrapped TYPE bytea USING coalesce(wrapped, '');
ALTER TABLE data_keys ALTER COLUMN wrapped SET NOT NULL;
ALTER TABLE accounts DROP COLUMN suspended_at, DROP COLUMN suspension_note, DROP COLUMN deletion_requested_at, DROP COLUMN destroyed_at;
