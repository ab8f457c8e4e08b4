DROP FUNCTION lookup_ca_pauses(text, text[], text[]);
DROP FUNCTION lookup_ca_uses(text, text, text, interval, uuid);
REVOKE SELECT (account_id) ON ca_budget FROM zonecert_lookup;
DROP TABLE ca_pauses;
DROP INDEX ca_budget_order_id_idx;
ALTER TABLE ca_budget DROP COLUMN order_id;
GRANT CREATE ON SCHEMA public TO zonecert_lookup;
CREATE FUNCTION lookup_ca_budget_free_at(wanted_directory text, wanted_kind text, wanted_subject text, since interval, most integer)
RETURNS timestamptz
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT at + since FROM ca_budget
    WHERE directory_url = wanted_directory AND kind = wanted_kind AND subject = wanted_subject AND at > now() - since
    ORDER BY at DESC OFFSET greatest(most, 1) - 1 LIMIT 1
$$;
ALTER FUNCTION lookup_ca_budget_free_at(text, text, text, interval, integer) OWNER TO zonecert_lookup;
REVOKE CREATE ON SCHEMA public FROM zonecert_lookup;
REVOKE ALL ON FUNCTION lookup_ca_budget_free_at(text, text, text, interval, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION lookup_ca_budget_free_at(text, text, text, interval, integer) TO zonecert_api, zonecert_worker;
