DROP FUNCTION sweep_orders_being_proven(uuid);
DROP POLICY sweep ON orders;
REVOKE ALL ON orders FROM zonecert_sweep;
DELETE FROM ca_pauses WHERE kind = 'key_change';
ALTER TABLE ca_pauses
    DROP CONSTRAINT ca_pauses_kind_check,
    ADD CONSTRAINT ca_pauses_kind_check CHECK (kind IN ('order', 'registered_domain', 'exact_names', 'failed_authorization', 'service', 'outage'));
ALTER TABLE acme_accounts DROP COLUMN key_changed_at, DROP COLUMN sealed_next_credentials, DROP COLUMN next_data_key_id;
