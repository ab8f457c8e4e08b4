-- What customers keep in the zones that we host, and how control of a zone is looked at again.

ALTER TABLE zones
    -- When control is looked for again, and how often in a row it was not there. NULL for a zone that waits for its first proof.
    ADD COLUMN next_check_at timestamptz,
    ADD COLUMN failed_checks integer NOT NULL DEFAULT 0,
    ADD COLUMN lost_at timestamptz,
    -- Set once the records that were in PowerDNS before us have been read in.
    ADD COLUMN adopted_at timestamptz;
UPDATE zones SET next_check_at = now() WHERE status = 'verified' AND deleted_at IS NULL;
CREATE INDEX zones_next_check_at_idx ON zones (next_check_at) WHERE next_check_at IS NOT NULL AND deleted_at IS NULL;

-- One RRset of a hosted zone. `adopted` ones were in PowerDNS before us and are left alone there until the customer changes them.
CREATE TABLE zone_records (
    id uuid PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES accounts (id),
    zone_id uuid NOT NULL,
    -- Complete, in lower case, without a dot at the end.
    name text NOT NULL,
    record_type text NOT NULL,
    ttl_seconds integer NOT NULL CONSTRAINT zone_records_ttl_seconds_check CHECK (ttl_seconds BETWEEN 1 AND 604800),
    -- Presentation format (RFC 1035 §5.1), host names complete and with a dot at the end.
    contents text[] NOT NULL CONSTRAINT zone_records_contents_check CHECK (cardinality(contents) BETWEEN 1 AND 100),
    adopted boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    -- The customer has deleted it; the row goes once it has been seen to be gone from PowerDNS.
    deleted_at timestamptz,
    -- Why PowerDNS would not have it, and when it said so last. It is not asked again while the zone's records stand still.
    refusal text,
    refused_at timestamptz,
    CONSTRAINT zone_records_refused_at_check CHECK ((refusal IS NULL) = (refused_at IS NULL)),
    CONSTRAINT zone_records_account_id_zone_id_fkey FOREIGN KEY (account_id, zone_id) REFERENCES zones (account_id, id),
    CONSTRAINT zone_records_zone_id_name_record_type_key UNIQUE (zone_id, name, record_type)
);
ALTER TABLE zone_records ENABLE ROW LEVEL SECURITY;
ALTER TABLE zone_records FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON zone_records
    USING (account_id = nullif(current_setting('zonecert.account', true), '')::uuid)
    WITH CHECK (account_id = nullif(current_setting('zonecert.account', true), '')::uuid);
GRANT SELECT, INSERT, UPDATE, DELETE ON zone_records TO zonecert_api;
GRANT SELECT, INSERT, UPDATE (refusal, refused_at) ON zone_records TO zonecert_worker;

GRANT CREATE ON SCHEMA public TO zonecert_sweep;
GRANT SELECT (id, account_id, verification_value, verified_at, next_check_at, lost_at, adopted_at), UPDATE (next_check_at) ON zones TO zonecert_sweep;
CREATE POLICY sweep_claim ON zones FOR UPDATE TO zonecert_sweep USING (current_user = 'zonecert_sweep') WITH CHECK (current_user = 'zonecert_sweep');
GRANT SELECT, DELETE ON zone_records TO zonecert_sweep;
CREATE POLICY sweep ON zone_records FOR SELECT TO zonecert_sweep USING (current_user = 'zonecert_sweep');
CREATE POLICY sweep_delete ON zone_records FOR DELETE TO zonecert_sweep USING (current_user = 'zonecert_sweep');

CREATE FUNCTION sweep_due_zone_checks(put_off interval, batch integer) RETURNS TABLE (account_id uuid, id uuid)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    UPDATE zones SET next_check_at = now() + put_off WHERE zones.id IN (
        SELECT due.id FROM zones AS due WHERE due.next_check_at <= now() AND due.deleted_at IS NULL
        ORDER BY due.next_check_at LIMIT batch FOR UPDATE SKIP LOCKED)
    RETURNING zones.account_id, zones.id
