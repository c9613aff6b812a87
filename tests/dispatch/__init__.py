"""Tests of errklein.dispatch."""
