"""Tests of errklein.postgres, and of a bot whose processes share a database."""
