DROP FUNCTION sweep_data_keys(text, uuid, integer), sweep_master_keys(), sweep_old_data_keys(timestamptz, uuid, integer);
DROP INDEX data_keys_account_id_live_idx;
DROP POLICY sweep ON data_keys;
REVOKE ALL ON data_keys FROM zonecert_sweep;
DROP TRIGGER sealed_under_a_live_key ON key_versions;
DROP TRIGGER sealed_under_a_live_key ON mails;
DROP FUNCTION sealed_under_a_live_key();
REVOKE ALL ON data_keys, key_versions, mails, platform_data_keys, acme_accounts, key_stock, audit_log FROM zonecert_keys;
