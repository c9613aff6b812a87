"""A plugin as they are written for errbot: plain functions that block."""
