#!/bin/sh
# Pins the images of the compose files and of the Dockerfile by the digests that their tags have now;
# Dependabot then renews tag and digest together. It needs the registries, and changes tracked files.
set -eu
cd "$(dirname "$0")/.."
for file in Dockerfile docker-compose*.yml; do
    for image in $(sed -n -E 's/^ *(image:|FROM) ([a-z0-9./-]+:[^ @$]+)( AS .*)?$/\2/p' "$file" | sort -u); do
        digest=$(docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$image")
        sed -i.old -E "s#^( *(image:|FROM) $image)( AS .*)?\$#\1@$digest\3#" "$file"
        echo "$image@$digest"
    done
done
rm -f Dockerfile.old docker-compose*.yml.old
