"""Hot and set-based statements, each in a file; see decision 0026.

In a file, `{name}` stands for a part that is passed, or else for a file of `fragments`.
"""

import re
from pathlib import Path

from docvault.db.prepared_statements import PreparedStatement, Record

_FOLDER = Path(__file__).parent


def load_statement(name: str, record: type[Record], **parts: str) -> PreparedStatement[Record]:
    """Return the statement of a file.

    Without comments and needless blanks: psycopg caches what it parses only up to 4,096 characters.
    """
    text = " ".join(read_sql(name, **parts).split())
    return PreparedStatement(re.sub(r"(?<=[(),=]) | (?=[()=])", "", text), record)


def read_sql(name: str, **parts: str) -> str:
    """Return the SQL of a file, without comments and with its parts."""
    text = re.sub(r"--.*", "", (_FOLDER / f"{name}.sql").read_text())

    def expand(placeholder: re.Match[str]) -> str:
        part = parts.get(placeholder[1])
        return read_sql(f"fragments/{placeholder[1]}", **parts) if part is None else part

    return re.sub(r"\{(\w+)\}", expand, text)
