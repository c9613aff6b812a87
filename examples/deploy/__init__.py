"""A plugin as written for errbot: plain functions that block."""
