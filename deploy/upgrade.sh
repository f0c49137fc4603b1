#!/bin/sh
# Replaces docvault by the version of this checkout, or of DOCVAULT_IMAGE, without a refused request:
# migrates the database, starts as many containers of `api` as there are beside them, and stops the
# old ones when the new ones are healthy. If those do not become healthy, the old ones stay.
#
#   git pull && deploy/upgrade.sh
#
# Whatever else has changed in the compose file is applied at the end, and only that is interrupted.
# Images of other services are not renewed: docs/how-to/upgrade.md.
set -eu
cd "$(dirname "$0")/.."
deploy/make-secrets.sh "${DOCVAULT_SECRETS:-secrets}"

address() { # CONTAINER: in the network that it shares with the proxy
    docker inspect --format \
        '{{range $name, $network := .NetworkSettings.Networks}}{{$name}} {{$network.IPAddress}}{{"\n"}}{{end}}' \
        "$1" | sed -n 's/.*_outside //p'
}
proxy() { # COMMAND: changes the configuration of the proxy and reloads it
    docker compose exec -T proxy sh -c "$1 && nginx -c /tmp/nginx.conf -s reload"
}

image=$(docker compose config --images migrate | sort -u | grep -v '^postgres:' | head -n 1)
case $image in
docvault:*)
    docker compose build --pull || {
        echo "the base image cannot be pulled; building with the local one" >&2
        docker compose build
    }
    ;;
*) docker pull "$image" ;;
esac

old=$(docker compose ps --quiet api)
count=$(printf '%s\n' "$old" | grep -c . || true)
workers=$(docker compose ps --quiet worker | grep -c . || true)
if [ "$count" -gt 0 ]; then
    docker compose run --rm --no-deps -T migrate
    if ! docker compose up --detach --wait --no-deps --no-recreate --no-build \
        --scale "api=$((2 * count))" api; then
        echo "the new containers of api did not become healthy; the old ones keep running" >&2
        for container in $(docker compose ps --all --quiet api); do
            case $old in *"$container"*) ;; *) docker rm --force "$container" >/dev/null ;; esac
        done
        exit 1
    fi
    # The proxy must not try the old ones any more: an address that has just gone does not even
    # refuse. Requests that are under way with them are finished.
    servers=
    for container in $(docker compose ps --quiet api); do
        case $old in
        *"$container"*) ;;
        *) servers="${servers}server $(address "$container"):8000 max_fails=0; " ;;
        esac
    done
    proxy "sed 's/server api:8000 resolve max_fails=0;/$servers/' /etc/nginx/nginx.conf >/tmp/nginx.conf"
    sleep 1
    for container in $old; do
        docker stop --timeout 40 "$container" >/dev/null
        docker rm "$container" >/dev/null
    done
    proxy 'cp /etc/nginx/nginx.conf /tmp/'
fi
docker compose up --detach --wait --no-build \
    --scale "api=$((count > 0 ? count : 1))" --scale "worker=$((workers > 0 ? workers : 1))"
