#!/bin/sh
# Makes what docker-compose.yml asks for and nobody else should know: passwords in .env, keys in secrets/. Overwrites nothing.
# Run it once, in the directory of docker-compose.yml: sh docker/new-secrets.sh
set -eu

for made in .env secrets; do
    if [ -e "$made" ]; then
        echo "$made is there already; nothing was changed. Without secrets/ a database that exists cannot be read any more: keep it." >&2
        exit 1
    fi
done
if [ ! -f .env.example ]; then
    echo "run this in the directory of docker-compose.yml" >&2
    exit 1
fi

umask 077
unfinished=$(mktemp -d ./secrets.XXXXXX)
trap 'rm -rf "$unfinished" .env.new' EXIT
printf 'main:%s\n' "$(openssl rand -base64 32)" > "$unfinished/master-keys"
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$unfinished/jwt-key.pem" 2> "$unfinished/said" || { cat "$unfinished/said" >&2; exit 1; }
rm "$unfinished/said"
# The containers read these files as a user of their own. The directory keeps everybody else on this machine out.
chmod 444 "$unfinished/master-keys" "$unfinished/jwt-key.pem"

while IFS= read -r line; do
    case $line in
        *_PASSWORD= | *_API_KEY=) printf '%s%s\n' "$line" "$(openssl rand -hex 24)" ;;
        *) printf '%s\n' "$line" ;;
    esac
done < .env.example > .env.new
mv "$unfinished" secrets
mv .env.new .env
trap - EXIT
echo "made .env and secrets/: look through .env now, and keep a copy of secrets/ in a safe place"
