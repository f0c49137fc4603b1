#!/bin/sh
# Backs up everything into a folder: database, files, records of erasures, and the secrets. The
# deployment keeps running; only what is new since the last backup is copied.
#
#   deploy/backup.sh [FOLDER]     FOLDER is ./backup by default
#
# Nobody but the owner can enter the folder. It contains every key and document: protect it.
set -eu
umask 077
mkdir -p "${1:-${DOCVAULT_BACKUP:-backup}}"
folder=$(cd "${1:-${DOCVAULT_BACKUP:-backup}}" && pwd)
cd "$(dirname "$0")/.."
chmod 0700 "$folder"
mkdir -p "$folder/data" "$folder/secrets"
# docvault writes there, under an account of its own.
chmod 0777 "$folder/data"
cp -fp "${DOCVAULT_SECRETS:-secrets}"/* "$folder/secrets/"
DOCVAULT_BACKUP=$folder docker compose --profile backup run --rm --no-deps -T backup
