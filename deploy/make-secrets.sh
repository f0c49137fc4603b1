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
random | keep bucket_secret_key
store_secret_key=$(cat "$folder/store_secret_key")
bucket_secret_key=$(cat "$folder/bucket_secret_key")

credentials() { # NAME KEY
    printf '[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n' "$1" "$2"
}
identity() { # NAME KEY ACTIONS
    printf '{"name": "%s", "credentials": [{"accessKey": "%s", "secretKey": "%s"}], "actions": [%s]}' \
        "$1" "$1" "$2" "$3"
}

credentials docvault "$store_secret_key" | keep aws_credentials
credentials bucket "$bucket_secret_key" | keep bucket_credentials
# Of the two only the one that makes the bucket may administer the store.
printf '{"identities": [%s, %s]}\n' \
    "$(identity docvault "$store_secret_key" '"Read", "Write", "List", "Tagging"')" \
    "$(identity bucket "$bucket_secret_key" '"Admin"')" | keep store_config
certificate() { # NAME HOST: one that signs itself, for a host and for this machine
    if [ -s "$folder/$1_key" ]; then
        return
    fi
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 36500 -subj "/CN=$2" \
        -addext "subjectAltName=DNS:$2,DNS:localhost,IP:127.0.0.1" \
        -keyout "$folder/.key" -out "$folder/.certificate" 2>/dev/null
    keep "$1_certificate" <"$folder/.certificate"
    keep "$1_key" <"$folder/.key"
    rm "$folder/.certificate" "$folder/.key"
}

# The gRPC port of the store administers it. It takes only clients with this certificate, and the
# store itself is the only one that has it.
certificate store store
keep store_security <<'SECURITY'
[grpc]
ca = "/run/secrets/store_certificate"
[grpc.s3]
cert = "/run/secrets/store_certificate"
key = "/run/secrets/store_key"
SECURITY
# Of docker-compose.monitoring.yml and docker-compose.idp.yml.
random | keep grafana_password
random | keep identity_password
certificate identity keycloak
# Containers read these files under accounts of their own, whatever the umask of the clone was.
here=$(dirname "$0")
chmod a+r "$here"/*.conf "$here/Caddyfile" "$here"/prometheus/* "$here"/grafana/* "$here"/keycloak/*
# Where SELinux is on, they may read the secrets with this label only.
if command -v selinuxenabled >/dev/null && selinuxenabled; then
    chcon -R -t container_file_t "$folder"
fi
if ! grep -qF "$bucket_secret_key" "$folder/store_config"; then
    echo "$folder/store_config is of an older version: delete it, run this again, restart the store" >&2
fi
