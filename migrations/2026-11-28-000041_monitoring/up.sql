-- What operators see of the service as a whole (docs/adr/0021-monitoring.md).

-- Certificates that renew by themselves, by the moment at which they should have and by the end of their validity.
CREATE INDEX certificates_next_renewal_at_idx ON certificates (next_renewal_at) WHERE next_renewal_at IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX certificates_renewing_expires_at_idx ON certificates (expires_at) WHERE next_renewal_at IS NOT NULL AND deleted_at IS NULL;
-- Issuances that have failed for good, newest last.
CREATE INDEX issuances_failed_finished_at_idx ON issuances (finished_at) WHERE status = 'failed';

-- A process that takes jobs, or did so lately. What it works on is in the leases, which bear its name.
CREATE TABLE workers (
    name text PRIMARY KEY,
    version text NOT NULL,
    host text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL DEFAULT now(),
    -- Issuances in its hands when it was last seen.
    in_hand integer NOT NULL DEFAULT 0,
    -- Since when it is to take nothing new.
    drain_requested_at timestamptz,
    -- Since when it takes nothing, with nothing left in hand.
    drained_at timestamptz
);
GRANT SELECT, INSERT, UPDATE, DELETE ON workers TO zonecert_worker;

GRANT CREATE ON SCHEMA public TO zonecert_sweep;
GRANT SELECT (next_renewal_at, last_error) ON certificates TO zonecert_sweep;
GRANT SELECT (created_at, finished_at, attempts) ON issuances TO zonecert_sweep;
GRANT SELECT (dns_zone, generation, projected_generation, next_wake_at, lease_expires_at) ON zone_projections TO zonecert_sweep;
GRANT SELECT (algorithm) ON key_stock TO zonecert_sweep;
GRANT SELECT (seen_at, drain_requested_at) ON workers TO zonecert_sweep;

-- The service as a whole in numbers, and never whose. Each part reads an index from one end and stops: 10,000 rows are counted at the most.
-- A mail waits from when it was written until it is sent, however often that was tried: its next attempt says nothing about how late it is.
CREATE FUNCTION sweep_platform_state(late_after interval) RETURNS TABLE (measure text, label text, value double precision)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    WITH active AS MATERIALIZED (
        SELECT next_wake_at, lease_expires_at FROM issuances WHERE status = 'active' ORDER BY next_wake_at LIMIT 10000),
    waiting (queue, since) AS MATERIALIZED (
        SELECT 'issue', next_wake_at FROM active WHERE next_wake_at <= now() AND (lease_expires_at IS NULL OR lease_expires_at <= now())
        UNION ALL
        (SELECT 'project', next_wake_at FROM zone_projections
         WHERE projected_generation < generation AND next_wake_at <= now() AND (lease_expires_at IS NULL OR lease_expires_at <= now())
         ORDER BY next_wake_at LIMIT 10000)
        UNION ALL
        (SELECT 'revoke', next_attempt_at FROM revocations WHERE status = 'active' AND next_attempt_at <= now() ORDER BY next_attempt_at LIMIT 10000)
        UNION ALL
        (SELECT 'mail', created_at FROM mails WHERE next_attempt_at IS NOT NULL ORDER BY next_attempt_at LIMIT 10000)),
    late AS MATERIALIZED (
        SELECT last_error ->> 'code' AS code FROM certificates
        WHERE next_renewal_at <= now() - late_after AND deleted_at IS NULL ORDER BY next_renewal_at LIMIT 10000)
    SELECT 'queue_due', queue, count(since)::double precision FROM (VALUES ('issue'), ('project'), ('revoke'), ('mail')) AS queues (queue)
        LEFT JOIN waiting USING (queue) GROUP BY queue
    UNION ALL
    SELECT 'queue_age', queue, extract(epoch FROM coalesce(now() - min(since), '0'))::double precision
        FROM (VALUES ('issue'), ('project'), ('revoke'), ('mail')) AS queues (queue) LEFT JOIN waiting USING (queue) GROUP BY queue
    UNION ALL
    SELECT 'issuances', 'running', count(*) FROM active WHERE lease_expires_at > now()
    UNION ALL
    SELECT 'issuances', 'resting', count(*) FROM active WHERE next_wake_at > now() AND (lease_expires_at IS NULL OR lease_expires_at <= now())
    UNION ALL
    SELECT 'renewals_due', '', count(*) FROM (
        SELECT FROM certificates WHERE renewal_due_at <= now() AND deleted_at IS NULL ORDER BY renewal_due_at LIMIT 10000) AS due
    UNION ALL
    SELECT 'renewals_late', coalesce(code, ''), count(*) FROM late GROUP BY code
    UNION ALL
    (SELECT 'nearest_expiry', '', extract(epoch FROM expires_at - now())::double precision FROM certificates
     WHERE next_renewal_at IS NOT NULL AND deleted_at IS NULL ORDER BY expires_at LIMIT 1)
    UNION ALL
    SELECT 'key_stock', '', count(*) FROM (SELECT FROM key_stock LIMIT 10000) AS stock
    UNION ALL
    SELECT 'workers', CASE WHEN draining THEN 'draining' ELSE 'working' END, count(seen_at) FROM (VALUES (true), (false)) AS states (draining)
        LEFT JOIN workers ON (drain_requested_at IS NOT NULL) = draining AND seen_at > now() - interval '1 minute' GROUP BY draining
    UNION ALL
    SELECT 'clock', '', extract(epoch FROM clock_timestamp())::double precision
