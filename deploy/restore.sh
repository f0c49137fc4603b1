#!/bin/sh
# Restores a backup of deploy/backup.sh into a deployment that has no documents yet, and starts it.
#
#   deploy/restore.sh [FOLDER]     FOLDER is ./backup by default
set -eu
folder=$(cd "${1:-${DOCVAULT_BACKUP:-backup}}" && pwd)
cd "$(dirname "$0")/.."
secrets=${DOCVAULT_SECRETS:-secrets}
if ! [ -s "$secrets/docvault_secret_key" ]; then
    mkdir -p "$secrets"
    cp -fp "$folder"/secrets/* "$secrets/"
fi
deploy/make-secrets.sh "$secrets"
export DOCVAULT_BACKUP="$folder"
docker compose stop api worker
case $(docker compose config --images migrate) in
*docvault:*) docker compose build ;;
esac
docker compose --profile backup run --rm -T backup restore /backup
docker compose up --detach --wait
