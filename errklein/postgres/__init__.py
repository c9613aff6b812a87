"""A PostgreSQL database that several processes of a bot share: journal, values and nodes. Nothing imports this package; the entry point `errklein.databases` names it."""
