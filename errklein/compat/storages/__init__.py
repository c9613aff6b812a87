"""Storages that were written for errbot: found, loaded, and used behind errklein's own port."""
