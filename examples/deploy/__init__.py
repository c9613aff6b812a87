"""A plugin in errbot's style: plain functions that block."""
