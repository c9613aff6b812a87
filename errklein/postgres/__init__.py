"""A PostgreSQL database that several processes of a bot share: journal, values and nodes. Nothing imports this package; the entry point
`errklein.databases` names it, so its functions are those of `ports.nodes.Databases`."""

from errklein.ports.nodes import SharedDatabase
from errklein.postgres._moving import move_in, move_out
from errklein.postgres._shared import PostgresShared
from errklein.postgres._tables import create_tables

__all__ = ["create_tables", "move_in", "move_out", "open_database"]


def open_database(address: str) -> SharedDatabase:
    """Return a database that has the tables; see `ports.nodes.Databases`."""
    return PostgresShared(address)
