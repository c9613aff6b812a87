"""Tests of errklein.cli."""
