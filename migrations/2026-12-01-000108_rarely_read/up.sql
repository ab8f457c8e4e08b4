-- What few certificates have, for the reading of a certificate. A function is set up when it is called; a part of the statement, each time.
-- They run as their callers, under row-level security like all that these read.

-- The last request to revoke this version.
CREATE FUNCTION certificate_revocation(certificate uuid, version uuid) RETURNS jsonb LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT jsonb_build_object('requested_at', revocations.created_at, 'reason', revocations.reason, 'status', revocations.status)
    FROM revocations WHERE revocations.certificate_id = certificate AND revocations.version_id = version
    ORDER BY revocations.created_at DESC LIMIT 1
$$;

-- The last report of each of its targets.
CREATE FUNCTION certificate_deployments(account uuid, certificate uuid) RETURNS jsonb LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT jsonb_agg(jsonb_build_object('target', target, 'served_sha256', served_sha256, 'installed_sha256', installed_sha256,
        'failed', error IS NOT NULL, 'reported_at', reported_at, 'age', extract(epoch FROM now() - reported_at)) ORDER BY target)
    FROM deployments WHERE deployments.account_id = account AND deployments.certificate_id = certificate
$$;

-- Its other key, and the version with it that is in use.
CREATE FUNCTION certificate_alternate(certificate uuid) RETURNS jsonb LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT jsonb_build_object('key_algorithm', alternates.key_algorithm, 'private_key', alternates.private_key_id,
        'downloadable', coalesce(other.revoked_at IS NULL AND now() <= other.not_after, false),
        'version', CASE WHEN other.id IS NOT NULL THEN jsonb_build_object('id', other.id, 'serial', other.serial,
            'fingerprint_sha256', other.fingerprint_sha256, 'issuer', other.issuer, 'subject', other.subject, 'not_before', other.not_before,
            'not_after', other.not_after, 'names', other.names, 'details', other.details) END)
    FROM alternates LEFT JOIN versions AS other ON other.id = alternates.version_id WHERE alternates.certificate_id = certificate
$$;

REVOKE ALL ON FUNCTION certificate_revocation(uuid, uuid), certificate_deployments(uuid, uuid), certificate_alternate(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION certificate_revocation(uuid, uuid), certificate_deployments(uuid, uuid), certificate_alternate(uuid) TO zonecert_api, zonecert_worker;
