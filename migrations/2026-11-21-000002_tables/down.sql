DROP TABLE ca_budget, key_stock, zone_projections, events, challenge_records, authorizations;
ALTER TABLE certificates DROP CONSTRAINT certificates_account_id_current_version_id_fkey;
DROP TABLE versions, orders, acme_accounts, platform_data_keys, issuances, certificate_entries, certificate_names, certificates,
    key_versions, private_keys, zones, audit_log, api_tokens, refresh_tokens, users, data_keys, accounts;
DROP FUNCTION versions_immutable();
DROP FUNCTION orders_keep_request();