$$;

-- Who waits in a queue and since when, the longest first. For zones the account is NULL.
CREATE FUNCTION sweep_waiting(wanted_queue text, batch integer) RETURNS TABLE (account_id uuid, id text, since timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    (SELECT issuances.account_id, issuances.id::text, next_wake_at FROM issuances
     WHERE wanted_queue = 'issue' AND status = 'active' AND next_wake_at <= now() AND (lease_expires_at IS NULL OR lease_expires_at <= now())
     ORDER BY next_wake_at LIMIT batch)
    UNION ALL
    (SELECT NULL, dns_zone, next_wake_at FROM zone_projections
     WHERE wanted_queue = 'project' AND projected_generation < generation AND next_wake_at <= now() AND (lease_expires_at IS NULL OR lease_expires_at <= now())
     ORDER BY next_wake_at LIMIT batch)
    UNION ALL
    (SELECT revocations.account_id, revocations.id::text, next_attempt_at FROM revocations
     WHERE wanted_queue = 'revoke' AND status = 'active' AND next_attempt_at <= now() ORDER BY next_attempt_at LIMIT batch)
    UNION ALL
    (SELECT mails.account_id, mails.id::text, created_at FROM mails
     WHERE wanted_queue = 'mail' AND next_attempt_at IS NOT NULL ORDER BY created_at LIMIT batch)
$$;

-- Issuances that are worth a look: active ones that have failed before or are older than `age`, the oldest first; or those that have failed for good, the newest first.
CREATE FUNCTION sweep_troubled_issuances(over boolean, age interval, batch integer) RETURNS TABLE (account_id uuid, id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    (SELECT issuances.account_id, issuances.id FROM issuances
     WHERE NOT over AND status = 'active' AND (attempts > 0 OR created_at <= now() - age) ORDER BY created_at LIMIT batch)
    UNION ALL
    (SELECT issuances.account_id, issuances.id FROM issuances WHERE over AND status = 'failed' ORDER BY finished_at DESC LIMIT batch)
$$;

-- Whose an issuance or a certificate is: before the operator can enter the tenant.
CREATE FUNCTION sweep_holder(wanted uuid) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT account_id FROM issuances WHERE id = wanted UNION ALL SELECT account_id FROM certificates WHERE id = wanted LIMIT 1
$$;

ALTER FUNCTION sweep_platform_state(interval) OWNER TO zonecert_sweep;
ALTER FUNCTION sweep_waiting(text, integer) OWNER TO zonecert_sweep;
ALTER FUNCTION sweep_troubled_issuances(boolean, interval, integer) OWNER TO zonecert_sweep;
ALTER FUNCTION sweep_holder(uuid) OWNER TO zonecert_sweep;
REVOKE CREATE ON SCHEMA public FROM zonecert_sweep;
REVOKE ALL ON FUNCTION sweep_platform_state(interval), sweep_waiting(text, integer), sweep_troubled_issuances(boolean, interval, integer),
    sweep_holder(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sweep_platform_state(interval) TO zonecert_api, zonecert_worker, CURRENT_USER;
GRANT EXECUTE ON FUNCTION sweep_waiting(text, integer), sweep_troubled_issuances(boolean, interval, integer), sweep_holder(uuid) TO CURRENT_USER;
