"""Realistic rows at scale, through COPY: `python -m bench.data --help`.

There are ten document types. The share of customers with a document differs by type, from nearly
all to almost none, so that every filter has a common and a rare value; the newest customers have
few documents. A document has one version of one file; the bytes do not exist.

Everything is derived from a customer's number, so that a benchmark knows the expected responses.
"""

import argparse
import random
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg
from psycopg import sql
from rich.progress import Progress

# The share of customers that have each type; about six documents per customer in total.
SHARES = (0.999, 0.98, 0.95, 0.9, 0.8, 0.6, 0.4, 0.25, 0.1, 0.002)
REQUIRED = (0, 1, 3)
# The type with a required field, and the share of its documents that lack the value.
WITH_FIELD, LACKING = 1, 0.01
# The share of customers without any document.
NOTHING_SHARE = 0.001
# The share of newest customers, which have half as many documents as the others.
NEW_SHARE = 0.005

FIRST_NAMES = (  # noqa: SIM905 - a list would need one line per name
    "Anna Bram Cees Daan Eva Fatima Gijs Hanna Ilse Jan Kim Lotte Mo Nora Otto Piet Quinten Rosa "
    "Sem Tess Umar Vera Willem Xander Yara Zoë"
).split()
LAST_NAMES = (  # noqa: SIM905 - as above
    "Bakker Bos Brouwer Dekker Dijkstra Hendriks Jacobs Jansen Kok Kuiper Meijer Mulder Peters "
    "Prins Smit Visser Vos Vries Willems"
).split()

_BEGIN = datetime(2023, 1, 1, tzinfo=UTC)
_SPAN = timedelta(days=3 * 365)
_CHUNK = 10_000
# In COPY's text format.
_NULL = r"\N"
# The bit next to those of the ten types: the required field has no value.
_LACKS = 1 << len(SHARES)

# What a trigger does for each customer; in the order of the primary key, which stays.
_WORDS = """
    INSERT INTO customer_words (tail, external_id, lower_name, created_at)
    SELECT tail, external_id, lower_name, created_at
    FROM customers, unnest(word_tails(lower_name)) AS tail
    ORDER BY tail, external_id
"""
_TABLES = {
    "customers": "id external_id name email tags created_at updated_at fact_set_id"
    " documents_changed_at last_uploaded_at",
    "documents": "id customer_id document_type_id current_version_id uploaded_by_kind"
    " last_version field_values created_at updated_at",
    "document_versions": "id document_id number uploaded_at uploaded_by_kind uploaded_by_id"
    " field_values",
    "document_files": "id version_id blob_id number filename media_type size_bytes sha256"
    " has_active_content has_attachments needs_password scan preview_failed",
    "blobs": "id customer_id key state size_bytes sha256 created_at",
}


@dataclass(frozen=True, slots=True)
class Population:
    """The customers of a database, ordered by number."""

    # The types each customer has a document of, as bits.
    filled: "array[int]"

    @classmethod
    def of(cls, customers: int) -> "Population":
        """Return the content of a database of this size; deterministic."""
        rng = random.Random(customers)
        return cls(array("H", (_draw(rng, n, customers) for n in range(customers))))

    def __len__(self) -> int:
        return len(self.filled)

    def has(self, number: int, type_number: int) -> bool:
        """Return whether a customer has a document of a type."""
        return bool(self.filled[number] >> type_number & 1)

    def is_open(self, number: int) -> bool:
        """Return whether a customer has all required documents and values."""
        mask = self.filled[number]
        return not mask & _LACKS and all(mask >> required & 1 for required in REQUIRED)

    def external_id(self, number: int) -> str:
        """Return the external id of a customer; ids sort like the numbers."""
        return f"c-{number:07d}"

    def name(self, number: int) -> str:
        """Return the name of a customer; names repeat."""
        first = FIRST_NAMES[number * 7919 % len(FIRST_NAMES)]
        return f"{first} {LAST_NAMES[number * 104_729 // 7 % len(LAST_NAMES)]}"

    def tags(self, number: int) -> list[str]:
        """Return the tags of a customer: a common one, and few with a rare one."""
        tags = [f"region-{number % 12}"]
        if number % 100 == 3:
            tags.append("wholesale")
        if number % 5000 == 17:
            tags.append("vip")
        return tags

    def lacks_value(self, number: int, type_number: int) -> bool:
        """Return whether a document of a customer lacks the required value."""
        return type_number == WITH_FIELD and bool(self.filled[number] & _LACKS)

    def uploader(self, number: int, type_number: int) -> str:
        """Return the kind of caller who uploaded a document."""
        place = (number * len(SHARES) + type_number) * 7919 // 7 % 500
        if place == 0:
            return "integration"
        return "admin" if place < 25 else "customer"

    def version_id(self, number: int, type_number: int) -> str:
        """Return the id of the version of a document."""
        sequence = number * len(SHARES) + type_number
        return f"{_id_prefix(self.created_at(number))}002-8000-{sequence:012x}"

    def created_at(self, number: int) -> datetime:
        """Return when a customer was created; times are unique."""
        return _BEGIN + _SPAN * (number / len(self))


