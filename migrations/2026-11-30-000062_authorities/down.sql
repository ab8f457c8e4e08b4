DROP FUNCTION lookup_ca_pauses(text, text[], text[]);
DROP FUNCTION lookup_ca_uses(text, text[], text[], double precision[], uuid);
REVOKE SELECT (account_id) ON ca_budget FROM zonecert_lookup;
DROP TABLE ca_pauses;
DROP INDEX ca_budget_order_id_idx;
ALTER TABLE ca_budget DROP COLUMN order_id;
