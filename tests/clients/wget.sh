#!/bin/sh
# As curl.sh, with wget.
set -eu
new=$(mktemp "$2.XXXXXX")
trap 'rm -f "$new"' EXIT
said=$(wget --quiet --tries=1 --max-redirect=0 --server-response --output-document="$new" ${3:+--header="$3"} "$1" 2>&1) || true
status=$(echo "$said" | sed -n 's,^ *HTTP/[0-9.]* \([0-9]*\).*,\1,p' | head -n 1)
if [ "$status" != 200 ]; then
    echo "$status"
    exit 1
fi
if cmp --silent "$new" "$2"; then exit 3; fi
mv "$new" "$2"
