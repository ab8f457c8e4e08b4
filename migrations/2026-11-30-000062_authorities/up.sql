-- Orders wait for the ledger of what was spent at a CA: what an order may cost is charged with its intent, and given back where it did not cost it.
ALTER TABLE ca_budget ADD COLUMN order_id uuid;
CREATE INDEX ca_budget_order_id_idx ON ca_budget (order_id) WHERE order_id IS NOT NULL;

-- Moments before which nothing is asked of a CA: what it has said by 429 and Retry-After of one of its limits, or of all that it does (`service`), and when
-- one that does not answer is tried again (`outage`).
CREATE TABLE ca_pauses (
    directory_url text NOT NULL,
    kind text NOT NULL CONSTRAINT ca_pauses_kind_check
        CHECK (kind IN ('order', 'registered_domain', 'exact_names', 'failed_authorization', 'service', 'outage')),
    subject text NOT NULL,
    until timestamptz NOT NULL,
    PRIMARY KEY (directory_url, kind, subject)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON ca_pauses TO zonecert_worker;

GRANT CREATE ON SCHEMA public TO zonecert_lookup;
GRANT SELECT (account_id) ON ca_budget TO zonecert_lookup;
GRANT SELECT (directory_url, kind, subject, until) ON ca_pauses TO zonecert_lookup;
-- When each of these was spent within its seconds, and whether by this account; never by whom else. `place` is where it stands in the question, from 1.
CREATE FUNCTION lookup_ca_uses(wanted_directory text, wanted_kinds text[], wanted_subjects text[], wanted_seconds double precision[], account uuid)
RETURNS TABLE (place bigint, at timestamptz, ours boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT wanted.place, ca_budget.at, ca_budget.account_id = account
    FROM unnest(wanted_kinds, wanted_subjects, wanted_seconds) WITH ORDINALITY AS wanted (kind, subject, seconds, place)
    JOIN ca_budget ON ca_budget.directory_url = wanted_directory AND ca_budget.kind = wanted.kind AND ca_budget.subject = wanted.subject
        AND ca_budget.at > now() - make_interval(secs => wanted.seconds)
$$;
-- The pauses of these subjects that are not over.
CREATE FUNCTION lookup_ca_pauses(wanted_directory text, wanted_kinds text[], wanted_subjects text[])
RETURNS TABLE (kind text, subject text, until timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT ca_pauses.kind, ca_pauses.subject, ca_pauses.until
    FROM unnest(wanted_kinds, wanted_subjects) AS wanted (kind, subject)
    JOIN ca_pauses ON ca_pauses.directory_url = wanted_directory AND ca_pauses.kind = wanted.kind AND ca_pauses.subject = wanted.subject
    WHERE ca_pauses.until > now()
$$;
ALTER FUNCTION lookup_ca_uses(text, text[], text[], double precision[], uuid) OWNER TO zonecert_lookup;
ALTER FUNCTION lookup_ca_pauses(text, text[], text[]) OWNER TO zonecert_lookup;
REVOKE CREATE ON SCHEMA public FROM zonecert_lookup;
REVOKE ALL ON FUNCTION lookup_ca_uses(text, text[], text[], double precision[], uuid), lookup_ca_pauses(text, text[], text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION lookup_ca_uses(text, text[], text[], double precision[], uuid), lookup_ca_pauses(text, text[], text[]) TO zonecert_api, zonecert_worker;
