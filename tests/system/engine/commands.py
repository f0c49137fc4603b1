"""The Compose commands of the documentation, in an order in which each makes sense.

tests/deploy/test_commands.py keeps the list and the documentation together. What needs a registry,
or another folder, is in `OTHERS`.
"""

IN_DATABASE = "docker compose exec -T database"
RESTORE = "--username docvault --dbname docvault --no-owner --exit-on-error"
COMMANDS = (
    "docker compose up --detach",
    "docker compose exec -T api docvault token admin",
    "docker compose up --detach --wait --scale api=2 --scale worker=2",
    "docker compose up --detach --wait",
    "docker compose stop worker",
    f"{IN_DATABASE} pg_dump --username docvault --format custom docvault > docvault.dump",
    "docker compose start worker",
    "docker compose stop api worker",
    f"{IN_DATABASE} dropdb --username docvault --force docvault",
    f"{IN_DATABASE} createdb --username docvault docvault",
    f"{IN_DATABASE} pg_restore {RESTORE} < docvault.dump",
    "docker compose run --rm --no-deps api migrate",
    "docker compose run --rm --no-deps api erasures reapply",
    "docker compose run --rm --no-deps api events new-log",
    "docker compose run --rm --no-deps api verify --rehash",
    "docker compose start api worker",
    "docker compose up --detach --wait",
)
OTHERS = {
    "docker compose up --build --detach --wait",  # how every part begins
    "docker compose pull --ignore-buildable",  # needs the registry of the images
    "docker compose exec -T api docvault",  # the tutorial goes on from it
}