def populate(url: str, customers: int) -> Population:
    """Fill a docvault database that already has the ten document types.

    Existing customers and documents are deleted. The service may run, but must be idle.
    """
    population = Population.of(customers)
    with psycopg.connect(url) as connection, Progress() as bar:
        # The generated rows satisfy the foreign keys; checking them would take half of the time.
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET maintenance_work_mem = '512MB'")
        type_ids = _type_ids(connection)
        names = [sql.Identifier(table) for table in (*_TABLES, "customer_words", "fact_sets")]
        # In the same transaction as COPY, which then writes no WAL and freezes the rows.
        tables = sql.SQL(", ").join(names[:-1])
        connection.execute(sql.SQL("TRUNCATE {} CASCADE").format(tables))
        fact_sets = _insert_fact_sets(connection, population)
        with _without_indexes(connection):
            task = bar.add_task(f"{customers} customers", total=customers)
            for first in range(0, customers, _CHUNK):
                numbers = range(first, min(first + _CHUNK, customers))
                for table, rows in _rows(population, numbers, type_ids, fact_sets).items():
                    _copy(connection, table, rows)
                bar.advance(task, len(numbers))
            bar.add_task("words and indexes", total=None)
            connection.execute(_WORDS)
        connection.commit()
        connection.autocommit = True
        connection.execute(sql.SQL("VACUUM (ANALYZE) {}").format(sql.SQL(", ").join(names)))
        connection.execute("CHECKPOINT")
    return population


def _draw(rng: random.Random, number: int, customers: int) -> int:
    if rng.random() < NOTHING_SHARE:
        return 0
    is_new = number >= customers * (1 - NEW_SHARE)
    mask = 0
    for type_number, share in enumerate(SHARES):
        if rng.random() < (share / 2 if is_new else share):
            mask |= 1 << type_number
    if mask >> WITH_FIELD & 1 and rng.random() < LACKING:
        mask |= _LACKS
    return mask


def _type_ids(connection: psycopg.Connection) -> list[str]:
    query = "SELECT id::text FROM document_types WHERE archived_at IS NULL ORDER BY position, id"
    ids = [row[0] for row in connection.execute(query)]
    if len(ids) != len(SHARES):
        raise ValueError(f"the database needs {len(SHARES)} document types and has {len(ids)}")
    return ids


def _insert_fact_sets(connection: psycopg.Connection, population: Population) -> dict[int, int]:
    """Add the fact sets that triggers would; return the id for each combination of types."""
    connection.execute("DELETE FROM fact_sets WHERE id <> 0")
    types = connection.execute(
        "SELECT number FROM document_types WHERE archived_at IS NULL ORDER BY position, id"
    ).fetchall()
    (field,) = connection.execute("SELECT number FROM document_type_fields").fetchall()
    ids = {0: 0}
    for mask in sorted({*population.filled} - {0}):
        held = [number for bit, (number,) in enumerate(types) if mask >> bit & 1]
        if mask >> WITH_FIELD & 1 and not mask & _LACKS:
            held += field
        query = "INSERT INTO fact_sets (numbers) VALUES (%s) RETURNING id"
        inserted = connection.execute(query, [sorted(held)]).fetchone()
        assert inserted is not None
        ids[mask] = inserted[0]
    return ids


