#!/bin/sh
# Fetches a file as scripts for LeGo CertHub and Cert Warden do: to the side, by exactly 200 without a redirect, compared byte by byte with what is there,
# and only then in its place.
#
# usage: curl.sh URL FILE [HEADER]
# Ends with 0: FILE is new; 3: FILE is what it was; 1: nothing was fetched, and the status is printed.
set -eu
new=$(mktemp "$2.XXXXXX")
trap 'rm -f "$new"' EXIT
status=$(curl --silent --path-as-is --max-redirs 0 --write-out '%{http_code}' --output "$new" ${3:+--header "$3"} "$1")
if [ "$status" != 200 ]; then
    echo "$status"
    exit 1
fi
if cmp --silent "$new" "$2"; then exit 3; fi
mv "$new" "$2"
