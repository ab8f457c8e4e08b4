#!/bin/sh
# Runs once, when the database server makes its data directory. Zonecert's own roles are made by `zonecert migrate`, for which its owner
# may create roles. PowerDNS has a role and a database of its own.
set -eu

psql --set ON_ERROR_STOP=1 --no-psqlrc --username "$POSTGRES_USER" --dbname postgres \
    --set owner_password="$OWNER_PASSWORD" --set powerdns_password="$POWERDNS_PASSWORD" <<'SQL'
SET password_encryption = 'scram-sha-256';
CREATE ROLE zonecert_owner LOGIN CREATEROLE PASSWORD :'owner_password';
CREATE DATABASE zonecert OWNER zonecert_owner TEMPLATE template0 ENCODING 'UTF8';
CREATE ROLE powerdns LOGIN PASSWORD :'powerdns_password';
CREATE DATABASE powerdns OWNER powerdns TEMPLATE template0 ENCODING 'UTF8';
REVOKE CONNECT, TEMPORARY ON DATABASE powerdns FROM PUBLIC;
SQL
