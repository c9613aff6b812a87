"""SQLite files: connections, migrations and errors. Knows nothing of what is stored."""
