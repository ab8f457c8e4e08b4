DROP FUNCTION certificate_alternate(uuid);
DROP FUNCTION certificate_deployments(uuid, uuid);
DROP FUNCTION certificate_revocation(uuid, uuid);
