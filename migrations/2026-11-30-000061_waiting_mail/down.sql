CREATE OR REPLACE FUNCTION sweep_platform_state(late_after interval) RETURNS TABLE (measure text, label text, value double precision)
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
        (SELECT 'mail', next_attempt_at FROM mails WHERE next_attempt_at <= now() ORDER BY next_attempt_at LIMIT 10000)),
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

CREATE OR REPLACE FUNCTION sweep_waiting(wanted_queue text, batch integer) RETURNS TABLE (account_id uuid, id text, since timestamptz)
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
    (SELECT mails.account_id, mails.id::text, next_attempt_at FROM mails
     WHERE wanted_queue = 'mail' AND next_attempt_at <= now() ORDER BY next_attempt_at LIMIT batch)
$$;