def _id_prefix(at: datetime) -> str:
    """Return the begin of a UUIDv7: the time. The table follows, then a sequence number."""
    clock = f"{int(at.timestamp() * 1000):012x}"
    return f"{clock[:8]}-{clock[8:]}-7"


def _rows(
    population: Population,
    numbers: range,
    type_ids: Sequence[str],
    fact_sets: Mapping[int, int],
) -> dict[str, list[str]]:
    """Return the rows of some customers by table, in COPY's text format."""
    rows: dict[str, list[str]] = {table: [] for table in _TABLES}
    customers, documents, versions, files, blobs = rows.values()
    for n in numbers:
        created = population.created_at(n)
        prefix, at = _id_prefix(created), created.isoformat()
        customer = f"{prefix}000-8000-{n:012x}"
        external_id, name = population.external_id(n), population.name(n)
        mail = f"{name.replace(' ', '.').lower()}.{n}@example.org"
        tags = ",".join(population.tags(n))
        # Not in the order of creation.
        changed = (created + timedelta(hours=n * 7919 % 720)).isoformat()
        mask = population.filled[n]
        customers.append(
            f"{customer}\t{external_id}\t{name}\t{mail}\t{{{tags}}}\t{at}\t{at}\t{fact_sets[mask]}"
            f"\t{changed}\t{changed if mask else _NULL}\n"
        )
        for type_number, type_id in enumerate(type_ids):
            if not mask >> type_number & 1:
                continue
            d = n * len(SHARES) + type_number
            document, file, blob = (f"{prefix}00{t}-8000-{d:012x}" for t in "134")
            version = population.version_id(n, type_number)
            has_value = type_number == WITH_FIELD and not population.lacks_value(n, type_number)
            uploader = population.uploader(n, type_number)
            values = '{"number": "A-1"}' if has_value else "{}"
            size = 20_000 + d % 900_000
            documents.append(
                f"{document}\t{customer}\t{type_id}\t{version}\t{uploader}\t1\t{values}"
                f"\t{at}\t{at}\n"
            )
            versions.append(
                f"{version}\t{document}\t1\t{at}\t{uploader}\t{external_id}\t{values}\n"
            )
            files.append(
                f"{file}\t{version}\t{blob}\t1\tscan-{d}.pdf\tapplication/pdf\t{size}\t{d:064x}"
                "\tf\tf\tf\tnot_configured\tf\n"
            )
            blobs.append(
                f"{blob}\t{customer}\t{customer}/{d:032x}\tstored\t{size}\t{d:064x}\t{at}\n"
            )
    return rows


def _copy(connection: psycopg.Connection, table: str, rows: Sequence[str]) -> None:
    columns = [sql.Identifier(column) for column in _TABLES[table].split()]
    statement = sql.SQL("COPY {} ({}) FROM STDIN WITH (FREEZE)").format(
        sql.Identifier(table), sql.SQL(", ").join(columns)
    )
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write("".join(rows))


@contextmanager
def _without_indexes(connection: psycopg.Connection) -> Iterator[None]:
    """Drop the indexes except primary keys; rebuild them when the block ends."""
    constraints = connection.execute(
        """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE contype = 'u' AND conrelid::regclass::text = ANY(%s)
        """,
        [list(_TABLES)],
    ).fetchall()
    for table, name, _ in constraints:
        connection.execute(
            sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(
                sql.Identifier(table), sql.Identifier(name)
            )
        )
    indexes = connection.execute(
        """
        SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
        WHERE NOT indisprimary AND indrelid::regclass::text = ANY(%s)
        """,
        [[*_TABLES, "customer_words"]],
    ).fetchall()
    for name, _ in indexes:
        connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(name)))
    yield
    for _, definition in indexes:
        connection.execute(definition)
    for table, name, definition in constraints:
        connection.execute(
            sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {}").format(
                sql.Identifier(table), sql.Identifier(name), sql.SQL(definition)
            )
        )


def main() -> None:
    """Fill the database of a docvault that is configured and idle."""
    parser = argparse.ArgumentParser(prog="python -m bench.data", description=__doc__)
    parser.add_argument("url", help="postgresql://…")
    parser.add_argument("--customers", type=int, default=1_000_000)
    arguments = parser.parse_args()
    populate(arguments.url, arguments.customers)


if __name__ == "__main__":
    main()
