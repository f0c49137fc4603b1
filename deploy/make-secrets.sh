#!/bin/sh
# Makes the secrets of docker-compose.yml, each one random, and leaves alone what is there.
#
#   deploy/make-secrets.sh [FOLDER]     FOLDER is ./secrets by default
#
# Nobody but the owner can enter the folder. The files in it can be read, for a container gets a
# file with the owner and mode it has here, and the processes in there have accounts of their own.
set -eu
umask 077
folder=${1:-secrets}
mkdir -p "$folder"
chmod 0700 "$folder"

random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }

keep() { # NAME: writes standard input, unless there is such a file with something in it
    if [ -s "$folder/$1" ]; then
        cat >/dev/null
        return
    fi
    cat >"$folder/.$1"
    chmod 0444 "$folder/.$1"
    mv "$folder/.$1" "$folder/$1"
    echo "made $folder/$1"
}

random | keep docvault_secret_key
random | keep database_password
printf 'postgresql://docvault:%s@database:5432/docvault' "$(cat "$folder/database_password")" |
    keep docvault_database_url
# Of the compose file's own database, not of one that you already have.
if grep -qF '@database:' "$folder/docvault_database_url" &&
    ! grep -qF ":$(cat "$folder/database_password")@" "$folder/docvault_database_url"; then
    echo "$folder/docvault_database_url has another password than $folder/database_password" >&2
fi
random | keep store_secret_key
store_secret_key=$(cat "$folder/store_secret_key")
printf '[default]\naws_access_key_id = docvault\naws_secret_access_key = %s\n' \
    "$store_secret_key" | keep aws_credentials
printf '{"identities": [{"name": "docvault", "credentials": [{"accessKey": "docvault", "secretKey": "%s"}], "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}\n' \
    "$store_secret_key" | keep store_config
