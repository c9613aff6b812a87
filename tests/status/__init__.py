"""Tests for errklein.status."""
