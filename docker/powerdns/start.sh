#!/bin/sh
# Makes PowerDNS' tables where they are missing, writes its configuration, and becomes it.
set -eu
: "${POWERDNS_PASSWORD:?the password of the database role powerdns}" "${POWERDNS_API_KEY:?the key of the HTTP API}"

export PGHOST=postgres PGUSER=powerdns PGDATABASE=powerdns PGPASSWORD="$POWERDNS_PASSWORD"
if [ -z "$(psql --no-psqlrc --tuples-only --no-align --command "SELECT to_regclass('domains')")" ]; then
    psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --single-transaction --file /usr/share/pdns-backend-pgsql/schema/schema.pgsql.sql
fi

umask 077
mkdir -p /run/pdns-zonecert
cat > /run/pdns-zonecert/pdns.conf <<CONFIGURATION
launch=gpgsql
gpgsql-host=$PGHOST
gpgsql-dbname=$PGDATABASE
gpgsql-user=$PGUSER
gpgsql-password=$POWERDNS_PASSWORD
local-address=0.0.0.0
local-port=53
socket-dir=/run/pdns-zonecert
daemon=no
guardian=no
disable-syslog=yes
write-pid=no
api=yes
api-key=$POWERDNS_API_KEY
webserver=yes
webserver-address=0.0.0.0
webserver-port=8081
webserver-allow-from=127.0.0.0/8,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16
security-poll-suffix=
# A challenge must be answered as soon as it is written.
cache-ttl=0
query-cache-ttl=0
negquery-cache-ttl=0
# Whoever has no SOA-EDIT of a zone's own gets the serial as it is stored.
default-soa-edit=
CONFIGURATION
chown -R pdns:pdns /run/pdns-zonecert
unset PGPASSWORD POWERDNS_PASSWORD POWERDNS_API_KEY
exec pdns_server --config-dir=/run/pdns-zonecert --setuid=pdns --setgid=pdns
