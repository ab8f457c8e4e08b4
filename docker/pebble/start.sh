#!/bin/sh
# Makes a small CA for Pebble's own HTTPS, leaves its root in /pebble-ca for the worker, and becomes Pebble.
set -eu
: "${DNS_SERVER:?host and port of the DNS server that challenges are looked up at}"

umask 077
dir=/run/pebble
mkdir -p "$dir"
cd "$dir"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj '/CN=Pebble HTTPS' \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign -keyout ca.key -out ca.pem
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj '/CN=pebble' -keyout https.key -out https.csr
printf 'subjectAltName=DNS:pebble,DNS:localhost\nextendedKeyUsage=serverAuth\n' > https.ext
openssl x509 -req -in https.csr -CA ca.pem -CAkey ca.key -days 3650 -extfile https.ext -out https.pem
rm ca.key
cat > pebble.json <<'CONFIGURATION'
{
  "pebble": {
    "listenAddress": "0.0.0.0:14000",
    "managementListenAddress": "0.0.0.0:15000",
    "certificate": "/run/pebble/https.pem",
    "privateKey": "/run/pebble/https.key",
    "httpPort": 5002,
    "tlsPort": 5001,
    "ocspResponderURL": "",
    "externalAccountBindingRequired": false
  }
}
CONFIGURATION
install -m 644 ca.pem /pebble-ca/ca.pem
export PEBBLE_VA_NOSLEEP=1 PEBBLE_AUTHZREUSE=0
exec pebble -config pebble.json -dnsserver "$DNS_SERVER"