$$;
-- Whose a zone in PowerDNS is, and whether what was there before us has been read in: the account that has proven it; else the one that has lost it, whose
-- records and proof go on standing there until somebody else proves it or it is deleted, so that pointing the registrar at us again is enough.
CREATE FUNCTION sweep_zone_holder(wanted_zone text) RETURNS TABLE (account_id uuid, id uuid, adopted boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT zones.account_id, zones.id, zones.adopted_at IS NOT NULL FROM zones
    WHERE zones.name = wanted_zone AND mode = 'hosted' AND deleted_at IS NULL AND (status = 'verified' OR status = 'lost' AND NOT EXISTS (
        SELECT FROM zones AS later WHERE later.name = wanted_zone AND later.id <> zones.id AND later.verified_at > zones.lost_at))
    ORDER BY status = 'verified' DESC, lost_at DESC LIMIT 1
$$;
-- The ownership values that we have put into a zone in PowerDNS, and whether each is its holder's.
CREATE FUNCTION sweep_zone_proofs(wanted_zone text) RETURNS TABLE (value text, wanted boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT zones.verification_value, holder.id IS NOT NULL FROM zones LEFT JOIN sweep_zone_holder(wanted_zone) AS holder ON holder.id = zones.id
    WHERE zones.name = wanted_zone AND mode = 'hosted' AND verified_at IS NOT NULL ORDER BY 1
$$;
-- The record sets that customers keep in a zone in PowerDNS: its holder's, and those of whoever held it before, which are to go. Nothing of a zone that
-- waits for its proof. One that PowerDNS would not have is settled until the zone's records change or a day has passed; the minute is for changes
-- that were not committed yet when it was asked.
CREATE FUNCTION sweep_zone_records(wanted_zone text) RETURNS TABLE (account_id uuid, id uuid, name text, record_type text, ttl_seconds integer,
    contents text[], adopted boolean, deleted boolean, held boolean, refusal text, settled boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT r.account_id, r.id, r.name, r.record_type, r.ttl_seconds, r.contents, r.adopted, r.deleted_at IS NOT NULL, holder.id IS NOT NULL, r.refusal,
        coalesce(r.refused_at > now() - interval '1 day'
            AND r.refused_at > max(greatest(r.updated_at, r.deleted_at)) OVER (PARTITION BY r.zone_id) + interval '1 minute', false)
    FROM zone_records AS r JOIN zones ON zones.id = r.zone_id LEFT JOIN sweep_zone_holder(wanted_zone) AS holder ON holder.id = zones.id
    WHERE zones.name = wanted_zone AND (zones.status <> 'pending' OR zones.deleted_at IS NOT NULL) ORDER BY r.name, r.record_type, r.id
$$;
-- Deletes rows whose record sets were seen to be gone from PowerDNS, unless they have become wanted since.
CREATE FUNCTION sweep_delete_zone_records(wanted_zone text, gone uuid[]) RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    WITH unwanted AS (SELECT found.id FROM sweep_zone_records(wanted_zone) AS found WHERE found.deleted OR NOT found.held),
    deleted AS (DELETE FROM zone_records WHERE zone_records.id = ANY (gone) AND zone_records.id IN (SELECT unwanted.id FROM unwanted) RETURNING 1)
    SELECT count(*) FROM deleted
$$;
ALTER FUNCTION sweep_due_zone_checks(interval, integer) OWNER TO zonecert_sweep;
ALTER FUNCTION sweep_zone_holder(text) OWNER TO zonecert_sweep;
ALTER FUNCTION sweep_zone_proofs(text) OWNER TO zonecert_sweep;
ALTER FUNCTION sweep_zone_records(text) OWNER TO zonecert_sweep;
ALTER FUNCTION sweep_delete_zone_records(text, uuid[]) OWNER TO zonecert_sweep;
REVOKE CREATE ON SCHEMA public FROM zonecert_sweep;
REVOKE ALL ON FUNCTION sweep_due_zone_checks(interval, integer), sweep_zone_holder(text), sweep_zone_proofs(text), sweep_zone_records(text),
    sweep_delete_zone_records(text, uuid[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sweep_due_zone_checks(interval, integer), sweep_zone_holder(text), sweep_zone_proofs(text), sweep_zone_records(text),
    sweep_delete_zone_records(text, uuid[]) TO zonecert_worker;
-- The holder says it.
DROP FUNCTION sweep_zone_is_hosted(text);

-- How far our name servers are behind, for the account that holds the zone and nobody else: which zones there are is decided by the tenant's policy.
GRANT CREATE ON SCHEMA public TO zonecert_lookup;
GRANT SELECT (dns_zone, generation, projected_generation, failures, last_error) ON zone_projections TO zonecert_lookup;
GRANT SELECT (name, mode, status, deleted_at) ON zones TO zonecert_lookup;
CREATE FUNCTION lookup_zone_projection(wanted_zone text) RETURNS TABLE (generation bigint, projected_generation bigint, failures integer, last_error text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT zone_projections.generation, zone_projections.projected_generation, zone_projections.failures, zone_projections.last_error
    FROM zone_projections WHERE dns_zone = wanted_zone
        AND EXISTS (SELECT FROM zones WHERE zones.name = wanted_zone AND mode = 'hosted' AND status = 'verified' AND deleted_at IS NULL)
$$;
ALTER FUNCTION lookup_zone_projection(text) OWNER TO zonecert_lookup;
REVOKE CREATE ON SCHEMA public FROM zonecert_lookup;
REVOKE ALL ON FUNCTION lookup_zone_projection(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION lookup_zone_projection(text) TO zonecert_api;
