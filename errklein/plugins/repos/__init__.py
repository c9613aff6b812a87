"""Repositories of plugins: found in an index, fetched by git or as archives, updated and removed."""
